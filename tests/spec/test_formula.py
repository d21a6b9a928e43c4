"""Formulas taken apart, and what is refused before anything could be evaluated."""

from __future__ import annotations

import pytest

from hierarchical_twin.spec.formula import FormulaError, GroupTerm, read_formula
from hierarchical_twin.spec.population import effects_of, link_of, without_levels
from hierarchical_twin.spec.schema import Spec

TWO_GROUPS = Spec.model_validate(
    {
        "name": "two_groups",
        "title": "Patients within sites",
        "mechanism": "exponential_growth",
        "time": {"column": "day", "unit": "day"},
        "patient": {"column": "id"},
        "parameters": {
            "V_0": {"unit": "mL", "typical": "LogNormal(1, 1)", "formula": "1 + (1 | patient)"},
            "r": {
                "unit": "1/week",
                "typical": "Normal(0, 1)",
                "formula": "1 + (1 | patient) + (1 + age | site)",
            },
        },
        "random_effects": {"patient": {"sd": "HalfNormal(1)"}, "site": {"sd": "HalfNormal(1)"}},
        "observations": {
            "volume": {
                "column": "v",
                "unit": "mm^3",
                "predicts": "V",
                "error": "lognormal",
                "sigma": "HalfNormal(1)",
            }
        },
    }
)

PARTS = {
    "1": ("1", (), ()),
    "age": ("1 + age", ("age",), ()),
    "1 + center(age) + (1 | patient)": ("1 + center(age)", ("age",), (("1", "patient"),)),
    "1 + (1 + age | site)": ("1", ("age",), (("1", "site"), ("age", "site"))),
    "1 + (0 + age | site)": ("1", ("age",), (("age", "site"),)),
    "a * C(sex)": ("1 + a + C(sex) + a:C(sex)", ("a", "sex"), ()),
    "1 + log(dose) + I(x**2)": ("1 + log(dose) + I(x ** 2)", ("dose", "x"), ()),
    "1 + bs(age, df=4)": ("1 + bs(age, df=4)", ("age",), ()),
    "(1 | patient)": ("1", (), (("1", "patient"),)),
}


@pytest.mark.parametrize("text", PARTS)
def test_parts(text: str) -> None:
    common, variables, groups = PARTS[text]
    formula = read_formula(text)
    assert (formula.common, formula.variables) == (common, variables)
    assert formula.groups == tuple(GroupTerm(*group) for group in groups)
    assert formula.intercept


REFUSED = {
    "": "write '1'",
    "1 +": "a formula such as",
    "y ~ x": "right-hand side",
    "0 + x": "an intercept",
    "x - 1": "an intercept",
    "open(x)": "one of the functions",
    "log(x)(y)": "a formula such as",
    "log(exec(x))": "one of the functions",
    "I(x.real)": "'.' has no meaning",
    "x.real": "'.' has no meaning",
    "1 + 'a'": "has no meaning",
    "`a b`": "has no meaning",
    "{x + 1}": "has no meaning",
    "x[0]": "has no meaning",
    "2 * x": "only inside a function",
    "log(2)": "a covariate inside",
    "__x": "a formula such as",
    "log(_x)": "a formula such as",
    "1 + (1 | a:b)": "a column of its own",
    "1 + (1 | C(a))": "a column of its own",
    "1 + (1 || patient)": "a formula such as",
    "a*b*c*d*e*f*g*h*i": "at most",
    "(a + b)**9": "powers up to 3",
    "(" * 250 + "x": "a formula",
    "x" * 400: "at most 300 characters",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(FormulaError, match=r"expected ") as caught:
        read_formula(text)
    assert REFUSED[text] in str(caught.value)


def test_effects_follow_the_order_of_parameters_and_have_labels() -> None:
    effects = effects_of(TWO_GROUPS)
    assert [effect.label for effect in effects["patient"]] == ["V_0", "r"]
    assert [effect.label for effect in effects["site"]] == ["r", "r:age"]
    assert link_of(TWO_GROUPS, "V_0") == "log"
    assert link_of(TWO_GROUPS, "r") == "identity"


def test_levels_are_taken_off_a_design_column() -> None:
    assert without_levels("sex[M]:site[a[1]]:age") == "sex:site:age"
