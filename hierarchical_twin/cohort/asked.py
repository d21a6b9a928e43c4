"""Reading rows that ask for a prediction, beside the table a cohort was read from.

What was known of a patient then (doses, inputs, covariates) is known now; a column that the new rows
fill in for a patient replaces it. New patients are read under the levels and the centring learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.admit import Asked
from hierarchical_twin.cohort.cohort import Cohort
from hierarchical_twin.cohort.columns import accepted_values, as_text, is_filled, read_numbers, read_words
from hierarchical_twin.cohort.inputs import coordinate_of
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.cohort.observations import apply_limits
from hierarchical_twin.cohort.read import read_opened
from hierarchical_twin.cohort.subset import take_patients
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.errors import DataError, Problem, nearest
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.schema import Spec

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """What was measured at rows to predict.

    Attributes
    ----------
    value : ndarray, shape [row]
        In declared units; the limit where censored, NaN where nothing was measured.
    censored : ndarray of int8, shape [row]
        0 measured, 1 below the value, -1 above it.
    """

    value: np.ndarray
    censored: np.ndarray


def read_asked(
    asked: Table, spec: Spec, learned: Cohort, scenario: Mapping[str, Any] | None = None
) -> tuple[Cohort, MeasuredRows]:
    """Read rows that ask for a prediction.

    Parameters
    ----------
    asked : Table
        Rows in the spec's columns; those of measurements may be blank or absent.
    spec : Spec
    learned : Cohort
        Read under the same spec.
    scenario : mapping, optional
        Column to the value that stands in all rows, old and new, before they are read.

    Returns
    -------
    Cohort
        The patients of these rows, at these rows; ``rows`` has ``table_row`` of `asked`, from 1.
    MeasuredRows
        What was measured at each of the cohort's rows.

    Raises
    ------
    DataError
        A column is not there or holds what it should not, or a row cannot be predicted.
    """
    frame, origin = _completed(asked, spec, learned)
    _refuse_without_place(asked, spec, frame, origin)
    history, frame = _superseded(learned.table, frame, spec)
    table = _joined(asked, _changed((history, frame), spec, scenario or {}), origin)
    is_asked = np.arange(len(table)) >= len(history)
    cohort = read_opened(table, without_limits(spec), Asked(is_asked, learned))
    rows = cohort.rows.assign(table_row=origin[cohort.rows["table_row"] - 1 - len(history)] + 1)
    _refuse_lost(asked, spec, cohort, rows)
    measured = _measured(table, spec, cohort.rows)
    chosen = np.unique(rows["patient_index"].to_numpy())
    place = np.full(len(cohort.patients), -1)
    place[chosen] = np.arange(len(chosen))
    own = take_patients(cohort, chosen)
    return replace(own, rows=rows.assign(patient_index=place[rows["patient_index"]])), MeasuredRows(*measured)


def asked_at(spec: Spec, times: np.ndarray, patients: tuple[str, ...]) -> Table:
    """Rows for every patient and time (or value of the coordinate, for a mechanism without time)."""
    along = _along(spec)
    labels = np.repeat(np.array(patients, dtype=object), len(times))
    return Table(pd.DataFrame({spec.patient.column: labels, along: np.tile(times, len(patients))}), "times")


def _completed(asked: Table, spec: Spec, learned: Cohort) -> tuple[pd.DataFrame, np.ndarray]:
    """The asked rows with every column the spec names, and which asked row each is.

    There is one for each outcome where they do not say which.
    """
    frame = asked.frame
    names = [str(name) for name in frame.columns]
    if spec.patient.column not in names:
        got, expected = f"the columns {', '.join(names)}", f"'{spec.patient.column}' among them"
        raise DataError(Problem(asked.source, got, expected, "it says whose each row is"))
    fixed = {column: _first(wanted) for column, wanted in spec.where.items() if column not in names}
    frame = frame.assign(**fixed)
    filters: list[dict[str, Any]] = []
    for words in spec.observations.values():
        own = {column: _first(wanted) for column, wanted in words.where.items() if column not in names}
        filters += [own] if own not in filters else []
    # A row that gives a dose is one dose, however many outcomes there are.
    others = frame[~_gives_dose(frame, spec)]
    parts = [frame.assign(**filters[0]), *(others.assign(**own) for own in filters[1:])]
    frame = pd.concat(parts).sort_index(kind="stable") if len(parts) > 1 else parts[0]
    columns = [str(name) for name in learned.table.columns]
    return frame.reindex(columns=columns).reset_index(drop=True), frame.index.to_numpy()


def _joined(asked: Table, frames: tuple[pd.DataFrame, pd.DataFrame], origin: np.ndarray) -> Table:
    """Old and new rows as one table that names the new ones as their own table does."""
    old = len(frames[0])
    lines = None
    if asked.lines is not None:
        lines = np.concatenate([np.zeros(old, dtype=np.int64), asked.lines[origin]])
    return Table(pd.concat(frames, ignore_index=True), asked.source, lines, old)


def _first(wanted: Any) -> Any:
    return accepted_values(wanted)[0]


def _superseded(history: pd.DataFrame, asked: pd.DataFrame, spec: Spec) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The old rows without what the new rows say anew of a patient, and the new rows."""
    labels = _labels(history, spec)
    own = _labels(asked, spec)
    doses = _dose_columns(spec)
    history = history.copy()
    for column in map(str, history.columns):
        if column in _kept_columns(spec) or column in doses:
            continue
        _blank(history, column, labels.isin(own[is_filled(asked[column])]))
    if spec.doses is not None and spec.doses.time is not None:
        return _with_one_dose((history, asked), (labels, own), doses)
    amount = None if spec.doses is None else spec.doses.amount
    if isinstance(amount, str):
        given = _is_positive(asked[amount])
        for column in doses:
            _blank(history, column, labels.isin(own[given]))
    return history, asked


def _with_one_dose(
    frames: tuple[pd.DataFrame, pd.DataFrame], labels: tuple[pd.Series, pd.Series], doses: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Old and new rows with each patient's one dose in every row: the new rows' where they have one.

    Cells that the new rows fill in stay as they are, so that two amounts for one patient are told.
    """
    history, asked = (frame.copy() for frame in frames)
    for column in doses:
        old, new = (
            _first_filled(frame[column], own) for frame, own in zip((history, asked), labels, strict=True)
        )
        known = {**old, **new}
        for frame, own, is_kept in (
            (history, labels[0], np.zeros(len(history), dtype=bool)),
            (asked, labels[1], is_filled(asked[column])),
        ):
            found = own.map(known).astype(object)
            frame[column] = frame[column].astype(object).where(is_kept | found.isna().to_numpy(), found)
    return history, asked


def _first_filled(cells: pd.Series, labels: pd.Series) -> dict[str, Any]:
    """Patient to the first cell that says something."""
    filled = is_filled(cells)
    return dict(zip(labels[filled][::-1], cells[filled][::-1], strict=True))


def _gives_dose(frame: pd.DataFrame, spec: Spec) -> np.ndarray:
    """Which rows are doses or other events, where doses have rows of their own."""
    gives = np.zeros(len(frame), dtype=bool)
    if spec.doses is None or spec.doses.time is not None:
        return gives
    for word in (spec.doses.amount, spec.doses.event):
        if isinstance(word, str) and word in frame:
            gives |= _is_positive(frame[word])
    return gives


def _is_positive(cells: pd.Series) -> np.ndarray:
    return pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float, na_value=np.nan) > 0


def _kept_columns(spec: Spec) -> set[str]:
    """Columns that say whose a row is, when, of what, and what was measured."""
    filters = {column for words in spec.observations.values() for column in words.where}
    told = {need.column for need in needs_of(spec) if need.key.startswith("observations.")}
    coordinates = {
        spec.inputs[name].column
        for name, words in MECHANISMS[spec.mechanism.name].inputs.items()
        if words.kind == "coordinate" and name in spec.inputs
    }
    time = set() if spec.time is None else {spec.time.column}
    return {spec.patient.column, *time, *spec.where, *filters, *told, *coordinates}


def _dose_columns(spec: Spec) -> tuple[str, ...]:
    return tuple(need.column for need in needs_of(spec) if need.key.startswith("doses."))


def _labels(frame: pd.DataFrame, spec: Spec) -> pd.Series:
    return read_words(frame[spec.patient.column])


def _blank(frame: pd.DataFrame, column: str, rows: pd.Series) -> None:
    if rows.any():
        frame[column] = frame[column].astype(object).where(~rows, None)


def _changed(
    frames: tuple[pd.DataFrame, pd.DataFrame], spec: Spec, scenario: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows under a scenario; a dose of 0 or no cell stays as it is."""
    known = [str(name) for name in frames[0].columns]
    refused = {spec.patient.column, *spec.where, *(words.column for words in spec.observations.values())}
    refused |= set() if spec.time is None else {spec.time.column}
    free = [name for name in known if name not in refused]
    wrong = [name for name in scenario if name not in free]
    if wrong:
        choices = ", ".join(free) or "this spec reads none"
        expected = f"a column the spec reads doses, inputs or covariates from: {choices}"
        raise DataError([Problem("scenario", f"'{name}'", expected, nearest(name, free)) for name in wrong])
    doses = _dose_columns(spec)
    changed = []
    for frame in frames:
        own = frame.copy()
        for column, value in scenario.items():
            # Of the event rows of a dosing record only those that give a dose have another one.
            rows = pd.Series(True, index=own.index)
            if column in doses:
                rows = pd.Series(_is_positive(own[column]), index=own.index)
            own[column] = own[column].astype(object).where(~rows, value)
        changed.append(own.astype(object))
    return changed[0], changed[1]


def without_limits(spec: Spec) -> Spec:
    """The spec as far as a prediction goes: at any time, nothing censored."""
    dropped = {
        "from_time": None,
        "until_time": None,
        "lower_limit": None,
        "upper_limit": None,
        "censored": None,
    }
    observations = {name: words.model_copy(update=dropped) for name, words in spec.observations.items()}
    return spec.model_copy(update={"observations": observations})


def _along(spec: Spec) -> str:
    """Column of time, or of the coordinate that stands in its place."""
    coordinate = coordinate_of(spec)
    if coordinate is not None:
        return spec.inputs[coordinate].column
    assert spec.time is not None  # a mechanism with time has a column of it
    return spec.time.column


def _refuse_without_place(asked: Table, spec: Spec, frame: pd.DataFrame, origin: np.ndarray) -> None:
    """Every asked row that is no dose has a time (or coordinate) at which the model can say something."""
    column, mechanism = _along(spec), MECHANISMS[spec.mechanism.name]
    where = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    is_word = is_filled(frame[column]) & np.isnan(where)
    is_dose = _gives_dose(frame, spec)
    starts = 0.0 if mechanism.starts_at_zero or not mechanism.has_time else -np.inf
    # A word where a number should be is told by the reader.
    lost = np.flatnonzero(~is_dose & ~is_word & ~(where >= starts))
    expected = f"a {'time' if mechanism.has_time else 'number'}"
    expected += " from 0 on, where the model starts" if starts == 0 else ""
    rows = np.unique(origin[lost])
    problems = []
    for row in rows[:_SHOWN]:
        value = where[np.flatnonzero(origin == row)[0]]
        place = asked.place(int(row), column) if column in asked.frame else f"{asked.source} '{column}'"
        problems.append(Problem(place, "nothing" if np.isnan(value) else f"{value:g}", expected))
    if problems:
        raise DataError(problems)


def _refuse_lost(asked: Table, spec: Spec, cohort: Cohort, rows: pd.DataFrame) -> None:
    """Every patient that is asked for is predicted, or it is said why not."""
    labels = dict.fromkeys(as_text(cell) for cell in asked.frame[spec.patient.column])
    reasons = dict(cohort.report.patients_excluded)
    problems = [
        Problem(f"{asked.source} patient '{label}'", reasons[label], "a patient who can be predicted")
        for label in labels
        if label in reasons
    ]
    if not problems and rows.empty:
        expected = "a row that is no dose" if spec.doses is not None else "a row of an outcome"
        problems = [Problem(asked.source, "no row that can be predicted", expected)]
    if problems:
        raise DataError(problems[:_SHOWN])


def _measured(table: Table, spec: Spec, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What the table holds at each used row, before anything stood in for it, and how it is censored."""
    found, censored = np.full(len(rows), np.nan), np.zeros(len(rows), dtype=np.int8)
    for outcome, words in spec.observations.items():
        own = (rows["outcome"] == outcome).to_numpy()
        at = rows["table_row"].to_numpy()[own] - 1
        chosen = np.zeros(len(table), dtype=bool)
        chosen[at] = True
        value = read_numbers(table, words.column, [], chosen)
        value, code = apply_limits(table, words, value, chosen, [])
        found[own], censored[own] = value[at], code[at]
    return found, censored
