"""The picture of forecasts that were scored: error, coverage, width and PIT as records come in."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from hierarchical_twin.analysis.intervals import interval_words
from hierarchical_twin.analysis.scoring import ALL, METHODS, NO_POOLING, POPULATION, TWIN, Scores
from hierarchical_twin.errors import Problem, SamplingError, nearest
from hierarchical_twin.report.style import (
    FAINT,
    INK,
    OWN,
    POOLED,
    QUIET,
    Words,
    add_legend,
    calm,
    log_axis,
    new_figure,
    spans_decades,
    with_unit,
)
from hierarchical_twin.report.style import POPULATION as POPULATION_COLOR

_LOOKS = {
    TWIN: {"color": POOLED, "marker": "o", "linewidth": 1.8},
    POPULATION: {"color": POPULATION_COLOR, "marker": "D", "linewidth": 1.2, "linestyle": (0, (4, 3))},
    NO_POOLING: {"color": OWN, "marker": "s", "linewidth": 1.2, "linestyle": (0, (1, 1.5))},
}
_APART = 0.05
"""Of a record, between methods that would hide each other."""
_BINS = 10


def scores_figure(scores: Scores, outcome: str | None = None) -> Figure:
    """Draw how forecasts get better with every record: CRPS, coverage, width, and the twin's PIT.

    Parameters
    ----------
    scores : Scores
    outcome : str, optional
        The first by default.

    Raises
    ------
    SamplingError
        No such outcome.
    """
    table = scores.table()
    table = table[table["horizon"] == ALL]
    known = list(dict.fromkeys(table["outcome"]))
    name = known[0] if outcome is None else outcome
    if name not in known:
        hint = nearest(str(name), known)
        raise SamplingError(Problem("outcome", repr(name), f"one of {', '.join(known)}", hint))
    own = table[table["outcome"] == name]
    unit = str(own["unit"].iloc[0])
    figure = new_figure(7.8, 6.6, Words(f"{name}: forecasts after k records", _caption(scores, own)))
    panels = figure.subplots(2, 2)
    _draw_lines(panels[0, 0], own, "crps", "crps_se")
    _draw_lines(panels[0, 1], own, "coverage", "coverage_se")
    _draw_lines(panels[1, 0], own, "width", None)
    _draw_transforms(panels[1, 1], scores, name)
    panels[0, 1].axhline(scores.prob, color=FAINT, linewidth=1.2, zorder=0)
    panels[0, 1].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    low = min(own["coverage"].min() - 0.05, scores.prob - 0.1)
    panels[0, 1].set_ylim(max(0.0, low) if np.isfinite(low) else 0.0, 1.02)
    for axes, label in (
        (panels[0, 0], with_unit("mean CRPS", str(own["crps_unit"].iloc[0]))),
        (panels[0, 1], "inside the interval"),
        (panels[1, 0], with_unit("width of the interval", unit)),
    ):
        axes.set(xlabel="records known", ylabel=label)
    for axes, column in ((panels[0, 0], "crps"), (panels[1, 0], "width")):
        _scale(axes, own[column].to_numpy(float))
    present = [method for method in METHODS if (own["method"] == method).any()]
    add_legend(figure, [Line2D([], [], markersize=4.5, label=one, **_LOOKS[one]) for one in present])
    return figure


def _caption(scores: Scores, table: pd.DataFrame) -> str:
    first = table[table["method"] == TWIN].iloc[0]
    return (
        f"After k records of a patient, in order of time, the rest was forecast: {first['records']:.0f} records of "
        f"{first['patients']:.0f} patients at k = {first['k']:.0f}. CRPS: mean distance between forecast and "
        "measurement, 0 is best. Bars: one standard error, patients taken as independent. PIT: where a measurement "
        "fell in it; flat where forecasts are right, high at both ends where they are too sure. Interval: "
        f"{interval_words(scores.prob, 'equal-tailed')} of a measurement; its width is the median."
    )


def _draw_lines(axes: Axes, table: pd.DataFrame, column: str, error: str | None) -> None:
    for place, method in enumerate(METHODS):
        own = table[table["method"] == method]
        at = own["k"].to_numpy(float) + _APART * (place - 1)
        look = _LOOKS[method]
        axes.plot(at, own[column], markersize=4.5, zorder=3, **look)
        if error is not None:
            low, high = own[column] - own[error], own[column] + own[error]
            positive = low.where(low > 0, own[column])
            axes.vlines(
                at, positive if column == "crps" else low, high, color=look["color"], linewidth=1, zorder=2
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    calm(axes, grid="y")


def _draw_transforms(axes: Axes, scores: Scores, outcome: str) -> None:
    rows = scores.rows
    own = rows[(rows["method"] == TWIN) & (rows["outcome"] == outcome)]
    informed = own[own["k"] > 0]
    own = informed if len(informed) else own
    values = own["pit"].dropna().to_numpy(float)
    heights, edges = np.histogram(values, _BINS, (0.0, 1.0))
    share = heights / max(len(values), 1) * _BINS
    axes.bar(edges[:-1], share, width=1 / _BINS, align="edge", color=POOLED, alpha=0.3, edgecolor=POOLED)
    axes.axhline(1.0, color=INK, linewidth=1)
    ks = sorted(set(own["k"]))
    words = f"k = {ks[0]}" if len(ks) == 1 else f"k = {ks[0]} to {ks[-1]}"
    axes.set(xlabel=f"PIT of the twin, {words}", ylabel="density", xlim=(0, 1))
    axes.tick_params(colors=QUIET)
    calm(axes)


def _scale(axes: Axes, values: np.ndarray) -> None:
    values = values[np.isfinite(values)]
    if len(values) and spans_decades(float(values.min()), float(values.max())):
        log_axis(axes, "y")
    elif len(values):
        axes.set_ylim(bottom=0)
