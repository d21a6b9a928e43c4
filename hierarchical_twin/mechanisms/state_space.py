"""A mechanism as a Markov process: its state carried from record to record, with Gaussian noise on the way.

``dx = f(x, theta, u, t) dt + G dW``: the drift is the mechanism's own, and `G` is diagonal, a diffusion for
each state. Between two records the state is carried along the mechanism's flow from wherever it is, and
its covariance by the flow's derivative: exact where the drift is linear in the state, the extended Kalman
filter's linearization elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from hierarchical_twin.mechanisms.shapes import Parameter, PerRecord

Diffusions = Mapping[str, Array]
"""State to the SD that a unit of time adds to it, in units of the state by the square root of time; 0 if absent."""


class Step(NamedTuple):
    """The way from one record to the next.

    Attributes
    ----------
    state : Array, shape [patient, state]
        Where the state is carried without noise.
    transition : Array, shape [patient, state, state]
        Its derivative in the state it came from.
    noise : Array, shape [patient, state, state]
        Covariance of what the noise on the way adds.
    """

    state: Array
    transition: Array
    noise: Array


class StateSpace(NamedTuple):
    """A mechanism along its records.

    Attributes
    ----------
    start : Array, shape [patient, state]
        The state from which noise acts, known without error.
    intervals : pytree of Array, shape [time, patient, ...]
        What `step` reads of the way to each record: from the start to the first, then from each to the next.
    step : callable
        An interval ``[patient]`` and a state ``[patient, state]`` to a `Step`.
    read : callable
        States ``[..., state]`` to the mechanism's outputs ``[...]``, and the logarithms of those whose
        logarithm is the state.
    """

    start: Array
    intervals: Any
    step: Callable[[Any, Array], Step]
    read: Callable[[Array], dict[str, Array]]


def drifting(
    time: PerRecord,
    course: Callable[[PerRecord], PerRecord],
    diffusion: Array,
    read: Callable[[Array], dict[str, Array]],
) -> StateSpace:
    """A single state whose drift does not depend on it: its course, plus Brownian motion.

    Parameters
    ----------
    time : array [patient, time]
        Times of the records, not decreasing.
    course : callable
        Times ``[patient, any]`` to the state without noise.
    diffusion : array []
        SD that a unit of time adds, in the state's unit by the square root of time; 0 or more.
    read : callable
        As in `StateSpace`.
    """
    begun = with_start(time)
    along = course(begun)
    intervals = (jnp.diff(along, axis=1).T, jnp.diff(begun, axis=1).T)

    def step(interval: Any, state: Array) -> Step:
        rise, duration = interval
        ones = jnp.ones((*state.shape, 1))
        return Step(state + rise[:, None], ones, (diffusion**2 * duration)[:, None, None] * ones)

    return StateSpace(along[:, :1], intervals, step, read)


def with_start(time: PerRecord) -> Array:
    """Times ``[patient, 1 + time]`` with the one from which noise acts: time 0, or an earlier first record."""
    return jnp.concatenate([jnp.minimum(time[:, :1], 0.0), time], axis=1)


def flat(parameter: Parameter, patients: int) -> Array:
    """A parameter ``[patient]``."""
    return jnp.broadcast_to(jnp.ravel(jnp.asarray(parameter)), (patients,))


def matrix(rows: tuple[tuple[Array | float, ...], ...], patients: int) -> Array:
    """Entries ``[patient]``, row by row, as ``[patient, state, state]``."""
    return jnp.stack(
        [jnp.stack([jnp.broadcast_to(entry, (patients,)) for entry in row], axis=-1) for row in rows], axis=-2
    )
