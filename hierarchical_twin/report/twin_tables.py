"""The tables on the page of a twin, and those it lets the reader save."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, interval_words
from hierarchical_twin.report.page.numbers import cell, p_words, plain, span
from hierarchical_twin.report.page.population import table_unit
from hierarchical_twin.report.page.sections import Download, State
from hierarchical_twin.report.style import with_unit
from hierarchical_twin.report.twin_view import START, View

if TYPE_CHECKING:
    from hierarchical_twin.twin.twin import Step, Twin


@dataclass(frozen=True)
class Table:
    """A table of the page, all cells as text.

    Attributes
    ----------
    key, title, caption : str
        A word of letters that no other table of the page has, its name, and what its columns hold.
    columns : tuple of str
    rows : tuple of tuple of str
    meanings : tuple of str
        Of each row, or nothing.
    states : tuple of str
        `State` of each row (None: no light), or nothing.
    """

    key: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    meanings: tuple[str, ...] = ()
    states: tuple[State | None, ...] = ()


def when(view: View, place: float) -> str:
    """A time, or a value of the coordinate, in words."""
    name = "" if view.coordinate == "time" else f"{view.coordinate} "
    return f"{name}{place:.4g} {view.unit}".strip()


def unit_words(view: View, name: str) -> str:
    """The unit of an outcome as it stands beside a number."""
    return table_unit({"unit": view.units.get(name, "1")})


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
    interval = interval_words(view.prob, "equal-tailed")
    columns = ("Parameter", "Median", interval, "Mean ± SD", "Population's median", "Width left")
    caption = (
        "What is known of this patient now, and what the population says of such a patient. Width left: how wide "
        f"this patient's {interval_words(DEFAULT_PROB, 'equal-tailed')} is, as a share of the population's; small "
        "where the records told much."
    )
    meanings = tuple(view.meanings.get(name, "") for name in view.twin.parameters)
    return Table("parameters-table", "Parameters", caption, columns, tuple(rows), meanings)


def forecast_table(view: View) -> Table | None:
    """Some times to come; None where the mechanism has no time."""
    if not view.has_time:
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
                    span(row.lower_new, row.upper_new),
                    unit_words(view, str(name)),
                )
            )
    columns = ("Forecast", "Median", "True value", "New measurement", "Unit")
    caption = (
        f"What to expect: median and {interval_words(view.prob, 'equal-tailed')} of the patient's true value, and "
        "the interval of a new measurement, which has its own error too."
    )
    return Table("forecast-table", "Forecast", caption, columns, tuple(rows))


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
                p_words(row["p_value"]).removeprefix("p ").removeprefix("= ") if is_told else "–",
                str(row["update"]) if row["update"] > START else "from the start",
                str(row["record"]),
            )
        )
        states.append("attention" if row["is_surprising"] else "passed" if is_told else None)
    columns = ("When", "Outcome", "Value", "p", "Update", "Record")
    caption = (
        "p: probability of a value as far out, given all that was known before it came; below "
        f"{view.surprising:g} it is said not to fit; a dash where nothing was expected before, as of "
        "the fit's own records. Record: its identifier, made from its cells where it came without one."
    )
    lights = tuple(states) if any(states) else ()
    return Table("records-table", "Records", caption, columns, tuple(rows), states=lights)


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
    caption = (
        "Records that each update brought, put right, already had, or left out (by the spec's filters, times or "
        "limits). Particles: how many equally likely values of this patient the answer rests on; populations: how "
        "many different draws of the population are among them. k-hat: how heavy the weights' tail would be if all "
        "records counted at once (above 0.7 a few particles outweigh the others, unless they are moved). Moves: "
        "rounds in which particles were moved, and the share of proposals that were taken."
    )
    return Table("updates-table", "Updates", caption, columns, rows, states=states)


def _state_of(twin: Twin, step: Step) -> State:
    """Failed where a doubt still stands; one that a later update has mended is to be read."""
    if step.is_trustworthy:
        return "passed"
    stands = step is twin.steps[-1] or any(doubt.is_lasting for doubt in step.doubts)
    return "failed" if stands else "attention"


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
