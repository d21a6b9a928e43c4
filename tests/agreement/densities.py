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
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.model import Model
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
MIXTURES = {
    "mixed": ("centered", "noncentered"),
    "mixed_other": ("noncentered", "centered"),
    "informed_centered": ("informed", "centered"),
    "noncentered_informed": ("noncentered", "informed"),
}
"""Choices that sample effects in two ways, in turn."""
OUTER = ("centered", "noncentered")


@dataclass(frozen=True)
class Disagreement:
    """Largest relative error of a backend's values, and of its gradients.

    Each component's error is relative to itself, to 1, or to a ten-thousandth of the largest component:
    a small component beside large ones is a difference of large terms, with fewer digits in any program.
    """

    value: float
    gradient: float


def random_information(spec: Spec, cohort: Cohort, *, seed: int = 0) -> Information:
    """Curvature and scores that no data gave: exactness must not hang on their being right.

    The first patient's data are flat; outer levels are centred and not in turn.
    """
    generator = np.random.default_rng(seed)
    parameters = tuple(name for name, words in spec.parameters.items() if words.typical is not None)
    size, patients = len(parameters), cohort.size("patient")
    curvature, score = {}, {}
    for outcome in spec.observations:
        root = generator.normal(scale=0.5, size=(size, size, patients)) * (np.arange(patients) > 0)
        curvature[outcome] = np.einsum("ikp,jkp->ijp", root, root)
        score[outcome] = generator.normal(size=(size, patients)) * (np.arange(patients) > 0)
    choices = {
        group: {effect.label: OUTER[place % 2] for place, effect in enumerate(effects)}
        for group, effects in cohort.effects.items()
        if group != "patient"
    }
    return Information(parameters, curvature, score, fallbacks=1, choices=choices)


def with_choice(spec: Spec, cohort: Cohort, choice: str) -> Model:
    """The model as declared, with every effect sampled one way, or with two ways in turn.

    What is informed has random information, or under `blank` none.
    """
    if choice == "own":
        return build(spec, cohort)
    known = random_information(spec, cohort)
    if choice == "blank":
        return build(spec, cohort, parameterization="informed", information=known.blank())
    if choice not in MIXTURES:
        own = known if choice == "informed" else None
        return build(spec, cohort, parameterization=choice, information=own)
    ways, groups = MIXTURES[choice], {}
    for group, declared in spec.random_effects.items():
        each = {effect.label: ways[place % 2] for place, effect in enumerate(cohort.effects[group])}
        groups[group] = declared.model_copy(update={"parameterization": each})
    mixed = spec.model_copy(update={"random_effects": groups})
    return build(mixed, cohort, information=known if "informed" in ways else None)


def choices_of(spec: Spec) -> tuple[str, ...]:
    """The spec's own choice and every other that gives another graph; one effect cannot be mixed."""
    declared = [group.parameterization for group in spec.random_effects.values()]
    given = {way for each in declared for way in (each.values() if isinstance(each, dict) else (each,))}
    # Without information, what would be informed is non-centred.
    own = {"noncentered" if way in ("auto", "informed") else way for way in given}
    others = tuple(way for way in ("noncentered", "centered") if declared and own != {way})
    is_mixable = any(len(effects) > 1 for effects in effects_of(spec).values())
    informed = ("informed", "blank") if declared else ()
    return ("own", *others, *informed, *(MIXTURES if is_mixable else ()))


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
