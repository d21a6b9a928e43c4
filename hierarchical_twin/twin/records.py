"""A twin's records: what is new, what repeats or corrects an earlier one, and how they become arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.cohort.admit import Asked
from hierarchical_twin.cohort.columns import accepted_values, as_number, as_text, is_filled
from hierarchical_twin.cohort.inputs import coordinate_of
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.cohort.read import read_opened
from hierarchical_twin.cohort.subset import take_patients
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.errors import DataError, Problem, nearest
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.twin.padding import one_patient as one_patient
from hierarchical_twin.twin.padding import pad as pad

RECORD = "record"
"""The column that identifies a record; without it, a record is known by its cells."""


@dataclass(frozen=True, eq=False)
class Merged:
    """A patient's records with the new ones among them.

    Attributes
    ----------
    frame : pandas.DataFrame
        `RECORD` and the spec's columns, in order of arrival.
    added, corrected, repeated : tuple of str
        Identifiers of the new records that were not known, that replaced another, that said nothing new.
    """

    frame: pd.DataFrame
    added: tuple[str, ...]
    corrected: tuple[str, ...]
    repeated: tuple[str, ...]


def static_columns(spec: Spec) -> tuple[str, ...]:
    """Columns that say the same in all rows of a patient: covariates, levels, known parameters, one dose."""
    words = ("covariates.", "parameters.")
    if spec.doses is not None and spec.doses.time is not None:
        words += ("doses.",)
    return tuple(dict.fromkeys(need.column for need in needs_of(spec) if need.key.startswith(words)))


def columns_of(spec: Spec) -> tuple[str, ...]:
    """Every column that the spec names."""
    return tuple(dict.fromkeys(need.column for need in needs_of(spec)))


def as_frame(
    records: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]], spec: Spec
) -> pd.DataFrame:
    """Records as a table.

    Raises
    ------
    DataError
        They are none, or of another kind, or name a column that the spec does not read.
    """
    if isinstance(records, pd.DataFrame):
        frame = records.reset_index(drop=True)
    elif isinstance(records, Mapping):
        frame = pd.DataFrame([dict(records)], dtype=object)
    elif isinstance(records, Sequence) and records and all(isinstance(one, Mapping) for one in records):
        frame = pd.DataFrame([dict(one) for one in records], dtype=object)
    else:
        expected = "a table, or mappings from column to value, such as {'time_d': 3, 'volume': 1.2}"
        got = "no records" if isinstance(records, Sequence) and not records else f"a {type(records).__name__}"
        raise DataError(Problem("records", got, expected))
    known = (RECORD, *columns_of(spec))
    names = [str(name) for name in frame.columns]
    others = [name for name in names if name not in known]
    # A table may have other columns, as everywhere; a mapping's are all meant.
    if others and (not isinstance(records, pd.DataFrame) or len(others) == len(names)):
        expected = f"one of {', '.join(known)}"
        raise DataError(
            [Problem("records", f"a column '{name}'", expected, nearest(name, known)) for name in others]
        )
    if not len(frame):
        raise DataError(Problem("records", "a table with no rows", "at least one record"))
    return frame[[name for name in frame.columns if name in known]]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Each row as column to cell."""
    return [{str(name): cell for name, cell in row.items()} for row in frame.to_dict("records")]


@dataclass(frozen=True)
class Layout:
    """What is asked of every record of a spec; `Layout.of` makes one.

    Attributes
    ----------
    columns : tuple of str
        All that the spec reads.
    label : str
        The one of patients.
    told : mapping
        Column to the cell that stands in a blank one: what the spec's filters ask for, where that is clear.
    """

    columns: tuple[str, ...]
    label: str
    told: Mapping[str, Any]

    @classmethod
    def of(cls, spec: Spec) -> Layout:
        """The layout of a spec's records."""
        filters = dict(spec.where)
        outcomes = list(spec.observations.values())
        if len(outcomes) == 1:
            filters |= outcomes[0].where
        told = {column: accepted_values(wanted)[0] for column, wanted in filters.items()}
        return cls(columns_of(spec), spec.patient.column, told)


def merge(
    frame: pd.DataFrame, new: pd.DataFrame, spec: Spec, patient: str, static: Mapping[str, Any]
) -> Merged:
    """`merge_rows` of a table from `as_frame`."""
    return merge_rows(frame, rows_of(new), Layout.of(spec), patient, static)


def merge_rows(
    frame: pd.DataFrame,
    new: Sequence[Mapping[str, Any]],
    layout: Layout,
    patient: str,
    static: Mapping[str, Any],
) -> Merged:
    """A patient's records with new ones added, and corrected where an identifier is known.

    Parameters
    ----------
    frame : pandas.DataFrame
        As in `Merged`.
    new : sequence of mappings
        Column to cell.
    layout : Layout
    patient : str
        Label, written into every record.
    static : mapping
        Column to what is known of the patient, for blank cells.

    Raises
    ------
    DataError
        A record is of another patient, or two of the new ones have one identifier.
    """
    known = {str(name): place for place, name in enumerate(frame[RECORD].to_numpy())}
    columns = {name: frame[name].to_numpy(object).tolist() for name in (RECORD, *layout.columns)}
    told = {**layout.told, **static, layout.label: patient}
    added, corrected, repeated = [], [], []
    by_cells: dict[Any, str] | None = None
    for cells in new:
        row = _completed(cells, layout, told)
        said, name = _cells(row), as_text(cells.get(RECORD))
        if name is None:
            if by_cells is None:
                by_cells = {_cells(_row(columns, place)): other for other, place in known.items()}
            name = by_cells.get(said) or sha256(repr(said).encode()).hexdigest()[:12]
        if name in added or name in corrected or name in repeated:
            expected = f"an identifier of its own for each, in a column '{RECORD}'"
            raise DataError(Problem(f"record '{name}'", "twice among the new records", expected))
        place = known.get(name)
        if place is None:
            added.append(name)
            for column, values in columns.items():
                values.append(name if column == RECORD else row[column])
        elif said == _cells(_row(columns, place)):
            repeated.append(name)
        else:
            corrected.append(name)
            for column in layout.columns:
                columns[column][place] = row[column]
    merged = pd.DataFrame({name: _objects(values) for name, values in columns.items()})
    return Merged(merged, tuple(added), tuple(corrected), tuple(repeated))


def empty_records(spec: Spec) -> pd.DataFrame:
    """No records."""
    return pd.DataFrame({name: pd.Series(dtype=object) for name in (RECORD, *columns_of(spec))})


@dataclass(frozen=True, eq=False)
class Read:
    """Records as arrays.

    Attributes
    ----------
    cohort : Cohort
        The patients in the order asked for; its `rows` name them by label.
    names : ndarray of object
        Identifier of the record at each of its `rows`' ``table_row``, from 1.
    """

    cohort: Cohort
    names: np.ndarray


def read_records(
    frames: Mapping[str, pd.DataFrame], statics: Mapping[str, Mapping[str, Any]], spec: Spec, learned: Cohort
) -> Read:
    """Read the records of some patients under what a cohort has taught.

    Parameters
    ----------
    frames : mapping
        Patient to records, as in `Merged`.
    statics : mapping
        Patient to what is known of them.
    spec : Spec
    learned : Cohort

    Returns
    -------
    Read
        One patient without a measurement has a record all the same, and no mask.

    Raises
    ------
    DataError
        A cell cannot be read.
    """
    measured = {words.column for words in spec.observations.values()}
    bare = {
        label
        for label, frame in frames.items()
        if not any(as_text(cell) is not None for name in measured for cell in frame[name].to_numpy())
    }
    try:
        cohort = _read(frames, statics, spec, learned, bare)
        lost = set(frames) - set(cohort.patients)
    except DataError:  # of nobody is anything used; or, if it comes again, a cell cannot be read
        lost = set(frames) - bare
        if not lost:
            raise
    if lost:  # all that was measured of them is left out
        bare |= lost
        cohort = _read(frames, statics, spec, learned, bare)
    lost = set(frames) - set(cohort.patients)
    if lost:
        raise DataError(
            [
                Problem(
                    f"patient '{label}'", "records that cannot be read", "all that the spec reads of them"
                )
                for label in sorted(lost)
            ]
        )
    names = np.concatenate(
        [*(frame[RECORD].to_numpy(object) for frame in frames.values()), _objects([None] * len(bare))]
    )
    rows = cohort.rows[~cohort.rows["patient"].isin(bare)].reset_index(drop=True)
    return Read(_unmasked(replace(cohort, rows=rows), bare, tuple(frames)), names)


def _completed(cells: Mapping[str, Any], layout: Layout, told: Mapping[str, Any]) -> dict[str, Any]:
    """A new record with what is known in its blank cells."""
    label, patient = layout.label, told[layout.label]
    whose = as_text(cells.get(label))
    if whose not in (None, patient):
        raise DataError(Problem(f"records column '{label}'", f"'{whose}'", f"records of '{patient}' alone"))
    row = {name: cells.get(name) for name in layout.columns}
    for column, value in told.items():
        if column in row and as_text(row[column]) is None:
            row[column] = value
    row[label] = patient
    return row


def _row(columns: Mapping[str, list[Any]], place: int) -> dict[str, Any]:
    return {name: values[place] for name, values in columns.items()}


def _objects(values: list[Any]) -> np.ndarray:
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    return cells


def _cells(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What a record says, in a form in which 3, 3.0 and '3' are one."""
    said = []
    for name, cell in row.items():
        text = as_text(cell)
        if name == RECORD or text is None:
            continue
        number = as_number(text)
        said.append((name, text if number is None else repr(number)))
    return tuple(sorted(said))


def _read(
    frames: Mapping[str, pd.DataFrame],
    statics: Mapping[str, Mapping[str, Any]],
    spec: Spec,
    learned: Cohort,
    bare: set[str],
) -> Cohort:
    asked = [
        _placeholder(label, frame, statics[label], spec) for label, frame in frames.items() if label in bare
    ]
    table = pd.DataFrame(
        {
            name: np.concatenate(
                [
                    *(frame[name].to_numpy(object) for frame in frames.values()),
                    _objects([row[name] for row in asked]),
                ]
            )
            for name in columns_of(spec)
        }
    )
    is_asked = np.arange(len(table)) >= len(table) - len(asked)
    return read_opened(Table(table, "records"), spec, Asked(is_asked, learned, others_count=True))


def _placeholder(label: str, frame: pd.DataFrame, static: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    """A row that asks for the first place there is, so that a patient without measurements has one."""
    row: dict[str, Any] = {column: None for column in columns_of(spec)}
    for column, wanted in {**next(iter(spec.observations.values())).where, **spec.where}.items():
        row[column] = accepted_values(wanted)[0]
    row |= {spec.patient.column: label, **static}
    coordinate = coordinate_of(spec)
    if spec.time is not None:
        row[spec.time.column] = 0.0
    for name, words in spec.inputs.items():
        if name == coordinate or not is_filled(frame[words.column]).any():
            row[words.column] = 0.0
    return row


def _unmasked(cohort: Cohort, bare: set[str], order: tuple[str, ...]) -> Cohort:
    place = {label: number for number, label in enumerate(cohort.patients)}
    arrays = {
        name: value.copy() if name.startswith("mask_") else value for name, value in cohort.arrays.items()
    }
    for label in bare:
        for name, value in arrays.items():
            if name.startswith("mask_"):
                value[place[label]] = False
    return take_patients(replace(cohort, arrays=arrays), np.array([place[label] for label in order]))
