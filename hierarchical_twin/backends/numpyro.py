"""The graph as a NumPyro model: the program a NumPyro user expects, and its flat log density."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import log_ndtr
from numpyro.infer.util import potential_energy

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import split, wander
from hierarchical_twin.graph.filtering import foresee
from hierarchical_twin.graph.likelihood import JAX
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Compute, Data, Filter, Observe, Sample, Solve
from hierarchical_twin.graph.operations import OPERATIONS, residual_sd
from hierarchical_twin.graph.solving import solve
from hierarchical_twin.spec.schema import Spec

Array = Any
_EDGE = 1e-12
_HALF_LOG_2PI = 0.9189385332046727


class _Frame(dist.constraints.Constraint):
    """The real line measured from a centre in units of a scale."""

    def __init__(self, center: Array, scale: Array) -> None:
        self.center, self.scale = center, scale

    def __call__(self, value: Array) -> Array:
        return jnp.isfinite(value)

    def feasible_like(self, prototype: Array) -> Array:
        return jnp.broadcast_to(self.center, jnp.shape(prototype))

    def tree_flatten(self) -> tuple[tuple[Array, Array], tuple[tuple[str, str], dict[str, Any]]]:
        return (self.center, self.scale), (("center", "scale"), {})


@dist.biject_to.register(_Frame)
def _map_frame(frame: _Frame) -> dist.transforms.Transform:
    return dist.transforms.AffineTransform(frame.center, frame.scale)


class Normal(dist.Normal):
    """NumPyro's normal, its density with one division for a common scale instead of one a measurement."""

    def log_prob(self, value: Array) -> Array:
        """Elementwise log density."""
        standardized = (value - self.loc) * (1.0 / self.scale)
        return -0.5 * standardized * standardized - jnp.log(self.scale) - _HALF_LOG_2PI


class LogNormal(dist.LogNormal):
    """NumPyro's log-normal over that normal."""

    def log_prob(self, value: Array) -> Array:
        """Elementwise log density."""
        log = jnp.log(value)
        standardized = (log - self.loc) * (1.0 / self.scale)
        return -0.5 * standardized * standardized - jnp.log(self.scale) - _HALF_LOG_2PI - log


class FramedNormal(Normal):
    """A normal variable that NUTS sees in coordinates of its own: `center` plus `frame_scale` times them.

    Its density and draws are the normal's; only the way to the real line differs.
    """

    arg_constraints: ClassVar = {
        **dist.Normal.arg_constraints,
        "center": dist.constraints.real,
        "frame_scale": dist.constraints.positive,
    }

    def __init__(self, mean: Array, sd: Array, center: Array, scale: Array) -> None:
        self.center, self.frame_scale = center, scale
        shape = jnp.shape(center)
        super().__init__(jnp.broadcast_to(mean, shape), jnp.broadcast_to(sd, shape), validate_args=False)

    @property
    def support(self) -> _Frame:
        """The real line, in the frame's coordinates."""
        return _Frame(self.center, self.frame_scale)


DISTRIBUTIONS: Mapping[str, Callable[..., dist.Distribution]] = {
    "Normal": lambda mean, sd: Normal(mean, sd),
    "FramedNormal": FramedNormal,
    "StudentT": lambda df, mean, sd: dist.StudentT(df, mean, sd),
    "LogNormal": lambda median, sd: dist.LogNormal(jnp.log(median), sd),
    "HalfNormal": lambda sd: dist.HalfNormal(sd),
    "HalfStudentT": lambda df, sd: dist.FoldedDistribution(dist.StudentT(df, 0.0, sd)),
    "HalfCauchy": lambda scale: dist.HalfCauchy(scale),
    "Exponential": lambda mean: dist.Exponential(1.0 / mean),
    "Gamma": lambda shape, rate: dist.Gamma(shape, rate),
    "InverseGamma": lambda shape, scale: dist.InverseGamma(shape, scale),
    "Beta": lambda a, b: dist.Beta(a, b),
    "LogitNormal": lambda median, sd: dist.TransformedDistribution(
        dist.Normal(jnp.log(median) - jnp.log1p(-median), sd), dist.transforms.SigmoidTransform()
    ),
    "Uniform": lambda lower, upper: dist.Uniform(lower, upper),
}
"""NumPyro's distribution for each scalar prior word."""


def to_numpyro(spec: Spec, cohort: Cohort, *, parameterization: str | None = None) -> Callable[..., None]:
    """A NumPyro model function of a spec over a cohort.

    Parameters
    ----------
    spec : Spec
    cohort : Cohort
        Its observed arrays are conditioned on.
    parameterization : {"centered", "noncentered"}, optional
        Overrides the spec's choice.

    Returns
    -------
    callable
        Run it under NumPyro's handlers, `MCMC` or `Predictive`. Observations are patient-major
        ``[patient, time]``, masked where there is no measurement. Called with ``is_observed=False`` it
        draws them instead: ``Predictive(program, num_samples=100)(key, is_observed=False)``.
    """
    return model_function(build(spec, cohort, parameterization=parameterization))


def model_function(model: Model) -> Callable[..., None]:
    """The NumPyro program of a built model."""

    as_declared = {node.name: node for node in model.graph.measurements}

    def program(is_observed: bool = True) -> None:
        values: dict[str, Array] = {}
        for node in model.graph:
            match node:
                case Data(name):
                    values[name] = jnp.asarray(model.arrays[name])
                case Sample(name, dims, distribution, given):
                    arguments = {
                        word: values[value] if isinstance(value, str) else jnp.asarray(value)
                        for word, value in given
                    }
                    with ExitStack() as plates:
                        for position, dim in enumerate(dims):
                            plates.enter_context(
                                numpyro.plate(dim, model.size(dim), dim=position - len(dims))
                            )
                        values[name] = numpyro.sample(name, DISTRIBUTIONS[distribution](**arguments))
                case Compute(name, _, operation, inputs, words, is_reported):
                    value = OPERATIONS[operation](JAX, *(values[i] for i in inputs), **dict(words))
                    values[name] = numpyro.deterministic(name, value) if is_reported else value
                case Solve():
                    values |= solve(node, values)
                case Filter() if is_observed:
                    values |= foresee(node, model.arrays, values)
                case Filter():
                    values |= wander(model, values, numpyro.prng_key(), is_free=True)
                case Observe(name):
                    # What is drawn errs around a path of the state, not around what was to be expected.
                    measured = node if is_observed else as_declared[name]
                    _observe(model, measured, values, is_observed)

    return program


def _observe(model: Model, node: Observe, values: Mapping[str, Array], is_observed: bool) -> None:
    arrays = model.arrays
    mask = arrays[node.mask]
    predicted = values[node.predicted] if mask.all() else jnp.where(mask, values[node.predicted], 0.5)
    given = {word: values[value] if isinstance(value, str) else value for word, value in node.parameters}
    standard_error = None
    if node.standard_error is not None:
        # Masked places hold a standard error of 0, which NumPyro refuses as a scale.
        standard_error = jnp.where(mask, arrays[node.standard_error], 1.0)
    # A start far out can overflow a prediction: that is a density of zero, not an error to raise.
    match node.error:
        case "beta":
            phi, mean = given["concentration"], jnp.clip(predicted, _EDGE, 1 - _EDGE)
            law: dist.Distribution = dist.Beta(mean * phi, (1 - mean) * phi, validate_args=False)
        case "binomial":
            # Whole numbers in their own type, or NumPyro cannot draw counts.
            trials = jnp.asarray(arrays[node.trials], dtype=int)
            law = dist.Binomial(trials, probs=jnp.clip(predicted, _EDGE, 1 - _EDGE))
        case "student_t":
            law = dist.StudentT(given["degrees_of_freedom"], predicted, given["sigma"], validate_args=False)
        case "lognormal":
            log = jnp.log(predicted) if node.log_predicted is None else values[node.log_predicted]
            law = LogNormal(log, given["sigma"], validate_args=False)
        case _:
            parts = given.get("sigma"), given.get("sigma_proportional"), standard_error
            law = Normal(predicted, residual_sd(JAX, node.error, predicted, *parts), validate_args=False)
    observed = jnp.asarray(arrays[node.observed])
    measured = mask
    if node.censored is not None and is_observed:
        censored = arrays[node.censored]
        measured = mask & (censored == 0)
        _censor(node.name, law, observed, mask & (censored != 0), censored)
    law = law if measured.all() else law.mask(measured)
    patients, times = mask.shape
    with numpyro.plate("patient", patients, dim=-2), numpyro.plate(f"time_{node.name}", times, dim=-1):
        numpyro.sample(node.name, law, obs=observed if is_observed else None)


def _censor(name: str, law: dist.Distribution, limit: Array, where: Array, censored: Array) -> None:
    """Probability mass beyond the limit, in a form whose gradient survives far tails."""
    if isinstance(law, dist.LogNormal):
        law, limit = law.base_dist, jnp.log(limit)
    standardized = (limit - law.loc) / law.scale
    mass = log_ndtr(jnp.where(censored > 0, standardized, -standardized))
    numpyro.factor(f"{name}_censored", jnp.where(where, mass, 0.0))


def flat_log_density(model: Model) -> Callable[..., Array]:
    """NumPyro's own log density over the oracle's flat vector, Jacobians included.

    Its second argument replaces the model's arrays (`Model.numbers`), so that a compiled function
    serves every cohort of one shape.
    """

    def density(flat: Array, numbers: Mapping[str, Array] | None = None) -> Array:
        own = model if numbers is None else model.with_arrays(numbers)
        return -potential_energy(model_function(own), (), {}, split(own, flat))

    return density
