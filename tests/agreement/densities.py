"""The flat log densities of one model at the same points, and how far each backend is from the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.backends import numpyro, pymc
from hierarchical_twin.cohort import Cohort
from hierarchical_twin.graph import evaluate
from hierarchical_twin.graph.build import Model, build
from hierarchical_twin.spec.population import effects_of
from hierarchical_twin.spec.schema import Spec

Density = Callable[[Any], Any]
BACKENDS: dict[str, Callable[[Model], Density]] = {
    "numpyro": numpyro.flat_log_density,
    "pymc": pymc.flat_log_density,
}
TOLERANCE = 1e-8
# Compiling is most of the time of these tests, and unoptimized code computes the same numbers.
QUICKLY = {"xla_backend_optimization_level": 0}


@dataclass(frozen=True)
class Disagreement:
    """Largest relative error of a backend's values, and of its gradients.

    Each component's error is relative to itself, to 1, or to a ten-thousandth of the largest component:
    a small component beside large ones is a difference of large terms, with fewer digits in any program.
    """

    value: float
    gradient: float


def with_choice(spec: Spec, cohort: Cohort, choice: str) -> Model:
    """The model as declared, with every effect sampled one way, or with the two ways in turn."""
    if choice == "own":
        return build(spec, cohort)
    if not choice.startswith("mixed"):
        return build(spec, cohort, parameterization=choice)
    ways = ("centered", "noncentered") if choice == "mixed" else ("noncentered", "centered")
    groups = {}
    for group, declared in spec.random_effects.items():
        each = {effect.label: ways[place % 2] for place, effect in enumerate(cohort.effects[group])}
        groups[group] = declared.model_copy(update={"parameterization": each})
    return build(spec.model_copy(update={"random_effects": groups}), cohort)


def choices_of(spec: Spec) -> tuple[str, ...]:
    """The spec's own choice and every other that gives another graph; one effect cannot be mixed."""
    declared = [group.parameterization for group in spec.random_effects.values()]
    own = {way for given in declared for way in (given.values() if isinstance(given, dict) else (given,))}
    others = tuple(way for way in ("noncentered", "centered") if declared and own != {way})
    is_mixable = any(len(effects) > 1 for effects in effects_of(spec).values())
    return ("own", *others, *(("mixed", "mixed_other") if is_mixable else ()))


def points(model: Model, *, seed: int = 0) -> np.ndarray:
    """Unconstrained points ``[5, size]``: three around the priors' middle, two around the origin."""
    noise = np.random.default_rng(seed).normal(scale=0.7, size=(5, evaluate.flat_size(model)))
    plain = build(model.spec, model.cohort, parameterization="noncentered")
    moved = jnp.asarray(evaluate.central_point(plain) + noise[:3])
    convert = jax.jit(
        jax.vmap(lambda flat: evaluate.convert_point(plain, model, flat)), compiler_options=QUICKLY
    )
    return np.concatenate([np.asarray(convert(moved)), noise[3:]])


def evaluate_at(density: Density, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values ``[point]`` and gradients ``[point, size]`` of a flat density, compiled once."""
    compiled = jax.jit(jax.vmap(jax.value_and_grad(density)), compiler_options=QUICKLY)
    values, gradients = compiled(jnp.asarray(flat))
    return np.asarray(values), np.asarray(gradients)


def disagreements(model: Model, flat: np.ndarray) -> dict[str, Disagreement]:
    """How far each backend is from the oracle over the points, which must be finite for all."""
    value, gradient = evaluate_at(evaluate.log_density(model), flat)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    size = np.abs(gradient)
    scale = np.maximum(np.maximum(1.0, size), 1e-4 * size.max(axis=-1, keepdims=True))
    errors = {}
    for name, reader in BACKENDS.items():
        own_value, own_gradient = evaluate_at(reader(model), flat)
        errors[name] = Disagreement(
            float(np.max(np.abs(own_value - value) / np.abs(value))),
            float(np.max(np.abs(own_gradient - gradient) / scale)),
        )
    return errors
