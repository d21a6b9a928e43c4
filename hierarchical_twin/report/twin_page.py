"""The verb `write_twin_page`: one small self-contained page about a twin, for whoever looks after the patient."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hierarchical_twin.analysis.files import written_whole
from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval
from hierarchical_twin.report.page.numbers import counted
from hierarchical_twin.report.page.pictures import picture_of
from hierarchical_twin.report.page.render import contents_of, embedded, set_page
from hierarchical_twin.report.page.sections import Absent, Download, Fact, Picture, Verdict
from hierarchical_twin.report.page.write import check_target
from hierarchical_twin.report.twin_pictures import course_figure, states_figure, timeline_figure
from hierarchical_twin.report.twin_tables import (
    Table,
    downloads,
    forecast_table,
    parameter_table,
    record_table,
    update_table,
    when,
)
from hierarchical_twin.report.twin_verdict import gather_twin_verdict
from hierarchical_twin.report.twin_view import View, view_twin

if TYPE_CHECKING:
    from hierarchical_twin.twin.twin import Twin

_SCRIPTS = ("elements.js", "saving.js", "theme.js", "twin.js")


@dataclass(frozen=True)
class TwinPage:
    """What the page says, in reading order."""

    title: str
    kind: str
    byline: str
    verdict: Verdict
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
        the last record or for a mechanism without time, or a plan or scenario that cannot be read.
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
    return TwinPage(
        title=title or spec.title or spec.name,
        kind=f"Twin of patient {twin.patient}",
        byline=f"{spec.name} · {_came(twin)}{last}",
        verdict=gather_twin_verdict(view),
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


def _came(twin: Twin) -> str:
    """How many records there are, and how they came."""
    records = counted(len(twin.records), "record")
    return f"{records} in {counted(twin.revision, 'update')}" if twin.steps else f"{records}, no update yet"


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
