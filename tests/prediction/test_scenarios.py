"""The same draws under other doses and covariates: differences are what the equations say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from hierarchical_twin.prediction.scenarios import compare_scenarios, read_scenarios
from prediction.dosed import bolus_fit, kill_fit, stacked


def part(table: pd.DataFrame, scenario: str, quantity: str) -> pd.DataFrame:
    """Rows of one scenario and quantity."""
    return table[(table["scenario"] == scenario) & (table["quantity"] == quantity)].reset_index(drop=True)


def test_twice_the_dose_is_twice_the_drug():
    """The mechanism is linear in the dose: at the first dose of 100, 200 adds as much as there is."""
    table = compare_scenarios(
        bolus_fit(), {"same": {"amount": 100}, "twice": {"amount": 200}}, times=[2, 5, 9]
    )
    assert list(table["scenario"].unique()) == ["as given", "same", "twice"]
    assert set(table["quantity"]) == {"active"}, "no parameter changes with a dose"
    given, same, twice = (part(table, name, "active") for name in ("as given", "same", "twice"))
    assert len(twice) == 18 and list(twice["patient"].unique()) == [f"b{n}" for n in range(6)]
    assert twice["mean"].to_numpy() == pytest.approx(2 * same["mean"].to_numpy())
    assert twice["upper"].to_numpy() == pytest.approx(2 * same["upper"].to_numpy())
    assert (given[["difference", "difference_lower", "difference_upper"]] == 0).all().all()
    early = twice["time"].to_numpy() < 6
    assert twice["difference"][early].to_numpy() == pytest.approx(given["mean"][early].to_numpy())
    assert (twice["probability_above"] == 1).all()
    assert set(table["unit"]) == {"mg/L"} and set(table["prob"]) == {0.9}


def test_another_scenario_as_reference():
    changes = {"same": {"amount": 100}, "twice": {"amount": 200}}
    table = compare_scenarios(bolus_fit(), changes, times=[2], reference="twice", prob=0.5)
    assert list(table["scenario"].unique()) == ["same", "twice"]
    same = part(table, "same", "active")
    assert same["difference"].to_numpy() == pytest.approx(-same["mean"].to_numpy())
    assert (same["probability_above"] == 0).all() and set(table["prob"]) == {0.5}


def test_a_covariate_changes_parameters():
    fit = kill_fit()
    arms = {"wild": {"tp53": 0}, "mutated": {"tp53": 1}}
    table = compare_scenarios(fit, arms, times=[2.5], reference="wild", draws=None)
    assert set(table["quantity"]) == {"viability", "K_apo", "dose_90"}, "n is the same for everybody"
    wild, mutated = (part(table, name, "K_apo") for name in arms)
    own, beta = stacked(fit, "K_apo"), stacked(fit, "beta_K_apo")
    is_mutated = (
        pd.DataFrame(
            {"id": fit.tree["constant_data"]["patient"], "tp53": fit.tree["constant_data"]["covariate_tp53"]}
        )
        .set_index("id")["tp53"]
        .to_numpy(float)
    )
    without = own * np.exp(-beta * is_mutated)
    assert wild["mean"].to_numpy() == pytest.approx(without.mean(axis=0))
    assert mutated["difference"].to_numpy() == pytest.approx((without * (np.exp(beta) - 1)).mean(axis=0))
    assert mutated["time"].isna().all() and set(mutated["unit"]) == {"uM"}


def test_the_measured_rows_by_default():
    fit = kill_fit()
    table = compare_scenarios(fit, {"ten": {"conc_uM": 10}})
    given, ten = part(table, "as given", "viability"), part(table, "ten", "viability")
    assert len(given) == len(ten) == 60
    assert list(ten["patient"]) == list(given["patient"])
    assert set(ten["dose"]) == {10.0} and sorted(given["dose"].unique()) == [0.156, 0.625, 2.5, 10, 40]
    same = given["dose"].to_numpy() == 10
    assert ten["difference"][same].to_numpy() == pytest.approx(0, abs=1e-12)
    assert (ten["difference"][given["dose"] < 10] < 0).all() and (
        ten["difference"][given["dose"] > 10] > 0
    ).all()


def test_new_patients_are_the_same_people_in_each_scenario():
    rows = pd.DataFrame(
        {"id": [f"n{n}" for n in range(20)], "conc_uM": 2.5, "tp53": 0, "drug": "fludarabine"}
    )
    table = compare_scenarios(kill_fit(), {"again": {"tp53": 0}, "mutated": {"tp53": 1}}, rows=rows)
    assert table["is_new"].all()
    assert (part(table, "again", "viability")["difference"] == 0).all()
    assert (part(table, "mutated", "viability")["difference"].abs() > 0).all()


def test_a_table_of_scenarios(tmp_path):
    path = tmp_path / "arms.csv"
    path.write_text("scenario,amount,slow\nhigh,300,\nslow,,1\nboth,300,1\n", encoding="utf-8")
    assert read_scenarios(path) == {
        "high": {"amount": 300.0},
        "slow": {"slow": 1.0},
        "both": {"amount": 300.0, "slow": 1.0},
    }
    table = compare_scenarios(bolus_fit(), path, times=[3], draws=50)
    assert list(table["scenario"].unique()) == ["as given", "high", "slow", "both"]
    assert "k_act" in set(table["quantity"])


REFUSED = [
    ({}, "got none"),
    ({"half": 50}, "'half' without columns"),
    (
        pd.DataFrame({"scenaro": ["a"], "amount": [1]}),
        "expected a column 'scenario' of names; did you mean 'scenaro'?",
    ),
    (pd.DataFrame({"scenario": ["a", "a"], "amount": [1, 2]}), "'a' again"),
    (pd.DataFrame({"scenario": ["a", None], "amount": [1, 2]}), "a blank cell"),
    ({"a": {"amuont": 3}}, "did you mean 'amount'?"),
    ({"a": {"y": 3}}, "'y'"),
    ({"as given": {"amount": 3}}, "another name"),
]


@pytest.mark.parametrize(("scenarios", "told"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_scenario(scenarios, told):
    with pytest.raises(ht.DataError) as caught:
        compare_scenarios(bolus_fit(), scenarios, times=[3], draws=10)
    assert told in str(caught.value)


def test_no_such_reference():
    with pytest.raises(ht.DataError, match="did you mean 'high'"):
        compare_scenarios(bolus_fit(), {"high": {"amount": 1}}, times=[3], reference="hihg")
