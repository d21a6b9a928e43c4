"""Oracle, NumPyro and PyMC give one log density and one gradient, for every spec that ships and more."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from hierarchical_twin.cohort import Cohort, read_cohort
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Sample, Solve
from hierarchical_twin.mechanisms import MECHANISMS
from hierarchical_twin.spec import read_spec
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.shipped import shipped_specs
from hierarchical_twin.spec.vocabulary import ERRORS, LINKS, PRIORS

from .declared import DECLARED
from .densities import TOLERANCE, choices_of, disagreements, points, with_choice
from .shipped import TABLES

HEAVY = ("glucose_minimal_model", "prodrug_activation")
"""Mechanisms that take seconds to compile."""
LIGHT = ("centered", "mixed", "informed_centered")
"""Choices tried every time where the mechanism is light, beside the spec's own and the informed one."""
SLOW = ("glucose", "bolus", "glucose_wandering", "errors_wandering")
"""Written specs that take long to compile."""
INFORMED = {
    ("sites", "informed"),
    ("sites", "noncentered_informed"),
    ("traits", "informed"),
    ("errors", "informed"),
    ("gompertz", "blank"),
}
"""Slopes, an outer level and a mixture of ways; every error model; nothing known."""


@lru_cache
def spec_of(name: str) -> Spec:
    """A row's spec."""
    return DECLARED[name].spec if name in DECLARED else read_spec(shipped_specs()[name])


@lru_cache
def cohort_of(name: str) -> Cohort:
    """A row's cohort."""
    return DECLARED[name].cohort if name in DECLARED else read_cohort(TABLES[name](), spec_of(name))


def model_of(name: str, choice: str = "own") -> Model:
    """A row's model under one parameterization."""
    return with_choice(spec_of(name), cohort_of(name), choice)


def shipped_rows() -> Iterator[Any]:
    """Every shipped spec with a table, in every parameterization; some of them slow."""
    for name in sorted(set(TABLES) & set(shipped_specs())):
        for choice in choices_of(spec_of(name)):
            is_fast = choice in ("own", "informed") or (name not in HEAVY and choice in LIGHT)
            marks = () if is_fast else (pytest.mark.slow,)
            yield pytest.param(name, choice, id=f"{name}-{choice}", marks=marks)


def declared_rows() -> Iterator[Any]:
    """Every written spec in its own parameterization, some informed, and slowly in the others."""
    for name in DECLARED:
        for choice in choices_of(spec_of(name)):
            if spec_of(name).process_noise and choice not in ("own", "informed"):
                continue  # a filter takes a minute to compile, and no notice of how effects are sampled
            is_fast = choice == "own" and name not in SLOW
            marks = () if is_fast or (name, choice) in INFORMED else (pytest.mark.slow,)
            yield pytest.param(name, choice, id=f"{name}-{choice}", marks=marks)


def check(model: Model) -> None:
    """Both backends are within the tolerance of the oracle."""
    for backend, error in disagreements(model, points(model)).items():
        assert error.value < TOLERANCE, f"{backend}: {error}"
        assert error.gradient < TOLERANCE, f"{backend}: {error}"


def test_every_shipped_spec_has_a_table() -> None:
    assert set(TABLES) == set(shipped_specs())


@pytest.mark.parametrize(("name", "choice"), list(shipped_rows()))
def test_shipped_specs_agree(name: str, choice: str) -> None:
    check(model_of(name, choice))


@pytest.mark.parametrize(("name", "choice"), list(declared_rows()))
def test_declared_specs_agree(name: str, choice: str) -> None:
    check(model_of(name, choice))


def every_spec() -> list[Spec]:
    """Shipped and written specs."""
    return [spec_of(name) for name in (*TABLES, *DECLARED)]


def words_used(place: str) -> set[str]:
    """Prior words that stand in one place of any spec."""
    used = {
        node.distribution
        for name in (*TABLES, *DECLARED)
        for node in model_of(name).graph
        if isinstance(node, Sample) and place in node.name
    }
    return used


def test_everything_declared_is_used() -> None:
    """A new word of the vocabulary without a row here fails."""
    scalar = {word for word, words in PRIORS.items() if words.support != "correlation"}
    positive = {word for word in scalar if PRIORS[word].support != "real"}
    assert words_used("_typical") == scalar
    assert words_used("omega") >= positive
    assert words_used("sigma_") >= positive
    assert words_used("beta_") >= {"Normal", "StudentT"}
    assert words_used("concentration_") != set()
    outcomes = [outcome for spec in every_spec() for outcome in spec.observations.values()]
    assert {outcome.error for outcome in outcomes} == set(ERRORS)
    for error, words in ERRORS.items():
        for key in words.allows:
            given = [getattr(outcome, key) for outcome in outcomes if outcome.error == error]
            assert any(value is not None for value in given), f"no {error} outcome with {key}"
    links = {parameter.link for spec in every_spec() for parameter in spec.parameters.values()}
    assert links >= set(LINKS)
    used = {(spec.mechanism.name, tuple(spec.mechanism.options.values())) for spec in every_spec()}
    for name, mechanism in MECHANISMS.items():
        assert any(name == mechanism_used for mechanism_used, _ in used), name
        for option in mechanism.options.values():
            assert {(name, (word,)) for word in option} <= used


def test_censoring_happens_on_both_sides_of_every_error_model_that_allows_it() -> None:
    sides: dict[str, set[int]] = {}
    for name in DECLARED:
        model = model_of(name)
        for outcome, observation in model.spec.observations.items():
            if f"censored_{outcome}" in model.cohort.arrays:
                measured = model.cohort.arrays[f"censored_{outcome}"][model.cohort.arrays[f"mask_{outcome}"]]
                sides.setdefault(observation.error, set()).update(np.unique(measured).tolist())
    allowed = {error for error, words in ERRORS.items() if "censored" in words.allows}
    assert sides == {error: {-1, 0, 1} for error in allowed}


def test_the_written_cohorts_are_ragged_and_convert_units() -> None:
    models = [model_of(name) for name in DECLARED]
    factors = {
        item.factor
        for model in models
        for node in model.graph
        if isinstance(node, Solve)
        for item in (*node.parameters, *node.outputs)
    }
    assert len(factors - {1.0}) >= 5
    arrays = [item for model in models for item in model.cohort.arrays.items()]
    assert any(name.startswith("mask_") and not array.all() for name, array in arrays)
    assert any(name.startswith("dose_amount") and (array == 0).any() for name, array in arrays)
