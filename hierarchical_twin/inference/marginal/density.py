"""The population's log density with every patient's effects integrated out.

In an informed frame a patient's effects are about standard normal whatever the population, so the
integral is taken at nodes that are fixed there, without an inner optimisation: one node for the patients
for whom a trial around the pilot finds that enough, and rules of their own for the others, with as many
nodes as the trial asks for. The trial also says how much is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.graph.blocks import join_blocks, mark_population, split_blocks
from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.marginal.rules import Frames, Rule, average_density, find_frames, make_rule
from hierarchical_twin.inference.marginal.surrogate import Surrogate, fit_surrogate
from hierarchical_twin.inference.marginal.trials import Trial, mark_harmless, run_trial
from hierarchical_twin.inference.patients import Densities, take_patients

Array = Any
Numbers = tuple[Mapping[str, Any], ...]

TOLERANCE = 0.05
"""Posterior SDs by which integration may move a population parameter's mean."""
_JUDGES, _AVERAGED = 24, 12
_AVERAGED_REACH = 1.3
_COUNTS = {0: (), 1: (2, 3, 4, 5, 7, 9, 15), 2: (2, 3, 4, 5, 7, 9), 3: (2, 3, 4, 5), 4: (2, 3, 4)}
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
    """

    model: Model
    frames: Frames
    groups: tuple[Group, ...]
    spread: float
    unsettled: np.ndarray

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


def stand_in(plan: Plan, center: np.ndarray, root: np.ndarray) -> tuple[Surrogate | None, float]:
    """A polynomial for the plan's log density less the log prior, at populations ``center + root @ whitened``.

    Returns what `fit_surrogate` does.
    """
    one = jax.value_and_grad(
        lambda whitened, numbers: sum_integrals(plan, center + root @ whitened, numbers)[1]
    )
    many = jax.jit(lambda points, numbers: jax.lax.map(lambda point: one(point, numbers), points))

    def gradients(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = many(jnp.asarray(points), plan.numbers)
        return np.asarray(values), np.asarray(slopes)

    return fit_surrogate(gradients, len(center))


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
        The cheapest whose spread is at most `TOLERANCE`, or the most accurate one.
    """
    densities = Densities(model)
    effects = count_effects(model)
    frames = find_frames(densities, center, effects)
    judges, wider = _trial_points(center, root, seed)
    trial = run_trial(densities, frames, judges, TOLERANCE / 5)
    missing = trial.exact - trial.one
    one_node, spread = _one_node(frames, trial), float(np.std(missing.sum(axis=1)))
    if spread <= TOLERANCE or effects == 0:
        group = Group(np.arange(densities.patients), model, one_node)
        return Plan(model, frames, (group,), spread, trial.unsettled)
    is_tried = (densities.patients <= _FEW) | ~mark_harmless(missing, TOLERANCE / 4)
    tried = np.flatnonzero(is_tried)
    rules = _rules(model, frames, (judges, wider), tried)
    left = _Left(missing[:, ~is_tried].sum(axis=1), missing[:, tried], trial.exact[:, tried])
    count, is_hard, spread = _cheapest(left, rules)
    groups = _make_groups(model, one_node, tried, rules[count][0], is_hard)
    return Plan(model, frames, groups, spread, trial.unsettled)


def count_effects(model: Model) -> int:
    """Random effects of each patient."""
    return split_blocks(model, jnp.zeros(mark_population(model).size))[1].shape[0]


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
) -> dict[int, tuple[Rule, np.ndarray]]:
    """For each node count, rules of the patients tried, and their log integrals at the judging points."""
    counts = _COUNTS[len(frames.mean)]
    found: dict[int, list[tuple[Rule, np.ndarray]]] = {count: [] for count in counts}
    densities: Densities | None = None
    for start in range(0, len(tried), _BLOCK):
        block = tried[start : start + _BLOCK]
        densities = Densities(take_patients(model, block), like=densities)
        average = average_density(densities, frames.take(block), points[1])
        for count in counts:
            rule = make_rule(average, count)
            found[count].append((rule, rule.integrals(densities, points[0])))
    return {count: _joined(parts) for count, parts in found.items()}


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


def _cheapest(left: _Left, rules: Mapping[int, tuple[Rule, np.ndarray]]) -> tuple[int, np.ndarray, float]:
    """A number of nodes, which of the patients tried ``[patient]`` need it, and the spread that is left."""
    best: tuple[tuple[float, float], int, np.ndarray, float] | None = None
    hardness = np.std(left.missing, axis=0)
    for count, (rule, values) in rules.items():
        for threshold in (0.0, *np.geomspace(1e-6, 1.0, 25)):
            is_hard = hardness >= threshold
            spread = left.spread(values, is_hard)
            # Below some work a second group would cost more to compile than it saves.
            work = max(len(rule.nodes) * is_hard.sum() + (~is_hard).sum(), _FEW) + _FEW * (not is_hard.all())
            rank = (max(spread, TOLERANCE), float(work))
            if best is None or rank < best[0]:
                best = (rank, count, is_hard, spread)
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
