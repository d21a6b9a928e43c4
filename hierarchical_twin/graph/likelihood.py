"""The oracle's error models: log likelihood, censored mass and draws of one observation, in plain JAX.

Censored observations contribute the probability mass beyond the limit (Beal 2001, method M3,
doi:10.1023/A:1011504026110), never the density at the limit. All functions are elementwise over
``[patient, time]``; masking is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, log_ndtr, xlog1py, xlogy

from hierarchical_twin.graph.distributions import DISTRIBUTIONS
from hierarchical_twin.graph.operations import Namespace, residual_sd

Array = Any

JAX = Namespace(
    exp=jnp.exp,
    log=jnp.log,
    sqrt=jnp.sqrt,
    sigmoid=jax.nn.sigmoid,
    stack=jnp.stack,
    ones=jnp.ones,
)
"""The array namespace of the oracle and of NumPyro."""

_PROBABILITY_EDGE = 1e-12


@dataclass(frozen=True)
class Errors:
    """An error model with its parameters at hand, each broadcasting against ``[patient, time]``.

    `parameters` holds sigma, sigma_proportional, concentration or degrees_of_freedom, as the model
    needs; `standard_error` and `trials` are data.
    """

    error: str
    parameters: Mapping[str, Array]
    standard_error: Array | None = None
    trials: Array | None = None

    def sd(self, predicted: Array) -> Array:
        """Residual SD of the normal family at each prediction."""
        sigma, proportional = self.parameters.get("sigma"), self.parameters.get("sigma_proportional")
        return residual_sd(JAX, self.error, predicted, sigma, proportional, self.standard_error)


def log_likelihood(
    errors: Errors,
    observed: Array,
    predicted: Array,
    censored: Array | None,
    log_predicted: Array | None = None,
) -> Array:
    """Elementwise log likelihood ``[patient, time]``.

    `log_predicted` is the logarithm of `predicted`, where it is known without taking it.

    `censored` is 0 where the value was measured, 1 where it lies below `observed`, -1 above.
    """
    match errors.error:
        case "beta":
            phi = errors.parameters["concentration"]
            mean = jnp.clip(predicted, _PROBABILITY_EDGE, 1 - _PROBABILITY_EDGE)
            return DISTRIBUTIONS["Beta"].log_density(observed, a=mean * phi, b=(1 - mean) * phi)
        case "binomial":
            return _binomial(observed, predicted, errors.trials)
        case "student_t":
            df = errors.parameters["degrees_of_freedom"]
            return DISTRIBUTIONS["StudentT"].log_density(
                observed, df=df, mean=predicted, sd=errors.parameters["sigma"]
            )
        case "lognormal":
            center = jnp.log(predicted) if log_predicted is None else log_predicted
            z_scale = (jnp.log(observed), center, errors.parameters["sigma"])
            density = DISTRIBUTIONS["Normal"].log_density(*z_scale) - z_scale[0]
        case _:
            z_scale = (observed, predicted, errors.sd(predicted))
            density = DISTRIBUTIONS["Normal"].log_density(*z_scale)
    if censored is None:
        return density
    standardized = (z_scale[0] - z_scale[1]) / z_scale[2]
    beyond = log_ndtr(jnp.where(censored > 0, standardized, -standardized))
    return jnp.where(censored == 0, density, beyond)


def _binomial(observed: Array, predicted: Array, trials: Array) -> Array:
    share = jnp.clip(predicted, _PROBABILITY_EDGE, 1 - _PROBABILITY_EDGE)
    ways = gammaln(trials + 1) - gammaln(observed + 1) - gammaln(trials - observed + 1)
    return ways + xlogy(observed, share) + xlog1py(trials - observed, -share)


def draw_observation(errors: Errors, key: Array, predicted: Array) -> Array:
    """One replicate of the measurement ``[patient, time]``; censoring is not applied."""
    shape = predicted.shape
    match errors.error:
        case "beta":
            phi = errors.parameters["concentration"]
            mean = jnp.clip(predicted, _PROBABILITY_EDGE, 1 - _PROBABILITY_EDGE)
            return jax.random.beta(key, mean * phi, (1 - mean) * phi, shape)
        case "binomial":
            share = jnp.clip(predicted, 0.0, 1.0)
            return jax.random.binomial(key, jnp.broadcast_to(errors.trials, shape), share, shape)
        case "student_t":
            df = errors.parameters["degrees_of_freedom"]
            return predicted + errors.parameters["sigma"] * jax.random.t(key, df, shape)
        case "lognormal":
            return predicted * jnp.exp(errors.parameters["sigma"] * jax.random.normal(key, shape))
        case _:
            return predicted + errors.sd(predicted) * jax.random.normal(key, shape)
