"""Priors: notation, defaults, support."""

from __future__ import annotations

import pytest

from hierarchical_twin.spec import Prior, PriorError, parse_prior
from hierarchical_twin.spec.vocabulary import PRIORS


def test_position_name_and_defaults_agree() -> None:
    assert parse_prior("LogNormal(3, 1)") == parse_prior(" LogNormal( sd = 1.0, median=3e0 ) ")
    assert parse_prior("StudentT(3)")["sd"] == 1.0
    assert str(parse_prior("StudentT(3)")) == "StudentT(df=3, mean=0, sd=1)"


@pytest.mark.parametrize("name", PRIORS)
def test_text_of_every_prior_reads_back(name: str) -> None:
    numbers = {"lower": 0.1, "upper": 0.7, "median": 1 / 3}
    prior = Prior(name, tuple((word, numbers.get(word, 0.1 + 0.2)) for word in PRIORS[name].arguments))
    assert parse_prior(str(prior)) == prior


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HalfNorml(1)", "did you mean 'HalfNormal'?"),
        ("HalfNormal", "did you mean 'HalfNormal'?"),
        ("HalfNormal()", "'sd' is missing"),
        ("HalfNormal(1, 2)", "takes 1 numbers"),
        ("HalfNormal(sd=1, sd=2)", "given twice"),
        ("HalfNormal(1, sd=2)", "given twice"),
        ("Normal(mean=0, 1)", "without a name before"),
        ("HalfNormal(0)", "greater than 0"),
        ("HalfNormal(inf)", "finite"),
        ("HalfNormal(1_0)", "finite"),
        ("HalfNormal(a)", "'a' is not one"),
        ("Uniform(2, 1)", "lower less than upper"),
        ("LogitNormal(2, 1)", "between 0 and 1"),
        ("Normal(0, 1).sample()", "a prior such as"),
        ("Normal(__import__(x))", "a prior such as"),
        ("(" * 5000, "a prior such as"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(PriorError) as caught:
        parse_prior(text)
    assert words in str(caught.value)


def test_a_prior_built_in_python_is_checked_too() -> None:
    with pytest.raises(PriorError, match="greater than 0"):
        parse_prior(Prior("HalfNormal", (("sd", -1.0),)))


def test_support() -> None:
    assert parse_prior("Beta(1, 1)").lies_within("positive")
    assert parse_prior("Uniform(0, 2)").lies_within("positive")
    assert not parse_prior("Uniform(0, 2)").lies_within("unit")
    assert not parse_prior("Uniform(-1, 2)").lies_within("positive")
    assert not parse_prior("Normal(0, 1)").lies_within("positive")
    assert not parse_prior("LKJ(2)").lies_within("real")
