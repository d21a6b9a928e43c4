"""Keys of a spec that name a level: checked once the table has told the levels."""

from __future__ import annotations

import pytest
from cohort_specs import GROWTH, MICE, alter

ON_GRADE = "1 + grade + age + (1 | patient)"
PRIOR, SD = "Normal(0, 1)", "HalfNormal(1)"


def spec_with(coefficients, *, link="log", formula=ON_GRADE):
    typical = "LogNormal(1, 1)"
    return alter(
        GROWTH,
        parameters__r={"formula": formula, "coefficients": coefficients, "link": link, "typical": typical},
    )


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("grade[lwo]", "did you mean 'grade[low]'?"),
        ("grade[high]", "'high' is the reference level"),
        ("age[1]", "did you mean 'age'?"),
    ],
)
def test_a_coefficient_of_no_column_is_refused(refuse, key, hint) -> None:
    message = str(refuse(MICE, spec_with({key: PRIOR})))
    assert message.startswith(
        f"parameters.r.coefficients: got '{key}'; expected one of grade, age, grade[low]"
    )
    assert message.endswith(hint)


@pytest.mark.parametrize("key", ["grade", "grade[low]", "age"])
@pytest.mark.parametrize("link", ["log", "identity"])
def test_terms_and_columns_are_accepted(read, key, link) -> None:
    assert read(MICE, spec_with({"grade": PRIOR, "age": PRIOR, key: PRIOR}, link=link))


def test_a_level_without_a_prior_is_refused_under_identity_only(read, refuse) -> None:
    text = MICE + "d,0,1.0,12,mid,south\n"
    given = {"grade[low]": PRIOR, "age": PRIOR}
    assert read(text, spec_with(given))
    message = str(refuse(text, spec_with(given, link="identity")))
    assert "parameters.r.coefficients: got no prior for grade[mid]" in message


def site(**words):
    effects = "1 + (1 | patient) + (1 + grade | site)"
    return alter(GROWTH, parameters__r={"formula": effects}, random_effects__site={"sd": SD, **words})


def test_effects_of_no_column_are_refused_together(refuse) -> None:
    each = {"r": SD, "r:grade": SD, "r:grade[lwo]": SD}
    choices = {"r:grade[high]": "centered"}
    problems = refuse(MICE, site(sd=each, parameterization=choices)).problems
    assert [(problem.where, problem.got) for problem in problems] == [
        ("random_effects.site.sd", "'r:grade[lwo]'"),
        ("random_effects.site.parameterization", "'r:grade[high]'"),
    ]
    assert problems[0].hint == "did you mean 'r:grade[low]'?"


def test_effects_by_term_and_by_column_are_accepted(read) -> None:
    each = {"r": SD, "r:grade[low]": SD}
    assert read(MICE, site(sd=each, parameterization={"r:grade": "centered"}))
