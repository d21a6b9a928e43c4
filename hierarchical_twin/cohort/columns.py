"""What the cells of one column mean: numbers, labels, and whether a row matches a filter.

Every function takes the rows it should look at, so that text in rows that another outcome
owns is nobody's error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from hierarchical_twin.cohort.table import Table
from hierarchical_twin.errors import Problem

MISSING = frozenset({"", ".", "na", "nan"})
"""Cells that mean "not measured", whatever their case."""

_SHOWN = 5


@dataclass(frozen=True)
class Labels:
    """A column of words.

    Parameters
    ----------
    codes : ndarray of int, shape [row]
        Place of each row's word in `names`; -1 where it is missing.
    names : tuple of str
        The distinct words, in order of first appearance.
    """

    codes: np.ndarray
    names: tuple[str, ...]


def is_missing(text: str) -> bool:
    """Whether a word means that there is no value."""
    return text.strip().casefold() in MISSING


def as_text(value: Any) -> str | None:
    """The word a cell stands for: trimmed text, whole numbers without ``.0``; None if missing."""
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return None
        return str(int(value)) if np.isfinite(value) and value == int(value) else repr(float(value))
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    text = str(value).strip()
    return None if is_missing(text) else text


def read_words(cells: pd.Series) -> pd.Series:
    """The word each cell stands for, None where missing; same index."""
    return pd.Series([as_text(cell) for cell in cells], index=cells.index, dtype=object)


def is_filled(cells: pd.Series) -> np.ndarray:
    """Which cells say something; bool, shape [row]."""
    return np.array([as_text(cell) is not None for cell in cells], dtype=bool)


def as_number(text: str) -> float | None:
    """The finite number a word spells, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def read_labels(table: Table, column: str) -> Labels:
    """Read a column as words.

    Parameters
    ----------
    table : Table
    column : str
        A column that exists.
    """
    series = table.frame[column]
    if series.dtype == object:
        series = pd.Series([as_text(cell) for cell in series], dtype=object)
    raw_codes, found = pd.factorize(series)
    words = [as_text(name) for name in found]
    names = tuple(dict.fromkeys(word for word in words if word is not None))
    place = {name: number for number, name in enumerate(names)}
    recode = np.array([-1 if word is None else place[word] for word in words] + [-1], dtype=np.int64)
    return Labels(recode[raw_codes], names)


def read_numbers(
    table: Table, column: str, problems: list[Problem], rows: np.ndarray | None = None
) -> np.ndarray:
    """Read a column as numbers; cells that are not go to `problems`.

    Parameters
    ----------
    table : Table
    column : str
        A column that exists.
    problems : list of Problem
        Grows by one for a column with bad cells: the first five are named, all are counted.
    rows : ndarray of bool, shape [row], optional
        Rows to read; the others are NaN.

    Returns
    -------
    ndarray of float64, shape [row]
        NaN where missing or bad.
    """
    series = table.frame[column]
    if series.dtype == object:
        series = series.infer_objects()
    dtype = series.dtype
    is_plain = types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)
    if is_plain or types.is_bool_dtype(dtype):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.isinf(values)
    elif types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype):
        problems.append(
            Problem(
                f"{table.source} column '{column}'",
                f"dates ({dtype})",
                "numbers",
                "give the time since a start, such as (date - first).dt.total_seconds() / 86400",
            )
        )
        return np.full(len(table), np.nan)
    else:
        values, bad = _numbers_in_text(series)
    if rows is not None:
        bad &= rows
        values = np.where(rows, values, np.nan)
    if bad.any():
        problems.append(_bad_cells(table, column, np.flatnonzero(bad)))
        values = np.where(bad, np.nan, values)
    return values


def _numbers_in_text(series: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    if series.dtype == object or isinstance(series.dtype, pd.CategoricalDtype):
        series = pd.Series([as_text(cell) for cell in series], dtype="str")
    values = np.asarray(
        pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    ).copy()
    bad = np.isinf(values)
    unread = np.flatnonzero(np.isnan(values))
    left = series.iloc[unread]
    says_something = ~(left.isna() | left.str.strip().str.casefold().isin(MISSING)).to_numpy(dtype=bool)
    bad[unread[says_something]] = True
    return values, bad


def _bad_cells(table: Table, column: str, rows: np.ndarray) -> Problem:
    cells = [str(table.frame[column].iloc[row]) for row in rows[:_SHOWN]]
    got = f"'{cells[0]}'"
    if len(rows) > 1:
        more = ", ".join(
            f"{table.row_name(row)} '{cell}'" for row, cell in zip(rows[1:], cells[1:], strict=False)
        )
        dots = ", ..." if len(rows) > _SHOWN else ""
        got += f" (and {more}{dots}; {len(rows)} rows in all)"
    hint = ""
    if cells[0].strip()[:1] in {"<", ">"}:
        hint = "write the limit, and 1 (below) or -1 (above) in a column named by `censored`"
    elif as_number(cells[0].strip().replace(",", ".")) is not None:
        hint = "write a decimal point, not a comma"
    return Problem(table.place(rows[0], column), got, "a finite number, or blank or '.' where missing", hint)


def same_value(word: str | None, wanted: Any) -> bool:
    """Whether a cell's word is the value a spec asks for: as text, as a number, or as a truth value.

    Examples
    --------
    >>> same_value("1.0", 1), same_value(" a", "a "), same_value("TRUE", True), same_value(None, None)
    (True, True, True, True)
    """
    if isinstance(wanted, bool):
        return word is not None and word.casefold() in ({"true", "1"} if wanted else {"false", "0"})
    asked = as_text(wanted)
    if word is None or asked is None:
        return word is None and asked is None
    word = word.strip()
    if word == asked:
        return True
    left, right = as_number(word), as_number(asked)
    return left is not None and left == right


def match_rows(table: Table, where: Mapping[str, Any]) -> np.ndarray:
    """Rows that fulfil every condition of a `where`.

    Parameters
    ----------
    table : Table
    where : mapping
        Column to a value, or a list of accepted values; None means a missing cell.

    Returns
    -------
    ndarray of bool, shape [row]
    """
    matched = np.ones(len(table), dtype=bool)
    for column, wanted in where.items():
        labels = read_labels(table, column)
        accepted = accepted_values(wanted)
        hit = np.array([any(same_value(name, value) for value in accepted) for name in (*labels.names, None)])
        matched &= hit[labels.codes]
    return matched


def accepted_values(wanted: Any) -> list[Any]:
    """The values one condition of a `where` accepts."""
    return list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
