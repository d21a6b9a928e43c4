"""Each patient's log likelihood given the population alone, their own effects integrated out.

``log p(y_i | population) = log of the integral of p(y_i | effects, population) p(effects | population)``, in
frames that follow the population (`inference.marginal.rules`): Gauss-Hermite products whose nodes are raised until the
answer stops moving, importance sampling where there are too many effects for that.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from hierarchical_twin.analysis.patient_summary import STATISTICS
from hierarchical_twin.analysis.variables import patients_of, posterior_of
from hierarchical_twin.dims import CHAIN, DRAW, PATIENT, STATISTIC
from hierarchical_twin.graph.blocks import join_blocks
from hierarchical_twin.graph.evaluate import parameters_at, score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.curvature import blank_information, make_information, quadratic_at
from hierarchical_twin.inference.marginal.quadrature import standard_grid
from hierarchical_twin.inference.marginal.rules import Frames, Rule, find_frames
from hierarchical_twin.inference.patients import Densities, take_patients
from hierarchical_twin.inference.pilot import informed
from hierarchical_twin.prediction.importance import find_wide_frames, judge_rule, sampling_rule
from hierarchical_twin.prediction.points import population_points

Array = Any

SETTLED = 0.005
"""Change of a log likelihood, at any of the draws tried, below which more nodes are not worth having."""
TYPICAL, LARGEST = 0.03, 0.15
"""With `_DEAR` effects or more: root mean square over the draws tried, and largest, of such a change.

The next level is thousands of nodes there, and an elpd is a mean over draws: what one of them is off by hardly
tells.
"""
_DEAR = 4
_ROUGH, _GOOD_TAIL = 0.1, 0.7
"""With fewer effects, a largest change that no nodes brought below this is said; and the greatest good k-hat."""
_LEVELS: Mapping[int, tuple[int, ...]] = {
    0: (1,),
    1: (3, 7, 15, 31, 61),
    2: (3, 5, 9, 17, 31),
    3: (3, 5, 9, 13),
    4: (3, 5, 7),
}
"""Nodes in each effect, by effects; where there are more effects, importance sampling."""
_SPACED = 16
_PLACES_AT_ONCE = 50_000


@dataclass(frozen=True, eq=False)
class FramedPatients:
    """A model in informed frames, and where each patient's effects lie there.

    Attributes
    ----------
    model : Model
        Every patient effect informed, outer levels non-centred.
    frames : Frames
    """

    model: Model
    frames: Frames

    @property
    def effects(self) -> int:
        """Random effects of each patient."""
        return len(self.frames.mean)

    def take(self, chosen: np.ndarray) -> FramedPatients:
        """Those of some patients."""
        return FramedPatients(take_patients(self.model, chosen), self.frames.take(chosen))


@dataclass(frozen=True, eq=False)
class Marginals:
    """Log likelihoods of patients given the population.

    Attributes
    ----------
    log_likelihood : ndarray, shape [chain, draw, patient]
    moved : ndarray, shape [patient]
        By how much, at the worst of a few telling draws, more nodes changed it; 0 by importance sampling.
    k_hat : ndarray, shape [patient]
        Tail shape of the weights by importance sampling; NaN by quadrature.
    is_rough : ndarray of bool, shape [patient]
        Where neither is exact: it still moved with the most nodes, or the k-hat is high.
    """

    log_likelihood: np.ndarray
    moved: np.ndarray
    k_hat: np.ndarray
    is_rough: np.ndarray


def frame_patients(model: Model, tree: xr.DataTree) -> FramedPatients:
    """Frames around a fit's posterior means, without another optimisation.

    Parameters
    ----------
    model : Model
        Of the fit, in any parameterization.
    tree : xr.DataTree
        The fit's.
    """
    blank = informed(model, blank_information(model))
    points = population_points(blank, posterior_of(tree))
    center = points.reshape(-1, points.shape[-1]).mean(axis=0)
    start = jnp.asarray(center)
    none = jnp.zeros((_count_effects(blank), model.size(PATIENT)))
    scales = parameters_at(blank, join_blocks(blank, start, none))
    effects = _standard_means(tree, scales) if len(none) else none
    flat = join_blocks(blank, start, jnp.asarray(effects))
    values, expanded = jax.jit(lambda at: (parameters_at(blank, at), quadratic_at(blank)(at)))(flat)
    own = informed(model, make_information(blank, values, expanded))
    densities = Densities(own)
    if len(none) > max(_LEVELS):
        return FramedPatients(own, find_wide_frames(densities, center, len(none)))
    return FramedPatients(own, find_frames(densities, center, len(none)))


def integrate_effects(framed: FramedPatients, points: np.ndarray, *, seed: int = 0) -> Marginals:
    """Log likelihood of every patient at every draw of the population.

    Parameters
    ----------
    framed : FramedPatients
    points : ndarray, shape [chain, draw, coordinate]
        As from `population_points`.
    seed : int
        Of the importance sampling, where there is any.
    """
    shape = (*points.shape[:2], framed.model.size(PATIENT))
    flat = points.reshape(-1, points.shape[-1])
    if framed.effects > max(_LEVELS):
        rule = sampling_rule(framed.frames, seed)
        k_hat = judge_rule(Densities(framed.model), rule, flat)
        found = rule_integrals(framed.model, rule, flat)
        return Marginals(found.reshape(shape), np.zeros(shape[2]), k_hat, k_hat > _GOOD_TAIL)
    values, moved = _raise_nodes(framed, flat)
    is_rough = moved > (LARGEST if framed.effects >= _DEAR else _ROUGH)
    return Marginals(values.reshape(shape), moved, np.full(shape[2], np.nan), is_rough)


def _raise_nodes(framed: FramedPatients, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log integrals ``[point, patient]`` with as many nodes as each patient needs, and what more would change."""
    counts, moved = _choose_counts(framed, points[_telling(points)])
    found = np.empty((len(points), len(counts)))
    for count in np.unique(counts):
        chosen = np.flatnonzero(counts == count)
        own = framed.take(chosen)
        found[:, chosen] = rule_integrals(own.model, _product(own.frames, int(count)), points)
    return found, moved


def _telling(points: np.ndarray) -> np.ndarray:
    """Places of a few draws: evenly spaced ones, and those that are extreme in a coordinate."""
    spaced = np.linspace(0, len(points) - 1, min(_SPACED, len(points))).astype(int)
    return np.unique(np.concatenate([spaced, points.argmin(axis=0), points.argmax(axis=0)]))


def _choose_counts(framed: FramedPatients, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in each effect ``[patient]`` beyond which the draws hardly move, and by how much the worst still did.

    With up to three effects no draw may move by more than `SETTLED`. With four, where five nodes in each are
    625 and seven are 2,401, the root mean square over the draws may be `TYPICAL`, and the largest `LARGEST`.
    """
    levels = _LEVELS[framed.effects]
    patients = framed.model.size(PATIENT)
    counts, moved, active = np.full(patients, levels[-1]), np.zeros(patients), np.arange(patients)
    found = rule_integrals(framed.model, _product(framed.frames, levels[0]), points)
    for fewer, more in itertools.pairwise(levels):
        own = framed.take(active)
        values = rule_integrals(own.model, _product(own.frames, more), points)
        change = _change(values, found)
        moved[active] = largest = change.max(axis=0)
        is_settled = largest <= SETTLED
        if framed.effects >= _DEAR:
            is_settled = (np.sqrt(np.mean(change**2, axis=0)) <= TYPICAL) & (largest <= LARGEST)
        counts[active[is_settled]] = fewer
        active, found = active[~is_settled], values[:, ~is_settled]
        if not len(active):
            break
    return counts, moved


def _change(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Absolute change ``[point, patient]``; two that are impossible alike do not differ."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(new - old)
    return np.where(np.isneginf(new) & np.isneginf(old), 0.0, apart)


def _product(frames: Frames, count: int) -> Rule:
    """The Gauss-Hermite product of so many nodes in each effect, in each patient's frame."""
    standard, constant = standard_grid((count,) * len(frames.mean))
    return Rule(frames.place(standard), constant[:, None] + frames.log_volume)


def rule_integrals(model: Model, rule: Rule, points: np.ndarray) -> np.ndarray:
    """Log integrals ``[point, patient]`` by a rule, at populations ``[point, coordinate]``; compiled as one loop."""
    nodes, patients = len(rule.nodes), model.size(PATIENT)
    together = max(1, _PLACES_AT_ONCE // patients)
    batch = int(np.clip(together // nodes, 1, len(points)))

    @jax.jit
    def integrate(points: Array, nodes_of: Array, log_weights: Array, numbers: Mapping[str, Array]) -> Array:
        own = model.with_arrays(numbers)

        def at(population: Array) -> Array:
            def density(effects: Array) -> Array:
                return score(own, join_blocks(own, population, effects)).patient_log_density

            values = jax.lax.map(density, nodes_of, batch_size=min(nodes, together))
            values = jnp.where(jnp.isfinite(values), values, -jnp.inf)
            return jax.nn.logsumexp(values + log_weights, axis=0)

        return jax.lax.map(at, points, batch_size=batch)

    # Whole batches: a shorter last one would be a second program to compile.
    padded = points[np.minimum(np.arange(-(-len(points) // batch) * batch), len(points) - 1)]
    numbers = {name: jnp.asarray(value) for name, value in model.numbers.items()}
    given = (jnp.asarray(padded), jnp.asarray(rule.nodes), jnp.asarray(rule.log_weights))
    return np.array(integrate(*given, numbers))[: len(points)]


def _count_effects(model: Model) -> int:
    return len(model.cohort.effects.get(PATIENT, ()))


def _standard_means(tree: xr.DataTree, scales: Mapping[str, Array]) -> np.ndarray:
    """Posterior means of the patients' effects as standard normals ``[effect, patient]``."""
    eta = patients_of(tree)["eta"]
    if STATISTIC in eta.dims:
        mean = eta.isel({STATISTIC: STATISTICS.index("mean")}).values
    else:
        mean = eta.mean((CHAIN, DRAW)).values
    scaled = (mean / np.asarray(scales["omega"])).T
    if "omega_cholesky" in scales:
        scaled = np.linalg.solve(np.asarray(scales["omega_cholesky"]), scaled)
    return scaled
