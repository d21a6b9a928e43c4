"""The dose that reaches a target, where the answer is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

import hierarchical_twin as ht
from hierarchical_twin.prediction.predict import predict
from hierarchical_twin.prediction.target import _column, dose_for
from prediction.dosed import BOLUS, bolus_fit, kill_fit, placebo_fit, stacked


def quantile_draw(thresholds: np.ndarray, target: float) -> np.ndarray:
    """The least value that is at or above a share of the draws."""
    ordered = np.sort(thresholds, axis=0)
    return ordered[int(np.ceil(target * len(ordered))) - 1]


def test_the_concentration_of_a_kill():
    """P(death) = 0.9 at the derived `dose_90`: its 90 % quantile is the concentration looked for."""
    fit = kill_fit()
    table = dose_for(fit, "viability <= 0.1", by="conc_uM", between=(0.1, 10_000), draws=None)
    own = table[~table["is_new"]]
    assert own["value"].to_numpy() == pytest.approx(quantile_draw(stacked(fit, "dose_90"), 0.9), rel=3e-3)
    assert (own["lower"] < own["value"]).all() and (own["value"] < own["upper"]).all()
    assert own["probability"].between(0.9, 0.93).all() and (table["note"] == "").all()
    assert set(table["unit"]) == {"uM"} and set(table["by"]) == {"conc_uM"}
    new = table[table["is_new"]]
    assert list(new["patient"]) == ["new patient"]
    assert own["value"].min() < new["value"].iloc[0] < own["value"].max()
    assert new["value"].iloc[0] > own["value"].median(), "less is known of somebody not seen"


def test_a_new_patient_against_a_simulation():
    fit = kill_fit()
    new = dose_for(
        fit, "viability <= 0.5", by="dose", between=(0.01, 1000), probability=0.8, draws=None
    ).iloc[-1]
    facts = fit.tree["constant_data"]["covariate_tp53"].values.astype(float)
    effect = np.random.default_rng(4).standard_normal((100, 400, len(facts))) * stacked(fit, "omega")
    half = stacked(fit, "K_apo_typical")[:, None] * np.exp(stacked(fit, "beta_K_apo") * facts + effect)
    assert np.log(new["value"]) == pytest.approx(np.log(np.quantile(half, 0.8)), abs=0.15)
    assert new["lower"] < np.quantile(half, 0.8) < new["upper"] * 1.1


def test_an_amount_of_every_dose():
    """The level is proportional to the amount, so the answer follows from one prediction."""
    fit = bolus_fit()
    table = dose_for(fit, "active > 1 at 8", by="amount", between=(1, 5000), probability=0.9)
    unit = predict(fit, times=[8.0], scenario={"amount": 1000.0}).individual / 1000
    own = table[~table["is_new"]]
    assert own["value"].to_numpy() == pytest.approx(quantile_draw(1 / unit, 0.9), rel=3e-3)
    assert set(table["unit"]) == {"mg"} and list(own["patient"]) == [f"b{n}" for n in range(6)]
    from_zero = dose_for(fit, "active > 1 at 8", by="amount", between=(0, 5000), patients=["b2"])
    assert from_zero["value"].iloc[0] == pytest.approx(own["value"].iloc[2], rel=6e-3)


def test_a_measurement_needs_more_than_the_truth():
    fit = bolus_fit()
    words = {"by": "amount", "between": (1, 5000), "patients": ["b0", "b1"]}
    true, measured = (dose_for(fit, f"{word}active > 0.2 at 8", **words) for word in ("", "measured "))
    assert (measured["value"].to_numpy()[:2] > true["value"].to_numpy()[:2]).all()


def test_an_input_held_at_a_value(glucose_fit):
    table = dose_for(glucose_fit, "glucose < 90 at 100", by="insulin", between=(1, 500), draws=100)
    assert len(table) == 2 and table["value"].notna().all()
    at = predict(
        glucose_fit, times=[100.0], scenario={"insulin_uU_per_mL": table["value"].iloc[0]}, draws=100
    )
    assert (at.individual < 90).mean() == pytest.approx(table["probability"].iloc[0])


def test_out_of_reach_and_reached_at_once():
    fit = kill_fit()
    far = dose_for(fit, "viability <= 0.1", by="conc_uM", between=(0.001, 0.01), draws=100)
    assert far["value"].isna().all() and far["lower"].isna().all()
    assert far["note"].str.startswith("not reached in [0.001, 0.01]: at most ").all()
    near = dose_for(fit, "viability <= 0.9", by="conc_uM", between=(500, 1000), draws=100)
    assert (near["value"] == 500).all() and (near["note"] == "reached at 500 already").all()


def test_who_is_given_no_dose():
    """No amount changes them, and no newcomer is like them."""
    fit = placebo_fit()
    table = dose_for(fit, "active > 1 at 8", by="amount", between=(1, 5000), draws=100)
    is_undosed = table["patient"].isin(["b1", "b4"])
    assert (table["note"] == "is given no dose").equals(is_undosed)
    assert table.loc[is_undosed, ["value", "lower", "upper"]].isna().all(axis=None)
    assert (table.loc[is_undosed, "probability"] == 0).all()
    assert table.loc[~is_undosed, "value"].notna().all() and table["is_new"].iloc[-1]
    never = dose_for(fit, "active < 1 at 8", by="amount", between=(1, 5000), draws=100, patients=["b0", "b1"])
    assert never["note"].iloc[1] == "is given no dose" and np.isnan(never["value"].iloc[1])
    with pytest.raises(ht.DataError, match="no dose for b1, b4"):
        dose_for(fit, "active > 1 at 8", by="amount", between=(1, 5000), patients=["b1", "b4"])


def test_a_column_that_is_a_covariate_too():
    """Parameters are drawn once: a dose that they depend on cannot be turned."""
    spec = ht.parse_spec(BOLUS.replace("1 + slow", "1 + amount"))
    with pytest.raises(ht.DataError, match=r"a column that covariates\.amount reads too"):
        _column(spec, "amount")


def test_more_is_not_always_better():
    """Below 1 at 8 hours holds for small amounts only: the statement is true, then false."""
    fit = bolus_fit()
    table = dose_for(fit, "active < 1 at 8", by="amount", between=(1, 5000), draws=100)
    assert (table["value"] == 1).all()
    assert (table["note"] == "reached at 1 already; the probability rises and falls between the ends").all()


REFUSED = [
    ({"by": "conc"}, "did you mean 'conc_uM'?"),
    ({"by": "tp53"}, "a column of doses or of an input: conc_uM"),
    ({"between": (40, 1)}, "the lower first"),
    ({"between": (-1, 1)}, "the lower first"),
    ({"between": 3}, "the lower first"),
    ({"probability": 90}, "between 0 and 1"),
    ({"statement": "K_apo < 3"}, "which no dose changes"),
    ({"statement": "viability < 0.1 at 5"}, "no 'at'"),
    ({"statement": "viabilty < 0.1"}, "did you mean 'viability'?"),
    ({"patients": ["nobody"]}, "'nobody'"),
]


@pytest.mark.parametrize(("words", "told"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(words, told):
    asked = {"statement": "viability <= 0.1", "by": "conc_uM", "between": (0.1, 1000)} | words
    with pytest.raises(ht.TwinError) as caught:
        dose_for(kill_fit(), asked.pop("statement"), **asked)
    assert told in str(caught.value)


def test_an_amount_that_is_no_column(line_fit):
    with pytest.raises(ht.DataError, match="this spec has none"):
        dose_for(line_fit, "y > 1 at 3", by="amount", between=(1, 2))
