"""Writing results so that nobody ever finds half a file. Tables go out as CSV, Parquet or JSON."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from hierarchical_twin.errors import Problem, TwinError, nearest

TABLE_SUFFIXES = (".csv", ".parquet", ".json")


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes its place, on failure it is removed.

    Works for a file or a folder (Zarr). What stood at `path` stays until the new one is complete.

    Raises
    ------
    TwinError
        The folder does not exist or cannot be written to.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise TwinError(Problem(str(target), "a folder that does not exist", "a path in an existing folder"))
    # The suffix is kept because writers choose their format by it.
    partial = target.with_name(f".{target.stem}.partial-{uuid.uuid4().hex[:8]}{target.suffix}")
    try:
        yield partial
        _take_place(partial, target)
    except OSError as error:
        raise TwinError(
            Problem(str(target), str(error.strerror or error), "a place that can be written to")
        ) from error
    finally:
        _remove(partial)


def write_table(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a tidy table as ``.csv``, ``.parquet`` or ``.json`` (one record for each row).

    Raises
    ------
    TwinError
        Another suffix, or a place that cannot be written to.
    """
    target = Path(path)
    suffix = check_table_name(target)
    with written_whole(target) as partial:
        if suffix == ".csv":
            frame.to_csv(partial, index=False)
        elif suffix == ".parquet":
            frame.to_parquet(partial, index=False)
        else:
            frame.to_json(partial, orient="records", indent=1, double_precision=15)
    return target


def check_table_name(path: str | Path) -> str:
    """The suffix of a table's name, in lower case.

    Raises
    ------
    TwinError
        It is none of `TABLE_SUFFIXES`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        expected = f"a name ending in {', '.join(TABLE_SUFFIXES)}"
        raise TwinError(Problem(str(path), repr(suffix), expected, nearest(suffix, TABLE_SUFFIXES)))
    return suffix


def _take_place(partial: Path, target: Path) -> None:
    if not target.is_dir():
        os.replace(partial, target)
        return
    # A folder with content cannot be replaced in one step: step aside, and step back if that fails.
    aside = partial.with_name(partial.name + "-old")
    os.replace(target, aside)
    try:
        os.replace(partial, target)
    except OSError:
        os.replace(aside, target)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
