"""Pictures of a twin: its timeline with the forecast fan, its states, and its parameters as they narrowed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, interval_words
from hierarchical_twin.report.page.numbers import p_words
from hierarchical_twin.report.style import (
    INK,
    OWN,
    PLAIN,
    POOLED,
    POPULATION,
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
from hierarchical_twin.report.twin_view import FAN, NOW, START, View

_WIDTH, _FRAME = 7.8, 1.6
_COLUMNS = 3
_MOST_PARAMETERS = 12
_BAND, _LIGHT = 0.30, 0.13
_MOST_UPDATES = 30
_MOST_TICKS, _FEW_DECADES = 9, 500.0


def timeline_figure(view: View, outcome: str) -> Figure:
    """Data, the course that they tell of, and the forecast as a fan; surprises are marked.

    Parameters
    ----------
    view : View
    outcome : str
        One of its curves.
    """
    rows = view.curves[view.curves["outcome"] == outcome]
    points = view.measured[view.measured["outcome"] == outcome]
    has_now = view.has_time and not np.isnan(view.now)
    shown = ["records"] * bool(len(points)) + ["forecast" if view.has_time else "course"]
    title = f"{outcome}: {' and '.join(shown)}"
    caption = _timeline_caption(view, points, has_now=has_now)
    figure = new_figure(_WIDTH, 4.4, Words(title, caption))
    axes = figure.subplots()
    place = rows["place"].to_numpy(float)
    _fill(axes, place, rows, ("lower_new", "upper_new"), _LIGHT)
    ahead = rows[place >= view.now] if has_now else rows
    for prob in FAN if view.has_time else ():
        word = f"{100 * prob:.0f}"
        _fill(axes, ahead["place"].to_numpy(float), ahead, (f"lower_new_{word}", f"upper_new_{word}"), _LIGHT)
    known = rows[place <= view.now] if view.has_time else rows
    _fill(axes, known["place"].to_numpy(float), known, ("lower", "upper"), _BAND)
    axes.plot(place, rows["median"], color=POOLED, linewidth=1.8)
    if has_now:
        axes.axvline(view.now, color=QUIET, linewidth=0.9, linestyle=(0, (2, 2)))
    _draw_points(axes, points)
    axes.set(
        xlabel=with_unit(view.coordinate, view.unit), ylabel=with_unit(outcome, view.units.get(outcome, ""))
    )
    calm(axes)
    _limit(axes, rows, points, view)
    add_legend(figure, _timeline_legend(view, points))
    return figure


def _timeline_caption(view: View, points: pd.DataFrame, *, has_now: bool) -> str:
    interval = interval_words(view.prob, "equal-tailed")
    inner = " and ".join(f"{100 * prob:g}%" for prob in FAN)
    if view.has_time and not has_now:
        return (
            "Line: median of the patient's true value, before any record. Bands: "
            f"{interval} of a new measurement, with inner ones of {inner}."
        )
    words = "Dots: measurements. " if len(points) else ""
    words += f"Line and dark band: median and {interval} of the patient's true value, given all records. "
    words += f"Light band: {interval} of a new measurement."
    if view.has_time:
        words += f" Right of the last record: forecast, with inner bands of {inner}."
    if points["is_surprising"].any():
        words += " Diamond: a measurement that did not fit what the twin expected then, and its p-value."
    return words


def states_figure(view: View) -> Figure:
    """Every state of the mechanism: given all records, and given those up to each time."""
    names = list(dict.fromkeys(view.states["state"]))
    columns = min(len(names), 2)
    lines = -(-len(names) // columns)
    has_filtered = (view.states["kind"] == "filtered").any()
    caption = (
        f"Line and band: median and {interval_words(view.prob, 'equal-tailed')} given all records (smoothed)."
    )
    if has_filtered:
        caption += (
            " Dotted: the same given only the records up to that time (filtered): what was known then; where that "
            "was little, it runs out of the picture."
        )
    told = [f"{name}: {view.meanings[name]}" for name in names if name in view.meanings]
    caption += f" {'; '.join(told)}." if told else ""
    figure = new_figure(_WIDTH, _FRAME + 2.5 * lines, Words("States of the model", caption))
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
    for panel in grid.flat[len(names) :]:
        panel.set_visible(False)
    for name, axes in zip(names, grid.flat, strict=False):
        own = view.states[view.states["state"] == name]
        smoothed, filtered = own[own["kind"] == "smoothed"], own[own["kind"] == "filtered"]
        times = smoothed["time"].to_numpy(float)
        _fill(axes, times, smoothed, ("lower", "upper"), _BAND)
        axes.plot(times, smoothed["median"], color=POOLED, linewidth=1.6)
        for word in ("lower", "median", "upper"):
            width = 1.4 if word == "median" else 0.9
            axes.plot(filtered["time"], filtered[word], color=OWN, linewidth=width, linestyle=(0, (1, 1.3)))
        if not np.isnan(view.now):
            axes.axvline(view.now, color=QUIET, linewidth=0.9, linestyle=(0, (2, 2)))
        axes.set_title(with_unit(name, str(own["unit"].iloc[0])), size=9, color=INK, loc="left", pad=4)
        low, high = float(smoothed["lower"].min()), float(smoothed["upper"].max())
        if spans_decades(low, high):
            axes.set_ylim(low / 1.1, high * 1.1)
            log_axis(axes, "y")
        else:
            axes.set_ylim(*_range(smoothed, ("lower", "upper")))
        calm(axes)
        axes.tick_params(labelbottom=True)
    share_labels(figure, with_unit("time", view.unit), "")
    handles: list[Artist] = [_course_handle("given all records")]
    if has_filtered:
        handles.append(
            Line2D([], [], color=OWN, linestyle=(0, (1, 1.3)), label="given the records up to then")
        )
    add_legend(figure, handles)
    return figure


def course_figure(view: View) -> Figure:
    """Each parameter's interval after every update."""
    course = view.course
    names = list(dict.fromkeys(course["parameter"]))[:_MOST_PARAMETERS]
    columns = 2 if len(names) == 4 else min(len(names), _COLUMNS)
    lines = -(-len(names) // columns)
    caption = (
        f"Median and {interval_words(DEFAULT_PROB, 'equal-tailed')} of each parameter after every update."
        + " At 0: what the population says of such a patient, before any record."
        + (
            ""
            if view.twin.steps or course["update"].max() < NOW
            else " At 1: what the fit says of this patient."
        )
    )
    figure = new_figure(_WIDTH, _FRAME + 1.9 * lines, Words("What each update taught", caption))
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True)
    for panel in grid.flat[len(names) :]:
        panel.set_visible(False)
    for name, axes in zip(names, grid.flat, strict=False):
        _draw_course(axes, course[course["parameter"] == name])
        axes.set_title(
            with_unit(name, view.units.get(name, "")), size=9, color=INK, loc="left", pad=4, wrap=True
        )
        axes.tick_params(labelbottom=True)
    share_labels(figure, "update", "")
    add_legend(figure, _course_legend(course))
    return figure


def _course_legend(course: pd.DataFrame) -> list[Artist]:
    look = {"linestyle": "", "markersize": 4.5, "marker": "o"}
    handles: list[Artist] = [Line2D([], [], color=POPULATION, label="before any record", **look)]
    if (course["update"] != START).any():
        handles.append(Line2D([], [], color=POOLED, label="this patient", **look))
    if course["is_surprising"].any():
        handles.append(
            Line2D([], [], color=OWN, label="after a surprising record", **{**look, "marker": "D"})
        )
    if course["is_doubted"].any():
        handles.append(
            Line2D([], [], color=POOLED, markerfacecolor="white", label="in doubt (hollow)", **look)
        )
    return handles


def _draw_course(axes: Axes, own: pd.DataFrame) -> None:
    at = own["update"].to_numpy(int)
    lower, upper = own["lower"].to_numpy(float), own["upper"].to_numpy(float)
    is_start = at == START
    if len(at) > _MOST_UPDATES:
        axes.fill_between(at, lower, upper, color=POOLED, alpha=_BAND, linewidth=0)
        axes.plot(at, own["median"], color=POOLED, linewidth=1.4)
    else:
        for chosen, color in ((is_start, POPULATION), (~is_start, POOLED)):
            axes.vlines(at[chosen], lower[chosen], upper[chosen], color=color, linewidth=3, alpha=0.45)
    for place, row in enumerate(own.itertuples()):
        if len(at) > _MOST_UPDATES and not (row.is_surprising or row.is_doubted):
            continue
        color = OWN if row.is_surprising else POPULATION if is_start[place] else POOLED
        axes.plot(
            at[place],
            row.median,
            "D" if row.is_surprising else "o",
            color=color,
            markerfacecolor="white" if row.is_doubted else color,
            markersize=4.5,
        )
    if lower.min() > 0 and spans_decades(float(lower.min()), float(upper.max())):
        log_axis(axes, "y")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.set_xlim(at.min() - 0.6, at.max() + 0.6)
    calm(axes, grid="y")


def _draw_points(axes: Axes, points: pd.DataFrame) -> None:
    marked = points["is_surprising"].to_numpy(bool)
    for side, marker, fill in ((0, "o", INK), (1, "v", "white"), (-1, "^", "white")):
        for chosen, color in ((~marked, INK), (marked, OWN)):
            own = points[(points["censored"] == side).to_numpy() & chosen]
            is_marked = color == OWN
            axes.plot(
                own["place"],
                own["value"],
                "D" if is_marked and side == 0 else marker,
                color=color,
                markerfacecolor=fill if fill == "white" else color,
                markersize=7.5 if is_marked else 4.5,
                markeredgewidth=0.9,
                zorder=4,
            )
    for row in points[marked].itertuples():
        axes.annotate(
            p_words(row.p_value),
            (row.place, row.value),
            xytext=(7, 7),
            textcoords="offset points",
            size=8,
            color=OWN,
        )


def _fill(axes: Axes, place: np.ndarray, rows: pd.DataFrame, ends: tuple[str, str], alpha: float) -> None:
    lower, upper = (rows[end].to_numpy(float) for end in ends)
    shown = np.isfinite(lower) & np.isfinite(upper)
    axes.fill_between(place, lower, upper, where=shown, color=POOLED, alpha=alpha, linewidth=0)


def _limit(axes: Axes, rows: pd.DataFrame, points: pd.DataFrame, view: View) -> None:
    """Scales: the outer band and all points; decades where measurements are lognormal."""
    low, high = _range(rows, ("lower_new", "upper_new"))
    values = points["value"].to_numpy(float)
    low, high = min([low, *values]), max([high, *values])
    outcome = str(rows["outcome"].iloc[0])
    lowest = min([*rows["lower_new"].dropna(), *values], default=0.0)
    if view.errors.get(outcome) == "lognormal" and lowest > 0:
        axes.set_ylim(lowest / 1.1, high)
        log_axis(axes, "y")
    else:
        axes.set_ylim(low, high + 0.03 * (high - low))
    place = rows["place"].to_numpy(float)
    positive = place[place > 0]
    if not view.has_time and len(positive) and spans_decades(float(positive.min()), place.max()):
        if (place > 0).all():
            log_axis(axes, "x")
        elif place.min() == 0:
            _log_axis_from_zero(axes, float(positive.min()), float(place.max()))


def _log_axis_from_zero(axes: Axes, first: float, last: float) -> None:
    """A logarithmic axis with 0 at its left end, half a decade before the first positive place."""
    axes.set_xscale("symlog", linthresh=first, linscale=0.5)
    axes.set_xlim(-0.08 * first, 1.15 * last)
    powers = 10.0 ** np.arange(np.floor(np.log10(first)), np.log10(last) + 1e-9)
    ticks = np.outer(powers, (1, 2, 5) if last < _FEW_DECADES * first else (1,)).ravel()
    ticks = ticks[(ticks >= first) & (ticks <= last)]
    axes.xaxis.set_major_locator(FixedLocator([0.0, *ticks[:: -(-len(ticks) // _MOST_TICKS)]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(PLAIN)


def _range(rows: pd.DataFrame, ends: tuple[str, str]) -> tuple[float, float]:
    values = rows[list(ends)].to_numpy(float)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if 0 <= low < 0.3 * high else low - margin), high + margin


def _course_handle(label: str) -> Line2D:
    return Line2D([], [], color=POOLED, linewidth=1.8, label=label)


def _timeline_legend(view: View, points: pd.DataFrame) -> list[Artist]:
    point = {"color": INK, "linestyle": "", "markersize": 4.5}
    handles: list[Artist] = []
    if len(points):
        handles.append(Line2D([], [], marker="o", label="measured", **point))
    if (points["censored"] != 0).any():
        handles.append(Line2D([], [], marker="v", markerfacecolor="white", label="beyond a limit", **point))
    if points["is_surprising"].any():
        handles.append(Line2D([], [], marker="D", label="surprising", **{**point, "color": OWN}))
    handles.append(_course_handle("this patient"))
    handles.append(Patch(color=POOLED, alpha=2 * _LIGHT, linewidth=0, label="new measurement"))
    if view.has_time and not np.isnan(view.now):
        handles.append(Line2D([], [], color=QUIET, linestyle=(0, (2, 2)), label="last record"))
    return handles
