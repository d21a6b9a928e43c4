"""From what an update has found to a `Step`: surprises, what was left out, and what speaks against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hierarchical_twin.analysis.intervals import DEFAULT_PROB
from hierarchical_twin.analysis.weighted import effective_size, monte_carlo_errors, weighted_sd
from hierarchical_twin.cohort.columns import as_text
from hierarchical_twin.inference.marginal.tails import tail_shapes
from hierarchical_twin.twin.advance import Advanced
from hierarchical_twin.twin.batches import in_batches, run_advance
from hierarchical_twin.twin.merging import RECORD, Merged
from hierarchical_twin.twin.moves import Patient
from hierarchical_twin.twin.particles import Array
from hierarchical_twin.twin.population import Population
from hierarchical_twin.twin.records import Read, read_records
from hierarchical_twin.twin.twin import (
    Doubt,
    Step,
    Surprise,
    Twin,
    effective_draws,
    effective_particles,
    summarise_particles,
)

_FEW, _FEW_POPULATIONS = 100, 50
_LEAST_ACCEPTANCE = 0.05
_BAD_TAIL = 0.7
_MEAN_ERROR, _END_ERROR = 0.1, 0.15
"""Monte Carlo errors, in posterior SDs, that are tolerated of a parameter's mean and its 90 % interval's ends."""
_BLOCKS = 20
_POSSIBLE_SHARE, _POSSIBLE_EACH = 0.01, 10
"""Particles that must be able to explain the records: a share of all, and so many for each direction they move in."""
_COLLAPSED = 1e-9
"""What is left of a parameter's range where resampled particles are copies of one, but for rounding."""
_MORE, _REFIT = "start the twin with more particles", "fit the cohort again with this patient's records"


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
    twin: Twin,
    merged: Merged,
    seen: Sequence[Seen],
    own: Advanced,
    *,
    patient: Patient,
    parameters: Mapping[str, np.ndarray],
) -> Step:
    """The step that an update has been.

    Parameters
    ----------
    twin : Twin
        Before the update.
    merged : Merged
        Its records after it.
    seen : sequence of Seen
        All the patient's measurements that are used from now on.
    own : Advanced
    patient : Patient
        What the update was asked.
    parameters : mapping to ndarray, shape [particle]
        After the update.
    """
    weights, stages = np.exp(own.particles.log_weights), int(own.stages)
    before = _used_before(twin, merged, seen)
    telling = [item for item in seen if (item.record, item.outcome) not in before]
    below = own.below
    if {item.record for item in telling} & {*merged.corrected}:
        below = _below_without(twin.population, patient, telling)
    blocks = own.particles.draw * _BLOCKS // len(twin.population.root)
    worst, error = _worst_error(parameters, weights, blocks)
    step = Step(
        added=merged.added,
        corrected=merged.corrected,
        repeated=merged.repeated,
        unused=_unused(twin, merged, seen, before),
        surprises=tuple(_surprise(item, below) for item in telling),
        effective=effective_particles(own.particles),
        effective_population=effective_draws(own.particles),
        k_hat=float(tail_shapes(own.log_untempered[:, None])[0]),
        stages=stages,
        acceptance=float(own.acceptance) if stages and own.particles.effects.shape[1] else float("nan"),
        log_evidence=float(own.log_evidence),
        parameters=summarise_particles(parameters, weights),
        error=error,
    )
    lost = [*_found_lost(twin, own, patient), *(_collapsed(twin, parameters) if stages else [])]
    return replace(step, doubts=(*lost, *_doubts_of(step, float(own.progress), worst)))


def _used_before(twin: Twin, merged: Merged, seen: Sequence[Seen]) -> set[tuple[str, str]]:
    """Record and outcome of each measurement that was used, and is as it was."""
    own = [(item.record, item.outcome) for item in seen if item.record not in merged.added]
    counts = {name: 0 for name in twin.population.model.spec.observations}
    for _, outcome in own:
        counts[outcome] += 1
    # Reading records takes half as long as an update: only where other ones may have been used before.
    if merged.corrected or any(twin.arrays[f"mask_{name}"].sum() != count for name, count in counts.items()):
        model = twin.population.model
        records, statics = {twin.patient: twin.records}, {twin.patient: twin.static}
        read = read_records(records, statics, model.spec, model.cohort)
        own = [(item.record, item.outcome) for item in seen_in(read).get(twin.patient, [])]
    return {pair for pair in own if pair[0] not in merged.corrected}


def _below_without(population: Population, patient: Patient, telling: Sequence[Seen]) -> Mapping[str, Array]:
    """What was to be expected of some measurements by a twin that has not seen the values they replace.

    The values are taken back and the measurements put in their place, in two updates of which nothing else
    is kept; not a number where the values cannot be taken back.
    """
    without = {
        name: value.copy() if name.startswith("mask_") else value for name, value in patient.after.items()
    }
    for item in telling:
        without[f"mask_{item.outcome}"][0, item.position] = False
    ((_, back),) = in_batches(population, run_advance, [patient._replace(after=without)])
    again = patient._replace(before=without, particles=back.particles)
    ((_, found),) = in_batches(population, run_advance, [again])
    is_back = np.isfinite(back.log_evidence) and back.progress >= 1.0
    return {name: value if is_back else np.full_like(value, np.nan) for name, value in found.below.items()}


def _surprise(item: Seen, below: Mapping[str, Array]) -> Surprise:
    """Two-sided for a value; of being beyond the limit for a censored one."""
    share = float(np.clip(below[item.outcome][item.position], 0.0, 1.0))
    if item.censored:
        p_value = share if item.censored > 0 else 1.0 - share
    else:
        p_value = float(np.minimum(1.0, 2.0 * np.minimum(share, 1.0 - share)))
    return Surprise(item.record, item.outcome, float(item.time), float(item.value), p_value)


def _unused(
    twin: Twin, merged: Merged, seen: Sequence[Seen], before: set[tuple[str, str]]
) -> tuple[str, ...]:
    """New records with a measurement that is left out, and earlier ones of which one no longer counts."""
    outcomes = twin.population.model.spec.observations
    fresh = {*merged.added, *merged.corrected}
    used = {(item.record, outcomes[item.outcome].column) for item in seen}
    left = {record for record, outcome in before if (record, outcomes[outcome].column) not in used}
    for column in dict.fromkeys(words.column for words in outcomes.values()):
        cells = zip(merged.frame[RECORD], merged.frame[column], strict=True)
        left |= {
            str(name)
            for name, cell in cells
            if str(name) in fresh and (str(name), column) not in used and as_text(cell) is not None
        }
    return tuple(str(name) for name in merged.frame[RECORD] if str(name) in left)


def _worst_error(
    parameters: Mapping[str, np.ndarray], weights: np.ndarray, blocks: np.ndarray
) -> tuple[str, float]:
    """The parameter with the largest Monte Carlo error, and that as a share of what is tolerated.

    Quantities that are infinite or not a number for some particles have no mean to be in error.
    """
    counts = weights > 0
    finite = {name: value for name, value in parameters.items() if np.isfinite(value[counts]).all()}
    if not finite or len(np.unique(blocks[counts])) < 2:
        return "", float("inf")
    values = np.stack(list(finite.values()), axis=1)
    mean, ends = monte_carlo_errors(values, weights, blocks, DEFAULT_PROB)
    sd = weighted_sd(values, weights)
    shares = np.concatenate([mean[None] / _MEAN_ERROR, ends / _END_ERROR]).max(axis=0)
    shares = shares / np.where(sd > 0, sd, np.inf)
    place = int(np.argmax(shares))
    return list(finite)[place], float(shares[place])


def _found_lost(twin: Twin, own: Advanced, patient: Patient) -> list[Doubt]:
    """A doubt where hardly any particle can explain the records, so that all are made of a few."""
    weights = np.where(np.isfinite(own.log_untempered), twin.weights, 0.0)
    share, count = weights.sum(), effective_size(weights)
    directions = patient.particles.effects.shape[1] + 1
    if share >= _POSSIBLE_SHARE and count >= _POSSIBLE_EACH * directions:
        return []
    found = f"only {count:.0f} of the particles ({share:.2g} of their weight) can explain the records"
    advice = f"check them and their units; if they are right, {_REFIT}"
    return [Doubt("few particles can explain the records", found, advice, is_lasting=True)]


def _collapsed(twin: Twin, parameters: Mapping[str, np.ndarray]) -> list[Doubt]:
    """A doubt where particles were moved and are all but one."""
    counts = twin.weights > 0
    with np.errstate(invalid="ignore"):  # a derived quantity may be infinite
        widths = {name: np.ptp(value[counts]) for name, value in twin.parameters.items()}
        names = [name for name, width in widths.items() if np.ptp(parameters[name]) < _COLLAPSED * width]
    found = f"all particles have the same {', '.join(names)}"
    return [Doubt("all particles have the same parameter", found, _MORE, is_lasting=True)] if names else []


def _doubts_of(step: Step, progress: float, worst: str) -> list[Doubt]:
    """Doubts that its numbers raise; lasting ones first."""
    doubts = []
    if progress < 1.0:
        share, anew = min(progress, 0.99), "start the twin anew and give it all records, or "
        found = f"the new records count by {share:.0%} only, as they contradict all before"
        remedy = f"{anew if step.corrected else ''}{_REFIT}"
        doubts.append(Doubt("records that count in part only", found, remedy, is_lasting=True))
    if step.stages and step.acceptance < _LEAST_ACCEPTANCE:
        found = f"only {step.acceptance:.0%} of the particles' moves were accepted"
        doubts.append(Doubt("moves that are not accepted", found, _REFIT, is_lasting=True))
    if not step.stages and step.k_hat > _BAD_TAIL:
        found = f"weights with a heavy tail (k-hat {step.k_hat:.2f})"
        doubts.append(Doubt("a heavy tail", found, _MORE, is_lasting=True))
    if step.effective < _FEW:
        found = f"only {step.effective:.0f} effective particles"
        advice = f"start the twin with more, or {_REFIT}"
        doubts.append(Doubt("few effective particles", found, advice, is_lasting=False))
    if step.effective_population < _FEW_POPULATIONS:
        found = (
            f"only {step.effective_population:.0f} effective draws of the population are left, as these records "
            "say something of the population"
        )
        doubts.append(Doubt("few effective draws of the population", found, _REFIT, is_lasting=False))
    elif not step.error <= 1.0:
        doubts.append(_error_doubt(worst, step.error))
    return doubts


def _error_doubt(worst: str, error: float) -> Doubt:
    """Of a Monte Carlo error above what is tolerated, or not known."""
    if not np.isfinite(error):
        found = "the Monte Carlo error is not known of any parameter"
        advice = f"start the twin anew, or {_REFIT}"
        return Doubt("Monte Carlo error that is not known", found, advice, is_lasting=False)
    texts = (f"{error:.{digits}f}" for digits in range(1, 17))  # 16 tell the least number above 1 from it
    times = next(text for text in texts if float(text) > 1.0)
    found = f"the Monte Carlo error of {worst} is {times} times what is tolerated"
    advice = f"{_MORE}, from a fit with more draws, or {_REFIT}"
    return Doubt(f"Monte Carlo error of {worst}", found, advice, is_lasting=False)
