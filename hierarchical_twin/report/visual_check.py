"""The picture of a visual predictive check: observed percentiles over bands of simulated ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from hierarchical_twin.analysis.visual_check import PERCENTILES, VisualCheck
from hierarchical_twin.report.style import (
    INK,
    OWN,
    POOLED,
    QUIET,
    Words,
    add_legend,
    calm,
    log_axis,
    new_figure,
    share_labels,
    spans_decades,
    with_unit,
)

_MIDDLE = 50.0
_MOST_COLUMNS = 3
_PANEL_WIDTH, _PANEL_HEIGHT, _FRACTION_HEIGHT, _FRAME = 3.4, 2.7, 1.2, 1.75
_NARROWEST = 7.4  # room for the legend
_MOST_POINTS = 1_000
_WHISKER = 0.012
_ALARM = "#B00020"


def visual_check_figure(
    check: VisualCheck, *, coordinate_label: str | None = None, is_log: bool = False
) -> Figure:
    """Draw a visual predictive check, one panel for each stratum.

    Points: measurements. Lines: their 5th, 50th and 95th percentiles in each bin; bands: intervals of the same
    percentiles of simulated trials; a cross marks a percentile outside its band. Ticks at the top are the edges
    of the bins. With censored values a lower panel shows the fraction beyond a limit.

    Parameters
    ----------
    check : VisualCheck
    coordinate_label : str, optional
        What stands below the panels, such as ``day``; the coordinate's name by default.
    is_log : bool
        Whether the vertical axis is logarithmic, where all values allow it.
    """
    strata = list(dict.fromkeys(check.bins["stratum"]))
    columns = min(len(strata), _MOST_COLUMNS)
    lines = -(-len(strata) // columns)
    has_fractions = len(check.censored) > 0
    heights = [_PANEL_HEIGHT, _FRACTION_HEIGHT] if has_fractions else [_PANEL_HEIGHT]
    kind = "Prediction-corrected visual" if check.is_corrected else "Visual"
    words = Words(f"{kind} predictive check: {check.outcome}", _caption(check))
    figure = new_figure(max(_NARROWEST, _PANEL_WIDTH * columns + 0.5), _FRAME + sum(heights) * lines, words)
    grid = figure.subplots(
        len(heights) * lines, columns, sharex=True, sharey="row", squeeze=False, height_ratios=heights * lines
    )
    for place, stratum in enumerate(strata):
        line, column = divmod(place, columns)
        panel = grid[line * len(heights), column]
        _draw_percentiles(panel, check, stratum)
        if len(strata) > 1:
            panel.set_title(stratum, size=9, color=INK, loc="left", pad=10)
        if has_fractions:
            _draw_fractions(grid[line * len(heights) + 1, column], check, stratum)
    _hide_empty(grid, len(strata), len(heights))
    _scale(grid, len(heights), check, is_log)
    label = check.outcome + (", corrected" if check.is_corrected else "")
    share_labels(figure, coordinate_label or check.coordinate, with_unit(label, check.unit))
    add_legend(figure, _legend(check))
    return figure


def _hide_empty(grid: np.ndarray, shown: int, rows_each: int) -> None:
    columns = grid.shape[1]
    for place in range(shown, grid.size // rows_each):
        line, column = divmod(place, columns)
        for row in range(rows_each):
            grid[line * rows_each + row, column].set_visible(False)
        above = grid[line * rows_each - 1, column] if line else None
        if above is not None:
            above.tick_params(labelbottom=True)


def _draw_percentiles(axes: Axes, check: VisualCheck, stratum: str) -> None:
    points = check.points.loc[check.points["stratum"] == stratum]
    points = points.iloc[np.linspace(0, len(points) - 1, min(len(points), _MOST_POINTS)).round().astype(int)]
    is_beyond = points["censored"] != 0
    for chosen, marker in ((points[~is_beyond], "o"), (points[is_beyond], "v")):
        axes.plot(
            chosen["coordinate"],
            chosen["value"],
            marker,
            color=QUIET,
            markerfacecolor="white" if marker == "v" else QUIET,
            markersize=2.4,
            alpha=0.45,
            markeredgewidth=0.5,
            zorder=1,
        )
    table = check.percentiles.loc[check.percentiles["stratum"] == stratum]
    for percentile in PERCENTILES:
        own = table.loc[table["percentile"] == percentile]
        is_middle = percentile == _MIDDLE
        _draw_band(axes, check, own, OWN if is_middle else POOLED)
        style = "-" if is_middle else (0, (4, 2))
        axes.plot(own["middle"], own["observed"], linestyle=style, color=INK, linewidth=1.4, zorder=4)
        if len(own) == 1:
            axes.plot(own["middle"], own["observed"], "_", color=INK, markersize=12, zorder=4)
        _cross(axes, own)
    edges = check.bins.loc[check.bins["stratum"] == stratum, ["lower_edge", "upper_edge"]].to_numpy()
    for edge in np.unique(edges):
        axes.plot(
            [edge, edge],
            [1.0, 1.025],
            color=QUIET,
            linewidth=0.8,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
    calm(axes)


def _draw_band(axes: Axes, check: VisualCheck, own: pd.DataFrame, color: str) -> None:
    """A band through the bins' middles; of a single bin, a box as wide as a mark."""
    middle, lower, upper = (own[word].to_numpy(float) for word in ("middle", "lower", "upper"))
    if len(own) == 1:
        along = check.points["coordinate"]
        half = _WHISKER * max(float(np.ptp(along)), abs(middle[0]), 1.0)
        middle, lower, upper = (
            np.array([middle[0] - half, middle[0] + half]),
            np.repeat(lower, 2),
            np.repeat(upper, 2),
        )
    axes.fill_between(middle, lower, upper, color=color, alpha=0.22, linewidth=0, zorder=2)
    if len(own) > 1:
        axes.plot(middle, own["simulated"], color=color, linewidth=0.9, zorder=3)


def _cross(axes: Axes, own: pd.DataFrame) -> None:
    outside = own.loc[own["is_outside"]]
    axes.plot(
        outside["middle"],
        outside["observed"],
        "X",
        color=_ALARM,
        markersize=6,
        markeredgecolor="white",
        zorder=5,
    )


def _draw_fractions(axes: Axes, check: VisualCheck, stratum: str) -> None:
    own = check.censored.loc[check.censored["stratum"] == stratum]
    _draw_band(axes, check, own, POOLED)
    axes.plot(own["middle"], own["observed"], marker="o", markersize=3, color=INK, linewidth=1.2, zorder=4)
    _cross(axes, own)
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title("beyond a limit", size=8, color=QUIET, loc="left", pad=3)
    calm(axes, grid="y")


def _scale(grid: np.ndarray, rows_each: int, check: VisualCheck, is_log: bool) -> None:
    values = np.concatenate(
        [check.points["value"], check.percentiles[["lower", "observed", "upper"]].to_numpy().ravel()]
    )
    if is_log and np.nanmin(values) > 0:
        for line in range(0, len(grid), rows_each):
            log_axis(grid[line, 0], "y")
    along = check.points["coordinate"].to_numpy()
    # Concentrations run over decades; bins are then spread only on a log axis.
    if check.coordinate != "time" and spans_decades(along.min(), along.max()):
        log_axis(grid.flat[0], "x")


def _caption(check: VisualCheck) -> str:
    counts, bins = check.bins["rows"].to_numpy(), len(np.unique(check.bins["bin"].to_numpy()))
    least, most = counts.min(), counts.max()
    rows = f"{most:,} rows" if least == most else f"{least:,} to {most:,} rows"
    shown = f" At most {_MOST_POINTS:,} points of a panel are shown." if _is_crowded(check) else ""
    beyond = " Values beyond a limit of quantification stand at it." if len(check.censored) else ""
    corrected = f" Corrected: {check.correction}." if check.is_corrected else ""
    number = f"{bins} bins" if bins > 1 else "1 bin"
    return (
        f"Lines: 5th, 50th and 95th percentiles of the measurements in {number} of {rows}; edges are ticks at the "
        f"top. Bands: {check.prob:.0%} equal-tailed intervals of the same percentiles in {check.draws} simulated "
        f"trials of new patients, uncertainty of the parameters included.{corrected}{beyond} "
        f"{check.verdict[0].upper()}{check.verdict[1:]}.{shown}"
    )


def _is_crowded(check: VisualCheck) -> bool:
    return bool((check.points.groupby("stratum").size() > _MOST_POINTS).any())


def _legend(check: VisualCheck) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], marker="o", linestyle="", color=QUIET, markersize=3, alpha=0.6, label="measured"),
        Line2D([], [], color=INK, linewidth=1.4, label="median"),
        Line2D([], [], color=INK, linewidth=1.4, linestyle=(0, (4, 2)), label="5 %, 95 %"),
        Patch(color=OWN, alpha=0.22, linewidth=0, label="simulated median"),
        Patch(color=POOLED, alpha=0.22, linewidth=0, label="simulated 5 %, 95 %"),
    ]
    if check.percentiles["is_outside"].to_numpy().any() or check.censored["is_outside"].to_numpy().any():
        handles.append(Line2D([], [], marker="X", linestyle="", color=_ALARM, markersize=6, label="outside"))
    return handles
