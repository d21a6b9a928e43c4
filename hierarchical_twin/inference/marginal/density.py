"""The population's log density with every patient's effects integrated out.

In an informed frame a patient's effects are about standard normal whatever the population, so the
integral is taken at nodes that are fixed there, without an inner optimisation: one node for the patients
for whom a trial around the pilot finds that enough, and Gauss rules of their own for the others, with as
many nodes as the trial asks for. What the coarse rules still leave out is corrected by a quadratic in
the population, fitted to exact integrals; the trial says how much then remains.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.graph.blocks import join_blocks, mark_population, split_blocks
from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.marginal.correction import (
    Correction,
    count_terms,
    fit_correction,
    no_correction,
)
from hierarchical_twin.inference.marginal.rules import Frames, Rule, average_density, find_frames, make_rule
from hierarchical_twin.inference.marginal.trials import Trial, mark_harmless, run_trial
from hierarchical_twin.inference.patients import Densities, take_patients

Array = Any
Numbers = tuple[Mapping[str, Any], ...]

TOLERANCE = 0.05
"""Posterior SDs by which integration may move a population parameter's mean."""
_JUDGES = 24
_FIT_REACH = 1.3
_COUNTS = {0: (), 1: (2, 3, 4, 5, 7, 9, 15), 2: (2, 3, 4, 5, 7, 9), 3: (2, 3, 4, 5), 4: (2, 3, 4)}
_AVERAGED = 12
_BLOCK = 2_000
_MANY = 20_000
# Of many patients what is left is nearly quadratic, and few nodes leave little.
_MANY_RULES = 3_000


@dataclass(frozen=True, eq=False)
class Group:
    """Patients who are integrated with the same number of nodes.

    Attributes
    ----------
    patients : ndarray of int
        Their places in the whole model.
    model : Model
        The model of these patients alone.
    rule : Rule
    """

    patients: np.ndarray
    model: Model
    rule: Rule


@dataclass(frozen=True, eq=False)
class Plan:
    """How every patient is integrated.

    Attributes
    ----------
    model : Model
        With all effects informed.
    frames : Frames
        Where each patient's effects lie.
    groups : tuple of Group
    correction : Correction
        Added to the summed log integrals.
    spread : float
        SD, over the pilot's posterior, of what is left of the errors: no posterior mean moves by more
        of its SDs than that.
    unsettled : ndarray of int
        Patients whose exact integral could not be had.
    """

    model: Model
    frames: Frames
    groups: tuple[Group, ...]
    correction: Correction
    spread: float
    unsettled: np.ndarray

    @property
    def numbers(self) -> Numbers:
        """The arrays of real numbers that a compiled density takes as arguments."""
        return tuple(
            {"model": group.model.numbers, "nodes": group.rule.nodes, "log_weights": group.rule.log_weights}
            for group in self.groups
        )

    @property
    def nodes(self) -> dict[int, int]:
        """Nodes to how many patients have so many."""
        return {len(group.rule.nodes): len(group.patients) for group in self.groups}


def marginal_log_density(plan: Plan) -> Callable[..., Array]:
    """The population's log density, traceable and with its exact gradient.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    callable
        Population ``[coordinate]``, and the plan's `numbers` where they are to be arguments of a
        compiled function, to log prior plus the sum of the patients' log integrals.
    """

    def at(population: Array, numbers: Numbers | None = None) -> Array:
        total = plan.correction.at(population)
        for place, (group, own) in enumerate(zip(plan.groups, numbers or plan.numbers, strict=True)):
            prior, integrals = _group_integrals(group, population, own)
            total = total + jnp.sum(integrals) + (prior if place == 0 else 0.0)
        return total

    return at


def _group_integrals(group: Group, population: Array, numbers: Mapping[str, Any]) -> tuple[Array, Array]:
    """Log prior of the population, and log integrals ``[patient]``."""
    model = group.model.with_arrays(numbers["model"])

    def one(effects: Array) -> tuple[Array, Array]:
        scored = score(model, join_blocks(model, population, effects))
        return scored.log_prior, scored.patient_log_density

    nodes, log_weights = jnp.asarray(numbers["nodes"]), jnp.asarray(numbers["log_weights"])
    if len(nodes) == 1:
        prior, values = one(nodes[0])
        return prior, values + log_weights[0]
    priors, values = jax.vmap(one)(nodes)
    return priors[0], jax.nn.logsumexp(values + log_weights, axis=0)


def log_prior(plan: Plan, population: Array) -> Array:
    """The population's log prior on its unconstrained scale."""
    group = plan.groups[0]
    nodes = jnp.asarray(group.rule.nodes[0])
    return score(group.model, join_blocks(group.model, population, nodes)).log_prior


def make_plan(
    model: Model, center: np.ndarray, root: np.ndarray, *, tolerance: float = TOLERANCE, seed: int = 0
) -> Plan:
    """Find out, around a pilot, how each patient is best integrated.

    Parameters
    ----------
    model : Model
        With all patient effects informed, such as `Pilot.model`.
    center : ndarray, shape [coordinate]
        The population about the middle of its posterior.
    root : ndarray, shape [coordinate, coordinate]
        Of its approximate covariance, ``root root'``.
    tolerance : float
        Bound on `Plan.spread`.

    Returns
    -------
    Plan
        The cheapest that meets the tolerance, or the most accurate one.
    """
    densities = Densities(model)
    effects = count_effects(model)
    frames = find_frames(densities, center, effects)
    points = _trial_points(center, root, seed, densities.patients)
    trial = run_trial(densities, frames, points, tolerance / 5)
    is_judge = np.arange(len(points)) < _JUDGES
    seen = _Seen(center, root, trial, is_judge)
    missing = trial.exact - trial.one
    correction, spread = seen.best_correction(missing.sum(axis=1), tolerance)
    everyone = np.arange(missing.shape[1])
    one_node = _one_node(frames, trial)
    if spread <= tolerance or effects == 0:
        group = Group(everyone, model, one_node)
        return Plan(model, frames, (group,), correction, spread, trial.unsettled)
    hard = everyone[~mark_harmless(missing[is_judge], tolerance / 4)]
    counts = _COUNTS[effects] if len(hard) < _MANY_RULES else _COUNTS[effects][:2]
    rules = _hard_rules(model, frames, points, hard, counts)
    chosen, correction, spread = _cheapest(seen, missing, hard, rules, tolerance)
    groups = _make_groups(model, one_node, hard, rules, chosen)
    return Plan(model, frames, groups, correction, spread, trial.unsettled)


def count_effects(model: Model) -> int:
    """Random effects of each patient."""
    return split_blocks(model, jnp.zeros(mark_population(model).size))[1].shape[0]


@dataclass(frozen=True, eq=False)
class _Seen:
    """A trial, some of whose populations are kept to judge by."""

    center: np.ndarray
    root: np.ndarray
    trial: Trial
    is_judge: np.ndarray

    def best_correction(self, missing: np.ndarray, tolerance: float) -> tuple[Correction, float]:
        """No correction where none is needed or where it does harm, and the SD of what is left."""
        none = no_correction(self.center, self.root)
        raw = float(np.std(missing[self.is_judge]))
        if raw <= tolerance:
            return none, raw
        points = self.trial.points
        fitted = fit_correction(self.center, self.root, points[~self.is_judge], missing[~self.is_judge])
        left = float(np.std((missing - fitted.at(points))[self.is_judge]))
        return (fitted, left) if left < raw else (none, raw)


def _trial_points(center: np.ndarray, root: np.ndarray, seed: int, patients: int) -> np.ndarray:
    """Populations ``[point, coordinate]`` in pairs around the centre: first the judges, then wider ones."""
    generator = np.random.default_rng([seed, 0x7121A])
    ratio = 2.5 if patients < _MANY else 1.5
    fits = int(ratio * count_terms(len(center))) // 2 + 2
    half = [generator.standard_normal((count, len(center))) for count in (_JUDGES // 2, fits)]
    reach = (1.0, _FIT_REACH)
    steps = [size * sign * z for size, z in zip(reach, half, strict=True) for sign in (1, -1)]
    return center + np.concatenate(steps) @ root.T


def _one_node(frames: Frames, trial: Trial) -> Rule:
    """One node at each patient's mean, its weight such that it is right on average."""
    weight = np.mean(trial.exact - trial.one, axis=0) + frames.log_volume
    size = len(frames.mean) * 0.5 * np.log(2 * np.pi)
    return Rule(frames.mean[None], (weight + size)[None])


def _hard_rules(
    model: Model,
    frames: Frames,
    points: np.ndarray,
    hard: np.ndarray,
    counts: tuple[int, ...],
) -> dict[int, tuple[Rule, np.ndarray]]:
    """For each node count, the rule of the hard patients and their log integrals at the trial's points."""
    found: dict[int, list[tuple[Rule, np.ndarray]]] = {count: [] for count in counts}
    densities: Densities | None = None
    for start in range(0, len(hard), _BLOCK):
        block = hard[start : start + _BLOCK]
        densities = Densities(take_patients(model, block), like=densities)
        average = average_density(
            densities,
            frames.take(block),
            points[-_AVERAGED if len(hard) < _MANY_RULES else -_AVERAGED // 2 :],
        )
        for count in counts:
            rule = make_rule(average, count)
            found[count].append((rule, rule.integrals(densities, points)))
    return {count: _joined(parts) for count, parts in found.items()}


def _joined(parts: list[tuple[Rule, np.ndarray]]) -> tuple[Rule, np.ndarray]:
    rules = [rule for rule, _ in parts]
    nodes = np.concatenate([rule.nodes for rule in rules], axis=2)
    log_weights = np.concatenate([rule.log_weights for rule in rules], axis=1)
    return Rule(nodes, log_weights), np.concatenate([values for _, values in parts], axis=1)


def _cheapest(
    seen: _Seen,
    missing: np.ndarray,
    hard: np.ndarray,
    rules: Mapping[int, tuple[Rule, np.ndarray]],
    tolerance: float,
) -> tuple[np.ndarray, Correction, float]:
    """Nodes in each effect for each hard patient, of at most three sizes, and the correction that goes with it."""
    exact, is_judge = seen.trial.exact[:, hard], seen.is_judge
    errors = {1: missing[:, hard]} | {count: exact - values for count, (_, values) in rules.items()}
    easy = missing.sum(axis=1) - errors[1].sum(axis=1)
    spreads = {count: np.std(error[is_judge], axis=0) for count, error in errors.items()}
    effects = next(iter(rules.values()))[0].nodes.shape[1]
    best: tuple[tuple, np.ndarray, Correction, float] | None = None
    for pair in itertools.combinations_with_replacement(rules, 2):
        sizes = sorted({1, *pair})
        for threshold in np.geomspace(1e-5, 1.0, 21):
            chosen = np.full(len(hard), sizes[-1])
            for size in reversed(sizes):
                chosen[spreads[size] <= threshold] = size
            left = easy + sum(errors[size][:, chosen == size].sum(axis=1) for size in sizes)
            correction, spread = seen.best_correction(left, tolerance)
            # The work of a gradient; accuracy first where none is accurate enough.
            rank = (max(spread, tolerance), float(np.sum(chosen.astype(float) ** effects)))
            if best is None or rank < best[0]:
                best = (rank, chosen, correction, spread)
    assert best is not None
    return best[1], best[2], best[3]


def _make_groups(
    model: Model,
    one_node: Rule,
    hard: np.ndarray,
    rules: Mapping[int, tuple[Rule, np.ndarray]],
    chosen: np.ndarray,
) -> tuple[Group, ...]:
    """Patients by their number of nodes; all are in one group."""
    everyone = np.arange(one_node.nodes.shape[2])
    single = np.setdiff1d(everyone, hard[chosen > 1])
    groups = []
    if len(single):
        rule = Rule(one_node.nodes[:, :, single], one_node.log_weights[:, single])
        groups.append(Group(single, take_patients(model, single), rule))
    for size in sorted(set(chosen[chosen > 1].tolist())):
        own = chosen == size
        rule = Rule(rules[size][0].nodes[:, :, own], rules[size][0].log_weights[:, own])
        groups.append(Group(hard[own], take_patients(model, hard[own]), rule))
    return tuple(groups)
