"""`read_cohort`: from a table and a spec to a `Cohort`. The order of the steps; each step is elsewhere."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.admit import Asked, admit
from hierarchical_twin.cohort.cohort import Cohort, require_spec
from hierarchical_twin.cohort.columns import accepted_values, match_rows, read_labels, read_numbers
from hierarchical_twin.cohort.events import DoseRows, read_doses
from hierarchical_twin.cohort.inputs import Samples, gather_samples
from hierarchical_twin.cohort.layout import lay_out
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.cohort.observations import Measured, Rows, measure, refuse_absent_words
from hierarchical_twin.cohort.patients import People, read_people
from hierarchical_twin.cohort.selection import Selection
from hierarchical_twin.cohort.table import Table, open_table
from hierarchical_twin.cohort.tally import explain_nothing
from hierarchical_twin.cohort.unread import note_compartments, refuse_unread
from hierarchical_twin.errors import DataError, Problem, nearest
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.check import check_spec
from hierarchical_twin.spec.schema import Doses, Spec


def read_cohort(table: str | os.PathLike[str] | pd.DataFrame, spec: Spec) -> Cohort:
    """Read a table under a spec.

    Parameters
    ----------
    table : path or pandas.DataFrame
        CSV (UTF-8, commas) or Parquet; a DataFrame is never changed.
    spec : Spec

    Returns
    -------
    Cohort

    Raises
    ------
    SpecError
        `spec` is no Spec, or was built in Python and is not sound.
    DataError
        The table does not hold what the spec says; every problem of one stage is reported together.
    """
    require_spec(spec, "read_cohort spec")
    check_spec(spec)
    return read_opened(open_table(table), spec)


def read_opened(opened: Table, spec: Spec, asked: Asked | None = None) -> Cohort:
    """Read a table that is open, under a spec that is sound; `read_cohort` for the rest.

    Parameters
    ----------
    opened : Table
    spec : Spec
    asked : Asked, optional
        Rows to read without a measurement, under what another cohort has taught.
    """
    _require_columns(opened, spec)
    problems: list[Problem] = []
    selected = _select(opened, spec, problems)
    patient = read_labels(opened, spec.patient.column)
    _require_patients(opened, spec, patient.codes, selected, problems)
    selected &= patient.codes >= 0
    time = np.full(len(opened), np.nan)
    if spec.time is not None:
        time = read_numbers(opened, spec.time.column, problems, selected)
    doses = read_doses(opened, spec, (patient, selected, time), problems)
    compartments = _check_doses(opened, spec, (selected, doses), problems)
    if not problems and asked is None and spec.doses is not None and doses is not None:
        problems += [] if len(doses.events.patient) else [_no_dose(opened, spec.doses)]
    eligible = selected if doses is None else selected & ~doses.is_event
    inputs = {
        name: read_numbers(opened, words.column, problems, eligible) for name, words in spec.inputs.items()
    }
    rows = Rows(patient, time, eligible, inputs, doses)
    if asked is None or not asked.others_count:  # some patients' own records need not be of every outcome
        for name, words in spec.observations.items():
            refuse_absent_words(opened, words, f"observations.{name}.where", problems)
    measured = [measure(opened, spec, outcome, rows, problems) for outcome in spec.observations]
    people = read_people(opened, spec, patient, selected, problems)
    if problems:
        raise DataError(problems)
    if asked is not None:
        measured = [admit(spec, rows, outcome, asked) for outcome in measured]
    samples, notes = _sample_inputs(spec, rows)
    notes += compartments
    selection = _settle(opened, selected, rows, (measured, people, samples))
    has_doses = spec.doses is None or doses is None or selection.kept[doses.events.patient].any()
    # A cohort without doses is a mistake; a patient who is asked about may have none.
    if spec.doses is not None and asked is None and not has_doses:
        raise DataError(_no_dose(opened, spec.doses))
    learned = None if asked is None else asked.learned
    return lay_out(opened, spec, replace(selection, notes=tuple(notes)), learned)


def _check_doses(
    table: Table, spec: Spec, read: tuple[np.ndarray, DoseRows | None], problems: list[Problem]
) -> list[str]:
    """Refuse a table with dose columns that are not read; returns notes."""
    selected, doses = read
    if spec.doses is None or doses is None:
        return []
    is_filter = re.compile(r"(^|\.)where\.")
    claimed = {need.column for need in needs_of(spec) if not is_filter.search(need.key)}
    notes = refuse_unread(table, spec.doses, (selected, doses), claimed, problems)
    return notes + note_compartments(table, spec.doses, (selected, doses), claimed)


def _no_dose(table: Table, doses: Doses) -> Problem:
    column = f" column '{doses.amount}'" if isinstance(doses.amount, str) else ""
    hint = "look at doses.amount and doses.event, and at the rows that where selects"
    return Problem(f"{table.source}{column}", "no dose of any patient", "at least one dose", hint)


def _require_columns(table: Table, spec: Spec) -> None:
    names = [str(name) for name in table.frame.columns]
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    expected = f"one of its columns {shown}"
    problems = [
        Problem(
            need.key, f"'{need.column}', which {table.source} lacks", expected, nearest(need.column, names)
        )
        for need in needs_of(spec)
        if need.column not in names
    ]
    if problems:
        raise DataError(problems)


def _select(table: Table, spec: Spec, problems: list[Problem]) -> np.ndarray:
    selected = match_rows(table, spec.where)
    if not selected.any():
        conditions = ", ".join(
            f"{column} = {' or '.join(map(repr, accepted_values(wanted)))}"
            for column, wanted in spec.where.items()
        )
        raise DataError(
            [
                *problems,
                Problem(
                    f"{table.source}: where",
                    f"no row with {conditions}",
                    "values the columns hold",
                    _held(table, spec),
                ),
            ]
        )
    return selected


def _held(table: Table, spec: Spec) -> str:
    held = []
    for column in spec.where:
        names = read_labels(table, column).names
        shown = ", ".join(repr(name) for name in names[:10])
        held.append(f"{column} holds {shown}{', ...' if len(names) > 10 else ''}")
    return "; ".join(held)


def _require_patients(
    table: Table, spec: Spec, codes: np.ndarray, selected: np.ndarray, problems: list[Problem]
) -> None:
    nobody = np.flatnonzero(selected & (codes < 0))
    if len(nobody):
        problems.append(
            Problem(
                table.place(int(nobody[0]), spec.patient.column),
                f"no patient ({len(nobody)} rows in all)",
                "a patient's label in every row",
                "fill the label down, or take these rows out",
            )
        )


def _sample_inputs(spec: Spec, rows: Rows) -> tuple[tuple[Samples, ...], list[str]]:
    notes: list[str] = []
    samples: list[Samples] = []
    for name, words in MECHANISMS[spec.mechanism.name].inputs.items():
        if words.kind != "series":
            continue
        value = rows.inputs[name]
        at = np.flatnonzero(~np.isnan(value) & ~np.isnan(rows.time))
        taken = (rows.patient.codes[at], rows.time[at], value[at])
        gathered, averaged = gather_samples(name, spec.inputs[name].interpolation, taken)
        if averaged:
            notes.append(f"{name}: times with several different values: {averaged}; their mean is used")
        samples.append(gathered)
    return tuple(samples), notes


def _settle(
    table: Table,
    selected: np.ndarray,
    rows: Rows,
    read: tuple[list[Measured], People, tuple[Samples, ...]],
) -> Selection:
    """Decide which patients stay; the others are named with their reason."""
    measured, people, samples = read
    count = len(rows.patient.names)
    present = np.zeros(count, dtype=bool)
    present[rows.patient.codes[selected]] = True
    checks = dict(people.missing)
    if rows.doses is not None:
        checks["missing dose"] = rows.doses.missing
    for series in samples:
        lacking = np.ones(count, dtype=bool)
        lacking[series.patient] = False
        checks[f"no {series.name} sample"] = lacking
    observed = np.zeros(count, dtype=bool)
    for outcome in measured:
        observed[rows.patient.codes[outcome.used]] = True
    checks["no observation that can be used"] = ~observed
    reasons = tuple(checks)
    fate = np.select(list(checks.values()), list(range(1, len(reasons) + 1)), default=0)
    kept = present & (fate == 0)
    selection = Selection(
        rows, selected, tuple(measured), people, samples, present, kept, fate, reasons, notes=()
    )
    if not kept.any():
        raise DataError(explain_nothing(table, selection))
    return selection
