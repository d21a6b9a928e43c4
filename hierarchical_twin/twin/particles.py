"""Particles of one patient, and what each of them says: parameters, likelihoods, predictions; in JAX.

A particle is a draw of the population and the patient's effects. How particles learn is in `advance`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.derived import derived_values
from hierarchical_twin.graph.evaluate import draw_outcomes, errors_of, pointwise
from hierarchical_twin.graph.given import values_given
from hierarchical_twin.graph.likelihood import log_likelihood
from hierarchical_twin.graph.model import Model

Array = Any
Arrays = Mapping[str, Array]

_CLOSED_FORM = ("normal", "proportional", "combined", "lognormal")
"""Error models whose distribution function `log_likelihood` knows, as it may be censored."""


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

    return _each(model, draws, arrays, particles, one)


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
    return _each(model, draws, arrays, nobody, one)


def parameters_of(model: Model, draws: Arrays, arrays: Arrays, particles: Particles) -> dict[str, Array]:
    """The patient's parameters and derived quantities ``[particle]``, in their units."""
    reported = [node.name for node in model.graph.reported if node.dims == (PATIENT,)]
    derived = [name for name, words in model.spec.derived.items() if words.at is None]

    def one(own: Model, values: dict[str, Array]) -> dict[str, Array]:
        quantities = derived_values(own, values)
        found = {name: values[name][0] for name in reported}
        return found | {name: jnp.ravel(quantities[name])[0] for name in derived}

    return _each(model, draws, arrays, particles, one)


def predictive_below(
    model: Model, draws: Arrays, arrays: Arrays, particles: Particles, key: Array
) -> dict[str, Array]:
    """Probability of a value below the one measured, by outcome ``[time]``; half of a tie counts.

    In closed form where the error model's distribution function is, else by one replicate a particle.
    """
    observed = {node.name: jnp.asarray(arrays[node.observed])[0] for node in model.graph.observes}

    def one(own: Model, values: dict[str, Array], key: Array) -> dict[str, Array]:
        found, drawn = {}, None
        for node in own.graph.observes:
            value = observed[node.name]
            if node.error in _CLOSED_FORM:
                predicted = values[node.predicted]
                log_predicted = None if node.log_predicted is None else values[node.log_predicted]
                is_below = jnp.ones(predicted.shape, int)
                errors = errors_of(own, node, values)
                found[node.name] = jnp.exp(
                    log_likelihood(errors, value[None], predicted, is_below, log_predicted)
                )[0]
                continue
            drawn = draw_outcomes(own, values, key) if drawn is None else drawn
            replicate = drawn[node.name][0]
            found[node.name] = (replicate < value) + 0.5 * (replicate == value)
        return found

    keys = jax.random.split(key, len(particles.draw))
    found = _each(model, draws, arrays, particles, one, keys)
    weights = jnp.exp(particles.log_weights)
    return {name: weights @ value for name, value in found.items()}


def effective(log_weights: Array) -> Array:
    """Effective number of weighted particles."""
    return jnp.exp(2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights))


def _each(
    model: Model,
    draws: Arrays,
    arrays: Arrays,
    particles: Particles,
    read: Callable[..., Any],
    *more: Array,
) -> Any:
    """What `read` finds in the model over the arrays and its values, for every particle."""

    def one(draw: Array, effects: Array, outer: Arrays, *more: Array) -> Any:
        population = {name: value[draw] for name, value in draws.items()}
        return read(*values_of(model, arrays, population, outer, effects), *more)

    return jax.vmap(one)(particles.draw, particles.effects, particles.outer, *more)
