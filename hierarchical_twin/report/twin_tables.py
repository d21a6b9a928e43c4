"""The tables on the page of a twin, and those it lets the reader save."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hierarchical_twin.report.page.numbers import cell, plain, span
from hierarchical_twin.report.page.population import table_unit
from hierarchical_twin.report.page.sections import Download, State
from hierarchical_twin.report.style import with_unit
from hierarchical_twin.report.twin_view import START, View

if TYPE_CHECKING:
    from hierarchical_twin.twin.twin import Step, Twin


@dataclass(frozen=True)
class Table:
    """A table of the page, all cells as text; `states` has the light of each row, or nothing."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    states: tuple[State | None, ...] = ()


def when(view: View, place: float) -> str:
    """A time, or a value of the coordinate, in words."""
    name = "" if view.coordinate == "time" else f"{view.coordinate} "
    return f"{name}{place:.4g} {view.unit}".strip()


def unit_words(view: View, name: str) -> str:
    """The unit of an outcome as it stands beside a number."""
    return table_unit({"unit": view.units.get(name, "1")})


def _interval(view: View) -> str:
    return f"{100 * view.prob:g}% interval"


def parameter_table(view: View) -> Table:
    """What is known of the parameters now, beside what the population alone says."""
    before = view.course[view.course["update"] == START].set_index("parameter")
    last = view.course.groupby("parameter", sort=False).last()
    rows = []
    for row in view.twin.intervals(view.prob).itertuples():
        width = before["upper"].get(row.parameter, np.nan) - before["lower"].get(row.parameter, np.nan)
        now = last.loc[row.parameter, "upper"] - last.loc[row.parameter, "lower"]
        left = f"{100 * now / width:.0f} %" if width > 0 else "–"
        rows.append(
            (
                with_unit(row.parameter, row.unit),
                plain(row.median),
                span(row.lower, row.upper),
                f"{plain(row.mean)} ± {plain(row.sd, 2)}",
                plain(before["median"].get(row.parameter, np.nan)),
                left,
            )
        )
    columns = ("Parameter", "Median", _interval(view), "Mean ± SD", "Population", "Width left")
    caption = "What is known now, and the population's median. Width left: of the population's own interval"
    return Table(caption, columns, tuple(rows))


def forecast_table(view: View) -> Table | None:
    """Some times to come; None where the mechanism has no time."""
    if view.coordinate != "time":
        return None
    ahead = view.curves if np.isnan(view.now) else view.curves[view.curves["place"] > view.now]
    rows = []
    ahead = ahead[ahead["place"].isin(view.asked)]
    for name, own in ahead.groupby("outcome", sort=False):
        for row in own.itertuples():
            rows.append(
                (
                    f"{name}, {when(view, row.place)}",
                    plain(row.median),
                    span(row.lower, row.upper),
                    span(row.new_lower, row.new_upper),
                    unit_words(view, str(name)),
                )
            )
    columns = ("Forecast", "Median", f"true value, {_interval(view)}", "new measurement", "Unit")
    return Table("What to expect", columns, tuple(rows))


def record_table(view: View) -> Table | None:
    """Every measurement and how surprising it was; None without any."""
    if view.measured.empty:
        return None
    rows: list[tuple[str, ...]] = []
    states: list[State | None] = []
    for _, row in view.measured.iterrows():
        sign = {0: "", 1: "< ", -1: "> "}[int(row["censored"])]
        is_told = np.isfinite(row["p_value"])
        rows.append(
            (
                when(view, row["place"]),
                str(row["outcome"]),
                f"{sign}{plain(row['value'])} {unit_words(view, row['outcome'])}".strip(),
                plain(row["p_value"], 2) if is_told else "–",
                str(row["update"]) if row["update"] > START else "from the start",
                str(row["record"]),
            )
        )
        states.append("attention" if row["is_surprising"] else "passed" if is_told else None)
    columns = ("When", "Outcome", "Value", "p", "Update", "Record")
    caption = "p: probability of a value as far out, given all that was known before; small is surprising"
    return Table(caption, columns, tuple(rows), tuple(states))


def update_table(twin: Twin) -> Table | None:
    """Every update and the state of its particles; None without any."""
    if not twin.steps:
        return None
    rows = tuple(_update_row(number, step) for number, step in enumerate(twin.steps, start=1))
    states = tuple(_state_of(twin, step) for step in twin.steps)
    columns = (
        "Update",
        "New",
        "Corrected",
        "Repeated",
        "Left out",
        "Particles",
        "Populations",
        "k-hat",
        "Moves",
    )
    caption = "Effective particles, and different draws of the population among them, after each update"
    return Table(caption, columns, rows, states)


def _state_of(twin: Twin, step: Step) -> State:
    """Failed where a doubt still stands; one that a later update has mended is to be read."""
    if step.is_trustworthy:
        return "passed"
    return "failed" if step.lasting or step is twin.steps[-1] else "attention"


def _update_row(number: int, step: Step) -> tuple[str, ...]:
    moves = "–" if not step.stages else str(step.stages)
    if step.stages and np.isfinite(step.acceptance):
        moves += f" ({100 * step.acceptance:.0f} % taken)"
    counts = (step.added, step.corrected, step.repeated, step.unused)
    sizes = (f"{step.effective:,.0f}", f"{step.effective_population:,.0f}", plain(step.k_hat, 2))
    return (str(number), *(str(len(one)) for one in counts), *sizes, moves)


def downloads(view: View) -> tuple[Download, ...]:
    """The tables that can be saved; those with nothing in them are left out."""
    named = "write_twin_page"
    parts = (
        ("parameters.csv", "Save parameters (CSV)", "twin.intervals()", view.twin.intervals(view.prob)),
        ("course.csv", "Save the course of the parameters (CSV)", "twin.steps", view.course),
        ("curves.csv", "Save curves and forecast (CSV)", named, view.curves),
        ("states.csv", "Save states (CSV)", named, view.states),
        ("records.csv", "Save records (CSV)", named, view.measured),
    )
    return tuple(
        Download(name, label, source, tuple(map(str, frame.columns)), _cells(frame))
        for name, label, source, frame in parts
        if len(frame)
    )


def _cells(frame: pd.DataFrame) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(cell(value) for value in row) for row in frame.itertuples(index=False, name=None))
