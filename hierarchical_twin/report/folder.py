"""The tables that stand beside a saved fit in its folder."""

from __future__ import annotations

from pathlib import Path

from hierarchical_twin.analysis.files import write_table, written_whole
from hierarchical_twin.inference.fit import Fit


def write_tables(fit: Fit, folder: Path) -> list[Path]:
    """Write a fit's tables, verdict and spec.

    Parameters
    ----------
    fit : Fit
    folder : Path
        Exists; older files of the same names are replaced.

    Returns
    -------
    list of Path
        What was written: ``intervals.csv``, ``population.csv``, ``shrinkage.csv``,
        ``diagnostics.txt``, ``spec.yaml``, ``data_report.txt``.
    """
    return [
        write_table(fit.intervals(), folder / "intervals.csv"),
        write_table(fit.population(), folder / "population.csv"),
        write_table(fit.shrinkage(), folder / "shrinkage.csv"),
        _write_text(f"{fit.diagnostics()}\n", folder / "diagnostics.txt"),
        _write_text(fit.spec_text, folder / "spec.yaml"),
        _write_text(f"{fit.attributes['data_report']}\n", folder / "data_report.txt"),
    ]


def _write_text(text: str, path: Path) -> Path:
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path
