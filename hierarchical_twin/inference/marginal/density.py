"""The population's log density with every patient's effects integrated out.

In an informed frame a patient's effects are about standard normal whatever the population, so the
integral is taken at nodes that are fixed there, without an inner optimisation: one node for the patients
for whom a trial around the pilot finds that enough, and rules of their own for the others, with as many
nodes as the trial asks for. The trial also says how much is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.graph.blocks import count_effects, join_blocks, population_slots
from hierarchical_twin.graph.distributions import DISTRIBUTIONS
from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.marginal.rules import (
    Average,
    Frames,
    Rule,
    average_density,
    find_frames,
    make_rule,
)
from hierarchical_twin.inference.marginal.surrogate import Fitted, Region, Surrogate, fit_surrogate
from hierarchical_twin.inference.marginal.trials import Trial, mark_harmless, run_trial
from hierarchical_twin.inference.patients import Densities, take_patients

Array = Any
Numbers = tuple[Mapping[str, Any], ...]

TOLERANCE = 0.05
"""Posterior SDs by which integration may move a population parameter's mean."""
_AIM = 0.02
"""What is aimed at: nodes are cheap."""
_JUDGES, _AVERAGED = 24, 12
_AVERAGED_REACH = 1.3
_COUNTS = {0: (), 1: (2, 3, 4, 5, 7, 9, 15), 2: (2, 3, 4, 5, 7, 9), 3: (2, 3), 4: (2, 3)}
_BLOCK = 2_000
_FEW = 2_000


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
    spread : float
        SD, over the pilot's posterior, of the summed errors: no posterior mean moves by more of its SDs
        than that.
    unsettled : ndarray of int
        Patients whose exact integral could not be had.
    surrogate : Surrogate, optional
        What is sampled in place of the groups' integrals, where it is near enough.
    """

    model: Model
    frames: Frames
    groups: tuple[Group, ...]
    spread: float
    unsettled: np.ndarray
    surrogate: Surrogate | None = None

    @property
    def meets_tolerance(self) -> bool:
        """Whether integration leaves the posterior where it is."""
        return self.spread <= TOLERANCE and not len(self.unsettled)

    @property
    def lone(self) -> Model:
        """The model of one of the patients."""
        return take_patients(self.model, np.arange(1))

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

    return lambda population, numbers=None: sum(sum_integrals(plan, population, numbers or plan.numbers))


def sum_integrals(plan: Plan, population: Array, numbers: Numbers) -> tuple[Array, Array]:
    """Log prior of the population, and the sum of the patients' log integrals."""
    held = zip(plan.groups, numbers, strict=True)
    found = [_group_integrals(group, population, own) for group, own in held]
    return found[0][0], sum(jnp.sum(integrals) for _, integrals in found)


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


def log_prior(lone: Model, population: Array) -> Array:
    """The population's log prior on its unconstrained scale, from the model of a patient alone.

    Parameters
    ----------
    lone : Model
        Such as `Plan.lone`: the prior is the same with all patients, and dearer.
    population : Array, shape [coordinate]
    """
    return score(lone, join_blocks(lone, population, jnp.zeros((count_effects(lone), 1)))).log_prior


def stand_in(plan: Plan, center: np.ndarray, root: np.ndarray) -> Fitted:
    """A polynomial for the plan's log density less the log prior, from populations ``center + root @ normal`` on."""
    one = jax.value_and_grad(lambda population, numbers: sum_integrals(plan, population, numbers)[1])
    many = jax.jit(lambda points, numbers: jax.lax.map(lambda point: one(point, numbers), points))

    def gradients(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = many(jnp.asarray(points), plan.numbers)
        return np.asarray(values), np.asarray(slopes)

    lone, slots = plan.lone, population_slots(plan.model)
    supports = {node.name: DISTRIBUTIONS[node.distribution].support for node in plan.model.graph.samples}
    is_scale = np.repeat(
        # An SD of effects, sampled as its logarithm.
        [slot.name.startswith("omega") and supports[slot.name] == "positive" for slot in slots],
        [math.prod(slot.shape) for slot in slots],
    )
    return fit_surrogate(
        gradients, lambda population: log_prior(lone, population), Region(center, root, is_scale)
    )


def make_plan(model: Model, center: np.ndarray, root: np.ndarray, *, seed: int = 0) -> Plan:
    """Find out, around a pilot, how each patient is best integrated.

    Parameters
    ----------
    model : Model
        With all patient effects informed, such as `Pilot.model`.
    center : ndarray, shape [coordinate]
        The population about the middle of its posterior.
    root : ndarray, shape [coordinate, coordinate]
        Of its approximate covariance, ``root root'``.

    Returns
    -------
    Plan
        The cheapest whose spread is at most what is aimed at, or the most accurate one.
    """
    densities = Densities(model)
    effects = count_effects(model)
    frames = find_frames(densities, center, effects)
    judges, wider = _trial_points(center, root, seed)
    trial = run_trial(densities, frames, judges, TOLERANCE / 5)
    missing = trial.exact - trial.one
    one_node, spread = _one_node(frames, trial), float(np.std(missing.sum(axis=1)))
    group = Group(np.arange(densities.patients), model, one_node)
    plan = Plan(model, frames, (group,), spread, trial.unsettled)
    if spread > _AIM and _COUNTS[effects]:
        plan = _ruled(plan, trial, (judges, wider))
    return plan


def _ruled(plan: Plan, trial: Trial, points: tuple[np.ndarray, np.ndarray]) -> Plan:
    """The plan with Gauss rules for the patients for whom one node is not enough."""
    (group,), missing = plan.groups, trial.exact - trial.one
    is_tried = (len(group.patients) <= _FEW) | ~mark_harmless(missing, _AIM / 4)
    tried = np.flatnonzero(is_tried)
    left = _Left(missing[:, ~is_tried].sum(axis=1), missing[:, tried], trial.exact[:, tried])
    rule, is_hard, spread = _cheapest(left, _rules(plan.model, plan.frames, points, tried))
    groups = _make_groups(plan.model, group.rule, tried, rule, is_hard)
    return replace(plan, groups=groups, spread=spread)


def _trial_points(center: np.ndarray, root: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Populations ``[point, coordinate]`` in pairs around the centre: to judge by, and wider, to average over."""
    generator = np.random.default_rng([seed, 0x7121A])
    found = []
    for count, reach in ((_JUDGES, 1.0), (_AVERAGED, _AVERAGED_REACH)):
        half = reach * generator.standard_normal((count // 2, len(center)))
        found.append(center + np.concatenate([half, -half]) @ root.T)
    return found[0], found[1]


def _one_node(frames: Frames, trial: Trial) -> Rule:
    """One node at each patient's mean, its weight such that it is right on average."""
    weight = np.mean(trial.exact - trial.one, axis=0) + frames.log_volume
    size = len(frames.mean) * 0.5 * np.log(2 * np.pi)
    return Rule(frames.mean[None], (weight + size)[None])


def _rules(
    model: Model, frames: Frames, points: tuple[np.ndarray, np.ndarray], tried: np.ndarray
) -> Iterator[tuple[Rule, np.ndarray]]:
    """Rules of the patients tried, of more and more nodes, and their log integrals at the judging points."""
    judges, wider = points
    averages: list[Average] = []
    for count in _COUNTS[len(frames.mean)]:
        parts = []
        for place, start in enumerate(range(0, len(tried), _BLOCK)):
            block = tried[start : start + _BLOCK]
            if place == len(averages):
                like = averages[-1].densities if averages else None
                densities = Densities(take_patients(model, block), like=like)
                averages.append(average_density(densities, frames.take(block), wider))
            rule = make_rule(averages[place], count)
            parts.append((rule, rule.integrals(averages[place].densities, judges)))
        yield _joined(parts)


def _joined(parts: list[tuple[Rule, np.ndarray]]) -> tuple[Rule, np.ndarray]:
    rules = [rule for rule, _ in parts]
    nodes = np.concatenate([rule.nodes for rule in rules], axis=2)
    log_weights = np.concatenate([rule.log_weights for rule in rules], axis=1)
    return Rule(nodes, log_weights), np.concatenate([values for _, values in parts], axis=1)


@dataclass(frozen=True, eq=False)
class _Left:
    """What one node leaves out: of the patients who keep it, summed ``[point]``, and of each one tried.

    `missing` and `exact`, the log integrals, are ``[point, patient]``.
    """

    easy: np.ndarray
    missing: np.ndarray
    exact: np.ndarray

    def spread(self, values: np.ndarray, is_hard: np.ndarray) -> float:
        """SD over populations of the summed errors where `values` are taken for the hard patients."""
        errors = np.where(is_hard, self.exact - values, self.missing)
        return float(np.std(self.easy + errors.sum(axis=1)))


def _cheapest(left: _Left, rules: Iterable[tuple[Rule, np.ndarray]]) -> tuple[Rule, np.ndarray, float]:
    """The first rule that is accurate enough, which of the patients tried ``[patient]`` need it, the spread left."""
    best: tuple[tuple[float, float], Rule, np.ndarray, float] | None = None
    hardness = np.std(left.missing, axis=0)
    for rule, values in rules:
        for threshold in (0.0, *np.geomspace(1e-6, 1.0, 25)):
            is_hard = hardness >= threshold
            spread = left.spread(values, is_hard)
            # Below some work a second group would cost more to compile than it saves.
            work = max(len(rule.nodes) * is_hard.sum() + (~is_hard).sum(), _FEW) + _FEW * (not is_hard.all())
            rank = (max(spread, _AIM), float(work))
            if best is None or rank < best[0]:
                best = (rank, rule, is_hard, spread)
        if best is not None and best[3] <= _AIM:
            break
    assert best is not None
    return best[1:]


def _make_groups(
    model: Model, one_node: Rule, tried: np.ndarray, rule: Rule, is_hard: np.ndarray
) -> tuple[Group, ...]:
    """Patients with one node, and those tried that are hard with the rule's; all are in one group."""
    hard = tried[is_hard]
    single = np.setdiff1d(np.arange(one_node.nodes.shape[2]), hard)
    found = ((single, one_node.take(single)), (hard, rule.take(np.flatnonzero(is_hard))))
    return tuple(Group(own, take_patients(model, own), nodes) for own, nodes in found if len(own))
