"""The oracle: a reader of the graph in plain JAX that scores and draws.

Both backends must equal it, value and gradient. Prediction, simulation and updating run on it. The
flat vector holds every `Sample` node's unconstrained value in graph order; `layout` says where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT, group_suffix
from hierarchical_twin.graph.distributions import DISTRIBUTIONS, constrain, unconstrain
from hierarchical_twin.graph.filtering import draw_path, foresee
from hierarchical_twin.graph.likelihood import JAX, Errors, draw_observation, log_likelihood
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Compute, Data, Filter, Observe, Sample, Solve
from hierarchical_twin.graph.operations import OPERATIONS
from hierarchical_twin.graph.solving import Values, argument_of, solve

Array = Any
Solver = Callable[[Solve, Values], Values]


@dataclass(frozen=True)
class Slot:
    """Where one random variable stands in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def stop(self) -> int:
        """End of the slot."""
        return self.start + math.prod(self.shape)


def layout(model: Model) -> tuple[Slot, ...]:
    """Slots of the flat vector, in graph order."""
    slots, start = [], 0
    for node in model.graph.samples:
        slot = Slot(node.name, model.shape(node.dims), start)
        slots.append(slot)
        start = slot.stop
    return tuple(slots)


def flat_size(model: Model) -> int:
    """Number of unconstrained coordinates."""
    return layout(model)[-1].stop


def flat_names(model: Model) -> tuple[str, ...]:
    """Name of each coordinate, such as ``omega[1]``."""
    names = []
    for slot in layout(model):
        width = slot.stop - slot.start
        names += [slot.name] if slot.shape == () else [f"{slot.name}[{index}]" for index in range(width)]
    return tuple(names)


def split(model: Model, flat: Array) -> Values:
    """Flat vector ``[size]`` to the unconstrained value of each random variable."""
    return {slot.name: flat[slot.start : slot.stop].reshape(slot.shape) for slot in layout(model)}


def join(model: Model, parts: Mapping[str, Array]) -> Array:
    """Inverse of `split`."""
    return jnp.concatenate([jnp.ravel(jnp.asarray(parts[slot.name])) for slot in layout(model)])


@dataclass(frozen=True)
class Scored:
    """Everything the graph says at one point.

    Attributes
    ----------
    values : dict
        Every node's value, natural scale.
    log_prior : scalar
        Log density of the population's random variables on the unconstrained scale, Jacobian included.
    patient_log_prior : Array, shape [patient]
        The same of each patient's effects, given the population.
    log_likelihood : dict
        Outcome to elementwise log likelihood ``[patient, time]``, zero where masked.
    """

    values: Values
    log_prior: Array
    patient_log_prior: Array
    log_likelihood: dict[str, Array]

    @property
    def patient_log_density(self) -> Array:
        """What of the log density depends on one patient's effects: ``[patient]``."""
        return self.patient_log_prior + sum(jnp.sum(term, axis=1) for term in self.log_likelihood.values())

    @property
    def log_density(self) -> Array:
        """Log prior plus all log likelihoods."""
        likelihood = sum(jnp.sum(term) for term in self.log_likelihood.values())
        return self.log_prior + jnp.sum(self.patient_log_prior) + likelihood


def score(model: Model, flat: Array, *, solver: Solver = solve) -> Scored:
    """Evaluate the graph at an unconstrained point.

    Parameters
    ----------
    model : Model
    flat : Array, shape [size]
        In `layout`'s order.
    solver : callable
        What solves the mechanism, or stands in for it.

    Returns
    -------
    Scored
    """
    parts = split(model, flat)
    log_prior: Array = jnp.zeros(())
    patient_log_prior: Array = jnp.zeros(())

    def place(node: Sample, arguments: Mapping[str, Array]) -> Array:
        nonlocal log_prior, patient_log_prior
        distribution = DISTRIBUTIONS[node.distribution]
        value, log_slope = constrain(distribution.support, parts[node.name], arguments)
        elementwise = distribution.log_density(value, **arguments) + log_slope
        if node.dims[:1] == (PATIENT,):
            patient_log_prior += jnp.sum(elementwise, axis=tuple(range(1, len(node.dims))))
        else:
            log_prior += jnp.sum(elementwise)
        return value

    values = _walk(model, place, solver=solver)
    likelihoods = {node.name: pointwise(model, node, values) for node in model.graph.observes}
    patients = (model.cohort.size(PATIENT),)
    return Scored(values, log_prior, jnp.broadcast_to(patient_log_prior, patients), likelihoods)


def log_density(model: Model) -> Callable[[Array], Array]:
    """The flat log density of a model, ready for `jax.grad` and `jax.jit`."""
    return lambda flat: score(model, flat).log_density


def reported_values(model: Model, values: Mapping[str, Array]) -> Values:
    """What a fit stores of a point: population, parameters and effects, without the sampler's helpers."""
    return {node.name: values[node.name] for node in model.graph.reported}


def draw_prior(model: Model, key: Array, held: Mapping[str, Array] | None = None) -> tuple[Values, Array]:
    """One draw from the prior: every node's value, and the same point as a flat vector.

    `held` gives random variables a value on the natural scale instead of a draw.
    """
    keys = iter_keys(key)
    parts: Values = {}

    def place(node: Sample, arguments: Mapping[str, Array]) -> Array:
        distribution = DISTRIBUTIONS[node.distribution]
        if held is not None and node.name in held:
            value = jnp.asarray(held[node.name])
        else:
            value = distribution.draw(next(keys), model.shape(node.dims), **arguments)
        parts[node.name] = unconstrain(distribution.support, value, arguments)
        return value

    values = _walk(model, place)
    return values, join(model, parts)


def central_point(model: Model) -> Array:
    """Flat vector ``[size]`` at the middle of every prior, effects at their frames' centres.

    For models without centred effects.
    """
    parts: Values = {}
    for node in model.graph.samples:
        distribution = DISTRIBUTIONS[node.distribution]
        if distribution.support == "frame":
            parts[node.name] = jnp.zeros(model.shape(node.dims))
            continue
        arguments = {word: jnp.asarray(given) for word, given in node.arguments}
        value = jnp.broadcast_to(distribution.center(**arguments), model.shape(node.dims))
        parts[node.name] = unconstrain(distribution.support, value, arguments)
    return join(model, parts)


def parameters_at(model: Model, flat: Array) -> Values:
    """Every parameter's value at an unconstrained point, the mechanism left unsolved."""
    parts = split(model, flat)

    def place(node: Sample, arguments: Mapping[str, Array]) -> Array:
        return constrain(DISTRIBUTIONS[node.distribution].support, parts[node.name], arguments)[0]

    return _walk(model, place, is_solved=False)


def convert_point(source: Model, target: Model, flat: Array) -> Array:
    """A flat point of one parameterization of a model as a flat point of another.

    Every effect is normal given what comes before it, however it is sampled: it is that normal's mean
    plus its SD times a standard normal, the same in every parameterization.
    """
    given = split(source, flat)
    standard = _standard_effects(source, parameters_at(source, flat))
    parts: Values = {}

    def place(node: Sample, arguments: Mapping[str, Array]) -> Array:
        support = DISTRIBUTIONS[node.distribution].support
        if node.name in standard:
            value = arguments["mean"] + arguments["sd"] * standard[node.name]
            parts[node.name] = unconstrain(support, value, arguments)
            return value
        parts[node.name] = given[node.name]
        return constrain(support, given[node.name], arguments)[0]

    _walk(target, place, is_solved=False)
    return join(target, parts)


def _standard_effects(model: Model, values: Mapping[str, Array]) -> Values:
    """Effects as standard normals, under every name a parameterization may sample them by."""
    standard: Values = {}
    for group, effects in model.cohort.effects.items():
        suffix = group_suffix(group)
        scaled = values[f"eta{suffix}"] / values[f"omega{suffix}"]
        if f"omega_cholesky{suffix}" in values:
            scaled = jax.scipy.linalg.solve_triangular(
                values[f"omega_cholesky{suffix}"], scaled.T, lower=True
            ).T
        standard[f"z{suffix}"] = scaled
        for position, effect in enumerate(effects):
            for word in ("z", "centered", "eta"):
                standard[f"{word}_{effect.label}{suffix}"] = scaled[:, position]
    return standard


def draw_outcomes(model: Model, values: Mapping[str, Array], key: Array) -> dict[str, Array]:
    """One replicate of every outcome ``[patient, time]`` at given values; censoring not applied.

    Under process noise along a path of its own, which knows nothing of what was measured.
    """
    path_key, key = path_and_measurement_keys(model, key)
    return draw_measurements(model, wander(model, values, path_key, is_free=True), key)


def draw_on_path(model: Model, values: Mapping[str, Array], key: Array) -> dict[str, Array]:
    """One new measurement of every outcome ``[patient, time]`` of the same patients.

    Under process noise around a path that is drawn given what was measured of them.
    """
    path_key, key = path_and_measurement_keys(model, key)
    return draw_measurements(model, wander(model, values, path_key, is_free=False), key)


def path_and_measurement_keys(model: Model, key: Array) -> tuple[Array, Array]:
    """Keys of a path and of the measurements around it; one and the same where there is no path to draw."""
    return (key, key) if model.graph.filter is None else tuple(jax.random.split(key))


def draw_measurements(model: Model, values: Mapping[str, Array], key: Array) -> dict[str, Array]:
    """One measurement of every outcome ``[patient, time]`` around its predicted value."""
    keys = iter_keys(key)
    return {
        node.name: draw_observation(errors_of(model, node, values), next(keys), values[node.predicted])
        for node in model.graph.measurements
    }


def wander(model: Model, values: Mapping[str, Array], key: Array, *, is_free: bool) -> Values:
    """The values with every outcome along one path of the state, where process noise moves it.

    The path is drawn given what was measured, or from the process alone where it `is_free`.
    """
    node = model.graph.filter
    if node is None:
        return dict(values)
    masks = {own.mask: jnp.zeros_like(model.arrays[own.mask]) for own in node.measurements}
    arrays = {**model.arrays, **masks} if is_free else model.arrays
    return {**values, **draw_path(node, arrays, values, key)}


def iter_keys(key: Array) -> Iterator[Array]:
    """Endless independent keys from one."""
    while True:
        key, own = jax.random.split(key)
        yield own


def _walk(
    model: Model,
    place: Callable[[Sample, Mapping[str, Array]], Array],
    *,
    is_solved: bool = True,
    solver: Solver = solve,
) -> Values:
    """Values of all nodes; `place` gives each random variable its value."""
    values: Values = {}
    for node in model.graph:
        match node:
            case Data(name):
                values[name] = jnp.asarray(model.arrays[name])
            case Sample(name):
                values[name] = place(
                    node, {word: argument_of(values, given) for word, given in node.arguments}
                )
            case Compute(name, _, operation, inputs, words):
                values[name] = OPERATIONS[operation](JAX, *(values[i] for i in inputs), **dict(words))
            case Solve() if is_solved:
                values |= solver(node, values)
            case Filter() if is_solved:
                values |= foresee(node, model.arrays, values)
            case Solve() | Filter() | Observe():
                pass
    return values


def errors_of(model: Model, node: Observe, values: Mapping[str, Array]) -> Errors:
    """An outcome's error model at given values."""
    arrays = model.arrays
    parameters = {word: argument_of(values, given) for word, given in node.parameters}
    standard_error = None if node.standard_error is None else jnp.asarray(arrays[node.standard_error])
    trials = None if node.trials is None else jnp.asarray(arrays[node.trials])
    return Errors(node.error, parameters, standard_error, trials)


def pointwise(model: Model, node: Observe, values: Mapping[str, Array]) -> Array:
    """Elementwise log likelihood of one outcome ``[patient, time]``, zero where masked."""
    arrays = model.arrays
    mask = arrays[node.mask]
    log_predicted = None if node.log_predicted is None else values[node.log_predicted]
    predicted = values[node.predicted]
    # A masked place must not reach the likelihood's edge: its gradient would be 0 * inf.
    is_whole = isinstance(mask, np.ndarray) and bool(mask.all())
    predicted = predicted if is_whole else jnp.where(mask, predicted, 0.5)
    censored = None if node.censored is None else jnp.asarray(arrays[node.censored])
    elementwise = log_likelihood(
        errors_of(model, node, values), jnp.asarray(arrays[node.observed]), predicted, censored, log_predicted
    )
    return elementwise if is_whole else jnp.where(mask, elementwise, 0.0)
