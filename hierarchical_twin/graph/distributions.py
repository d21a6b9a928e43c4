"""The oracle's own log densities, random draws and supports, in plain JAX.

One row for each word of `spec.vocabulary.PRIORS` that stands for a scalar distribution. Written from
the formulas, not from a backend, so that agreement with NumPyro and PyMC means something. Densities
are elementwise and normalized; unconstrained values map to the support by identity, exp, sigmoid, or
a scaled sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, logit

Array = Any
Shape = tuple[int, ...]
_LOG_2PI = 1.8378770664093453
_LOG_2 = 0.6931471805599453


@dataclass(frozen=True)
class Distribution:
    """A scalar distribution.

    `log_density(x, **arguments)` is elementwise; `draw(key, size, **arguments)` returns draws;
    `center(**arguments)` is a central value to start from; `support` is ``interval`` when the bounds
    are the arguments ``lower`` and ``upper``.
    """

    support: Literal["real", "positive", "unit", "interval", "frame"]
    log_density: Callable[..., Array]
    draw: Callable[..., Array]
    center: Callable[..., Array]


def _normal(x: Array, mean: Array, sd: Array) -> Array:
    # One division for a common sd, not one for every element.
    standardized = (x - mean) * (1.0 / sd)
    return -0.5 * standardized * standardized - jnp.log(sd) - 0.5 * _LOG_2PI


def _student_t(x: Array, df: Array, mean: Array, sd: Array) -> Array:
    constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * jnp.log(df * jnp.pi) - jnp.log(sd)
    return constant - (df + 1) / 2 * jnp.log1p(((x - mean) / sd) ** 2 / df)


def _lognormal(x: Array, median: Array, sd: Array) -> Array:
    return _normal(jnp.log(x), jnp.log(median), sd) - jnp.log(x)


def _logit_normal(x: Array, median: Array, sd: Array) -> Array:
    return _normal(logit(x), logit(median), sd) - jnp.log(x) - jnp.log1p(-x)


def _gamma(x: Array, shape: Array, rate: Array) -> Array:
    return shape * jnp.log(rate) + (shape - 1) * jnp.log(x) - rate * x - gammaln(shape)


def _inverse_gamma(x: Array, shape: Array, scale: Array) -> Array:
    return shape * jnp.log(scale) - (shape + 1) * jnp.log(x) - scale / x - gammaln(shape)


def _beta(x: Array, a: Array, b: Array) -> Array:
    # Not jax.scipy.special.betaln: where an argument reaches 8 its error is 1e-6.
    constant = gammaln(a + b) - gammaln(a) - gammaln(b)
    return constant + (a - 1) * jnp.log(x) + (b - 1) * jnp.log1p(-x)


def _draw_normal(key: Array, size: Shape, mean: Array, sd: Array) -> Array:
    return mean + sd * jax.random.normal(key, size)


def _draw_half_t(key: Array, size: Shape, df: Array, sd: Array) -> Array:
    return sd * jnp.abs(jax.random.t(key, df, size))


_HALF_NORMAL_MEDIAN = 0.6744897501960817

DISTRIBUTIONS: Mapping[str, Distribution] = {
    "Normal": Distribution("real", _normal, _draw_normal, lambda mean, sd: mean),
    # A normal effect in coordinates of its own: `center` and `scale` say where, not how likely.
    "FramedNormal": Distribution(
        "frame",
        lambda x, mean, sd, center, scale: _normal(x, mean, sd),
        lambda key, size, mean, sd, center, scale: _draw_normal(key, size, mean, sd),
        lambda mean, sd, center, scale: mean,
    ),
    "StudentT": Distribution(
        "real",
        _student_t,
        lambda key, size, df, mean, sd: mean + sd * jax.random.t(key, df, size),
        lambda df, mean, sd: mean,
    ),
    "LogNormal": Distribution(
        "positive",
        _lognormal,
        lambda key, size, median, sd: jnp.exp(_draw_normal(key, size, jnp.log(median), sd)),
        lambda median, sd: median,
    ),
    "HalfNormal": Distribution(
        "positive",
        lambda x, sd: _normal(x, 0.0, sd) + _LOG_2,
        lambda key, size, sd: jnp.abs(_draw_normal(key, size, 0.0, sd)),
        lambda sd: _HALF_NORMAL_MEDIAN * sd,
    ),
    "HalfStudentT": Distribution(
        "positive",
        lambda x, df, sd: _student_t(x, df, 0.0, sd) + _LOG_2,
        _draw_half_t,
        lambda df, sd: _HALF_NORMAL_MEDIAN * sd,
    ),
    "HalfCauchy": Distribution(
        "positive",
        lambda x, scale: _LOG_2 - jnp.log(jnp.pi * scale) - jnp.log1p((x / scale) ** 2),
        lambda key, size, scale: scale * jnp.abs(jax.random.cauchy(key, size)),
        lambda scale: scale,
    ),
    "Exponential": Distribution(
        "positive",
        lambda x, mean: -x / mean - jnp.log(mean),
        lambda key, size, mean: mean * jax.random.exponential(key, size),
        lambda mean: _LOG_2 * mean,
    ),
    "Gamma": Distribution(
        "positive",
        _gamma,
        lambda key, size, shape, rate: jax.random.gamma(key, shape, size) / rate,
        lambda shape, rate: shape / rate,
    ),
    "InverseGamma": Distribution(
        "positive",
        _inverse_gamma,
        lambda key, size, shape, scale: scale / jax.random.gamma(key, shape, size),
        lambda shape, scale: scale / (shape + 1.0),
    ),
    "Beta": Distribution(
        "unit",
        _beta,
        lambda key, size, a, b: jax.random.beta(key, a, b, size),
        lambda a, b: a / (a + b),
    ),
    "LogitNormal": Distribution(
        "unit",
        _logit_normal,
        lambda key, size, median, sd: jax.nn.sigmoid(_draw_normal(key, size, logit(median), sd)),
        lambda median, sd: median,
    ),
    "Uniform": Distribution(
        "interval",
        lambda x, lower, upper: jnp.zeros_like(x) - jnp.log(jnp.asarray(upper) - lower),
        lambda key, size, lower, upper: jax.random.uniform(key, size, minval=lower, maxval=upper),
        lambda lower, upper: 0.5 * (lower + upper),
    ),
}
"""Every scalar distribution a `Sample` node may name."""


def constrain(support: str, unconstrained: Array, arguments: Mapping[str, Array]) -> tuple[Array, Array]:
    """Map the real line to a support; return the value and the elementwise log-Jacobian."""
    match support:
        case "real":
            return unconstrained, jnp.zeros_like(unconstrained)
        case "positive":
            return jnp.exp(unconstrained), unconstrained
        case "frame":
            value = arguments["center"] + arguments["scale"] * unconstrained
            return value, jnp.broadcast_to(jnp.log(arguments["scale"]), unconstrained.shape)
        case _:
            share = jax.nn.sigmoid(unconstrained)
            log_slope = jax.nn.log_sigmoid(unconstrained) + jax.nn.log_sigmoid(-unconstrained)
            if support == "unit":
                return share, log_slope
            width = jnp.asarray(arguments["upper"]) - arguments["lower"]
            return arguments["lower"] + width * share, log_slope + jnp.log(width)


def unconstrain(support: str, value: Array, arguments: Mapping[str, Array]) -> Array:
    """Inverse of `constrain`."""
    match support:
        case "real":
            return value
        case "positive":
            return jnp.log(value)
        case "unit":
            return logit(value)
        case "frame":
            return (value - arguments["center"]) / arguments["scale"]
        case _:
            width = jnp.asarray(arguments["upper"]) - arguments["lower"]
            return logit((value - arguments["lower"]) / width)
