"""NONMEM's dose columns that a table holds and a spec does not name.

Leaving one of them out would give other doses than the table says, without a word.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from hierarchical_twin.cohort.columns import read_labels, read_numbers
from hierarchical_twin.cohort.events import DoseRows
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.errors import Problem
from hierarchical_twin.spec.schema import Doses

_KEYS = {"EVID": "event", "RATE": "rate", "ADDL": "additional"}


def refuse_unread(
    table: Table,
    doses: Doses,
    rows: tuple[np.ndarray, DoseRows],
    claimed: Set[str],
    problems: list[Problem],
) -> list[str]:
    """Find the columns EVID, RATE, ADDL and SS that say something of a dose and are not read.

    A column in small letters may be a word of everyday (a rate): it is noted, not refused.

    Parameters
    ----------
    table : Table
    doses : Doses
    rows : (ndarray of bool, shape [row], DoseRows)
        Whether the row is selected, and the doses that were read.
    claimed : set of str
        Columns the spec reads, in whatever place.
    problems : list of Problem
        Grows by what is found in columns with NONMEM's capital letters.

    Returns
    -------
    list of str
        Notes on the other columns.
    """
    selected, read = rows
    found = _conventional(table, claimed)
    given = given_rows(table, doses, selected, read)
    notes: list[str] = []
    for name in ("EVID", "RATE", "ADDL", "SS"):
        if name not in found or _is_declared(name, doses):
            continue
        values = read_numbers(table, found[name], [], selected)
        bad = given & (values != 0)
        if name == "EVID":
            # Among event rows, an observation that carries an amount would be read as a dose.
            bad = ~np.isin(values, (0, 1)) | (given & (values == 0) & (doses.time is None))
        told = _tell(table, found[name], (values, bad & ~np.isnan(values)), *_repair(name, doses, found))
        if found[name].isupper():
            problems += told
        else:
            notes += [str(problem) for problem in told]
    return notes


def note_compartments(
    table: Table, doses: Doses, rows: tuple[np.ndarray, DoseRows], claimed: Set[str]
) -> list[str]:
    """A note where the doses go to several compartments (CMT), which is not read."""
    column = _conventional(table, claimed).get("CMT")
    if column is None:
        return []
    selected, read = rows
    labels = read_labels(table, column)
    held = sorted(set(labels.codes[given_rows(table, doses, selected, read)].tolist()) - {-1})
    if len(held) < 2:
        return []
    shown = ", ".join(labels.names[code] for code in held)
    return [f"column {column} is not read; it is {shown} on dose rows, and all of them are given alike"]


def given_rows(table: Table, doses: Doses, selected: np.ndarray, read: DoseRows) -> np.ndarray:
    """Rows that tell of a dose; bool, shape [row]."""
    if doses.time is None:
        given = np.zeros(len(table), dtype=bool)
        given[read.events.row] = True
        return given
    if not isinstance(doses.amount, str):
        return selected
    amount = read_numbers(table, doses.amount, [], selected)
    return ~np.isnan(amount) & (amount != 0)


def _conventional(table: Table, claimed: Set[str]) -> dict[str, str]:
    """NONMEM's name to the column of the table that bears it, whatever its case."""
    names = ("EVID", "RATE", "ADDL", "II", "SS", "CMT")
    columns = [str(column) for column in table.frame.columns if str(column) not in claimed]
    return {column.upper(): column for column in reversed(columns) if column.upper() in names}


def _is_declared(name: str, doses: Doses) -> bool:
    if name == "SS":
        return False
    return getattr(doses, _KEYS[name]) is not None or (name == "RATE" and doses.duration is not None)


def _repair(name: str, doses: Doses, found: dict[str, str]) -> tuple[str, str]:
    """Why a column is not read, and what to do."""
    if name == "SS":
        return "steady-state doses are not supported", "write the doses before it out, a row each"
    words = {_KEYS[name]: found[name]}
    if name == "ADDL":
        words["interval"] = found.get("II", "II")
    why = f"doses names no '{_KEYS[name]}'"
    hint = f"write doses: {{{', '.join(f'{key}: {column}' for key, column in words.items())}}}"
    if name == "RATE":
        return why, f"{hint} and mechanism: {{input: infusion}}"
    return why, hint if doses.time is None else f"leave doses.time out and {hint}"


def _tell(
    table: Table, column: str, cells: tuple[np.ndarray, np.ndarray], why: str, hint: str
) -> list[Problem]:
    values, bad = cells
    at = np.flatnonzero(bad)
    if not len(at):
        return []
    many = f" ({len(at)} rows in all)" if len(at) > 1 else ""
    got = f"{column} {values[at[0]]:g}{many}, which is not read: {why}"
    return [Problem(table.place(int(at[0]), column), got, "doses that say all the table says", hint)]
