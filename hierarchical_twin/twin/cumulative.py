"""What particles expected of measurements: how likely one below each value was; in JAX.

Densities, censored masses and draws of the error models are in `graph.likelihood`.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.special import betainc

from hierarchical_twin.graph.evaluate import errors_of
from hierarchical_twin.graph.likelihood import Errors, log_likelihood
from hierarchical_twin.graph.model import Model
from hierarchical_twin.twin.particles import Array, Arrays, Particles, over_particles

_EDGE = 1e-12


def predictive_below(model: Model, draws: Arrays, arrays: Arrays, particles: Particles) -> dict[str, Array]:
    """Probability of a value below the one measured, by outcome ``[time]``; half of a tie counts.

    Of the particles that predict a number at all; not a number where none does.
    """

    def one(own: Model, values: dict[str, Array]) -> dict[str, Array]:
        found = {}
        for node in own.graph.observes:
            predicted = jnp.where(jnp.asarray(own.arrays[node.mask]), values[node.predicted], 0.5)
            log_predicted = None if node.log_predicted is None else values[node.log_predicted]
            errors, measured = errors_of(own, node, values), jnp.asarray(own.arrays[node.observed])
            found[node.name] = chance_below(errors, measured, predicted, log_predicted)[0]
        return found

    def mean(chance: Array) -> Array:
        share = jnp.where(jnp.isfinite(chance), jnp.exp(particles.log_weights)[:, None], 0.0)
        return jnp.sum(share * jnp.where(share > 0, chance, 0.0), axis=0) / jnp.sum(share, axis=0)

    return {
        name: mean(chance) for name, chance in over_particles(model, draws, arrays, particles, one).items()
    }


def chance_below(errors: Errors, value: Array, predicted: Array, log_predicted: Array | None) -> Array:
    """Probability of a measurement below a value, and half of that of the value itself.

    Parameters
    ----------
    errors : Errors
    value, predicted : Array, shape [patient, time]
    log_predicted : Array, shape [patient, time], optional
        The logarithm of `predicted`, where it is known without taking it.

    References
    ----------
    Abramowitz and Stegun (1964), Handbook of Mathematical Functions: 26.5.2 (beta), 26.5.24 (binomial) and
    26.7.1 (Student t), all by the incomplete beta function.
    """
    match errors.error:
        case "beta":
            concentration = errors.parameters["concentration"]
            mean = jnp.clip(predicted, _EDGE, 1 - _EDGE)
            return betainc(mean * concentration, (1 - mean) * concentration, value)
        case "student_t":
            freedom = errors.parameters["degrees_of_freedom"]
            standard = (value - predicted) / errors.parameters["sigma"]
            tail = 0.5 * betainc(0.5 * freedom, 0.5, freedom / (freedom + standard * standard))
            return jnp.where(standard < 0, tail, 1 - tail)
        case "binomial":
            share = jnp.clip(predicted, _EDGE, 1 - _EDGE)
            count = jnp.maximum(value, 1.0)
            trials = jnp.maximum(jnp.broadcast_to(errors.trials, count.shape), count)
            fewer = jnp.where(value > 0, 1 - betainc(count, trials - count + 1, share), 0.0)
            return fewer + 0.5 * jnp.exp(log_likelihood(errors, value, predicted, None))
        case _:
            is_below = jnp.ones(predicted.shape, int)
            return jnp.exp(log_likelihood(errors, value, predicted, is_below, log_predicted))
