"""Probabilities of statements equal what the draws say by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from agreement.declared import DECLARED

import hierarchical_twin as ht
from hierarchical_twin.cohort.asked import read_asked, without_limits
from hierarchical_twin.cohort.table import open_table
from hierarchical_twin.graph.evaluate import central_point, score
from hierarchical_twin.prediction.questions import ask, coordinate_of
from hierarchical_twin.prediction.source import model_of
from hierarchical_twin.prediction.statements import probability
from prediction.dosed import bolus_fit, kill_fit, stacked, unit_response
from prediction.models import line_rows

PATIENTS = [f"p{number}" for number in range(16)]


def by_patient(table: pd.DataFrame) -> np.ndarray:
    """Probabilities of the fit's patients, in their order."""
    return table[~table["is_new"]].set_index("patient")["probability"].to_numpy()


def test_parameters_of_patients(line_fit):
    table = probability(line_fit, "slope > 1 m/h")
    assert list(table["patient"]) == [*PATIENTS, "new patient"]
    assert list(table["is_new"]) == [False] * 16 + [True]
    assert list(table.columns[:6]) == ["patient", "is_new", "statement", "probability", "lower", "upper"]
    assert by_patient(table) == pytest.approx((stacked(line_fit, "slope") > 1).mean(axis=0), abs=1e-12)
    assert (table["lower"] <= table["probability"]).all() and (table["probability"] <= table["upper"]).all()


def test_outcomes_at_a_time_in_other_units(line_fit):
    table = probability(line_fit, ["y > 10 at 4", "y > 1000 cm at 240 min", "y > 0.01 km at 4 h"])
    value = stacked(line_fit, "intercept") + 4 * stacked(line_fit, "slope")
    for _, own in table.groupby("statement"):
        assert by_patient(own) == pytest.approx((value > 10).mean(axis=0), abs=1e-12)


def test_a_measurement_is_less_certain_than_the_truth(line_fit):
    table = probability(line_fit, ["y > 25 at 10", "measured y > 25 at 10"])
    true, measured = (by_patient(own) for _, own in table.groupby("statement", sort=False))
    value = stacked(line_fit, "intercept") + 10 * stacked(line_fit, "slope")
    noise = (
        np.random.default_rng(1).standard_normal((40, *value.shape)) * stacked(line_fit, "sigma_y")[:, None]
    )
    assert true == pytest.approx((value > 25).mean(axis=0), abs=1e-12)
    assert measured == pytest.approx((value + noise > 25).mean(axis=(0, 1)), abs=0.08)
    assert np.abs(measured - 0.5).mean() < np.abs(true - 0.5).mean()


def test_a_new_patient_of_the_population(line_fit):
    """Against a simulation of the population: known sites, the cohort's ages, effects drawn together."""
    table = probability(line_fit, ["slope > 1", "y > 10 at 4"])
    facts = line_rows().groupby("id", sort=False)[["age", "site"]].first().loc[PATIENTS]
    rng = np.random.default_rng(2)
    omega, correlation = stacked(line_fit, "omega"), stacked(line_fit, "omega_correlation")[:, 0, 1]
    first, second = rng.standard_normal((2, 50, len(omega), 16))
    second = correlation[:, None] * first + np.sqrt(1 - correlation**2)[:, None] * second
    site = stacked(line_fit, "eta_site")[:, [int(word[1]) for word in facts["site"]], 0]
    slope = stacked(line_fit, "slope_typical")[:, None] + site + second * omega[:, 1:]
    slope = slope + stacked(line_fit, "beta_slope") * (facts["age"] - facts["age"].mean()).to_numpy()
    y = stacked(line_fit, "intercept_typical")[:, None] + first * omega[:, :1] + 4 * slope
    expected = [(slope > 1).mean(), (y > 10).mean()]
    new = table[table["is_new"]]
    assert new["probability"].to_numpy() == pytest.approx(expected, abs=0.02)
    assert (new["ess"] > 100).all()


def test_newcomers_are_given_what_the_cohort_was_given():
    """Doses of another patient, known facts, and the same answer from the population as by hand."""
    fit = bolus_fit()
    table = probability(fit, ["active > 0.6 at 8", "k_act < 0.08"])
    rng = np.random.default_rng(3)
    omega = stacked(fit, "omega")
    effect = rng.standard_normal((2, 40, len(omega), 6)) * omega.T[:, None, :, None]
    slow = np.arange(6) % 2
    volume = stacked(fit, "V_typical")[:, None] * np.exp(effect[0])
    k_act = stacked(fit, "k_act_typical")[:, None] * np.exp(effect[1] + stacked(fit, "beta_k_act") * slow)
    k_el = stacked(fit, "k_el_typical")[:, None]
    level = 100 * unit_response(8.0, volume, k_el, k_act, 0.15)
    late = np.maximum(2 - np.arange(6) / 4, 0)
    level = level + 50 * unit_response(late, volume, k_el, k_act, 0.15)
    new = table[table["is_new"]].set_index("statement")["probability"]
    assert new["active > 0.6 at 8"] == pytest.approx((level > 0.6).mean(), abs=0.03)
    assert new["k_act < 0.08"] == pytest.approx((k_act < 0.08).mean(), abs=0.03)


def test_doses_under_a_scenario():
    fit = bolus_fit()
    plain = probability(fit, "active > 0.6 at 8")
    more = probability(fit, "active > 0.6 at 8", scenario={"amount": 400.0}, patients=["b1", "b4"])
    assert list(more["patient"]) == ["b1", "b4", "new patient"]
    both = plain.set_index("patient").loc[list(more["patient"]), "probability"].to_numpy()
    assert (more["probability"].to_numpy() >= both).all()
    assert more["probability"].iloc[-1] > both[-1] + 0.1


def test_a_place_on_the_coordinate():
    fit = kill_fit()
    table = probability(fit, ["viability < 0.5 at 5", "viability < 50 % at 5000 nM", "dose_90 > 20"])
    halves = by_patient(table[table["statement"] == "viability < 0.5 at 5"])
    assert halves == pytest.approx((stacked(fit, "K_apo") < 5).mean(axis=0), abs=1e-9)
    assert by_patient(table[table["statement"] == "viability < 50 % at 5000 nM"]) == pytest.approx(halves)
    nine = by_patient(table[table["statement"] == "dose_90 > 20"])
    assert nine == pytest.approx((stacked(fit, "dose_90") > 20).mean(axis=0), abs=1e-9)


def test_inputs_and_two_outcomes(glucose_fit, losartan_fit):
    table = probability(glucose_fit, ["S_I < 3e-4", "glucose < 100 mg/dL at 100 min"], draws=100)
    assert len(table) == 4 and table["probability"].between(0, 1).all()
    levels = probability(losartan_fit, ["losartan > 100 at 2", "e3174 > 100 at 2"], draws=100)
    assert len(levels) == 12 and levels["probability"].between(0, 1).all()
    # Each outcome is its own: at 2 hours of these arms there is more of one than of the other.
    found = ht.predict(losartan_fit, times=[2.0], draws=100)
    for outcome, statement in (("losartan", "losartan > 100 at 2"), ("e3174", "e3174 > 100 at 2")):
        own = (found.select(outcome).individual > 100).mean(axis=0)
        assert by_patient(levels[levels["statement"] == statement]) == pytest.approx(own)


def test_the_population_itself():
    fit = kill_fit()
    table = probability(fit, ["tp53_ratio > 1", "K_apo_typical < 0.002 mM"])
    assert list(table["patient"]) == ["population", "population"] and not table["is_new"].any()
    ratio, typical = stacked(fit, "tp53_ratio"), stacked(fit, "K_apo_typical")
    assert list(table["probability"]) == pytest.approx([(ratio > 1).mean(), (typical < 2).mean()])


REFUSED = {
    "slop > 1": ("one of intercept, slope, y", "did you mean 'slope'?"),
    "measured slope > 1": ("'measured slope'", "an outcome (y)"),
    "y > 1": ("no time", "try 'y > 1 at 10 h'"),
    "slope > 1 at 4": ("'at' after 'slope'", "for an outcome only"),
    "y > 1 kg at 4": ("'kg'", "converts to 'm'"),
    "y > 1 mm3 at 4": ("'mm3'", "did you mean 'mm^3'?"),
    "y > 1 at 4 m": ("'m'", "converts to 'h'"),
    "y ~ 1": ("no comparison", "NAME < NUMBER"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_a_statement_may_not_say(line_fit, text):
    with pytest.raises(ht.SamplingError) as caught:
        probability(line_fit, text)
    assert all(word in str(caught.value) for word in (text, *REFUSED[text]))


def test_every_problem_at_once(line_fit):
    with pytest.raises(ht.SamplingError) as caught:
        probability(line_fit, ["slop > 1", "slope > 1", "y > 1"])
    assert len(caught.value.problems) == 2
    with pytest.raises(ht.SamplingError, match="at least one"):
        probability(line_fit, [])
    with pytest.raises(ht.DataError, match="did you mean 'p1'"):
        probability(line_fit, "slope > 1", patients=["p01"])


def test_a_scenario_does_not_move_a_statement():
    with pytest.raises(ht.DataError, match="a statement says where with 'at'"):
        probability(kill_fit(), "viability < 0.5 at 5", scenario={"conc_uM": 10})


def test_labels_of_newcomers_are_nobodys(line_fit):
    model = model_of(line_fit)
    question = ask(model, ["p1", "p2"], [1.0, 2.0, 1.0])
    asked = question.frame[~np.isnan(question.place)]
    assert list(asked["id"].unique()) == ["p1", "p2", "new patient 1", "new patient 2"]
    assert sorted(asked["t"].unique()) == [1.0, 2.0] and len(asked) == 8


def test_the_seed_decides(line_fit):
    one, same, other = (probability(line_fit, "slope > 1", seed=seed) for seed in (1, 1, 2))
    assert one.equals(same) and not one.equals(other)
    assert by_patient(one) == pytest.approx(by_patient(other)), "the fit's own patients are what they are"


@pytest.mark.parametrize("name", ["infusion", "bolus", "glucose", "sites", "traits"])
def test_a_newcomer_stands_where_the_one_they_are_like_stands(name):
    """Doses, inputs, known facts and sites are theirs: without effects both are predicted alike."""
    spec, learned = DECLARED[name].spec, DECLARED[name].cohort
    places = sorted(set(learned.rows[coordinate_of(spec) or "time"]))[1:]
    question = ask(ht.build(spec, learned), learned.patients, places)
    cohort, _ = read_asked(open_table(question.frame), spec, learned)
    is_new = ~np.isin(cohort.patients, learned.patients)
    assert is_new.sum() == len(learned.patients) == (~is_new).sum()
    model = ht.build(without_limits(spec), cohort, parameterization="noncentered")
    values = score(model, central_point(model)).values
    asked = SimpleNamespace(rows=cohort.rows, patients=pd.DataFrame({"patient": cohort.patients}))
    for node in model.graph.observes:
        for place in places:
            rows = cohort.rows.iloc[question.at(asked, node.name, place)]
            found = np.asarray(values[node.predicted])[rows["patient_index"], rows["position"]]
            assert np.isfinite(found).all()
            np.testing.assert_allclose(found[is_new], found[~is_new], rtol=1e-9)
