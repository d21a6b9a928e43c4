"""The verb `write_twin_page`: one small self-contained page about a twin, for whoever looks after the patient."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hierarchical_twin.analysis.files import written_whole
from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval
from hierarchical_twin.report.page.numbers import counted, plain
from hierarchical_twin.report.page.pictures import picture_of
from hierarchical_twin.report.page.render import contents_of, embedded, set_page
from hierarchical_twin.report.page.sections import Absent, Download, Fact, Picture, State
from hierarchical_twin.report.page.write import check_target
from hierarchical_twin.report.twin_pictures import course_figure, states_figure, timeline_figure
from hierarchical_twin.report.twin_tables import (
    Table,
    downloads,
    forecast_table,
    parameter_table,
    record_table,
    unit_words,
    update_table,
    when,
)
from hierarchical_twin.report.twin_view import View, view_twin

if TYPE_CHECKING:
    from hierarchical_twin.twin.twin import Twin

_NUMBERS = re.compile(r"[\d.,%]+")
_SCRIPTS = ("elements.js", "saving.js", "theme.js", "twin.js")


@dataclass(frozen=True)
class Notice:
    """Something to look at: what it is about, what was found, what to do."""

    state: State
    name: str
    found: str
    advice: str


@dataclass(frozen=True)
class Judgement:
    """Whether the twin may be used."""

    state: State
    headline: str
    words: str
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class TwinPage:
    """What the page says, in reading order."""

    title: str
    kind: str
    byline: str
    verdict: Judgement
    facts: tuple[Fact, ...]
    timelines: tuple[Picture, ...]
    forecasts: Table | None
    states: tuple[Picture, ...]
    course: Picture
    parameters: Table
    records: Table | None
    updates: Table | None
    provenance: tuple[Fact, ...]
    absent: tuple[Absent, ...]
    downloads: tuple[Download, ...]


def write_twin_page(
    twin: Twin,
    path: str | os.PathLike[str],
    *,
    until: float | None = None,
    plan: Any = None,
    scenario: Mapping[str, Any] | None = None,
    title: str | None = None,
    prob: float = DEFAULT_PROB,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML page about a twin.

    It says first whether the twin may be used, then shows the records with the forecast, the states of the
    model, what each update taught of the parameters, and every record with its surprise.

    Parameters
    ----------
    twin : Twin
    path : path
        Ends in ``.html``.
    until : float, optional
        Where the forecast ends, in the spec's unit of time; by default half as long after the last record
        as the records are (or those of the fit, if that is longer).
    plan, scenario : optional
        Doses and inputs to come, and columns with other values, as `forecast` takes them.
    title : str, optional
        The spec's by default.
    prob : float
        Probability inside the intervals and the outer bands.
    seed : int
        Of the forecast's noise.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the page. It needs no network, opens from disk, prints to A4, and holds its tables as CSV.

    Raises
    ------
    TwinError
        A place that cannot be written to, a file that exists, an unknown probability, a time `until` before
        the last record, or a plan or scenario that cannot be read.
    """
    target = Path(path)
    check_target(target, overwrite=overwrite)
    check_interval(prob, "equal-tailed")
    ahead = {word: value for word, value in (("plan", plan), ("scenario", scenario)) if value is not None}
    page = gather_twin_page(view_twin(twin, until=until, ahead=ahead, prob=prob, seed=seed), title)
    text = set_page("twin.html", _SCRIPTS, page=page, downloads=Markup(embedded(contents_of(page.downloads))))
    with written_whole(target) as partial_path:
        partial_path.write_text(text, encoding="utf-8")
    return target


def gather_twin_page(view: View, title: str | None = None) -> TwinPage:
    """What the page says of a view."""
    twin = view.twin
    spec = twin.population.model.spec
    outcomes = list(dict.fromkeys(view.curves["outcome"]))
    pictures = [
        picture_of(f"timeline{place}", partial(timeline_figure, view, name))
        for place, name in enumerate(outcomes)
    ]
    told = [picture_of("states", partial(states_figure, view))] if len(view.states) else []
    last = "" if np.isnan(view.now) else f" · last record at {when(view, view.now)}"
    count = twin.records["record"].nunique()
    return TwinPage(
        title=title or spec.title or spec.name,
        kind=f"Twin of patient {twin.patient}",
        byline=f"{spec.name} · {counted(count, 'record')} in {counted(twin.revision, 'update')}{last}",
        verdict=judge(view),
        facts=_facts(view),
        timelines=tuple(pictures),
        forecasts=forecast_table(view),
        states=tuple(told),
        course=picture_of("course", partial(course_figure, view)),
        parameters=parameter_table(view),
        records=record_table(view),
        updates=update_table(twin),
        provenance=_provenance(twin),
        absent=view.absent,
        downloads=downloads(view),
    )


def judge(view: View) -> Judgement:
    """Whether the twin may be used: doubts first, then records that do not fit, then all is well."""
    twin, notices = view.twin, []
    for doubts in _doubts(twin):
        found, _, advice = doubts[-1][1].partition(": ")
        updates = ", ".join(str(update) for update, _ in doubts)
        word = "Update" if len(doubts) == 1 else "Updates"
        times = "" if len(doubts) == 1 else " (at the last of them)"
        notices.append(Notice("failed", f"{word} {updates}", f"{found}{times}", advice))
    marked = view.measured[view.measured["is_surprising"]]
    for row in marked.itertuples():
        place = f" at {when(view, row.place)}"
        value = f"{plain(row.value)} {unit_words(view, row.outcome)}".strip()
        notices.append(
            Notice(
                "attention",
                f"{row.outcome}{place}",
                f"{value} does not fit what was expected then (p = {plain(row.p_value, 1)})",
                "check the sample, the sensor and whose it is. If it is right, the patient has changed or the "
                "model does not hold: use no forecast until that is settled",
            )
        )
    size = f"{twin.effective:,.0f} effective of {len(twin.particles.draw):,} particles"
    if twin.doubts:
        words = f"What was computed is itself in doubt ({size}): the numbers below may be wrong."
        return Judgement("failed", "Do not rely on this twin yet", words, tuple(notices))
    if len(marked):
        words = f"The updates are sound ({size}), but {counted(len(marked), 'measurement')} did not fit."
        return Judgement("attention", "This twin was surprised", words, tuple(notices))
    if view.measured.empty:
        words = "Nothing was measured yet: all below is what the population says of such a patient."
        return Judgement("unknown", "Nothing is known of this patient yet", words)
    words = f"The updates are sound ({size}), and no measurement was surprising when it came."
    return Judgement("passed", "This twin can be used", words)


def _doubts(twin: Twin) -> list[list[tuple[int, str]]]:
    """Doubts that stand, those of one kind together, each with the number of its update."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for number, step in enumerate(twin.steps, start=1):
        for doubt in step.doubts if number == twin.revision else step.lasting:
            kinds.setdefault(_NUMBERS.sub("", doubt), []).append((number, doubt))
    return list(kinds.values())


def _facts(view: View) -> tuple[Fact, ...]:
    twin = view.twin
    facts = [Fact(column, str(value)) for column, value in twin.static.items()]
    counts = view.measured.groupby("outcome", sort=False).size()
    facts += [Fact(f"measurements of {name}", f"{count:,}") for name, count in counts.items()]
    left_out = len({name for step in twin.steps for name in step.unused})
    if left_out:
        facts.append(Fact("measurements left out", f"{left_out:,}, by the spec's filters, times or inputs"))
    if not np.isnan(view.now):
        facts.append(Fact("last measurement", when(view, view.now)))
    return tuple(facts)


def _provenance(twin: Twin) -> tuple[Fact, ...]:
    facts = [Fact(name.replace("_", " "), value) for name, value in twin.population.provenance.items()]
    return (*facts, Fact("revision", str(twin.revision)), Fact("seed of the twin", str(twin.seed)))
