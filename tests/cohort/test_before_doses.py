"""Before a dose has acted the prediction is 0: what a relative error can and cannot explain there."""

from __future__ import annotations

import numpy as np
import pytest
from cohort_specs import PRODRUG, alter

from hierarchical_twin.mechanisms.table import MECHANISMS

ORAL = {
    "mechanism": {"name": "prodrug_activation", "input": "oral"},
    "parameters__k_a": {"unit": "1/h", "value": 1},
}
INFUSED = {
    "mechanism": {"name": "prodrug_activation", "input": "infusion"},
    "doses": {**PRODRUG["doses"], "duration": "length"},
}
# Ahead of the dose; at its time in the row before and the row after; after it; and a patient without doses.
TEXT = """\
ID,TIME,DV,EVID,AMT,length,cens,se
1,-1,2,0,.,.,0,.
1,0,3,0,.,.,0,.
1,0,.,1,100,{length},0,.
1,0,4,0,.,.,0,.
1,1,5,0,.,.,0,.
2,1,6,0,.,.,0,.
"""


def used(read, *, length="0", text=TEXT, observation=None, **words) -> list[int]:
    observation = {"error": "lognormal", **(observation or {})}
    cohort = read(text.format(length=length), alter(PRODRUG, observations__drug=observation, **words))
    return cohort.rows["table_row"].tolist()


@pytest.mark.parametrize("error", ["lognormal", "proportional"])
def test_values_before_a_dose_are_counted_out(read, error) -> None:
    cohort = read(TEXT.format(length=0), alter(PRODRUG, observations__drug={"error": error}))
    assert cohort.rows["table_row"].tolist() == [4, 5]
    assert str(cohort.report.excluded[0]) == (
        f"3 before a dose has acted (prediction 0), under {error} error (rows 1, 2, 6)"
    )
    assert cohort.report.patients_excluded == (("2", "no observation that can be used"),)
    assert cohort.report.rows_read == cohort.report.rows_used + cohort.report.dose_rows + 3


def test_only_a_bolus_of_prodrug_is_there_at_its_moment(read) -> None:
    assert used(read, observation={"predicts": "active"}) == [5]
    assert used(read, **ORAL) == [5]
    assert used(read, **INFUSED, length="2") == [5]
    assert used(read, **INFUSED, length="0") == [4, 5]


def test_a_later_bolus_at_the_start_of_an_infusion_counts(read) -> None:
    text = TEXT.replace("1,0,4,", "1,0,.,1,50,0,0,.\n1,0,4,")
    assert used(read, text=text, **INFUSED, length="2") == [5, 6]


def test_one_dose_for_each_patient_acts_at_its_time(read) -> None:
    text = "ID,TIME,DV\n1,0,1\n1,2,3\n1,3,4\n"
    assert used(read, text=text, doses={"amount": 5, "unit": "mg", "time": 2}) == [2, 3]


def test_additive_errors_and_censored_values_stay(read) -> None:
    everything = [1, 2, 4, 5, 6]
    assert used(read, observation={"error": "normal"}) == everything
    combined = {"error": "combined", "sigma_proportional": "HalfNormal(1)"}
    assert used(read, observation=combined) == everything
    below = TEXT.replace("1,-1,2,0,.,.,0", "1,-1,2,0,.,.,1")
    assert used(read, text=below, observation={"censored": "cens"}) == [1, 4, 5]
    known = TEXT.replace("1,-1,2,0,.,.,0,.", "1,-1,2,0,.,.,0,0.3")
    relative = {"error": "proportional", "standard_error": {"column": "se"}}
    assert used(read, text=known, observation=relative) == [1, 4, 5]


@pytest.mark.parametrize("way", ["bolus", "infusion", "oral"])
@pytest.mark.parametrize("output", ["prodrug", "active"])
def test_the_table_says_what_the_mechanism_does_at_a_dose(way: str, output: str) -> None:
    mechanism = MECHANISMS["prodrug_activation"]
    rates = {"V": 1.0, "k_el": 1.0, "k_act": 1.0, "k_out": 1.0, **({"k_a": 1.0} if way == "oral" else {})}
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    predicted = mechanism.solve()(zero, zero, one, zero, **rates, input=way)[output]
    jumps = way in mechanism.outputs[output].jumps_under.get("input", ())
    assert (np.asarray(predicted) > 0).all() == jumps


def test_a_fixed_lag_delays_the_moment_a_dose_acts(read) -> None:
    text = TEXT.replace("1,1,5,0", "1,0.5,7,0,.,.,0,.\n1,1,5,0")
    now = used(read, text=text, **ORAL)
    late = used(read, text=text, **ORAL, parameters__t_lag={"unit": "min", "value": 45})
    assert set(now) - set(late) == {5}
