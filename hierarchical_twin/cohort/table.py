"""Opening a table: CSV, Parquet or DataFrame to one `Table`, every cell as it stood.

A CSV is kept as text so that a bad number can be named with its row and line.
What the cells mean is decided in `columns`.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hierarchical_twin.errors import DataError, Problem

_READABLE = "a CSV file with a header line, a Parquet file, or a pandas DataFrame"


@dataclass(frozen=True)
class Table:
    """The user's table, unchanged, with the name and the lines to speak of it.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows 0, 1, ...; every column that was there, text for a CSV.
    source : str
        File name, or ``table`` for a DataFrame.
    lines : ndarray of int, shape [row], optional
        Line of the file each row came from.
    ahead : int
        Rows of another table that stand ahead of this one's.
    called : tuple of str, optional
        What each row is called, where its number would say nothing.
    """

    frame: pd.DataFrame
    source: str
    lines: np.ndarray | None = None
    ahead: int = 0
    called: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def row_name(self, row: int) -> str:
        """``row 3 (line 4)``: the 1-based data row, and the line where there is one; or what it is called."""
        if self.called is not None:
            return self.called[row]
        if row < self.ahead:
            return f"row {int(row) + 1} of the table it is read beside"
        line = "" if self.lines is None else f" (line {int(self.lines[row])})"
        return f"row {int(row) - self.ahead + 1}{line}"

    def place(self, row: int, column: str) -> str:
        """Where a person finds one cell."""
        return f"{self.source} {self.row_name(row)}, column '{column}'"


def open_table(table: str | os.PathLike[str] | pd.DataFrame) -> Table:
    """Open a table without interpreting it.

    Parameters
    ----------
    table : path or pandas.DataFrame
        A ``.parquet`` or ``.pq`` file is read as Parquet, any other file as CSV in UTF-8.

    Raises
    ------
    DataError
        It cannot be read, or it has no columns or no rows.
    """
    if isinstance(table, pd.DataFrame):
        opened = _from_frame(table, "table")
    elif isinstance(table, str | os.PathLike):
        opened = _from_file(Path(table))
    else:
        raise DataError(Problem("table", f"a {type(table).__name__}", _READABLE))
    if len(opened) == 0:
        raise DataError(Problem(opened.source, "a table with no rows", "at least one row of data"))
    return opened


def _from_frame(frame: pd.DataFrame, source: str) -> Table:
    if frame.columns.nlevels > 1:
        raise DataError(Problem(source, "column names of several levels", "one name for each column"))
    names = [str(name).strip() for name in frame.columns]
    _refuse_twins(names, source)
    # set_axis and reset_index give a new frame over the same cells: the user's own is never touched.
    return Table(frame.set_axis(names, axis=1).reset_index(drop=True), source)


def _from_file(path: Path) -> Table:
    source = path.name
    if path.suffix.lower() in {".xlsx", ".xls", ".ods"}:
        raise DataError(Problem(source, "a spreadsheet", _READABLE, "save the sheet as CSV (UTF-8)"))
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            return _from_frame(_read_parquet(path), source)
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(Problem(source, "no file at this path", _READABLE)) from None
    except OSError as error:
        raise DataError(
            Problem(source, f"a path that cannot be read ({error.strerror or error})", _READABLE)
        ) from None
    return _from_csv(_decode(data, source), source)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except OSError:
        raise
    # pyarrow raises many types for a broken file.
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            Problem(path.name, f"a file that is not readable Parquet ({first})", "a Parquet file")
        ) from None


def _decode(data: bytes, source: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            Problem(
                f"{source} line {line}",
                "bytes that are not UTF-8",
                "a CSV file in UTF-8",
                "save it again as UTF-8",
            )
        ) from None
    if "\x00" in text:
        raise DataError(Problem(source, "a binary file", _READABLE))
    if not text.strip():
        raise DataError(Problem(source, "an empty file", _READABLE))
    return text


def _from_csv(text: str, source: str) -> Table:
    lead = len(text) - len(text.lstrip("\r\n"))
    skipped = text[:lead].count("\n")
    header_line = text[lead:].splitlines()[0]
    header = [name.strip() for name in next(csv.reader([header_line]))]
    _refuse_other_separators(header, source, skipped + 1)
    names = [name or f"column {number}" for number, name in enumerate(header, start=1)]
    _refuse_twins(names, source)
    with warnings.catch_warnings():
        # Rows longer than the header only warn, and lose cells: to us that is an error.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                io.StringIO(text[lead:]),
                header=None,
                names=names,
                skiprows=1,
                index_col=False,
                dtype=str,
                na_filter=False,
                skip_blank_lines=False,
            )
        except pd.errors.EmptyDataError:
            frame = pd.DataFrame({name: pd.Series(dtype=str) for name in names})
        except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
            raise DataError(
                Problem(
                    source,
                    f"rows that do not fit the header ({str(error).strip().splitlines()[0]})",
                    f"{len(names)} cells in each row",
                    "quote cells that contain a comma",
                )
            ) from None
    filled = (frame != "").any(axis=1).to_numpy()
    lines = np.arange(len(frame)) + skipped + 2
    return Table(frame.loc[filled].reset_index(drop=True), source, lines[filled])


def _refuse_other_separators(header: list[str], source: str, line: int) -> None:
    for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if len(header) == 1 and separator in header[0]:
            raise DataError(
                Problem(
                    f"{source} line {line}",
                    f"columns separated by {word}",
                    "columns separated by commas",
                    f"save it with commas, or pass pandas.read_csv(..., sep={separator!r})",
                )
            )


def _refuse_twins(names: list[str], source: str) -> None:
    twins = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twins:
        raise DataError(
            [
                Problem(f"{source} header", f"column '{name}' {names.count(name)} times", "it once")
                for name in twins
            ]
        )
