"""Goodness of fit: measurements against predictions, residuals, and whether transforms are uniform."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import beta, norm

from hierarchical_twin.analysis.bins import bin_edges, place_in_bins
from hierarchical_twin.analysis.strata import coordinate_of
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

BAND = 0.95
"""Probability of the bands of the QQ and ECDF pictures."""
TRANSFORMS = {"PIT": "PIT", "LOO_PIT": "LOO-PIT (leave-one-observation-out)"}
_NORMAL_MIDDLE = 1.96
_MOST_POINTS, _TAIL_POINTS, _MOST_STEPS = 800, 40, 200
_TREND_ROWS, _MOST_TREND_BINS = 15, 10
_SIMULATED_NUMBERS = 1e7
_IN_SAMPLE = (
    " These rows took part in the fit, so that PIT is drawn to 0.5 and the line goes below, then above, "
    "even for a model that is right."
)


def goodness_figure(
    table: pd.DataFrame, outcome: str | None = None, *, unit: str = "", is_log: bool = False
) -> Figure:
    """Measurements against the population's and against the patient's own prediction.

    Parameters
    ----------
    table : pd.DataFrame
        `Prediction.table` of measured rows.
    outcome : str, optional
        The first by default.
    unit : str
        Of the outcome.
    is_log : bool
        Whether both axes are logarithmic, where all values allow it.
    """
    rows = _rows_of(table, outcome, "DV")
    name = str(rows["outcome"].iloc[0])
    caption = (
        "Left: prediction with effects at 0 (PRED). Right: the patient's own (IPRED). Both are posterior means. "
        "On the line, prediction and measurement are equal; triangles stand at a limit of quantification."
        + _shown_words(len(rows))
    )
    figure = new_figure(7.6, 4.6, Words(f"{name}: measured against predicted", caption))
    for axes, word in zip(figure.subplots(1, 2, sharex=True, sharey=True), ("PRED", "IPRED"), strict=True):
        both = rows[["DV", word]].to_numpy(float)
        both = both[np.isfinite(both).all(axis=1)]
        ends = np.array([both.min(), both.max()])
        axes.plot(ends, ends, color=FAINT, linewidth=1.2, zorder=1)
        _scatter(axes, *(rows[name].to_numpy() for name in (word, "DV", "censored")))
        axes.set(xlabel=with_unit(word, unit), ylabel=with_unit(name, unit) if word == "PRED" else "")
        calm(axes)
    if is_log and rows[["DV", "PRED", "IPRED"]].min().min() > 0:
        for axes in figure.axes:
            log_axis(axes, "x")
        log_axis(figure.axes[0], "y")
    return figure


def residuals_figure(
    table: pd.DataFrame, outcome: str | None = None, *, coordinate_label: str | None = None
) -> Figure:
    """IWRES and NPDE against time and prediction, and the QQ plot of NPDE.

    Parameters
    ----------
    table : pd.DataFrame
        `Prediction.table` of measured rows.
    outcome : str, optional
        The first by default.
    coordinate_label : str, optional
        Such as ``day``; the coordinate's name by default.
    """
    rows = _rows_of(table, outcome, "NPDE")
    name, along = str(rows["outcome"].iloc[0]), coordinate_of(rows)
    caption = (
        f"Under a model that is right, points scatter about 0, {BAND:.0%} of them between the dashed lines, "
        "without trend (orange: medians of bins). IWRES: distance from the patient's own prediction in residual "
        "SDs; it is drawn towards 0 where patients have few rows. NPDE: normalised prediction distribution errors, by "
        f"simulation of new patients, uncorrelated within a patient. QQ plot: band of {BAND:.0%} for each point."
        + _shown_words(len(rows))
    )
    figure = new_figure(9.6, 6.4, Words(f"{name}: residuals", caption))
    grid = figure.subplots(2, 3)
    label = coordinate_label or along
    panels = (
        ("IWRES", along, label),
        ("IWRES", "IPRED", "IPRED"),
        ("NPDE", along, label),
        ("NPDE", "EPRED", "EPRED"),
    )
    for axes, (residual, across, text) in zip(grid[:, :2].flat, panels, strict=True):
        _draw_residuals(axes, rows, residual, across)
        axes.set(xlabel=text, ylabel=residual)
    for axes, residual in zip(grid[:, 2], ("IWRES", "NPDE"), strict=True):
        _draw_quantiles(axes, rows[residual].to_numpy(float))
        axes.set(xlabel="normal quantile", ylabel=residual)
    return figure


def transform_figure(rows: pd.DataFrame, outcome: str | None = None, *, column: str = "LOO_PIT") -> Figure:
    """Whether probability integral transforms are uniform: their ECDF less the uniform one.

    Parameters
    ----------
    rows : pd.DataFrame
        `Prediction.table`, or the rows of `loo.LeaveOneOut`.
    outcome : str, optional
        The first by default.
    column : {"PIT", "LOO_PIT"}

    References
    ----------
    Säilynoja, Bürkner and Vehtari (2022), Statistics and Computing 32, 32, doi:10.1007/s11222-022-10090-6; the
    band is that of `arviz_stats`.
    """
    # Imported here: it takes longer than opening a fit may.
    from arviz_stats.ecdf_utils import (
        compute_ecdf,
        get_pointwise_confidence_band,
        simulate_confidence_bands,
    )

    own = _rows_of(rows, outcome, column)
    name, values = str(own["outcome"].iloc[0]), own[column].dropna().to_numpy(float)
    if len(values) < 2:
        raise SamplingError(Problem(f"{column} of '{name}'", f"{len(values)} values", "two or more"))
    simulations = int(np.clip(_SIMULATED_NUMBERS / len(values), 100, 1_000))
    count = len(values)
    at = np.arange(1, min(count, _MOST_STEPS)) / min(count, _MOST_STEPS)
    share = compute_ecdf(values, at)
    each = simulate_confidence_bands(count, 1, at, BAND, simulations, np.random.default_rng(1))
    lower, upper = get_pointwise_confidence_band(each, count, at)
    share, lower, upper, at = (np.concatenate([[0.0], values, [1.0]]) for values in (share, lower, upper, at))
    caption = (
        f"Line: share of {TRANSFORMS.get(column, column)} values up to each number, less that number. Band: {BAND:.0%} "
        "simultaneous, for independent uniform values; rows of one patient are not quite independent. "
        "All below 0: predictions are too low; all above: too high. First below, then above: predictive "
        "bands are too wide; the other way round: too narrow." + (_IN_SAMPLE if column == "PIT" else "")
    )
    figure = new_figure(5.6, 4.2, Words(f"{name}: is {column.replace('_', '-')} uniform?", caption))
    axes = figure.subplots()
    axes.fill_between(at, lower - at, upper - at, step="post", color=POOLED, alpha=0.18, linewidth=0)
    axes.step(at, share - at, where="post", color=INK, linewidth=1.3)
    axes.axhline(0, color=FAINT, linewidth=1)
    axes.set(xlim=(0, 1), xlabel=column.replace("_", "-"), ylabel="ECDF - uniform")
    calm(axes)
    handles = [
        Line2D([], [], color=INK, label="these rows"),
        Line2D([], [], color=POOLED, alpha=0.3, linewidth=7, label="uniform"),
    ]
    add_legend(figure, handles)
    return figure


def _rows_of(table: pd.DataFrame, outcome: str | None, column: str) -> pd.DataFrame:
    """Rows of one outcome that have a value in a column."""
    known = list(dict.fromkeys(table["outcome"].astype(str)))
    name = known[0] if outcome is None and known else outcome
    if name not in known:
        raise SamplingError(
            Problem("outcome", repr(name), f"one of {', '.join(known)}", nearest(str(name), known))
        )
    if column not in table:
        hint = "make it with Prediction.table() or leave_one_observation_out()"
        raise SamplingError(Problem("rows", f"no column '{column}'", f"a table with {column}", hint))
    own = table.loc[(table["outcome"] == name) & table[column].notna()]
    if own.empty:
        raise SamplingError(Problem(f"rows of '{name}'", f"no {column}", "measured rows"))
    return own.reset_index(drop=True)


def _shown_words(rows: int) -> str:
    return f" Shown: {_MOST_POINTS:,} of {rows:,} rows, evenly spaced." if rows > _MOST_POINTS else ""


def _draw_residuals(axes: Axes, rows: pd.DataFrame, residual: str, across: str) -> None:
    x, y = rows[across].to_numpy(float), rows[residual].to_numpy(float)
    usable = np.isfinite(x) & np.isfinite(y)
    if not usable.any():
        _say_none(axes, residual)
        return
    for level in (-_NORMAL_MIDDLE, 0.0, _NORMAL_MIDDLE):
        axes.axhline(level, color=FAINT, linewidth=1, linestyle="-" if level == 0 else (0, (4, 3)), zorder=1)
    _scatter(axes, x[usable], y[usable], rows["censored"].to_numpy()[usable])
    _draw_trend(axes, x[usable], y[usable])
    reach = max(3.0, 1.08 * float(np.abs(y[usable]).max()))
    axes.set_ylim(-reach, reach)
    calm(axes)
    positive = x[usable]
    if spans_decades(positive.min(), positive.max()):
        log_axis(axes, "x")


def _draw_trend(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    bins = min(_MOST_TREND_BINS, len(x) // _TREND_ROWS)
    if bins < 2:
        return
    number = place_in_bins(x, bin_edges(x, bins))
    used = np.unique(number)
    middle = [float(np.median(x[number == place])) for place in used]
    axes.plot(
        middle, [float(np.median(y[number == place])) for place in used], color=OWN, linewidth=1.6, zorder=3
    )


def _draw_quantiles(axes: Axes, values: np.ndarray) -> None:
    ordered = np.sort(values[np.isfinite(values)])
    count = len(ordered)
    if count == 0:
        _say_none(axes, "value")
        return
    place = np.arange(1, count + 1)
    expected = norm.ppf((place - 0.375) / (count + 0.25))
    tail = (1 - BAND) / 2
    even = np.linspace(0, count - 1, min(count, _MOST_POINTS // 4)).round().astype(int)
    tails = np.flatnonzero((place <= _TAIL_POINTS) | (place > count - _TAIL_POINTS))
    thin = np.unique(np.concatenate([even, tails]))
    rank = place[thin]
    lower, upper = (norm.ppf(beta.ppf(level, rank, count + 1 - rank)) for level in (tail, 1 - tail))
    axes.fill_between(expected[thin], lower, upper, color=POOLED, alpha=0.18, linewidth=0)
    axes.plot(expected[[0, -1]], expected[[0, -1]], color=FAINT, linewidth=1.2)
    axes.plot(expected[thin], ordered[thin], "o", color=INK, markersize=2.6, alpha=0.7, markeredgewidth=0)
    calm(axes)


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray, censored: np.ndarray) -> None:
    """Points; triangles where the measurement is beyond a limit. Of very many, some evenly spaced ones."""
    shown = np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).round().astype(int)
    for code, marker, fill in ((0, "o", QUIET), (1, "v", "white"), (-1, "^", "white")):
        at = shown[censored[shown] == code]
        axes.plot(
            x[at],
            y[at],
            marker,
            color=QUIET,
            markerfacecolor=fill,
            markersize=3,
            alpha=0.6,
            markeredgewidth=0.6,
            zorder=2,
        )


def _say_none(axes: Axes, word: str) -> None:
    axes.text(0.5, 0.5, f"no {word} under this error model", ha="center", va="center", size=9, color=QUIET)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
