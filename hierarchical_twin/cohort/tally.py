"""Counting what became of every row, for the data report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.columns import as_number
from hierarchical_twin.cohort.observations import MISSING_VALUE, Measured
from hierarchical_twin.cohort.report import DataReport, Exclusion
from hierarchical_twin.cohort.selection import Selection
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.dims import PATIENT
from hierarchical_twin.errors import Problem
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.schema import Spec

_SHOWN = 5


def count_rows(
    table: Table, selection: Selection, rows: pd.DataFrame, doses: int, notes: Sequence[str]
) -> DataReport:
    """Make the data report.

    Parameters
    ----------
    table : Table
    selection : Selection
    rows : pandas.DataFrame
        The used observations, as in a cohort.
    doses : int
        Doses given.
    notes : sequence of str
    """
    is_used, is_dose, excluded = _fates(selection)
    stays = _row_is_kept(selection)
    per_patient = np.bincount(rows["patient_index"].to_numpy(dtype=np.int64))
    return DataReport(
        source=table.source,
        rows_read=len(table),
        rows_used=int(is_used.sum()),
        dose_rows=int(is_dose.sum()),
        doses=doses,
        used={outcome.outcome: int((outcome.used & stays).sum()) for outcome in selection.measured},
        excluded=_exclusions(excluded),
        values_excluded={
            outcome.outcome: _exclusions(_value_reasons(outcome, selection)) for outcome in selection.measured
        },
        patients=int(selection.kept.sum()),
        patients_excluded=_patients_excluded(selection),
        observations_per_patient=(
            int(per_patient.min()),
            float(np.median(per_patient)),
            int(per_patient.max()),
        ),
        censored={
            outcome.outcome: int((outcome.used & stays & (outcome.censored != 0)).sum())
            for outcome in selection.measured
        },
        notes=tuple(notes),
    )


def explain_nothing(table: Table, selection: Selection) -> Problem:
    """What to say when no patient is left."""
    _, _, excluded = _fates(selection)
    reasons = "; ".join(str(item) for item in _exclusions(excluded))
    return Problem(table.source, f"no observation that can be used ({reasons})", "at least one")


def _row_is_kept(selection: Selection) -> np.ndarray:
    codes = selection.rows.patient.codes
    return selection.place_of[codes] >= 0


def _patients_excluded(selection: Selection) -> tuple[tuple[str, str], ...]:
    left_out = np.flatnonzero(selection.present & ~selection.kept)
    return tuple(
        (selection.rows.patient.names[code], selection.reasons[selection.fate[code] - 1]) for code in left_out
    )


def _fates(selection: Selection) -> tuple[np.ndarray, np.ndarray, list[tuple[str, np.ndarray]]]:
    """Which rows are used, which are doses, and the reasons of the others; each row is in one place."""
    stays = _row_is_kept(selection)
    gives = np.zeros(len(stays), dtype=bool)
    for outcome in selection.measured:
        gives |= outcome.used
    rows = selection.rows
    for series in selection.samples:
        gives |= ~np.isnan(rows.inputs[series.name]) & ~np.isnan(rows.time)
    gives &= rows.eligible
    doses = rows.doses
    nothing = np.zeros(len(stays), dtype=bool)
    other = nothing if doses is None else doses.other
    empty = nothing if doses is None else doses.empty
    dose = nothing if doses is None else doses.is_event & ~other & ~empty
    # Codes of patients with a reason of their own; the last reason ("no observation") is told by the rows.
    own = np.append((selection.fate > 0) & (selection.fate < len(selection.reasons)), False)[
        rows.patient.codes
    ]
    why = np.append(selection.fate, 0)[rows.patient.codes]
    left = np.ones(len(stays), dtype=bool)
    excluded: list[tuple[str, np.ndarray]] = []

    def exclude(reason: str, mask: np.ndarray) -> None:
        nonlocal left
        excluded.append((reason, left & mask))
        left = left & ~mask

    exclude("not selected by where", ~selection.selected)
    exclude("other event (EVID 2)", other)
    exclude("dose of amount 0", empty)
    for number, reason in enumerate(selection.reasons[:-1], start=1):
        exclude(f"of a patient left out: {reason}", own & (why == number))
    is_dose = left & dose & stays
    exclude("dose of a patient without observations", dose & ~stays)
    left &= ~dose
    is_used = left & gives & stays
    left &= ~is_used
    for outcome in selection.measured:
        for number, reason in enumerate(outcome.reasons, start=1):
            if reason != MISSING_VALUE:
                exclude(reason, outcome.offered & (outcome.fate == number))
    exclude("input sample of a patient without observations", gives)
    exclude(MISSING_VALUE, np.logical_or.reduce([outcome.offered for outcome in selection.measured]))
    exclude("not an observation of any outcome", left.copy())
    return is_used, is_dose, excluded


def _value_reasons(outcome: Measured, selection: Selection) -> list[tuple[str, np.ndarray]]:
    stays = _row_is_kept(selection)
    reasons = [
        (reason, outcome.offered & (outcome.fate == number))
        for number, reason in enumerate(outcome.reasons, start=1)
    ]
    return [*reasons, ("of a patient left out", outcome.used & ~stays)]


def _exclusions(reasons: Sequence[tuple[str, np.ndarray]]) -> tuple[Exclusion, ...]:
    """Masks to counts, one for each reason, most frequent first."""
    merged: dict[str, np.ndarray] = {}
    for reason, mask in reasons:
        merged[reason] = merged[reason] | mask if reason in merged else mask
    found = []
    for reason, mask in merged.items():
        at = np.flatnonzero(mask)
        if len(at):
            found.append(Exclusion(reason, len(at), tuple(int(row) + 1 for row in at[:_SHOWN])))
    return tuple(sorted(found, key=lambda item: -item.count))


def note_rows(table: Table, spec: Spec, selection: Selection, rows: pd.DataFrame) -> list[str]:
    """Notes on order, duplicates, and columns that look meant but are not named."""
    notes: list[str] = []
    if MECHANISMS[spec.mechanism.name].has_time and len(rows):
        ordered = rows.sort_values(["outcome", "patient_index", "table_row"], kind="stable")
        same = (ordered["outcome"] == ordered["outcome"].shift()) & (
            ordered["patient_index"] == ordered["patient_index"].shift()
        )
        backwards = ordered.loc[same & (ordered["time"].diff() < 0), PATIENT].nunique()
        if backwards:
            notes.append(f"rows out of time order were sorted (patients: {backwards})")
    inputs = [name for name in spec.inputs if name in rows]
    keys = ["outcome", "patient_index", "time", "value", *inputs]
    twins = int(rows.duplicated(keys).sum())
    if twins:
        first = rows.loc[rows.duplicated(keys), "table_row"].min()
        notes.append(
            f"observations that repeat another in patient, time and value: {twins} (first: row {first}); "
            "kept as replicates"
        )
    if selection.rows.doses is not None:
        dosed = np.unique(selection.rows.doses.events.patient)
        without = int(selection.kept.sum() - selection.kept[dosed].sum())
        if without:
            notes.append(f"patients without a dose: {without}")
    twins_of = _numeric_twins(selection)
    if twins_of:
        first, second = twins_of[0]
        notes.append(
            f"patients '{first}' and '{second}' are read as two, though their labels are one number "
            f"(such pairs: {len(twins_of)})"
        )
    named = {column for observation in spec.observations.values() for column in observation.where} | set(
        spec.where
    )
    if "MDV" in table.frame and "MDV" not in named:
        outcomes = " and ".join(f"observations.{name}.where: {{MDV: 0}}" for name in spec.observations)
        notes.append(
            f"column MDV is not read; to leave out measurements of MDV 1, write {outcomes} "
            "(a where at the top would leave out the dose rows)"
        )
    return notes


def _numeric_twins(selection: Selection) -> list[tuple[str, str]]:
    """Pairs of patients whose labels differ as text and not as numbers, such as ``7`` and ``7.0``."""
    names = selection.rows.patient.names
    first: dict[float, str] = {}
    pairs = []
    for code in np.flatnonzero(selection.present):
        number = as_number(names[code])
        if number is not None and first.setdefault(number, names[code]) != names[code]:
            pairs.append((first[number], names[code]))
    return pairs
