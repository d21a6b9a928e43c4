"""Each patient's effects given draws of the population, and whether these draws may be trusted.

A patient's effects move by Metropolis steps whose proposals come from one heavy-tailed Student t, made
for that patient around the populations drawn. In informed frames the effects hardly depend on the
population, so the chain goes on from one population to the next, and nearly every proposal is taken;
patients for whom a trial finds the proposals poor get more of them, and patients whose effects are
exactly standard normal in their frames (a linear mechanism with a normal error) need none. Patients come
in batches, so memory is bounded.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.graph.blocks import join_blocks, mark_population, patient_slots
from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.inference.device import Place, map_ahead
from hierarchical_twin.inference.marginal.density import Group, Plan
from hierarchical_twin.inference.marginal.rules import Frames
from hierarchical_twin.inference.marginal.tails import tail_shapes
from hierarchical_twin.inference.patients import take_patients

Array = Any
Numbers = Mapping[str, Any]

_FREEDOM = 10
_WIDTH = 1.05
_LEAST_SHARE = 0.05
_STEPS = {0.85: 1, 0.6: 3, 0.0: 12}
"""Steps between draws, by the least efficiency of a patient's proposals."""
_SETTLING = 10
_JUDGED, _JUDGED_PROPOSALS, _AT_ONCE = 8, 128, 8
_BATCH_BYTES = 2e8
_ROUNDING = 1e-4
_SHARES, _LEAST_BATCH = 4, 64


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


def draw_effects(plan: Plan, population: np.ndarray, seed: int, place: Place) -> Iterator[PatientDraws]:
    """Draw every patient's effects given each draw of the population, batch of patients by batch.

    Parameters
    ----------
    plan : Plan
    population : ndarray, shape [chain, draw, coordinate]
    seed : int
    place : Place
        On whose workers batches are drawn.
    """
    points = population.reshape(-1, population.shape[2])
    most = max(1, int(_BATCH_BYTES / 8 / max(len(plan.frames.mean), 1) / len(points)))
    keys, generators = _Keys(seed), np.random.default_rng([seed, 0xEFFEC7])
    for group in plan.groups:
        proposals, judged = _judge(group, plan.frames.take(group.patients), points, keys, place)
        size = min(_share(int((~judged.is_normal).sum())), most)
        drawing = _Drawing(group, proposals, points, size, _Program(_draw))
        normal = np.flatnonzero(judged.is_normal)
        jobs = [(0, own) for own in _batches(normal, min(_share(len(normal)), most))]
        for steps in _STEPS.values():
            own = np.flatnonzero(~judged.is_normal & (judged.steps == steps))
            jobs += [(steps, own) for own in _batches(own, size)]
        numbered = [(*job, keys.next(), generators.spawn(1)[0]) for job in jobs]
        for (_, own), effects in zip(jobs, map_ahead(drawing, numbered, place), strict=True):
            words = (judged.k_hat[own], judged.largest[own], judged.efficiency[own])
            effects = effects.reshape(*population.shape[:2], *effects.shape[1:])
            yield PatientDraws(group.patients[own], effects, *words)


@dataclass(frozen=True, eq=False)
class _Drawing:
    """Draws for some of a group's patients, `size` at a time: one program serves all batches."""

    group: Group
    proposals: Frames
    points: np.ndarray
    size: int
    program: _Program

    def __call__(self, job: tuple[int, np.ndarray, Array, np.random.Generator]) -> np.ndarray:
        """Effects ``[point, effect, patient]`` by so many steps for each point, or none where they are normal."""
        steps, own, key, generator = job
        if not steps:
            return generator.standard_normal((len(self.points), len(self.proposals.mean), len(own)))
        filled = np.resize(own, self.size)
        near = self.proposals.take(filled)
        return self.program(_part(self.group, filled), key, self.points, near, np.asarray(steps))[
            ..., : len(own)
        ]


def flat_draws(plan: Plan, population: np.ndarray, batches: Iterable[PatientDraws]) -> np.ndarray:
    """Points ``[chain, draw, size]`` of the plan's model, from the population and all patients' draws."""
    marked = mark_population(plan.model)
    flat = np.empty((*population.shape[:2], marked.size))
    flat[..., marked] = population
    for batch in batches:
        row = 0
        for slot in patient_slots(plan.model):
            rows = math.prod(slot.shape[1:])
            own = flat[..., slot.start : slot.stop].reshape(*population.shape[:2], slot.shape[0], rows)
            own[:, :, _as_slice(batch.patients)] = np.moveaxis(batch.effects[:, :, row : row + rows], 2, 3)
            row += rows
    return flat


def _as_slice(places: np.ndarray) -> slice | np.ndarray:
    """The same places, as a slice where they follow each other: it is written several times faster."""
    return slice(places[0], places[-1] + 1) if np.all(np.diff(places) == 1) else places


@dataclass(frozen=True, eq=False)
class _Judged:
    """How good the proposals are ``[patient]``, as in `PatientDraws`, and whether effects are standard normal."""

    k_hat: np.ndarray
    largest: np.ndarray
    efficiency: np.ndarray
    is_normal: np.ndarray

    @property
    def steps(self) -> np.ndarray:
        """Steps between draws ``[patient]``."""
        least = np.array(list(_STEPS))
        return np.array(list(_STEPS.values()))[
            np.argmax(np.nan_to_num(self.efficiency)[:, None] >= least, axis=1)
        ]


def _judge(
    group: Group, frames: Frames, points: np.ndarray, keys: _Keys, place: Place
) -> tuple[Frames, _Judged]:
    """Where each of a group's patients is proposed, and how good these proposals are at a few populations."""
    at = points[np.linspace(0, len(points) - 1, _JUDGED).astype(int)]
    weigh, everyone = _Program(_weigh), len(group.patients)
    size = min(_share(everyone), int(_BATCH_BYTES / 8 / _JUDGED / _JUDGED_PROPOSALS))

    def judge(job: tuple[np.ndarray, Array]) -> tuple[np.ndarray, ...]:
        own, key = job
        filled = np.resize(own, size)
        (mean, root), weights, apart = weigh(_part(group, filled), key, at, frames.take(filled))
        return tuple(found[..., : len(own)] for found in (mean, root, *_judge_weights(weights, apart)))

    jobs = [(own, keys.next()) for own in _batches(np.arange(everyone), size)]
    mean, root, *judged = (
        np.concatenate(parts, axis=-1) for parts in zip(*map_ahead(judge, jobs, place), strict=True)
    )
    return Frames(mean, root), _Judged(*judged)


def _share(patients: int) -> int:
    """Patients of a batch, so that several workers have some: the same however many there are, as draws must be."""
    return max(1, min(patients, _LEAST_BATCH), -(-patients // _SHARES))


def _judge_weights(log_weights: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, ...]:
    """What `_Judged` holds, from log weights ``[judged, proposal, patient]`` and differences ``[judged, patient]``."""
    top = log_weights.max(axis=1, keepdims=True)
    size = np.log(np.mean(np.exp(log_weights - top), axis=1, keepdims=True)) + top
    # Over each population's own mean: that of another population is another integral.
    relative = log_weights - size
    share = 1.0 / np.mean(np.exp(2.0 * relative), axis=(0, 1))
    largest = np.exp(relative.max(axis=(0, 1)))
    k_hat = tail_shapes(relative.reshape(-1, relative.shape[2]))
    return k_hat, largest, share, apart.max(axis=0) < _ROUNDING


class _Keys:
    """A stream of random keys."""

    def __init__(self, seed: int) -> None:
        self._key = jax.random.key(seed, impl="unsafe_rbg")

    def next(self) -> Array:
        """A key that was not used before."""
        self._key, use = jax.random.split(self._key)
        return use


class _Program:
    """A function of a group, compiled once: all batches are of one size."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._compiled: Callable[..., Any] | None = None
        self._lock = threading.Lock()

    def __call__(self, group: Group, key: Array, points: np.ndarray, near: Frames, *more: Any) -> Any:
        """The function's value as arrays of NumPy; `more` are its arguments after `numbers`."""
        numbers = {
            "model": dict(group.model.arrays),
            "nodes": group.rule.nodes,
            "log_weights": group.rule.log_weights,
            "mean": near.mean,
            "root": near.root,
        }
        given = (key, jnp.asarray(points), numbers, *more)
        with self._lock:
            if self._compiled is None:
                self._compiled = jax.jit(lambda *given: self._function(group, *given)).lower(*given).compile()
        return jax.tree.map(np.asarray, self._compiled(*given))


def _batches(chosen: np.ndarray, size: int) -> list[np.ndarray]:
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]


def _part(group: Group, chosen: np.ndarray) -> Group:
    return Group(group.patients[chosen], take_patients(group.model, chosen), group.rule.take(chosen))


def _locate(group: Group, points: Array, numbers: Numbers) -> tuple[Array, Array]:
    """Mean ``[effect, patient]`` and root of the covariance of the effects over populations ``[point, coordinate]``.

    By the rule of the group if it has several nodes; else the frames'.
    """
    nodes = jnp.asarray(numbers["nodes"])
    if len(nodes) == 1:
        return numbers["mean"], numbers["root"]

    def share(population: Array) -> Array:
        values = jax.vmap(lambda rows: patient_density(group, population, rows, numbers))(nodes)
        return jax.nn.softmax(values + jnp.asarray(numbers["log_weights"]), axis=0)

    weight = jnp.mean(jax.lax.map(share, points), axis=0)
    mean = jnp.einsum("qp,qkp->kp", weight, nodes)
    apart = nodes - mean
    held = jnp.einsum("ikp,jkp->ijp", numbers["root"], numbers["root"])
    covariance = jnp.einsum("qp,qip,qjp->ijp", weight, apart, apart) + _LEAST_SHARE * held
    return mean, jnp.moveaxis(jnp.linalg.cholesky(jnp.moveaxis(covariance, 2, 0)), 0, 2)


def _weigh(group: Group, key: Array, points: Array, numbers: Numbers) -> tuple[Any, Array, Array]:
    """Where effects are proposed, and how fresh proposals fare at each population.

    Returns
    -------
    near : tuple of Array, shape [effect, patient] and [effect, effect, patient]
        Mean and root of the proposals.
    log_weights : Array, shape [point, proposal, patient]
    apart : Array, shape [point, patient]
        By how much the log density differs at most from a standard normal's, relative to its constant.
    """

    mean, root = _locate(group, points, numbers)
    near = (mean, _WIDTH * root)
    numbers = {**numbers, "mean": near[0], "root": near[1]}

    def at(given: tuple[Array, Array]) -> tuple[Array, Array]:
        key, population = given

        def some(key: Array) -> tuple[Array, Array]:
            standard, _ = _propose(key, _AT_ONCE, numbers["mean"].shape)
            placed = _place(standard, numbers)
            weight = _log_weights(group, population, standard, placed, numbers)
            square = jnp.sum(placed**2, axis=1)
            return weight, weight + _log_t(standard) + 0.5 * square

        keys = jax.random.split(key, _JUDGED_PROPOSALS // _AT_ONCE)
        weight, excess = (found.reshape(_JUDGED_PROPOSALS, -1) for found in jax.lax.map(some, keys))
        return weight, jnp.nan_to_num(jnp.max(excess, axis=0) - jnp.min(excess, axis=0), nan=jnp.inf)

    return near, *jax.lax.map(at, (jax.random.split(key, len(points)), points))


def _draw(group: Group, key: Array, points: Array, numbers: Numbers, steps: Array) -> Array:
    """Effects ``[point, effect, patient]``, a chain along populations ``[point, coordinate]``, so many steps each."""
    shape = numbers["mean"].shape

    def move(turn: Array, state: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        current, (standard, log_uniform), found = state
        place = jnp.maximum(turn // steps - _SETTLING, 0)
        both = jnp.stack([current, standard[0]])
        placed = _place(both, numbers)
        weight = _log_weights(group, points[place], both, placed, numbers)
        # Without the barrier the densities are computed anew for each of the two that read this.
        is_taken = jax.lax.optimization_barrier(log_uniform[0] < weight[1] - weight[0])
        current = jnp.where(is_taken, standard[0], current)
        found = found.at[place].set(jnp.where(is_taken, placed[1], placed[0]))
        # The next step's random numbers are part of the state: made inside it they would be made anew
        # for everything that reads them.
        return current, _propose(jax.random.fold_in(key, turn + 1), 1, shape), found

    start = (jnp.zeros(shape), _propose(key, 1, shape), jnp.zeros((len(points), *shape)))
    return jax.lax.fori_loop(0, (len(points) + _SETTLING) * steps, move, start)[2]


def _propose(key: Array, count: int, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Standardized proposals ``[proposal, effect, patient]`` of a Student t, logs of uniforms ``[proposal, patient]``.

    Half precision of a double is enough for where to look; densities are taken at the very number.
    """
    normal, other = jax.random.split(key)
    z = jax.random.normal(normal, (count, *shape), jnp.float32)
    uniform = 1.0 - jax.random.uniform(other, (_FREEDOM // 2 + 1, count, shape[1]), jnp.float32)
    # Minus the logarithm of a product of uniforms has the gamma distribution that makes a normal a Student t.
    stretch = -jnp.log(jnp.prod(uniform[1:], axis=0)) / (_FREEDOM / 2)
    standard = (z / jnp.sqrt(stretch)[:, None]).astype(float)
    return standard, jnp.log(uniform[0]).astype(float)


def _place(standard: Array, numbers: Numbers) -> Array:
    """Effects at standardized ones ``[proposal, effect, patient]``."""
    mean, root = numbers["mean"], numbers["root"]
    rows = [
        sum(root[row, column] * standard[:, column] for column in range(row + 1)) for row in range(len(mean))
    ]
    return mean + jnp.stack(rows, axis=1)


def _log_weights(group: Group, population: Array, standard: Array, placed: Array, numbers: Numbers) -> Array:
    """Log weights ``[proposal, patient]``, up to a constant of each, of effects as proposed and in place."""
    density = jax.vmap(lambda rows: patient_density(group, population, rows, numbers))
    weight = density(placed) - _log_t(standard)
    return jnp.where(jnp.isfinite(weight), weight, -jnp.inf)


def _log_t(standard: Array) -> Array:
    """Log density of a proposal ``[proposal, patient]``, without its constant."""
    # Proposals are numbers of single precision, in which a logarithm costs half: it errs by some 1e-6.
    square = jnp.sum(standard.astype(jnp.float32) ** 2, axis=1)
    return (-0.5 * (_FREEDOM + standard.shape[1]) * jnp.log1p(square / _FREEDOM)).astype(float)


def patient_density(group: Group, population: Array, effects: Array, numbers: Numbers) -> Array:
    """Log density ``[patient]`` of a group's patients at their effects ``[effect, patient]``."""
    model = group.model.with_arrays(numbers["model"])
    return score(model, join_blocks(model, population, effects)).patient_log_density
