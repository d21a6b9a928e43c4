"""A twin's records: as tables, whose they are, and how they become arrays. `merging` says what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.cohort.admit import Asked
from hierarchical_twin.cohort.columns import accepted_values, as_text, is_filled, read_words
from hierarchical_twin.cohort.inputs import coordinate_of
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.cohort.read import read_opened
from hierarchical_twin.cohort.subset import take_patients
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.errors import DataError, Problem, nearest
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.twin.merging import RECORD, Layout, Merged, as_objects, columns_of, merge_rows

_SHOWN = 5


def static_columns(spec: Spec) -> tuple[str, ...]:
    """Columns that say the same in all rows of a patient: covariates, levels, known parameters, one dose."""
    words = ("covariates.", "parameters.")
    if spec.doses is not None and spec.doses.time is not None:
        words += ("doses.",)
    return tuple(dict.fromkeys(need.column for need in needs_of(spec) if need.key.startswith(words)))


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


def labels_of(records: pd.DataFrame, spec: Spec) -> np.ndarray:
    """Whose each row of a table is: labels ``[row]``.

    Raises
    ------
    DataError
        There is no column of patients, a row names nobody, or there are no rows.
    """
    column = spec.patient.column
    if column not in records:
        got = f"the columns {', '.join(map(str, records.columns))}"
        raise DataError(Problem("records", got, f"'{column}' among them", "it says whose each record is"))
    labels = read_words(records[column]).to_numpy(object)
    blank = [number for number, label in enumerate(labels, start=1) if label is None]
    if blank:
        rows = ", ".join(map(str, blank[:_SHOWN])) + (", ..." if len(blank) > _SHOWN else "")
        where = f"records column '{column}'"
        raise DataError(Problem(where, f"nobody in row {rows}", "a patient in each row"))
    if not len(labels):
        raise DataError(Problem("records", "a table with no rows", "at least one record"))
    return labels


def merge(
    frame: pd.DataFrame, new: pd.DataFrame, spec: Spec, patient: str, static: Mapping[str, Any]
) -> Merged:
    """`merge_rows` of a table from `as_frame`."""
    return merge_rows(frame, rows_of(new), Layout.of(spec), patient, static)


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
        A cell cannot be read, or something that is needed of a patient is not known.
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
        reasons = dict(cohort.report.patients_excluded)
        expected = "all that the spec reads of a patient"
        raise DataError(
            [Problem(f"records of '{label}'", reasons[label], expected) for label in sorted(lost)]
        )
    names = np.concatenate(
        [*(frame[RECORD].to_numpy(object) for frame in frames.values()), as_objects([None] * len(bare))]
    )
    rows = cohort.rows[~cohort.rows["patient"].isin(bare)].reset_index(drop=True)
    return Read(_unmasked(replace(cohort, rows=rows), bare, tuple(frames)), names)


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
                    as_objects([row[name] for row in asked]),
                ]
            )
            for name in columns_of(spec)
        }
    )
    is_asked = np.arange(len(table)) >= len(table) - len(asked)
    called = [f"'{name}' of '{label}'" for label, frame in frames.items() for name in frame[RECORD]]
    called += [f"of '{row[spec.patient.column]}'" for row in asked]
    opened = Table(table, "records", called=tuple(called))
    return read_opened(opened, spec, Asked(is_asked, learned, others_count=True))


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
