"""What a spec may say of process noise, and what it is told otherwise."""

from __future__ import annotations

import pytest

import hierarchical_twin as ht
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.units import diffusion_units
from hierarchical_twin.spec.write import write_spec

SPEC = """\
spec: 1
name: tumor
title: Growth that wanders
mechanism: exponential_growth
time: {column: day, unit: day}
patient: {column: id}
parameters:
  V_0: {unit: cm^3, typical: "LogNormal(median=2, sd=1)"}
  r: {unit: 1/day, link: identity, typical: "Normal(0.02, 0.02)", formula: "1 + (1 | patient)"}
random_effects:
  patient: {sd: "HalfNormal(0.02)"}
process_noise: {V: "HalfNormal(0.2)"}
observations:
  volume: {column: volume, unit: mm^3, predicts: V, error: lognormal, sigma: "HalfNormal(0.3)"}
"""
GLUCOSE = """\
spec: 1
name: glucose
title: Insulin action that wanders
mechanism: glucose_minimal_model
time: {column: minute, unit: min}
patient: {column: id}
parameters:
  G_0: {unit: mg/dL, typical: "LogNormal(260, 0.3)"}
  S_G: {unit: 1/min, typical: "LogNormal(0.02, 0.5)", formula: "1 + (1 | patient)"}
  S_I: {unit: mL/uU/min, typical: "LogNormal(5e-4, 1)"}
  p_2: {unit: 1/min, typical: "LogNormal(0.03, 0.7)"}
  G_b: {unit: mg/dL, value: 90}
  I_b: {unit: uU/mL, value: 11}
random_effects:
  patient: {sd: "HalfNormal(0.5)"}
process_noise: {X: "HalfNormal(0.001)", G: "HalfNormal(2)"}
inputs:
  insulin: {column: insulin, unit: uU/mL}
observations:
  glucose: {column: glucose, unit: mg/dL, predicts: G, error: normal, sigma: "HalfNormal(10)"}
"""


def test_it_is_written_back_and_described() -> None:
    spec = ht.parse_spec(SPEC)
    assert ht.parse_spec(write_spec(spec)) == spec
    told = ht.describe(spec)
    assert "d log V_i = (mechanism) dt + diffusion_V dW_i [1/day^0.5]" in told
    assert "diffusion_V ~ HalfNormal(sd=0.2)" in told


def test_units_are_those_of_the_state_by_the_root_of_time() -> None:
    assert diffusion_units(ht.parse_spec(GLUCOSE)) == {"X": "1/min/min^0.5", "G": "mg/dL/min^0.5"}


def test_states_are_outputs() -> None:
    for mechanism in MECHANISMS.values():
        assert set(mechanism.states) <= set(mechanism.outputs)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{V: ", "{Vol: ", ":12 .*state 'Vol'.*one of V"),
        ('"HalfNormal(0.2)"}', '"Normal(0, 1)"}', ":12 .*positive"),
        ("process_noise: {", "process_nose: {", ":12 .*process_nose.*process_noise"),
        ("error: lognormal", "error: student_t", ":14 .*student_t.*one of normal, lognormal"),
    ],
)
def test_mistakes_are_told_with_their_line(old: str, new: str, told: str) -> None:
    with pytest.raises(ht.SpecError, match=told):
        ht.parse_spec(SPEC.replace(old, new))


def test_a_mechanism_without_states_says_which_have_them() -> None:
    text = SPEC.replace("exponential_growth", "apoptosis_threshold")
    with pytest.raises(
        ht.SpecError, match=r"no state that moves in time.*exponential_growth, logistic_growth"
    ):
        ht.parse_spec(text)


def test_what_may_fall_below_0_has_no_lognormal_error() -> None:
    with pytest.raises(ht.SpecError, match=r"lognormal.*G may wander below 0"):
        ht.parse_spec(GLUCOSE.replace("error: normal", "error: lognormal"))
