"""The graph as a PyMC model: coords, dims, named variables, and its JAX-compiled flat log density.

The mechanism enters PyTensor as one JAX operation, so both backends solve the same mathematics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.transforms import Transform, logodds
from pymc.sampling.jax import get_jaxified_logp
from pytensor import wrap_jax

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.dims import observation_dim
from hierarchical_twin.errors import BackendError, Problem
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import split
from hierarchical_twin.graph.filtering import foresee
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Compute, Data, Filter, Observe, Sample, Solve
from hierarchical_twin.graph.operations import OPERATIONS, Namespace, residual_sd
from hierarchical_twin.graph.solving import solve
from hierarchical_twin.spec.schema import Spec

Array = Any
_EDGE = 1e-12

PYTENSOR = Namespace(exp=pt.exp, log=pt.log, sqrt=pt.sqrt, sigmoid=pt.sigmoid, stack=pt.stack, ones=pt.ones)
"""The array namespace of a PyMC program."""


class _Frame(Transform):
    """The real line measured from a centre in units of a scale, both among the variable's own inputs."""

    name = "frame"
    ndim_supp = 0

    def forward(self, value: Array, *inputs: Array) -> Array:
        _, _, _, center, scale, *_ = inputs
        return (value - center) / scale

    def backward(self, value: Array, *inputs: Array) -> Array:
        _, _, _, center, scale, *_ = inputs
        return center + scale * value

    def log_jac_det(self, value: Array, *inputs: Array) -> Array:
        _, _, _, _, scale, *_ = inputs
        return pt.log(scale) + pt.zeros_like(value)


def _framed_normal(
    name: str, *, mean: Array, sd: Array, center: Array, scale: Array, dims: tuple[str, ...]
) -> Array:
    """A normal variable that NUTS sees in coordinates of its own: `center` plus `scale` times them.

    Its density and draws are the normal's; it starts at its frame's centre.
    """
    return pm.CustomDist(
        name,
        *(mean, sd, center, scale),
        dist=lambda mean, sd, center, scale, size: pm.Normal.dist(mean, sd, size=size),
        logp=lambda value, mean, sd, center, scale: pm.logp(pm.Normal.dist(mean, sd), value),
        support_point=lambda rv, size, mean, sd, center, scale: center + pt.zeros_like(rv),
        class_name="FramedNormal",
        default_transform=_Frame(),
        dims=dims,
    )


Maker = Callable[..., Any]
DISTRIBUTIONS: Mapping[str, tuple[Maker, Callable[[Mapping[str, Array]], dict[str, Array]]]] = {
    "Normal": (pm.Normal, lambda a: {"mu": a["mean"], "sigma": a["sd"]}),
    "FramedNormal": (_framed_normal, dict),
    "StudentT": (pm.StudentT, lambda a: {"nu": a["df"], "mu": a["mean"], "sigma": a["sd"]}),
    "LogNormal": (pm.LogNormal, lambda a: {"mu": np.log(a["median"]), "sigma": a["sd"]}),
    "HalfNormal": (pm.HalfNormal, lambda a: {"sigma": a["sd"]}),
    "HalfStudentT": (pm.HalfStudentT, lambda a: {"nu": a["df"], "sigma": a["sd"]}),
    "HalfCauchy": (pm.HalfCauchy, lambda a: {"beta": a["scale"]}),
    "Exponential": (pm.Exponential, lambda a: {"scale": a["mean"]}),
    "Gamma": (pm.Gamma, lambda a: {"alpha": a["shape"], "beta": a["rate"]}),
    "InverseGamma": (pm.InverseGamma, lambda a: {"alpha": a["shape"], "beta": a["scale"]}),
    "Beta": (pm.Beta, lambda a: {"alpha": a["a"], "beta": a["b"]}),
    "LogitNormal": (
        pm.LogitNormal,
        # PyMC gives it no transform of its own.
        lambda a: {
            "mu": np.log(a["median"]) - np.log1p(-a["median"]),
            "sigma": a["sd"],
            "default_transform": logodds,
        },
    ),
    "Uniform": (pm.Uniform, lambda a: {"lower": a["lower"], "upper": a["upper"]}),
}
"""PyMC's distribution, and its arguments, for each scalar prior word."""


def to_pymc(spec: Spec, cohort: Cohort, *, parameterization: str | None = None) -> pm.Model:
    """A PyMC model of a spec over a cohort.

    Parameters
    ----------
    spec : Spec
    cohort : Cohort
        Its measured rows are the model's observed variables, one per outcome, along the dimension
        ``observation_<outcome>``.
    parameterization : {"auto", "informed", "centered", "noncentered"}, optional
        Overrides the spec's choice. No pilot is fitted here, so `auto` and `informed` are non-centred.

    Returns
    -------
    pymc.Model
        With coords and dims; per-patient parameters are deterministics under their own names. Under process
        noise a measurement is judged given the earlier ones, and none can be drawn.
    """
    return pymc_model(build(spec, cohort, parameterization=parameterization))


def pymc_model(model: Model) -> pm.Model:
    """The PyMC program of a built model."""
    coords: dict[str, Any] = {dim: list(labels) for dim, labels in model.coords.items()}
    for node in model.graph.observes:
        coords[observation_dim(node.name)] = np.arange(int(model.cohort.arrays[node.mask].sum()))
    values: dict[str, Array] = {}
    with pm.Model(coords=coords) as program:
        for node in model.graph:
            match node:
                case Data(name):
                    values[name] = pt.as_tensor_variable(np.asarray(model.arrays[name]), name=name)
                case Sample(name, dims, distribution, given):
                    maker, translate = DISTRIBUTIONS[distribution]
                    arguments = {word: _argument(values, value) for word, value in given}
                    values[name] = maker(name, **translate(arguments), dims=dims or None)
                case Compute(name, dims, operation, inputs, words, is_reported):
                    value = OPERATIONS[operation](PYTENSOR, *(values[i] for i in inputs), **dict(words))
                    values[name] = pm.Deterministic(name, value, dims=dims or None) if is_reported else value
                case Solve():
                    values |= _solve(model, node, values)
                case Filter():
                    values |= _foresee(model, node, values)
                case Observe():
                    _observe(model, node, values)
    return program


def _argument(values: Mapping[str, Array], value: float | tuple[float, ...] | str) -> Array:
    return values[value] if isinstance(value, str) else np.asarray(value, dtype=float)


def _solve(model: Model, node: Solve, values: Mapping[str, Array]) -> dict[str, Array]:
    """The mechanism as one JAX operation of the parameters that vary; its exposure is constant."""
    names = [parameter.source for parameter in node.parameters if isinstance(parameter.source, str)]
    exposure = {name: jnp.asarray(model.arrays[name]) for name in node.exposure}

    def mechanism(*parameters: Array) -> tuple[Array, ...]:
        solution = solve(node, {**exposure, **dict(zip(names, parameters, strict=True))})
        return tuple(solution[output.name] for output in node.outputs)

    solved = wrap_jax(mechanism)(*(values[name] for name in names))
    shape = model.cohort.arrays[node.exposure[0]].shape
    outputs = solved if isinstance(solved, list | tuple) else [solved]
    return {
        output.name: pt.specify_shape(value, shape)
        for output, value in zip(node.outputs, outputs, strict=True)
    }


def _foresee(model: Model, node: Filter, values: Mapping[str, Array]) -> dict[str, Array]:
    """The filter as one JAX operation of parameters, diffusions and residual parameters."""
    exposure = {name: jnp.asarray(model.arrays[name]) for name in node.solve.exposure}

    def foreseen(*parameters: Array) -> tuple[Array, ...]:
        found = foresee(node, model.arrays, {**exposure, **dict(zip(node.inputs, parameters, strict=True))})
        return tuple(found[name] for name in node.outputs)

    shape = model.cohort.arrays[node.solve.exposure[0]].shape
    values_of = wrap_jax(foreseen)(*(values[name] for name in node.inputs))
    return {name: pt.specify_shape(value, shape) for name, value in zip(node.outputs, values_of, strict=True)}


def _observe(model: Model, node: Observe, values: Mapping[str, Array]) -> None:
    arrays = model.cohort.arrays
    mask = arrays[node.mask]
    predicted = values[node.log_predicted or node.predicted].ravel()
    if not mask.all():
        predicted = predicted[np.flatnonzero(mask)]
    # As float64 arrays: PyTensor keeps a bare 4.0 in single precision.
    given = {word: _at_rows(_argument(values, value), mask) for word, value in node.parameters}
    data = {kind: _measured(arrays, name, mask) for kind, name in _named_arrays(node).items()}
    if node.error == "lognormal" and node.log_predicted is None:
        predicted = pt.log(predicted)
    maker, arguments = _law(node.error, predicted, given, data)
    observed, dims = arrays[node.observed][mask], observation_dim(node.name)
    if model.graph.filter is not None:
        censored = np.zeros(len(observed)) if node.censored is None else arrays[node.censored][mask]
        pm.CustomDist(
            node.name,
            *(arguments["mu"], arguments["sigma"], *_bounds(observed, censored)),
            logp=partial(_censored_logp, maker),
            random=_refuse_draws,
            class_name=f"Filtered{maker.__name__}",
            observed=observed,
            dims=dims,
        )
        return
    if node.censored is None:
        maker(node.name, **arguments, observed=observed, dims=dims)
        return
    pm.CustomDist(
        node.name,
        *(arguments["mu"], arguments["sigma"], *_bounds(observed, arrays[node.censored][mask])),
        dist=partial(_draw_censored, maker),
        logp=partial(_censored_logp, maker),
        class_name=f"Censored{maker.__name__}",
        observed=observed,
        dims=dims,
    )


def _bounds(observed: np.ndarray, censored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits of each measurement; infinite where there is none."""
    return np.where(censored > 0, observed, -np.inf), np.where(censored < 0, observed, np.inf)


def _refuse_draws(*arguments: Any, **words: Any) -> Any:
    """Under process noise a measurement is judged given the earlier ones, and must not be drawn so."""
    raise BackendError(
        Problem(
            "draws of measurements from a PyMC model",
            "a spec with process noise, of whose path the model has no variable",
            "draws of parameters",
            "ht.predict and ht.simulate draw measurements, as does the NumPyro program",
        )
    )


def _draw_censored(maker: Maker, mu: Array, sigma: Array, lower: Array, upper: Array, size: Array) -> Array:
    return pt.clip(maker.dist(mu=mu, sigma=sigma, size=size), lower, upper)


def _censored_logp(maker: Maker, value: Array, mu: Array, sigma: Array, lower: Array, upper: Array) -> Array:
    """Density of a measured value, mass beyond a limit.

    Not `pymc.Censored`: beside an infinite bound its gradient is not a number.
    """
    standardized = ((pt.log(value) if maker is pm.LogNormal else value) - mu) / sigma
    beyond = _log_ndtr(pt.switch(pt.ge(value, upper), -standardized, standardized))
    is_measured = pt.and_(pt.gt(value, lower), pt.lt(value, upper))
    return pt.switch(is_measured, pm.logp(maker.dist(mu=mu, sigma=sigma), value), beyond)


def _log_ndtr(z: Array) -> Array:
    """Log of the standard normal distribution function, far tails and their gradients included."""
    # Each branch sees only arguments it is finite for: a switch passes on the gradient of both.
    is_in_tail = pt.lt(z, -1.0)
    tail, rest = pt.switch(is_in_tail, z, -1.0), pt.switch(is_in_tail, -1.0, z)
    in_tail = pt.log(0.5 * pt.erfcx(-tail / np.sqrt(2.0))) - 0.5 * tail * tail
    return pt.switch(is_in_tail, in_tail, pt.log1p(-0.5 * pt.erfc(rest / np.sqrt(2.0))))


def _at_rows(value: Array, mask: np.ndarray) -> Array:
    """A residual parameter at the measured rows, where each has one of its own."""
    return value if value.ndim < 2 else value.ravel()[np.flatnonzero(mask)]


def _named_arrays(node: Observe) -> dict[str, str | None]:
    return {"standard_error": node.standard_error, "trials": node.trials}


def _measured(arrays: Mapping[str, np.ndarray], name: str | None, mask: np.ndarray) -> np.ndarray | None:
    return None if name is None else arrays[name][mask]


def _law(
    error: str, predicted: Array, given: Mapping[str, Array], data: Mapping[str, np.ndarray | None]
) -> tuple[Maker, dict[str, Array]]:
    """The distribution of an outcome and its arguments; `predicted` on the log scale where lognormal."""
    match error:
        case "beta":
            mean = pt.clip(predicted, _EDGE, 1 - _EDGE)
            phi = given["concentration"]
            return pm.Beta, {"alpha": mean * phi, "beta": (1 - mean) * phi}
        case "binomial":
            return pm.Binomial, {"n": data["trials"], "p": pt.clip(predicted, _EDGE, 1 - _EDGE)}
        case "student_t":
            scale = {"mu": predicted, "sigma": given["sigma"]}
            return pm.StudentT, {"nu": given["degrees_of_freedom"], **scale}
        case "lognormal":
            return pm.LogNormal, {"mu": predicted, "sigma": given["sigma"]}
        case _:
            parts = given.get("sigma"), given.get("sigma_proportional"), data["standard_error"]
            return pm.Normal, {"mu": predicted, "sigma": residual_sd(PYTENSOR, error, predicted, *parts)}


def flat_log_density(model: Model) -> Callable[..., Array]:
    """PyMC's own log density over the oracle's flat vector, compiled to JAX, Jacobians included.

    PyTensor keeps the model's arrays as constants, so the second argument changes nothing.
    """
    program = pymc_model(model)
    density = get_jaxified_logp(program)
    names = [program.values_to_rvs[value].name for value in program.value_vars]

    def flat_density(flat: Array, numbers: Mapping[str, Array] | None = None) -> Array:
        del numbers
        parts = split(model, flat)
        return density([parts[name] for name in names])

    return flat_density
