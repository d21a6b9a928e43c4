"""Each patient's effects given draws of the population, and what these draws say of the integrals.

Proposals come from a heavy-tailed Student t where the patient's effects lie; one of several is taken by
its weight, and once more against fresh ones (iterated sampling importance resampling: Andrieu, Lee and
Vihola 2018, doi:10.3150/17-BEJ955). Patients come in batches, so memory is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from hierarchical_twin.graph.blocks import join_blocks
from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.inference.marginal import Group, Plan, patient_integrals
from hierarchical_twin.inference.patients import take_patients
from hierarchical_twin.inference.rules import Rule
from hierarchical_twin.inference.tails import tail_shapes

Array = Any

_FREEDOM = 6.0
_WIDTH = 1.1
_LEAST_SHARE = 0.05
_PROPOSALS = 8
_ROUNDS = 2
_JUDGED, _JUDGED_PROPOSALS = 16, 128
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
    log_error : ndarray, shape [patient]
        Log of the mean importance weight, averaged over populations: 0 where the plan's integral is
        right; the plan's correction, which is of the sum over patients, is not in it.
    """

    patients: np.ndarray
    effects: np.ndarray
    k_hat: np.ndarray
    largest: np.ndarray
    efficiency: np.ndarray
    log_error: np.ndarray


def draw_effects(plan: Plan, population: np.ndarray, seed: int) -> Iterator[PatientDraws]:
    """Draw every patient's effects given each draw of the population, batch of patients by batch.

    Parameters
    ----------
    plan : Plan
    population : ndarray, shape [chain, draw, coordinate]
    seed : int
    """
    chains, draws, _ = population.shape
    points = jnp.asarray(population.reshape(chains * draws, -1))
    judged = points[np.linspace(0, len(points) - 1, _JUDGED).astype(int)]
    rows = (plan.frames.mean.shape[0] * len(points) + 4 * _JUDGED * _JUDGED_PROPOSALS) * 8
    batch = max(1, int(_BATCH_BYTES / rows))
    key = jax.random.key(seed)
    compiled: tuple[bytes, Callable[..., Any]] | None = None
    for group in plan.groups:
        for start in range(0, len(group.patients), batch):
            own = _part(group, np.arange(start, min(start + batch, len(group.patients))))
            # Batches that differ in their numbers alone share one compiled program.
            mark = _fixed_arrays(own)
            if compiled is None or compiled[0] != mark:
                compiled = (mark, jax.jit(_sampler(own)))
            near = plan.frames.take(own.patients)
            numbers = {
                "model": own.model.numbers,
                "nodes": own.rule.nodes,
                "log_weights": own.rule.log_weights,
                "mean": near.mean,
                "root": near.root,
            }
            key, use = jax.random.split(key)
            effects, weights = (np.asarray(x) for x in compiled[1](use, points, judged, numbers))
            effects = effects.reshape(chains, draws, *effects.shape[1:])
            yield PatientDraws(own.patients, effects, *_judge_weights(weights))


def _judge_weights(log_weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Tail shape, largest weight, efficiency and error of the log integral from ``[judged, proposal, patient]``."""
    top = log_weights.max(axis=1, keepdims=True)
    size = np.log(np.mean(np.exp(log_weights - top), axis=1, keepdims=True)) + top
    # Over each population's own mean: that of another population is another integral.
    relative = log_weights - size
    share = 1.0 / np.mean(np.exp(2.0 * relative), axis=(0, 1))
    largest = np.exp(relative.max(axis=(0, 1)))
    return tail_shapes(relative.reshape(-1, relative.shape[2])), largest, share, size[:, 0].mean(axis=0)


def flat_draws(plan: Plan, population: np.ndarray, batches: list[PatientDraws]) -> np.ndarray:
    """Points ``[chain, draw, size]`` of the plan's model, from the population and all patients' draws."""
    effects = np.empty((*population.shape[:2], *plan.frames.mean.shape))
    for batch in batches:
        effects[..., batch.patients] = batch.effects
    join = jax.jit(jax.vmap(jax.vmap(lambda own, rows: join_blocks(plan.model, own, rows))))
    return np.asarray(join(jnp.asarray(population), jnp.asarray(effects)))


def _part(group: Group, chosen: np.ndarray) -> Group:
    rule = Rule(group.rule.nodes[:, :, chosen], group.rule.log_weights[:, chosen])
    return Group(group.patients[chosen], take_patients(group.model, chosen), rule)


def _fixed_arrays(group: Group) -> bytes:
    """What a compiled program of a group's patients depends on besides their numbers."""
    fixed = [value.tobytes() for value in group.model.arrays.values() if value.dtype.kind != "f"]
    return b"".join([str(group.rule.nodes.shape).encode(), *fixed])


def _sampler(group: Group) -> Callable[..., tuple[Array, Array]]:
    """The function that draws a group's effects ``[point, effect, patient]`` at populations ``[point, coordinate]``.

    The log weights ``[judged, proposal, patient]`` it returns besides, over the integral, are those of
    many proposals at a few of these populations.
    """

    def run(key: Array, points: Array, judged: Array, numbers: Any) -> tuple[Array, Array]:
        def draw(_: None, given: tuple[Array, Array]) -> tuple[None, Array]:
            key, population = given
            use = jax.random.split(key, 2 * _ROUNDS)
            _, near = _located(group, population, numbers)
            placed, weight = _propose(group, use[0], population, near, numbers)
            current, own = _choose(use[1], placed, weight)
            for turn in range(1, _ROUNDS):
                placed, weight = _propose(group, use[2 * turn], population, near, numbers)
                placed = jnp.concatenate([current[None], placed[1:]])
                weight = jnp.concatenate([own[None], weight[1:]])
                current, own = _choose(use[2 * turn + 1], placed, weight)
            return None, current

        def weigh(given: tuple[Array, Array]) -> Array:
            key, population = given
            integral, near = _located(group, population, numbers)
            keys = jax.random.split(key, _JUDGED_PROPOSALS // _PROPOSALS)
            found = jax.lax.map(lambda own: _propose(group, own, population, near, numbers)[1], keys)
            return found.reshape(_JUDGED_PROPOSALS, -1) - integral

        first, second = jax.random.split(key)
        effects = jax.lax.scan(draw, None, (jax.random.split(first, len(points)), points))[1]
        return effects, jax.lax.map(weigh, (jax.random.split(second, len(judged)), judged))

    return run


def _propose(
    group: Group, key: Array, population: Array, near: tuple[Array, Array], numbers: Any
) -> tuple[Array, Array]:
    """Proposals ``[proposal, effect, patient]`` of a Student t and their log weights."""
    mean, root = near
    effects, patients = mean.shape
    constant = gammaln((_FREEDOM + effects) / 2) - gammaln(_FREEDOM / 2)
    constant = constant - 0.5 * effects * jnp.log(_FREEDOM * jnp.pi)
    volume = jnp.sum(jnp.log(jnp.einsum("iip->pi", root)), axis=1)
    normal, gamma = jax.random.split(key)
    z = jax.random.normal(normal, (_PROPOSALS, effects, patients))
    stretch = jax.random.gamma(gamma, _FREEDOM / 2, (_PROPOSALS, 1, patients)) / (_FREEDOM / 2)
    z = z / jnp.sqrt(stretch)
    placed = mean + jnp.einsum("ijp,qjp->qip", root, z)
    log_q = constant - (_FREEDOM + effects) / 2 * jnp.log1p(jnp.sum(z * z, axis=1) / _FREEDOM) - volume
    density = jax.vmap(lambda rows: patient_density(group, population, rows, numbers))(placed)
    weight = density - log_q
    return placed, jnp.where(jnp.isfinite(weight), weight, -jnp.inf)


def _located(group: Group, population: Array, numbers: Any) -> tuple[Array, tuple[Array, Array]]:
    """Log integrals ``[patient]``, and the centre and root of the proposals at one population.

    A rule of several nodes knows the mean and covariance of the effects at every population.
    """
    nodes = jnp.asarray(numbers["nodes"])
    if len(nodes) == 1:
        integral = patient_integrals(group, population, numbers)
        return integral, (numbers["mean"], _WIDTH * numbers["root"])
    values = jax.vmap(lambda rows: patient_density(group, population, rows, numbers))(nodes)
    values = values + jnp.asarray(numbers["log_weights"])
    integral = jax.nn.logsumexp(values, axis=0)
    weight = jnp.exp(values - integral)
    mean = jnp.einsum("qp,qkp->kp", weight, nodes)
    apart = nodes - mean
    held = jnp.einsum("ikp,jkp->ijp", numbers["root"], numbers["root"])
    covariance = jnp.einsum("qp,qip,qjp->ijp", weight, apart, apart) + _LEAST_SHARE * held
    return integral, (mean, _WIDTH * _small_roots(covariance))


def _small_roots(matrices: Array) -> Array:
    """Lower Cholesky factors of ``[effect, effect, patient]``, column by column of all patients at once."""
    size = len(matrices)
    root = [[jnp.zeros(matrices.shape[2])] * size for _ in range(size)]
    for column in range(size):
        for row in range(column, size):
            inner = sum(root[row][k] * root[column][k] for k in range(column))
            entry = matrices[row, column] - inner
            root[row][column] = jnp.sqrt(entry) if row == column else entry / root[column][column]
    return jnp.stack([jnp.stack(row) for row in root])


def patient_density(group: Group, population: Array, effects: Array, numbers: Any) -> Array:
    """Log density ``[patient]`` of a group's patients at their effects ``[effect, patient]``."""
    model = group.model.with_arrays(numbers["model"])
    return score(model, join_blocks(model, population, effects)).patient_log_density


def _choose(key: Array, placed: Array, weight: Array) -> tuple[Array, Array]:
    """One of each patient's proposals ``[proposal, effect, patient]`` by its weight."""
    chosen = jax.random.categorical(key, weight, axis=0)
    own = jnp.take_along_axis(weight, chosen[None], axis=0)[0]
    return jnp.take_along_axis(placed, chosen[None, None], axis=0)[0], own
