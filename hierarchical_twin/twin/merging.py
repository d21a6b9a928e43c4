"""What is new among a patient's records, and what repeats or corrects an earlier one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.columns import accepted_values, as_number, as_text
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.errors import DataError, Problem
from hierarchical_twin.spec.schema import Spec

RECORD = "record"
"""The column that identifies a record; without it, a record is known by its cells."""
FIRST = "first_cells"
"""The column that knows a corrected record's first cells, by their digest; there where one was corrected."""


@dataclass(frozen=True, eq=False)
class Merged:
    """A patient's records with the new ones among them.

    Attributes
    ----------
    frame : pandas.DataFrame
        `RECORD`, the spec's columns, and `FIRST` if need be, in order of arrival.
    added, corrected, repeated : tuple of str
        Identifiers of the new records that were not known, that replaced another, that said nothing new.
    """

    frame: pd.DataFrame
    added: tuple[str, ...]
    corrected: tuple[str, ...]
    repeated: tuple[str, ...]


def columns_of(spec: Spec) -> tuple[str, ...]:
    """Every column that the spec names."""
    return tuple(dict.fromkeys(need.column for need in needs_of(spec)))


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


def merge_rows(
    frame: pd.DataFrame,
    new: Sequence[Mapping[str, Any]],
    layout: Layout,
    patient: str,
    static: Mapping[str, Any],
) -> Merged:
    """A patient's records with new ones added, and corrected where an identifier is known.

    A record without an identifier is the one that has its cells, or had them before it was corrected; so it
    never corrects. Of known records with the same cells, each is met once.

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
        A record is of another patient; or two of the new ones have one identifier, or the same cells and
        one of them no identifier.
    """
    places = {str(name): place for place, name in enumerate(frame[RECORD].to_numpy())}
    columns = {name: frame[name].to_numpy(object).tolist() for name in (RECORD, *layout.columns)}
    first: list[str | None] = [None] * len(frame)
    if FIRST in frame:
        first = frame[FIRST].to_numpy(object).tolist()
    told = {**layout.told, **static, layout.label: patient}
    rows = [_completed(cells, layout, told) for cells in new]
    said, given = [_digest(row) for row in rows], [as_text(cells.get(RECORD)) for cells in new]
    known = _by_digest(columns, first, told) if None in given else {}
    added, corrected, repeated = [], [], []
    for name, own, row, digest in zip(_names(said, given, known, patient), given, rows, said, strict=True):
        place = places.get(name)
        before = None if place is None else _digest(_filled(_row(columns, place), told))
        if place is None:
            added.append(name)
            first.append(None)
            for column, values in columns.items():
                values.append(name if column == RECORD else row[column])
        elif own is None or digest == before:
            repeated.append(name)
        else:
            corrected.append(name)
            first[place] = first[place] or before
            for column in layout.columns:
                columns[column][place] = row[column]
    merged = pd.DataFrame({name: as_objects(values) for name, values in columns.items()})
    if any(first):
        merged[FIRST] = as_objects(first)
    return Merged(merged, tuple(added), tuple(corrected), tuple(repeated))


def as_objects(values: Sequence[Any]) -> np.ndarray:
    """Cells as they are, ``[row]``."""
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    return cells


def _by_digest(
    columns: Mapping[str, list[Any]], first: Sequence[str | None], told: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Names of the known records by what they say and, after those, by what they said at first."""
    found: dict[str, list[str]] = {}
    names = [str(name) for name in columns[RECORD]]
    for place, name in enumerate(names):
        found.setdefault(_digest(_filled(_row(columns, place), told)), []).append(name)
    for name, digest in zip(names, first, strict=True):
        if digest is not None:
            found.setdefault(digest, []).append(name)
    return found


def _names(
    said: Sequence[str], given: Sequence[str | None], known: Mapping[str, Sequence[str]], patient: str
) -> list[str]:
    """Each new record's identifier: the one given, or the known record's with its cells, or its digest."""
    taken = {name for name in given if name is not None}
    left = {digest: [name for name in known.get(digest, ()) if name not in taken] for digest in said}
    names, twice = [], {name for name, count in Counter(given).items() if name is not None and count > 1}
    cells = Counter(said)
    for digest, name in zip(said, given, strict=True):
        if name is not None:
            names.append(name)
        elif left[digest]:
            names.append(left[digest].pop(0))
        else:
            names.append(known.get(digest, [digest])[-1])
            twice |= {names[-1]} if digest in known or cells[digest] > 1 else set()
    if twice:
        got, expected = "the same twice", f"an identifier of its own for each, in a column '{RECORD}'"
        where = (f"record '{name}' of '{patient}'" for name in sorted(twice))
        raise DataError([Problem(one, f"{got} among the new records", expected) for one in where])
    return names


def _completed(cells: Mapping[str, Any], layout: Layout, told: Mapping[str, Any]) -> dict[str, Any]:
    """A new record with what is known in its blank cells."""
    label, patient = layout.label, told[layout.label]
    whose = as_text(cells.get(label))
    if whose not in (None, patient):
        where = f"records of '{patient}', column '{label}'"
        raise DataError(Problem(where, f"'{whose}'", f"records of '{patient}' alone"))
    row = _filled({name: cells.get(name) for name in layout.columns}, told)
    row[label] = patient
    return row


def _filled(row: dict[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    for column, value in told.items():
        if column in row and as_text(row[column]) is None:
            row[column] = value
    return row


def _row(columns: Mapping[str, list[Any]], place: int) -> dict[str, Any]:
    return {name: values[place] for name, values in columns.items()}


def _digest(row: Mapping[str, Any]) -> str:
    """Of what a record says, in a form in which 3, 3.0 and '3' are one."""
    said = []
    for name, cell in row.items():
        text = as_text(cell)
        if name == RECORD or text is None:
            continue
        number = as_number(text)
        said.append((name, text if number is None else repr(number)))
    return sha256(repr(tuple(sorted(said))).encode()).hexdigest()[:12]
