"""Patients alone and patients together: much data keeps its own estimate, little data is pulled."""

from __future__ import annotations

import numpy as np
import pytest

import hierarchical_twin as ht


def least_squares(fit: ht.Fit, outcome: str) -> dict[str, tuple[float, float]]:
    """Intercept and slope of each patient's own line."""
    data = fit.tree["observed_data"].to_dataset()
    who, when = data[f"patient_{outcome}"].values, data[f"time_{outcome}"].values
    found = {}
    for patient in dict.fromkeys(who.tolist()):
        own = who == patient
        slope, intercept = np.polyfit(when[own], data[outcome].values[own], 1)
        found[patient] = (intercept, slope)
    return found


@pytest.mark.parametrize(("which", "outcome"), [("sleep_fit", "reaction"), ("unequal_fit", "y")])
def test_no_pooling_is_nearly_least_squares(which, outcome, request):
    fit = request.getfixturevalue(which)
    alone, posterior = fit.tree["no_pooling"].to_dataset(), fit.tree["posterior"].to_dataset()
    for patient, (intercept, slope) in least_squares(fit, outcome).items():
        if patient == "two":  # ten times the population is still some pull for two noisy points
            continue
        spread = {name: float(posterior["omega"].sel(effect=name).mean()) for name in ("intercept", "slope")}
        own = alone.sel(patient=patient)
        assert float(own["intercept"]) == pytest.approx(intercept, abs=0.1 * spread["intercept"])
        assert float(own["slope"]) == pytest.approx(slope, abs=0.1 * spread["slope"])


def test_many_measurements_keep_their_estimate_and_few_are_pulled(unequal_fit):
    posterior = unequal_fit.tree["posterior"].to_dataset()
    own = least_squares(unequal_fit, "y")
    typical = float(posterior["slope_typical"].mean())

    def moved(patient: str) -> float:
        shrunken = float(posterior["slope"].sel(patient=patient).mean())
        return (own[patient][1] - shrunken) / (own[patient][1] - typical)

    assert abs(moved("many")) < 0.1
    assert 0.4 < moved("two") < 1.1
    sd = posterior["slope"].std(("chain", "draw"))
    assert float(sd.sel(patient="two")) > 2 * float(sd.sel(patient="many"))


def test_shrinkage_of_each_patient_says_the_same(unequal_fit):
    table = unequal_fit.patient_shrinkage()
    slope = table[table["effect"] == "slope"].set_index("patient")["shrinkage"]
    assert slope["many"] < 0.15 < 0.2 < slope["two"]
    assert slope["many"] == slope.min() and slope["two"] == slope.max()


def test_shrinkage_falls_with_the_data(unequal_fit):
    """Both definitions, below 1 at their medians, variance form above the SD form."""
    table = unequal_fit.shrinkage().set_index(["effect", "definition"])["median"]
    for effect in ("intercept", "slope"):
        assert -0.2 < table[effect, "sd"] < table[effect, "variance"] < 1
    assert table["slope", "variance"] < table["intercept", "variance"]
