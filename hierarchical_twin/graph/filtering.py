"""The `Filter` node in JAX: a state that wanders, marginalised out of the likelihood record by record.

Under process noise the patient's state is not a function of their parameters. Its distribution given
what was measured so far is carried from record to record by the Kalman filter (Kalman 1960,
doi:10.1115/1.3662552), exact where the mechanism is linear in its state and is measured with a normal
error on the state's own scale, and by its extension to other mechanisms and errors (Jazwinski 1970,
Stochastic Processes and Filtering Theory). The likelihood is then the product of each measurement's
density given the earlier ones: normal, around the prediction one step ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr

from hierarchical_twin.graph.likelihood import Errors
from hierarchical_twin.graph.nodes import Filter, Observe, ahead_of
from hierarchical_twin.graph.solving import Array, Values, argument_of, mechanism_arguments, outcomes_of
from hierarchical_twin.mechanisms import MECHANISMS
from hierarchical_twin.mechanisms.state_space import StateSpace

_HALF_LOG_2PI = 0.9189385332046727
_RIDGE = 1e-12
_FAR = -50.0


class Belief(NamedTuple):
    """A normal distribution of the patients' states: mean ``[patient, state]`` and covariance."""

    mean: Array
    covariance: Array


class _Stage(NamedTuple):
    """One record: the belief before and after what it measured, and how the state came to it."""

    ahead: Belief
    after: Belief
    transition: Array


class _Measured(NamedTuple):
    """One outcome's arrays, records first: ``[time, patient]``."""

    observed: Array
    mask: Array
    censored: Array | None
    standard_error: Array | None


def space_of(node: Filter, values: Mapping[str, Array]) -> StateSpace:
    """The mechanism as a Markov process at given parameters."""
    exposure, arguments = mechanism_arguments(node.solve, values)
    diffusions = {state: argument_of(values, given) for state, given in node.diffusions}
    make = MECHANISMS[node.solve.mechanism].space()
    return make(*exposure, **arguments, diffusions=diffusions, **dict(node.solve.options))


def foresee(node: Filter, arrays: Mapping[str, Array], values: Mapping[str, Array]) -> Values:
    """Every outcome one step ahead ``[patient, time]``: given what was measured at earlier times.

    Parameters
    ----------
    node : Filter
    arrays : mapping
        The measurements: values, masks, limits, standard errors.
    values : mapping
        Exposure, parameters, diffusions and residual parameters.

    Returns
    -------
    dict
        Under the names of `ahead_of`: the prediction, its logarithm where the error is lognormal, and the
        SD of a measurement around it (of its logarithm).

    Notes
    -----
    Outcomes measured at one time are taken in the order of the spec, each given the ones before. What
    lies beyond a limit moves the state to the mean and the variance that the limit leaves.
    """
    _, found = _run(node, arrays, values, space_of(node, values))
    outcomes: Values = {}
    for measurement in node.measurements:
        center, sd = (value.T for value in found[measurement.name])
        natural, logarithm, spread = ahead_of(measurement.name)
        if measurement.error == "lognormal":
            outcomes |= {natural: jnp.exp(center), logarithm: center, spread: sd}
        else:
            outcomes |= {natural: center, spread: sd}
    return outcomes


def draw_path(node: Filter, arrays: Mapping[str, Array], values: Mapping[str, Array], key: Array) -> Values:
    """One path of the state, drawn given all that was measured, and the outcomes along it.

    Back from the last measurement to the start (Frühwirth-Schnatter 1994,
    doi:10.1111/j.1467-9892.1994.tb00184.x), and on from it along the mechanism's own flow. Of a patient
    without a measurement that is a path of the process itself.

    Parameters
    ----------
    node, arrays, values
        As in `foresee`.
    key : Array

    Returns
    -------
    dict
        Outcomes of the `Solve` node along the path ``[patient, time]``.
    """
    space, stages, last = _filtered(node, arrays, values)
    shape = stages.after.mean.shape
    back_key, on_key = jax.random.split(key)
    place = jnp.arange(shape[0])

    def back(following: Array, given: Any) -> tuple[Array, Array]:
        stage, onward, noise, at = given
        # What stands after the last measurement says nothing of what stands before.
        is_end = (at >= last)[:, None]
        tied, left = _given_next(stage.after, onward, following)
        mean = jnp.where(is_end, stage.after.mean, tied)
        covariance = jnp.where(is_end[..., None], stage.after.covariance, left)
        own = mean + jnp.einsum("pij,pj->pi", _root(covariance), noise)
        return own, own

    onward = jax.tree.map(lambda value: jnp.concatenate([value[1:], value[-1:]]), stages)
    noise = jax.random.normal(back_key, shape)
    _, known = jax.lax.scan(back, jnp.zeros(shape[1:]), (stages, onward, noise, place), reverse=True)

    def on(state: Array, given: Any) -> tuple[Array, Array]:
        interval, own, noise, at = given
        step = space.step(interval, state)
        free = step.state + jnp.einsum("pij,pj->pi", _root(step.noise), noise)
        state = jnp.where((at <= last)[:, None], own, free)
        return state, state

    noise = jax.random.normal(on_key, shape)
    _, path = jax.lax.scan(on, space.start, (space.intervals, known, noise, place))
    states = jnp.swapaxes(path, 0, 1)
    return outcomes_of(node.solve, space.read(states), states.shape[:2])


def _filtered(
    node: Filter, arrays: Mapping[str, Array], values: Mapping[str, Array]
) -> tuple[StateSpace, _Stage, Array]:
    """The process, stages along the records ``[time, patient, ...]``, and each patient's last measurement.

    That is its place along the records, -1 for none.
    """
    space = space_of(node, values)
    stages, _ = _run(node, arrays, values, space)
    shown = jnp.stack([jnp.asarray(arrays[measurement.mask]) for measurement in node.measurements])
    is_shown = jnp.any(shown, axis=0)
    places = jnp.arange(is_shown.shape[1])
    return space, stages, jnp.max(jnp.where(is_shown, places, -1), axis=1)


def _run(
    node: Filter, arrays: Mapping[str, Array], values: Mapping[str, Array], space: StateSpace
) -> tuple[_Stage, dict[str, tuple[Array, Array]]]:
    """The filter over all records: stages, and each outcome's prediction and SD, all ``[time, patient]``."""
    measured = {measurement.name: _measured(measurement, arrays) for measurement in node.measurements}
    patients, states = space.start.shape

    def advance(belief: Belief, given: Any) -> tuple[Belief, Any]:
        interval, seen = given
        step = space.step(interval, belief.mean)
        ahead = Belief(step.state, _through(step.transition, belief.covariance) + step.noise)
        now, found = ahead, {}
        for measurement in node.measurements:
            parameters = {word: argument_of(values, value) for word, value in measurement.parameters}
            errors = Errors(measurement.error, parameters, seen[measurement.name].standard_error)
            judged = _judge(node, measurement, space)
            now, found[measurement.name] = _take(now, seen[measurement.name], errors, judged)
        return now, (_Stage(ahead, now, step.transition), found)

    certain = Belief(space.start, jnp.zeros((patients, states, states)))
    _, (stages, found) = jax.lax.scan(advance, certain, (space.intervals, measured))
    return stages, found


def _measured(measurement: Observe, arrays: Mapping[str, Array]) -> _Measured:
    names = (measurement.observed, measurement.mask, measurement.censored, measurement.standard_error)
    return _Measured(*(None if name is None else jnp.asarray(arrays[name]).T for name in names))


def _judge(node: Filter, measurement: Observe, space: StateSpace) -> Callable[[Array], Array]:
    """From states ``[patient, state]`` to an outcome on the scale on which its error is normal."""
    name = measurement.predicted if measurement.log_predicted is None else measurement.log_predicted

    def judged(state: Array) -> Array:
        return outcomes_of(node.solve, space.read(state), state.shape[:1])[name]

    return judged


def _take(
    belief: Belief, seen: _Measured, errors: Errors, judged: Callable[[Array], Array]
) -> tuple[Belief, tuple[Array, Array]]:
    """A belief once one outcome was measured, and what was to be expected of it: mean and SD."""
    states = belief.mean.shape[1]
    expected = judged(belief.mean)
    slopes = jnp.stack(
        [
            jax.jvp(judged, (belief.mean,), (jnp.zeros_like(belief.mean).at[:, place].set(1.0),))[1]
            for place in range(states)
        ],
        axis=1,
    )
    carried = jnp.einsum("pij,pj->pi", belief.covariance, slopes)
    is_log = errors.error == "lognormal"
    # A masked place may predict 0, where a relative error has no derivative.
    own = errors.parameters["sigma"] if is_log else errors.sd(jnp.where(seen.mask, expected, 1.0))
    # Where nothing was measured a standard error may be 0.
    variance = jnp.sum(slopes * carried, axis=1) + jnp.where(seen.mask, own * own, 1.0)
    sd = jnp.sqrt(variance)
    observed = jnp.log(seen.observed) if is_log else seen.observed
    standardized = jnp.where(seen.mask, (observed - expected) / sd, 0.0)
    shift, shrinkage = standardized, jnp.ones_like(sd)
    if seen.censored is not None:
        side = jnp.where(seen.censored < 0, -1.0, 1.0)
        limit = side * standardized
        ratio, less = _below(limit)
        is_beyond = seen.censored != 0
        shift = jnp.where(is_beyond, -side * ratio, shift)
        shrinkage = jnp.where(is_beyond, less, shrinkage)
    shift, shrinkage = jnp.where(seen.mask, shift, 0.0), jnp.where(seen.mask, shrinkage, 0.0)
    gain = carried / sd[:, None]
    mean = belief.mean + gain * shift[:, None]
    covariance = belief.covariance - shrinkage[:, None, None] * gain[:, :, None] * gain[:, None, :]
    return Belief(mean, covariance), (expected, sd)


def _below(limit: Array) -> tuple[Array, Array]:
    """By how much a standard normal's mean and variance are less once it lies below a limit.

    Johnson, Kotz and Balakrishnan 1994, Continuous Univariate Distributions 1, chapter 13.10.
    """
    is_far = limit < _FAR
    near, far = jnp.where(is_far, 0.0, limit), jnp.where(is_far, limit, _FAR)
    ratio = jnp.exp(-0.5 * near * near - _HALF_LOG_2PI - log_ndtr(near))
    # Far out both are differences of nearly equal numbers: their series in 1/limit.
    square = 1.0 / (far * far)
    far_ratio = -far * (1.0 + square * (1.0 - 2.0 * square))
    return (
        jnp.where(is_far, far_ratio, ratio),
        jnp.where(is_far, 1.0 - square * (1.0 - 6.0 * square), ratio * (ratio + near)),
    )


def _through(transition: Array, covariance: Array) -> Array:
    return transition @ covariance @ jnp.swapaxes(transition, 1, 2)


def _given_next(after: Belief, onward: _Stage, following: Array) -> tuple[Array, Array]:
    """Mean and covariance of a state given the next one."""
    ahead = onward.ahead.covariance
    # In units of each state's own SD; a state that nothing moves has none, and ties nothing.
    sd = jnp.sqrt(jnp.maximum(jnp.diagonal(ahead, axis1=1, axis2=2), jnp.finfo(ahead.dtype).tiny))
    scaled = ahead / (sd[:, :, None] * sd[:, None, :]) + _RIDGE * jnp.eye(ahead.shape[1])
    cross = onward.transition @ after.covariance
    tie = jnp.swapaxes(jnp.linalg.solve(scaled, cross / sd[:, :, None]) / sd[:, :, None], 1, 2)
    mean = after.mean + jnp.einsum("pij,pj->pi", tie, following - onward.ahead.mean)
    return mean, after.covariance - tie @ cross


def _root(covariance: Array) -> Array:
    """Lower root of a covariance ``[patient, state, state]`` that may be singular."""
    size = covariance.shape[1]
    root = [[jnp.zeros(covariance.shape[0])] * size for _ in range(size)]
    for column in range(size):
        left = covariance[:, column, column] - sum(root[column][k] ** 2 for k in range(column))
        pivot = jnp.sqrt(jnp.maximum(left, 0.0))
        root[column][column] = pivot
        for row in range(column + 1, size):
            inner = sum(root[row][k] * root[column][k] for k in range(column))
            above = covariance[:, row, column] - inner
            root[row][column] = jnp.where(pivot > 0.0, above / jnp.where(pivot > 0.0, pivot, 1.0), 0.0)
    return jnp.stack([jnp.stack(row, axis=-1) for row in root], axis=-2)
