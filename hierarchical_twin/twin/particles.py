"""Particles of one patient, and what each of them says: parameters and likelihoods; in JAX.

A particle is a draw of the population and the patient's effects. How particles learn is in `advance`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.derived import derived_values
from hierarchical_twin.graph.evaluate import pointwise
from hierarchical_twin.graph.given import values_given
from hierarchical_twin.graph.model import Model

Array = Any
Arrays = Mapping[str, Array]


class Particles(NamedTuple):
    """A patient's weighted particles.

    Attributes
    ----------
    draw : Array of int, shape [particle]
        Place of each particle's draw of the population.
    effects : Array, shape [particle, effect]
    outer : mapping to Array, shape [particle, effect]
        Effects of the patient's own member of each level above, by node.
    log_weights : Array, shape [particle]
        Normalized.
    """

    draw: Array
    effects: Array
    outer: Mapping[str, Array]
    log_weights: Array


def make_described(model: Model) -> Callable[..., dict[str, Array]]:
    """Compile what patients' parameters are.

    Returns
    -------
    callable
        Draws of the population ``[draw, ...]``, arrays ``[patient, 1, ...]`` and particles
        ``[patient, particle, ...]`` to `parameters_of` of every patient.
    """

    def described(draws: Arrays, arrays: Arrays, particles: Particles) -> dict[str, Array]:
        return jax.lax.map(lambda given: parameters_of(model, draws, *given), (arrays, particles))

    return jax.jit(described)


def values_of(
    model: Model, arrays: Arrays, population: Arrays, outer: Arrays, effects: Array
) -> tuple[Model, dict[str, Array]]:
    """The model over a patient's arrays, and every node's value for one particle."""
    own = model.with_arrays(arrays)
    held = {**population, **{name: value[None] for name, value in outer.items()}}
    if effects.shape[-1]:
        held["eta"] = effects[None]
    return own, values_given(own, held)


def log_likelihoods(model: Model, draws: Arrays, arrays: Arrays, particles: Particles) -> Array:
    """Log likelihood of all records ``[particle]``; minus infinity where it is not a number."""

    def one(own: Model, values: dict[str, Array]) -> Array:
        total = sum(jnp.sum(pointwise(own, node, values)) for node in own.graph.observes)
        return jnp.where(jnp.isfinite(total), total, -jnp.inf)

    return over_particles(model, draws, arrays, particles, one)


def centers(model: Model, draws: Arrays, arrays: Arrays, particles: Particles) -> Array:
    """What each effect adds to ``[particle, effect]``: its parameter on the link scale without effects.

    0 for a slope, which only the intercept beside it makes a parameter with.
    """
    effects = model.cohort.effects.get(PATIENT, ())

    def one(own: Model, values: dict[str, Array]) -> Array:
        found = [
            values[f"{effect.parameter}_link"][0] if effect.term == "1" else jnp.zeros(())
            for effect in effects
        ]
        return jnp.stack(found)

    if not effects:
        return particles.effects
    nobody = particles._replace(effects=jnp.zeros_like(particles.effects))
    return over_particles(model, draws, arrays, nobody, one)


def parameters_of(model: Model, draws: Arrays, arrays: Arrays, particles: Particles) -> dict[str, Array]:
    """The patient's parameters and derived quantities ``[particle]``, in their units."""
    reported = [node.name for node in model.graph.reported if node.dims == (PATIENT,)]
    derived = [name for name, words in model.spec.derived.items() if words.at is None]

    def one(own: Model, values: dict[str, Array]) -> dict[str, Array]:
        quantities = derived_values(own, values)
        found = {name: values[name][0] for name in reported}
        return found | {name: jnp.ravel(quantities[name])[0] for name in derived}

    return over_particles(model, draws, arrays, particles, one)


def effective(log_weights: Array) -> Array:
    """Effective number of weighted particles."""
    return jnp.exp(2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights))


def over_particles(
    model: Model,
    draws: Arrays,
    arrays: Arrays,
    particles: Particles,
    read: Callable[..., Any],
    *more: Array,
) -> Any:
    """What `read` finds for every particle ``[particle, ...]``.

    Parameters
    ----------
    model : Model
        Of one patient; its arrays are replaced.
    draws, arrays : mapping to Array
        Of the population ``[draw, ...]``, and of the patient ``[1, ...]``.
    particles : Particles
    read : callable
        Takes the model over the arrays, the values of its nodes for one particle, and that particle's
        `more`.
    more : Array, shape [particle, ...]
    """

    def one(draw: Array, effects: Array, outer: Arrays, *more: Array) -> Any:
        population = {name: value[draw] for name, value in draws.items()}
        return read(*values_of(model, arrays, population, outer, effects), *more)

    return jax.vmap(one)(particles.draw, particles.effects, particles.outer, *more)
