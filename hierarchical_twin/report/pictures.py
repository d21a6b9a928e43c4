"""The pictures that stand beside a saved fit in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hierarchical_twin.dims import NO_POOLING, OBSERVED_DATA, POSTERIOR_PREDICTIVE
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.figures import (
    count_pages,
    forest_figure,
    patients_figure,
    save_figure,
    shrinkage_figure,
)

_MOST_PAGES = 4
_NO_DRAWS = "this fit keeps statistics of patients, not draws: patients='draws' keeps them"
_PICTURES = ("shrinkage.svg", "forest_*.svg", "patients_*.svg")


def write_pictures(fit: Fit, folder: Path, tell: Callable[[str], None] | None = None) -> list[Path]:
    """Draw a fit's pictures as SVG.

    Parameters
    ----------
    fit : Fit
    folder : Path
        Exists; the pictures of an earlier fit there are removed.
    tell : callable, optional
        Called with a line of text for what this fit does not have the draws for.

    Returns
    -------
    list of Path
        What was written: ``shrinkage.svg``, and for each parameter and outcome ``forest_*.svg`` and
        ``patients_*.svg``.
    """
    for picture in _PICTURES:  # an earlier fit's may be of parameters that this one does not have
        for stale in folder.glob(picture):
            stale.unlink()
    written = []
    tree = fit.tree
    if NO_POOLING in tree.children:
        written.append(save_figure(shrinkage_figure(fit), folder / "shrinkage.svg"))
        for parameter in tree[NO_POOLING].data_vars:
            written.append(
                save_figure(forest_figure(fit, str(parameter)), folder / f"forest_{parameter}.svg")
            )
    outcomes = tree[OBSERVED_DATA].data_vars
    if POSTERIOR_PREDICTIVE not in tree.children:
        if tell is not None:
            tell(f"not drawn: patients_{', patients_'.join(map(str, outcomes))} ({_NO_DRAWS})")
        return written
    for outcome in outcomes:
        for page in range(1, min(count_pages(fit, str(outcome)), _MOST_PAGES) + 1):
            name = f"patients_{outcome}.svg" if page == 1 else f"patients_{outcome}_{page}.svg"
            written.append(save_figure(patients_figure(fit, str(outcome), page=page), folder / name))
    return written
