"""The pictures of a fit, and how one is saved. Each is a function from a fit to a matplotlib `Figure`.

Only `report` imports matplotlib, and only its object interface: no pyplot, no global state.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from hierarchical_twin.analysis.files import written_whole
from hierarchical_twin.errors import Problem, TwinError, nearest
from hierarchical_twin.report.forest import forest_figure
from hierarchical_twin.report.patients import count_pages, patients_figure
from hierarchical_twin.report.shrinkage import shrinkage_figure

__all__ = ["count_pages", "forest_figure", "patients_figure", "save_figure", "shrinkage_figure"]

FIGURE_SUFFIXES = (".png", ".svg")
_DOTS_PER_INCH = 180


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as ``.png`` or ``.svg``; the same figure gives the same bytes.

    Raises
    ------
    TwinError
        Another suffix, or a place that cannot be written to.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in FIGURE_SUFFIXES:
        expected = f"a name ending in {' or '.join(FIGURE_SUFFIXES)}"
        raise TwinError(Problem(str(target), repr(suffix), expected, nearest(suffix, FIGURE_SUFFIXES)))
    undated = {"Date": None} if suffix == ".svg" else {"Software": None}
    with written_whole(target) as partial, matplotlib.rc_context({"svg.hashsalt": "hierarchical_twin"}):
        figure.savefig(partial, dpi=_DOTS_PER_INCH, metadata=undated)
    return target
