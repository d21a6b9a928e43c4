"""The tables and pictures that stand beside a saved fit in its folder."""

from __future__ import annotations

from pathlib import Path

from hierarchical_twin.analysis.files import write_table, written_whole
from hierarchical_twin.dims import NO_POOLING
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.figures import (
    count_pages,
    forest_figure,
    patients_figure,
    save_figure,
    shrinkage_figure,
)

_MOST_PAGES = 4
_PICTURES = ("shrinkage.svg", "forest_*.svg", "patients_*.svg")


def write_folder(fit: Fit, folder: Path) -> list[Path]:
    """Write a fit's tables, verdict, spec and pictures.

    Parameters
    ----------
    fit : Fit
    folder : Path
        Exists; older files of the same names are replaced.

    Returns
    -------
    list of Path
        What was written: ``intervals.csv``, ``population.csv``, ``shrinkage.csv``,
        ``diagnostics.txt``, ``spec.yaml``, ``data_report.txt``, and pictures as SVG.
    """
    for picture in _PICTURES:  # an earlier fit's may be of parameters that this one does not have
        for stale in folder.glob(picture):
            stale.unlink()
    written = [
        write_table(fit.intervals(), folder / "intervals.csv"),
        write_table(fit.population(), folder / "population.csv"),
        write_table(fit.shrinkage(), folder / "shrinkage.csv"),
        _write_text(f"{fit.diagnostics()}\n", folder / "diagnostics.txt"),
        _write_text(fit.spec_text, folder / "spec.yaml"),
        _write_text(f"{fit.attributes['data_report']}\n", folder / "data_report.txt"),
    ]
    tree = fit.tree
    if NO_POOLING in tree.children:
        written.append(save_figure(shrinkage_figure(fit), folder / "shrinkage.svg"))
        for parameter in tree[NO_POOLING].data_vars:
            written.append(
                save_figure(forest_figure(fit, str(parameter)), folder / f"forest_{parameter}.svg")
            )
    for outcome in tree["observed_data"].data_vars:
        for page in range(1, min(count_pages(fit, str(outcome)), _MOST_PAGES) + 1):
            name = f"patients_{outcome}.svg" if page == 1 else f"patients_{outcome}_{page}.svg"
            written.append(save_figure(patients_figure(fit, str(outcome), page=page), folder / name))
    return written


def _write_text(text: str, path: Path) -> Path:
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path
