"""Units: factors to the mechanism's working units, and what cannot be converted."""

from __future__ import annotations

import pytest

from hierarchical_twin.errors import SpecError
from hierarchical_twin.spec import Spec, read_spec, working_units
from hierarchical_twin.spec.shipped import shipped_specs
from hierarchical_twin.spec.units import output_units


def growth(size: str, rate: str, time: str, observed: str) -> Spec:
    return Spec.model_validate(
        {
            "name": "growth",
            "title": "Growth",
            "mechanism": "exponential_growth",
            "time": {"column": "t", "unit": time},
            "patient": {"column": "id"},
            "parameters": {
                "V_0": {"unit": size, "typical": "LogNormal(1, 1)"},
                "r": {"unit": rate, "typical": "Normal(0, 1)"},
            },
            "observations": {
                "volume": {
                    "column": "v",
                    "unit": observed,
                    "predicts": "V",
                    "error": "normal",
                    "sigma": "HalfNormal(1)",
                }
            },
            "derived": {
                "doubling": {"quantity": "doubling_time"},
                "start": {"quantity": "V_0", "at": {}},
                "ratio": {"quantity": "r", "at": {}, "relative_to": {}},
            },
        }
    )


def test_growth_in_mixed_units() -> None:
    units = working_units(growth("mL", "1/week", "day", "mm^3"))
    assert units.parameter["V_0"] == pytest.approx(1000)  # mL in mm^3, the outcome's unit
    assert units.parameter["r"] == pytest.approx(1 / 7)
    assert units.outcome == {"volume": pytest.approx(1)}
    assert units.time == "day"
    assert units.derived == {"doubling": "day", "start": "mL", "ratio": "1"}


def glucose(predicts: str, unit: str) -> Spec:
    def fixed(unit: str) -> dict[str, object]:
        return {"unit": unit, "value": 1}

    return Spec.model_validate(
        {
            "name": "g",
            "title": "g",
            "mechanism": "glucose_minimal_model",
            "time": {"column": "t", "unit": "min"},
            "patient": {"column": "id"},
            "parameters": {
                "G_0": fixed("mg/dL"),
                "S_G": fixed("1/h"),
                "S_I": fixed("mL/uU/min"),
                "p_2": fixed("1/min"),
                "G_b": fixed("g/L"),
                "I_b": fixed("mU/L"),
            },
            "inputs": {"insulin": {"column": "i", "unit": "uU/mL"}},
            "observations": {
                "y": {
                    "column": "y",
                    "unit": unit,
                    "predicts": predicts,
                    "error": "normal",
                    "sigma": "HalfNormal(1)",
                }
            },
        }
    )


def test_glucose_in_clinical_units() -> None:
    units = working_units(glucose("G", "mg/dL"))
    assert units.parameter["S_G"] == pytest.approx(1 / 60)
    assert units.parameter["S_I"] == pytest.approx(1)
    assert units.parameter["G_b"] == pytest.approx(100)  # 1 g/L = 100 mg/dL
    assert units.parameter["I_b"] == pytest.approx(1)  # 1 mU/L = 1 uU/mL


def test_unobserved_output_takes_its_unit_from_a_parameter_in_that_base() -> None:
    units = working_units(glucose("X", "1/h"))
    assert units.outcome["y"] == pytest.approx(60)  # 1/min in 1/h
    assert units.parameter["G_b"] == pytest.approx(100)  # G_0's mg/dL stands in for the output G


def losartan(observed: str) -> Spec:
    parameters = {name: {"unit": "1/h", "typical": "LogNormal(1, 1)"} for name in ("k_el", "k_act", "k_out")}
    return Spec.model_validate(
        {
            "name": "p",
            "title": "p",
            "mechanism": "prodrug_activation",
            "time": {"column": "t", "unit": "h"},
            "patient": {"column": "id"},
            "parameters": {"V": {"unit": "L", "typical": "LogNormal(1, 1)"}, **parameters},
            "doses": {"amount": "dose", "unit": "umol", "time": 0},
            "observations": {
                "c": {
                    "column": "c",
                    "unit": observed,
                    "predicts": "active",
                    "error": "normal",
                    "sigma": "HalfNormal(1)",
                }
            },
            "derived": {"steady": {"quantity": "steady_state_active"}},
        }
    )


def test_concentration_follows_from_dose_and_volume() -> None:
    units = working_units(losartan("nM"))
    assert units.outcome["c"] == pytest.approx(1000)  # umol/L in nM
    assert units.derived["steady"] == "umol/L"
    assert units.dose == 1.0


def test_percent_of_cells() -> None:
    spec = Spec.model_validate(
        {
            "name": "a",
            "title": "a",
            "mechanism": "apoptosis_threshold",
            "patient": {"column": "id"},
            "parameters": {"K_apo": {"unit": "nM", "value": 1}, "n": {"value": 1}},
            "inputs": {"dose": {"column": "d", "unit": "uM"}},
            "observations": {
                "v": {
                    "column": "v",
                    "unit": "%",
                    "predicts": "survival",
                    "error": "normal",
                    "sigma": "HalfNormal(1)",
                },
                "k": {"column": "k", "predicts": "survival", "error": "binomial", "trials": 10},
            },
        }
    )
    units = working_units(spec)
    assert units.outcome == {"v": pytest.approx(100), "k": 1.0}
    assert units.parameter["K_apo"] == pytest.approx(1e-3)
    assert units.time == "1"


@pytest.mark.parametrize(
    ("spec", "where", "words"),
    [
        (growth("kg", "1/day", "day", "mL"), "parameters.V_0.unit", "converts to 'mL' (size)"),
        (growth("mL", "day", "day", "mL"), "parameters.r.unit", "(1/time)"),
        (growth("mL", "1/day", "mL", "mL"), "time.unit", "a unit of time"),
        (growth("mL", "1/day", "day", "9**9**9"), "observations.volume.unit", "a unit such as"),
        (growth("mL", "1/day", "day", "__import__('os')"), "observations.volume.unit", "a unit such as"),
        (losartan("mg/L"), "observations.c.unit", "mass and amount"),
    ],
)
def test_what_cannot_be_converted(spec: Spec, where: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        working_units(spec)
    assert any(problem.where == where and words in str(problem) for problem in caught.value.problems)


def test_an_offset_is_not_a_factor() -> None:
    spec = growth("degC", "1/day", "day", "kelvin")
    with pytest.raises(SpecError, match="converts to 'kelvin'"):
        working_units(spec)


def test_units_of_what_a_mechanism_solves_for() -> None:
    """In the unit the first outcome declares of a base, or a parameter or dose; measured or not."""
    found = {name: output_units(read_spec(path)) for name, path in shipped_specs().items()}
    assert found["glucose_minimal_model"] == {"G": "mg/dL", "X": "1/min"}
    assert found["prodrug_activation"] == {"prodrug": "umol/L", "active": "umol/L"}
    assert found["tumor_growth"] == {"V": "cm^3"}
    assert found["apoptosis_threshold"] == {"survival": "1", "death": "1"}
