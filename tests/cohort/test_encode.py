"""Covariates and grouping levels: designs, remembered centring and levels, new patients."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cohort_specs import GROWTH, MICE, alter
from numpy.testing import assert_allclose, assert_array_equal

from hierarchical_twin.cohort import Effect, read_cohort
from hierarchical_twin.errors import DataError


def on_r(formula: str, **words):
    return alter(GROWTH, parameters__r={"formula": formula}, **words)


def test_terms_are_labelled_and_the_intercept_is_dropped(read) -> None:
    cohort = read(MICE, on_r("1 + center(age) * grade + (1 | patient)"))
    assert cohort.coords["term_r"] == ("center(age)", "grade[low]", "center(age):grade[low]")
    assert_allclose(cohort.arrays["design_r"], [[-10, 1, -10], [0, 0, 0], [10, 1, 10]])
    assert "design_V_0" not in cohort.arrays
    assert cohort.encodings["V_0"].terms == ()
    assert cohort.encodings["V_0"].design(pd.DataFrame({"x": [1, 2]})).shape == (2, 0)


def test_declared_levels_fix_order_and_reference(read) -> None:
    cohort = read(
        MICE, on_r("1 + grade + (1 | patient)", covariates={"grade": {"levels": ("low", "high", "none")}})
    )
    assert cohort.coords["term_r"] == ("grade[high]", "grade[none]")
    assert_array_equal(cohort.arrays["design_r"], [[0, 0], [1, 0], [0, 0]])
    assert cohort.encodings["r"].reference() == {"grade": "low"}
    assert_array_equal(cohort.encodings["r"].design(pd.DataFrame({"grade": ["none"]})), [[0, 1]])
    assert "no patient has grade 'none'; only its prior speaks of it" in cohort.report.notes


def test_new_rows_use_the_cohorts_centring_and_levels(read) -> None:
    encoding = read(MICE, on_r("1 + center(age) + grade + (1 | patient)")).encodings["r"]
    new = pd.DataFrame({"grade": ["low", "high"], "age": [25, 20], "extra": [0, 0]})
    assert_allclose(encoding.design(new), [[5, 1], [0, 0]])
    assert encoding.reference() == {"age": 20.0, "grade": "high"}
    assert_allclose(encoding.design(pd.DataFrame([encoding.reference()])), [[0, 0]])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"age": [1], "grade": ["hihg"]}, ("'hihg'", "'high', 'low'", "did you mean 'high'?")),
        ({"grade": ["low"]}, ("covariate 'age'", "no such column", "grade")),
        ({"age": [None], "grade": ["low"]}, ("covariate 'age' row 1", "missing")),
        ({"age": ["old"], "grade": ["low"]}, ("'old'", "a number")),
    ],
)
def test_new_rows_that_cannot_be_encoded(read, columns, words) -> None:
    encoding = read(MICE, on_r("1 + age + grade + (1 | patient)")).encodings["r"]
    with pytest.raises(DataError) as caught:
        encoding.design(pd.DataFrame(columns))
    assert all(word in str(caught.value) for word in words)


def test_an_unknown_level_of_a_number_made_categorical(read) -> None:
    encoding = read(MICE, on_r("1 + C(age) + (1 | patient)")).encodings["r"]
    assert encoding.terms == ("C(age)[20.0]", "C(age)[30.0]")
    with pytest.raises(DataError, match="not present in the original data"):
        encoding.design(pd.DataFrame({"age": [40]}))


@pytest.mark.parametrize(
    "formula",
    [
        "1 + log(age) + (1 | patient)",
        "1 + scale(age) + (1 | patient)",
        "1 + poly(age, 2) + (1 | patient)",
        "1 + I(age**2) + (1 | patient)",
        "1 + center(log(age)):grade + (1 | patient)",
    ],
)
def test_transforms_are_remembered(read, formula) -> None:
    cohort = read(MICE, on_r(formula))
    again = cohort.encodings["r"].design(cohort.covariates.iloc[[2, 0]])
    assert_allclose(again, cohort.arrays["design_r"][[2, 0]], atol=1e-12)


def test_an_uncentred_covariate_is_noted(read) -> None:
    note = "r_typical refers to age = 0; write center(age) to refer to the cohort mean"
    assert note in read(MICE, on_r("1 + age + (1 | patient)")).report.notes
    assert note not in read(MICE, on_r("1 + center(age) + (1 | patient)")).report.notes


def test_collinear_covariates_are_noted(read) -> None:
    notes = read(MICE, on_r("1 + center(age) + scale(age) + (1 | patient)")).report.notes
    assert any("collinear" in note for note in notes)


def test_a_covariate_that_does_not_vary_is_noted(read) -> None:
    text = "mouse,day,volume,age\na,0,1,30\nb,0,2,30\n"
    for formula in ("1 + center(age) + (1 | patient)", "1 + age + (1 | patient)"):
        notes = read(text, on_r(formula)).report.notes
        assert "age does not vary in this cohort: only its prior speaks of beta_r" in notes
        assert not any("collinear" in note for note in notes)


def test_a_grouping_level_of_one_is_noted(read) -> None:
    spec = on_r("1 + (1 | patient) + (1 | site)", random_effects__site={"sd": "HalfNormal(1)"})
    notes = read("mouse,day,volume,site\na,0,1,x\na,1,2,x\n", spec).report.notes
    assert {"one patient: omega is its prior", "one site: omega_site is its prior"} <= set(notes)


def test_values_recode_words_to_numbers_and_to_words(read) -> None:
    numbers = read(
        MICE,
        on_r(
            "1 + steps + (1 | patient)",
            covariates={"steps": {"column": "grade", "values": {"low": 0, "high": 2}}},
        ),
    )
    assert_array_equal(numbers.arrays["design_r"], [[0], [2], [0]])
    words = read(
        MICE,
        on_r(
            "1 + kind + (1 | patient)",
            covariates={"kind": {"column": "age", "values": {"10": "young", "20.0": "old", "30": "old"}}},
        ),
    )
    assert words.coords["term_r"] == ("kind[young]",)
    blank = read(
        "mouse,day,volume,mut\na,0,1,yes\nb,0,1,\n",
        on_r("1 + mut + (1 | patient)", covariates={"mut": {"values": {"yes": "yes", "": "unknown"}}}),
    )
    assert list(blank.covariates["mut"]) == ["yes", "unknown"]


def test_numbers_declared_with_levels_are_categorical(read) -> None:
    cohort = read(MICE, on_r("1 + age + (1 | patient)", covariates={"age": {"levels": ("20", "10", "30")}}))
    assert cohort.coords["term_r"] == ("age[10]", "age[30]")


def test_grouping_by_site(read) -> None:
    cohort = read(MICE, on_r("1 + (1 | patient) + (1 | site)", random_effects__site={"sd": "HalfNormal(1)"}))
    assert cohort.coords["site"] == ("north", "south")
    assert_array_equal(cohort.arrays["level_site"], [0, 1, 1])
    assert cohort.arrays["level_site"].dtype == np.int32
    assert cohort.coords["effect_site"] == ("r",) and cohort.effects["site"] == (Effect("r", "1"),)
    assert_array_equal(cohort.arrays["effect_design_site"], [[1], [1], [1]])
    assert cohort.coords["effect"] == ("V_0", "r")


def test_random_slopes(read) -> None:
    spec = on_r(
        "1 + center(age) + (1 | patient) + (1 + center(age) + grade | site)",
        random_effects__site={"sd": "HalfNormal(1)"},
    )
    cohort = read(MICE, spec)
    assert cohort.coords["effect_site"] == ("r", "r:center(age)", "r:grade[low]")
    assert cohort.effects["site"][1] == Effect("r", "center(age)")
    assert_allclose(cohort.arrays["effect_design_site"], [[1, -10, 1], [1, 0, 0], [1, 10, 1]])
    assert_allclose(
        cohort.effect_encodings["site"]["r"].design(pd.DataFrame({"age": [25], "grade": ["low"]})),
        [[1, 5, 1]],
    )
    bare = read(
        MICE, on_r("1 + (1 | patient) + (0 + age | site)", random_effects__site={"sd": "HalfNormal(1)"})
    )
    assert bare.coords["effect_site"] == ("r:age",)
    assert "design_r" not in bare.arrays


def test_a_site_that_is_a_number_and_a_covariate(read) -> None:
    text = "mouse,day,volume,site\na,0,1,2\nb,0,1,1\nc,0,1,2\n"
    cohort = read(
        text, on_r("1 + site + (1 | patient) + (1 | site)", random_effects__site={"sd": "HalfNormal(1)"})
    )
    assert cohort.coords["site"] == ("2", "1")
    assert_array_equal(cohort.arrays["level_site"], [0, 1, 0])


def test_missing_covariates_exclude_the_patient_by_name(read) -> None:
    text = "mouse,day,volume,age\na,0,1,10\nb,0,1,.\nb,1,2,NA\nc,0,1,\nc,1,1,30\n"
    cohort = read(text, on_r("1 + age + (1 | patient)"))
    assert cohort.patients == ("a", "c")
    assert cohort.report.patients_excluded == (("b", "missing age"),)
    assert_array_equal(cohort.arrays["design_r"], [[10], [30]])


def test_booleans_and_pandas_categories() -> None:
    frame = pd.DataFrame(
        {
            "mouse": ["a", "b", "c"],
            "day": [0, 0, 0],
            "volume": [1.0, 2.0, 3.0],
            "mut": [True, False, True],
            "grade": pd.Categorical(["lo", "hi", "lo"], categories=["lo", "mid", "hi"]),
        }
    )
    cohort = read_cohort(frame, on_r("1 + mut + grade + (1 | patient)"))
    assert cohort.coords["term_r"] == ("mut[True]", "grade[hi]")
    assert_array_equal(cohort.arrays["design_r"], [[1, 0], [0, 1], [1, 0]])
