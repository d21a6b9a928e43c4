"""The tables that stand beside a saved fit in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hierarchical_twin.analysis.files import write_table, written_whole
from hierarchical_twin.inference.fit import Fit


def fit_tables(fit: Fit) -> dict[str, pd.DataFrame]:
    """The tables of a fit by name: ``intervals``, ``population``, ``shrinkage``."""
    return {
        "intervals": fit.intervals(),
        "population": fit.population(),
        "shrinkage": fit.shrinkage(),
    }


def write_tables(fit: Fit, tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write a fit's tables, verdict and spec.

    Parameters
    ----------
    fit : Fit
    tables : mapping to DataFrame
        Of `fit_tables`.
    folder : Path
        Exists; older files of the same names are replaced.

    Returns
    -------
    list of Path
        What was written: ``intervals.csv``, ``population.csv``, ``shrinkage.csv``,
        ``diagnostics.txt``, ``spec.yaml``, ``data_report.txt``.
    """
    return [
        *(write_table(table, folder / f"{name}.csv") for name, table in tables.items()),
        _write_text(f"{fit.diagnostics()}\n", folder / "diagnostics.txt"),
        _write_text(fit.spec_text, folder / "spec.yaml"),
        _write_text(f"{fit.attributes['data_report']}\n", folder / "data_report.txt"),
    ]


def _write_text(text: str, path: Path) -> Path:
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path
