"""From what an update has found to a `Step`: surprises, what was left out, and what speaks against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hierarchical_twin.analysis.intervals import DEFAULT_PROB
from hierarchical_twin.analysis.weighted import effective_size, monte_carlo_errors, weighted_sd
from hierarchical_twin.cohort.columns import as_text
from hierarchical_twin.twin.advance import Advanced
from hierarchical_twin.twin.population import Population
from hierarchical_twin.twin.records import RECORD, Merged, Read
from hierarchical_twin.twin.twin import Step, Surprise, summarise_particles

_FEW, _FEW_POPULATIONS = 100, 50
_LEAST_ACCEPTANCE = 0.05
_BAD_TAIL = 0.7
_MEAN_ERROR, _END_ERROR = 0.1, 0.15
"""Monte Carlo errors, in posterior SDs, that are tolerated of a parameter's mean and its 90 % interval's ends."""
_BLOCKS = 20


@dataclass(frozen=True)
class Seen:
    """A measurement that is used: its record, outcome, place along the arrays, and what it says."""

    record: str
    outcome: str
    position: int
    time: float
    value: float
    censored: int


def seen_in(read: Read) -> dict[str, list[Seen]]:
    """The measurements that are used of each patient."""
    rows = read.cohort.rows
    names = read.names[rows["table_row"].to_numpy() - 1]
    columns = ("outcome", "position", "time", "value", "censored")
    found: dict[str, list[Seen]] = {}
    for patient, name, *cells in zip(
        rows["patient"], names, *(rows[column].tolist() for column in columns), strict=True
    ):
        found.setdefault(patient, []).append(Seen(str(name), *cells))
    return found


def step_of(
    one: Merged,
    seen: list[Seen],
    own: Advanced,
    parameters: Mapping[str, np.ndarray],
    tail: float,
    population: Population,
) -> Step:
    """The step that an update has been.

    Parameters
    ----------
    one : Merged
    seen : list of Seen
        All the patient's measurements that are used.
    own : Advanced
    parameters : mapping to ndarray, shape [particle]
    tail : float
        Pareto k-hat of the weights of one step without tempering.
    population : Population
    """
    weights = np.exp(own.particles.log_weights)
    populations = effective_size(np.bincount(own.particles.draw, weights))
    stages = int(own.stages)
    has_effects = own.particles.effects.shape[1] > 0
    acceptance = float(own.acceptance) if stages and has_effects else float("nan")
    fresh = {*one.added, *one.corrected}
    columns = tuple({words.column for words in population.model.spec.observations.values()})
    worst, error = _worst_error(parameters, weights, own.particles.draw * _BLOCKS // len(population.root))
    step = Step(
        added=one.added,
        corrected=one.corrected,
        repeated=one.repeated,
        unused=_unused(one, fresh, {item.record for item in seen}, columns),
        surprises=tuple(_surprise(item, own) for item in seen if item.record in fresh),
        effective=effective_size(weights),
        effective_population=populations,
        k_hat=tail,
        stages=stages,
        acceptance=acceptance,
        log_evidence=float(own.log_evidence),
        parameters=summarise_particles(parameters, weights),
        error=error,
    )
    return _with_doubts(step, float(own.progress), worst)


def _worst_error(
    parameters: Mapping[str, np.ndarray], weights: np.ndarray, blocks: np.ndarray
) -> tuple[str, float]:
    """The parameter with the largest Monte Carlo error, and that as a share of what is tolerated."""
    if not parameters or len(np.unique(blocks)) < 2:
        return "", float("inf")
    values = np.stack(list(parameters.values()), axis=1)
    mean, ends = monte_carlo_errors(values, weights, blocks, DEFAULT_PROB)
    sd = weighted_sd(values, weights)
    shares = np.concatenate([mean[None] / _MEAN_ERROR, ends / _END_ERROR]).max(axis=0)
    shares = shares / np.where(sd > 0, sd, np.inf)
    place = int(np.argmax(shares))
    return list(parameters)[place], float(shares[place])


def _surprise(item: Seen, own: Advanced) -> Surprise:
    """Two-sided for a value; of being beyond the limit for a censored one."""
    below = min(1.0, max(0.0, float(own.below[item.outcome][item.position])))
    if item.censored:
        p_value = below if item.censored > 0 else 1.0 - below
    else:
        p_value = min(1.0, 2.0 * min(below, 1.0 - below))
    return Surprise(item.record, item.outcome, float(item.time), float(item.value), p_value)


def _unused(one: Merged, fresh: set[str], used: set[str], columns: tuple[str, ...]) -> tuple[str, ...]:
    """New records with a measurement that the spec leaves out."""
    left = fresh - used
    if not left:
        return ()
    cells = list(zip(*(one.frame[name] for name in columns), strict=True))
    return tuple(
        str(name)
        for name, own in zip(one.frame[RECORD], cells, strict=True)
        if name in left and any(as_text(cell) is not None for cell in own)
    )


def _with_doubts(step: Step, progress: float, worst: str) -> Step:
    refit = "fit the cohort again with this patient's records"
    lasting, doubts = [], []
    if progress < 1.0:
        lasting.append(f"the new records count by {progress:.0%} only: they contradict all before; {refit}")
    if step.stages and step.acceptance < _LEAST_ACCEPTANCE:
        lasting.append(f"only {step.acceptance:.0%} of the particles' moves were accepted: {refit}")
    if not step.stages and step.k_hat > _BAD_TAIL:
        lasting.append(
            f"weights with a heavy tail (k-hat {step.k_hat:.2f}): start the twin with more particles"
        )
    if step.effective < _FEW:
        doubts.append(f"only {step.effective:.0f} effective particles: start the twin with more, or {refit}")
    if step.effective_population < _FEW_POPULATIONS:
        doubts.append(
            f"only {step.effective_population:.0f} effective draws of the population are left: these "
            f"records say something of the population; {refit}"
        )
    elif step.error > 1.0:
        doubts.append(
            f"the Monte Carlo error of {worst} is {step.error:.1f} times what is tolerated: start the twin "
            f"with more particles, from a fit with more draws, or {refit}"
        )
    return replace(step, doubts=(*lasting, *doubts), lasting=tuple(lasting))
