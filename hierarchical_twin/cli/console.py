"""What commands print: results on standard output; progress, warnings and errors on standard error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hierarchical_twin.cli.app import EXIT_NOT_TRUSTWORTHY
from hierarchical_twin.errors import DataError, Problem

if TYPE_CHECKING:
    from pandas import DataFrame

    from hierarchical_twin.inference.fit import Fit


def say(line: str) -> None:
    """One line on standard error."""
    _write(line, is_error=True)


def put(line: str) -> None:
    """One line, or a block of them, on standard output."""
    _write(line, is_error=False)


def _write(line: str, *, is_error: bool) -> None:
    try:
        typer.echo(line, err=is_error)
    except OSError as error:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), (sys.stderr if is_error else sys.stdout).fileno())
        # Where its reader has seen enough, as `head` does, there is no reason to leave work undone.
        if not isinstance(error, BrokenPipeError) and not is_error:
            got = str(error.strerror or error)
            raise DataError(Problem("standard output", got, "an output that can be written")) from error


def show(frame: DataFrame, out: Path | None) -> None:
    """Print a table, or write it where `--out` says."""
    if out is None:
        print_table(frame, without=())
        return
    from hierarchical_twin.analysis.files import write_table

    put(f"wrote {write_table(frame, out)}")


def print_table(frame: DataFrame, *, without: tuple[str, ...], most: int | None = None) -> None:
    """A table with its intervals named, without some columns and cut to its first rows."""
    shown = frame.drop(columns=[column for column in without if column in frame])
    cut = shown if most is None else shown.head(most)
    put(cut.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep=""))
    if {"prob", "kind"} <= set(frame.columns) and len(frame):
        from hierarchical_twin.analysis.intervals import interval_words

        put(f"limits: {interval_words(frame['prob'].iloc[0], frame['kind'].iloc[0])}")
    if len(cut) < len(shown):
        put(f"... and {len(shown) - len(cut)} more rows: hierarchical-twin intervals FIT")
    put("")


def finish(fit: Fit) -> None:
    """Print the verdict; exit code 3 when the draws are not to be trusted."""
    verdict = fit.diagnostics()
    put(str(verdict))
    if fit.attributes.get("is_interrupted"):
        kept = f"{verdict.chains} x {verdict.draws:,} draws"
        say(f"INTERRUPTED: this run was stopped before its end; it holds the {kept} made until then")
    if not verdict.is_trustworthy:
        raise typer.Exit(EXIT_NOT_TRUSTWORTHY)
