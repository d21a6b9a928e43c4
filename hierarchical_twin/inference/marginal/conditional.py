"""Each patient's effects given draws of the population, and whether these draws may be trusted.

A patient's effects move by Metropolis steps whose proposals come from one heavy-tailed Student t, made
for that patient around the populations drawn. In informed frames the effects hardly depend on the
population, so the chain goes on from one population to the next, and nearly every proposal is taken;
patients for whom a trial finds the proposals poor get more of them. Patients come in batches, so memory
is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.graph.blocks import join_blocks
from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.inference.marginal.density import Group, Plan
from hierarchical_twin.inference.marginal.rules import Frames, Rule
from hierarchical_twin.inference.marginal.tails import tail_shapes
from hierarchical_twin.inference.patients import take_patients

Array = Any
Numbers = Mapping[str, Any]

_FREEDOM = 6
_WIDTH = 1.1
_LEAST_SHARE = 0.05
_PROPOSALS = 2
_GOOD, _MORE_STEPS = 0.6, 6
_SETTLING = 10
_JUDGED, _JUDGED_PROPOSALS, _AT_ONCE = 8, 128, 8
_BATCH_BYTES = 2e8


@dataclass(frozen=True, eq=False)
class PatientDraws:
    """Draws of some patients' effects.

    Attributes
    ----------
    patients : ndarray of int, shape [patient]
        Their places in the plan's model.
    effects : ndarray, shape [chain, draw, effect, patient]
        In the coordinates of the plan's model.
    k_hat : ndarray, shape [patient]
        Shape of the tail of the importance weights; above 0.7 they are not to be trusted.
    largest : ndarray, shape [patient]
        The largest weight, in units of the mean one: small where weights are bounded, and `k_hat` then
        describes differences that do not matter.
    efficiency : ndarray, shape [patient]
        Effective share of the proposals, 0 to 1.
    """

    patients: np.ndarray
    effects: np.ndarray
    k_hat: np.ndarray
    largest: np.ndarray
    efficiency: np.ndarray


def draw_effects(plan: Plan, population: np.ndarray, seed: int) -> Iterator[PatientDraws]:
    """Draw every patient's effects given each draw of the population, batch of patients by batch.

    Parameters
    ----------
    plan : Plan
    population : ndarray, shape [chain, draw, coordinate]
    seed : int
    """
    chains, draws, _ = population.shape
    points = population.reshape(chains * draws, -1)
    keys = _Keys(seed)
    for group in plan.groups:
        proposals, judged = _judge(group, plan.frames.take(group.patients), points, keys)
        is_good = judged.efficiency >= _GOOD
        for chosen, steps in ((np.flatnonzero(is_good), 1), (np.flatnonzero(~is_good), _MORE_STEPS)):
            repeated = np.repeat(points, steps, axis=0)
            repeated = np.concatenate([np.repeat(repeated[:1], _SETTLING * steps, axis=0), repeated])
            program = _Program(_draw)
            rows = len(plan.frames.mean) * len(repeated) * 8
            for own in _batches(chosen, max(1, int(_BATCH_BYTES / rows))):
                part, near = _part(group, own), proposals.take(own)
                effects = program(part, keys.next(), repeated, near)[_SETTLING * steps + steps - 1 :: steps]
                effects = effects.reshape(chains, draws, *effects.shape[1:])
                yield PatientDraws(
                    part.patients, effects, judged.k_hat[own], judged.largest[own], judged.efficiency[own]
                )


def flat_draws(plan: Plan, population: np.ndarray, batches: list[PatientDraws]) -> np.ndarray:
    """Points ``[chain, draw, size]`` of the plan's model, from the population and all patients' draws."""
    effects = np.empty((*population.shape[:2], *plan.frames.mean.shape))
    for batch in batches:
        effects[..., batch.patients] = batch.effects
    join = jax.jit(jax.vmap(jax.vmap(lambda own, rows: join_blocks(plan.model, own, rows))))
    return np.asarray(join(jnp.asarray(population), jnp.asarray(effects)))


@dataclass(frozen=True, eq=False)
class _Judged:
    """How good the proposals are ``[patient]``, as in `PatientDraws`."""

    k_hat: np.ndarray
    largest: np.ndarray
    efficiency: np.ndarray


def _judge(group: Group, frames: Frames, points: np.ndarray, keys: _Keys) -> tuple[Frames, _Judged]:
    """Where each of a group's patients is proposed, and how good these proposals are at a few populations."""
    at = points[np.linspace(0, len(points) - 1, _JUDGED).astype(int)]
    locate, weigh = _Program(_locate), _Program(_weigh)
    placed, found = [], []
    for own in _batches(np.arange(len(group.patients)), int(_BATCH_BYTES / 8 / _JUDGED / _JUDGED_PROPOSALS)):
        part, near = _part(group, own), frames.take(own)
        if len(group.rule.nodes) > 1:
            near = Frames(*locate(part, None, at, near))
        near = Frames(near.mean, _WIDTH * near.root)
        placed.append(near)
        found.append(_judge_weights(weigh(part, keys.next(), at, near)))
    mean = np.concatenate([near.mean for near in placed], axis=1)
    root = np.concatenate([near.root for near in placed], axis=2)
    return Frames(mean, root), _Judged(*(np.concatenate(values) for values in zip(*found, strict=True)))


def _judge_weights(log_weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Tail shape, largest weight and efficiency from ``[judged, proposal, patient]``."""
    top = log_weights.max(axis=1, keepdims=True)
    size = np.log(np.mean(np.exp(log_weights - top), axis=1, keepdims=True)) + top
    # Over each population's own mean: that of another population is another integral.
    relative = log_weights - size
    share = 1.0 / np.mean(np.exp(2.0 * relative), axis=(0, 1))
    largest = np.exp(relative.max(axis=(0, 1)))
    return tail_shapes(relative.reshape(-1, relative.shape[2])), largest, share


class _Keys:
    """A stream of random keys."""

    def __init__(self, seed: int) -> None:
        self._key = jax.random.key(seed)

    def next(self) -> Array:
        """A key that was not used before."""
        self._key, use = jax.random.split(self._key)
        return use


class _Program:
    """A function of a group, compiled once for all batches of one size."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._compiled: tuple[object, Callable[..., Any]] | None = None

    def __call__(self, group: Group, key: Array, points: np.ndarray, near: Frames) -> Any:
        """The function's value as arrays of NumPy."""
        mark = (group.rule.nodes.shape, {name: value.shape for name, value in group.model.arrays.items()})
        if self._compiled is None or self._compiled[0] != mark:
            self._compiled = (mark, jax.jit(lambda *given: self._function(group, *given)))
        numbers = {
            "model": dict(group.model.arrays),
            "nodes": group.rule.nodes,
            "log_weights": group.rule.log_weights,
            "mean": near.mean,
            "root": near.root,
        }
        return jax.tree.map(np.asarray, self._compiled[1](key, jnp.asarray(points), numbers))


def _batches(chosen: np.ndarray, size: int) -> list[np.ndarray]:
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]


def _part(group: Group, chosen: np.ndarray) -> Group:
    rule = Rule(group.rule.nodes[:, :, chosen], group.rule.log_weights[:, chosen])
    return Group(group.patients[chosen], take_patients(group.model, chosen), rule)


def _locate(group: Group, _: Array, points: Array, numbers: Numbers) -> tuple[Array, Array]:
    """Mean ``[effect, patient]`` and root of the covariance of the effects over populations ``[point, coordinate]``.

    By the rule of the group, which has several nodes.
    """
    nodes = jnp.asarray(numbers["nodes"])

    def share(population: Array) -> Array:
        values = jax.vmap(lambda rows: patient_density(group, population, rows, numbers))(nodes)
        return jax.nn.softmax(values + jnp.asarray(numbers["log_weights"]), axis=0)

    weight = jnp.mean(jax.lax.map(share, points), axis=0)
    mean = jnp.einsum("qp,qkp->kp", weight, nodes)
    apart = nodes - mean
    held = jnp.einsum("ikp,jkp->ijp", numbers["root"], numbers["root"])
    covariance = jnp.einsum("qp,qip,qjp->ijp", weight, apart, apart) + _LEAST_SHARE * held
    return mean, jnp.moveaxis(jnp.linalg.cholesky(jnp.moveaxis(covariance, 2, 0)), 0, 2)


def _weigh(group: Group, key: Array, points: Array, numbers: Numbers) -> Array:
    """Log importance weights ``[point, proposal, patient]`` of fresh proposals at each population."""

    def at(given: tuple[Array, Array]) -> Array:
        key, population = given
        keys = jax.random.split(key, _JUDGED_PROPOSALS // _AT_ONCE)

        def some(key: Array) -> Array:
            standard, _ = _propose(key, _AT_ONCE, numbers["mean"].shape)
            return _log_weights(group, population, standard, numbers)

        return jax.lax.map(some, keys).reshape(_JUDGED_PROPOSALS, -1)

    return jax.lax.map(at, (jax.random.split(key, len(points)), points))


def _draw(group: Group, key: Array, points: Array, numbers: Numbers) -> Array:
    """Effects ``[point, effect, patient]``, a chain along populations ``[point, coordinate]``."""
    shape = numbers["mean"].shape

    def move(state: tuple[Array, Any], given: tuple[Array, Array]) -> tuple[tuple[Array, Any], Array]:
        current, (standard, log_uniform) = state
        key, population = given
        candidates = jnp.concatenate([current[None], standard])
        weight = _log_weights(group, population, candidates, numbers)
        own = weight[0]
        for turn in range(_PROPOSALS):
            is_taken = log_uniform[turn] < weight[1 + turn] - own
            current = jnp.where(is_taken, standard[turn], current)
            own = jnp.where(is_taken, weight[1 + turn], own)
        # The next step's random numbers are part of the state: made inside it they would be made anew
        # for everything that reads them.
        return (current, _propose(key, _PROPOSALS, shape)), _place(current[None], numbers)[0]

    first, rest = jax.random.split(key)
    start = (jnp.zeros(shape), _propose(first, _PROPOSALS, shape))
    return jax.lax.scan(move, start, (jax.random.split(rest, len(points)), points))[1]


def _propose(key: Array, count: int, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Standardized proposals ``[proposal, effect, patient]`` of a Student t, logs of uniforms ``[proposal, patient]``.

    Half precision of a double is enough for where to look; densities are taken at the very number.
    """
    normal, other = jax.random.split(key)
    z = jax.random.normal(normal, (count, *shape), jnp.float32)
    logs = jax.random.exponential(other, (_FREEDOM // 2 + 1, count, shape[1]), jnp.float32)
    # A sum of exponentials has the gamma distribution that makes a normal a Student t.
    stretch = jnp.sum(logs[1:], axis=0) / (_FREEDOM / 2)
    standard = (z / jnp.sqrt(stretch)[:, None]).astype(float)
    return standard, -logs[0].astype(float)


def _place(standard: Array, numbers: Numbers) -> Array:
    """Effects at standardized ones ``[proposal, effect, patient]``."""
    mean, root = numbers["mean"], numbers["root"]
    rows = [
        sum(root[row, column] * standard[:, column] for column in range(row + 1)) for row in range(len(mean))
    ]
    return mean + jnp.stack(rows, axis=1)


def _log_weights(group: Group, population: Array, standard: Array, numbers: Numbers) -> Array:
    """Log weights ``[proposal, patient]``, up to a constant of each patient."""
    effects = numbers["mean"].shape[0]
    log_q = -0.5 * (_FREEDOM + effects) * jnp.log1p(jnp.sum(standard**2, axis=1) / _FREEDOM)
    density = jax.vmap(lambda rows: patient_density(group, population, rows, numbers))
    weight = density(_place(standard, numbers)) - log_q
    return jnp.where(jnp.isfinite(weight), weight, -jnp.inf)


def patient_density(group: Group, population: Array, effects: Array, numbers: Numbers) -> Array:
    """Log density ``[patient]`` of a group's patients at their effects ``[effect, patient]``."""
    model = group.model.with_arrays(numbers["model"])
    return score(model, join_blocks(model, population, effects)).patient_log_density
