"""What the page of a twin shows, as tables: records, curves, states, and parameters update by update.

Twins and forecasts need JAX, so they are imported when a page is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from hierarchical_twin.analysis.intervals import summarise
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.strata import coordinate_of
from hierarchical_twin.errors import DataError, Problem, TwinError
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.report.page.predicted import curve_grid, curve_table
from hierarchical_twin.report.page.sections import Absent

if TYPE_CHECKING:
    from hierarchical_twin.spec.schema import Spec
    from hierarchical_twin.twin.twin import Twin

FAN = (0.5, 0.8)
"""Probabilities inside the forecast's inner bands; the outer one is asked for."""
START, NOW = 0, 1
"""Places in the course: the population, before any record; what is known of a patient without updates."""
_PAST, _FUTURE, _STATE_POINTS = 30, 40, 60
_AHEAD, _ASKED = 0.5, 6


@dataclass(frozen=True, eq=False)
class View:
    """A twin as its page shows it.

    Attributes
    ----------
    twin : Twin
    prob : float
    coordinate, unit : str
        What curves run along: ``time``, or the input in its place.
    now : float
        Time of the last measurement; NaN where there is none or no time.
    asked : tuple of float
        Round times to come, for a table.
    measured : pandas.DataFrame
        ``record, outcome, place, value, censored, p_value`` (NaN if it was there at the start), ``update`` it
        came with and ``is_surprising``.
    curves : pandas.DataFrame
        ``patient, outcome, place``; ``median, lower, upper`` of the true value; ``lower_new, upper_new`` of a
        new measurement and ``lower_new_50, upper_new_50, ...`` of the fan's inner bands; ``population``: the
        median with all effects at 0.
    states : pandas.DataFrame
        ``kind`` (``smoothed``, ``filtered``) and the columns of `states`; may be empty.
    course : pandas.DataFrame
        ``update, parameter, mean, sd, median, lower, upper, is_surprising, is_doubted``.
    units, errors : mapping
        Of outcomes and parameters; outcome to error model.
    meanings : mapping
        What parameters, states and derived quantities are, in the mechanism's words.
    surprising : float
        The p-value below which a measurement does not fit.
    absent : tuple of Absent
        What could not be shown.
    """

    twin: Twin
    prob: float
    coordinate: str
    unit: str
    now: float
    asked: tuple[float, ...]
    measured: pd.DataFrame
    curves: pd.DataFrame
    states: pd.DataFrame
    course: pd.DataFrame
    units: Mapping[str, str]
    errors: Mapping[str, str]
    meanings: Mapping[str, str]
    surprising: float
    absent: tuple[Absent, ...] = ()

    @property
    def has_time(self) -> bool:
        """Whether curves run along time, so that there is something to forecast."""
        return self.coordinate == "time"


def view_twin(
    twin: Twin,
    *,
    until: float | None = None,
    ahead: Mapping[str, Any] | None = None,
    prob: float,
    draws: int = 1000,
    seed: int = 0,
) -> View:
    """Gather what the page shows.

    Parameters
    ----------
    twin : Twin
    until : float, optional
        Where forecasts end, in the spec's unit of time; half as long as the records by default.
    ahead : mapping, optional
        ``plan`` and ``scenario``, as `forecast` takes them.
    prob : float
    draws, seed : int

    Raises
    ------
    DataError
        `until` is no time after the last measurement, or there is no time, or a plan or a scenario cannot be read.
    """
    from hierarchical_twin.twin.forecast import forecast
    from hierarchical_twin.twin.twin import SURPRISING

    ahead = dict(ahead or {})
    measured = measured_records(twin)
    grid, now, asked = _grid(twin, measured, until)
    found = forecast(twin, times=grid, draws=draws, seed=seed, **ahead)
    coordinate = coordinate_of(found.rows)
    spec = twin.population.model.spec
    has_time = coordinate == "time" and spec.time is not None
    told, absent = pd.DataFrame(), ()
    if has_time:
        thin = grid[:: max(1, len(grid) // _STATE_POINTS)]
        times = np.unique(np.concatenate([thin, grid[-1:], measured["place"].to_numpy(float)]))
        told, absent = _states(twin, times, now, prob, ahead)
    return View(
        twin=twin,
        prob=prob,
        coordinate=coordinate,
        unit=spec.inputs[coordinate].unit if spec.time is None or not has_time else spec.time.unit,
        now=now,
        asked=asked,
        measured=measured,
        curves=_curves(found, prob),
        states=told,
        course=course_of(twin),
        units=found.units,
        errors=found.errors,
        meanings=meanings_of(spec),
        surprising=SURPRISING,
        absent=absent,
    )


def meanings_of(spec: Spec) -> dict[str, str]:
    """What each output, parameter and derived quantity of a spec is, in its mechanism's words."""
    mechanism = MECHANISMS[spec.mechanism.name]
    words = (*mechanism.outputs.items(), *mechanism.parameters.items())
    known = {name: one.description for name, one in words}
    for name, own in spec.derived.items():
        if own.quantity in mechanism.derived:
            told = mechanism.derived[own.quantity]
            known[name] = told.description
            for argument, value in {**told.arguments, **own.arguments}.items():
                known[name] = known[name].replace(f"`{argument}`", f"{value:g}")
    return known


def measured_records(twin: Twin) -> pd.DataFrame:
    """The measurements a twin knows, in order of their place, with what was said of each when it came."""
    from hierarchical_twin.twin.records import read_records
    from hierarchical_twin.twin.twin import SURPRISING

    model = twin.population.model
    read = read_records({twin.patient: twin.records}, {twin.patient: twin.static}, model.spec, model.cohort)
    rows = read.cohort.rows
    said = {
        (one.record, one.outcome): (one.p_value, number)
        for number, step in enumerate(twin.steps, start=1)
        for one in step.surprises
    }
    names = [str(read.names[row - 1]) for row in rows["table_row"]]
    pairs = [said.get(pair, (np.nan, START)) for pair in zip(names, rows["outcome"], strict=True)]
    frame = pd.DataFrame(
        {
            "record": names,
            "outcome": rows["outcome"].to_numpy(),
            "place": _places(rows),
            "value": rows["value"].to_numpy(float),
            "censored": rows["censored"].to_numpy(),
            "p_value": [pair[0] for pair in pairs],
            "update": [pair[1] for pair in pairs],
        }
    )
    frame = frame.assign(is_surprising=frame["p_value"] < SURPRISING)
    return frame.sort_values(["outcome", "place"], kind="stable").reset_index(drop=True)


def course_of(twin: Twin) -> pd.DataFrame:
    """Each parameter's interval before any record, and after every update (or now, where there was none)."""
    from hierarchical_twin.twin.states import unmeasured
    from hierarchical_twin.twin.twin import summarise_particles
    from hierarchical_twin.twin.update import described

    start = described([unmeasured(twin)])[0]
    frames = [summarise_particles(start.parameters, start.weights).assign(update=START)]
    if not twin.steps and len(twin.records):
        frames.append(summarise_particles(twin.parameters, twin.weights).assign(update=NOW))
    frames = [frame.assign(is_surprising=False, is_doubted=False) for frame in frames]
    for number, step in enumerate(twin.steps, start=1):
        is_surprising = any(one.is_surprising for one in step.surprises)
        is_doubted = not step.is_trustworthy
        frames.append(
            step.parameters.assign(update=number, is_surprising=is_surprising, is_doubted=is_doubted)
        )
    return pd.concat(frames, ignore_index=True)


def _places(rows: pd.DataFrame) -> np.ndarray:
    if rows.empty:
        return np.zeros(0)
    told = rows.drop(columns=["value", "position", "patient_index", "table_row"], errors="ignore")
    return told[coordinate_of(told)].to_numpy(float)


def _grid(
    twin: Twin, measured: pd.DataFrame, until: float | None
) -> tuple[np.ndarray, float, tuple[float, ...]]:
    """Where curves are drawn, the place of the last measurement, and round times to come."""
    fitted = twin.population.model.cohort.rows
    everywhere, times = _places(fitted), measured["place"].to_numpy(float)
    if not np.isfinite(fitted["time"].to_numpy(float)).all():
        if until is not None:
            hint = "leave it out: curves run along what was given, as far as patients were given it"
            raise DataError(Problem("until", repr(until), "nothing for a mechanism without time", hint))
        return curve_grid(np.concatenate([everywhere, times]), is_time=False), np.nan, ()
    first, usual = min(0.0, *everywhere, *times), float(everywhere.max())
    now = float(times.max()) if len(times) else first
    usual_end = now + _AHEAD * max(now - first, usual - first) if len(times) else usual
    end = usual_end if until is None else _checked_until(until, now)
    asked = MaxNLocator(_ASKED, steps=[1, 2, 5, 10]).tick_values(now, end)
    asked = asked[(asked > now) & (asked <= end)]
    # Where patients are measured often, something happens: half of the points lie there.
    dense = np.quantile(np.concatenate([everywhere, times]), np.linspace(0, 1, _PAST))
    past = [np.linspace(first, now, _PAST), dense[(dense > first) & (dense < end)]] if len(times) else [dense]
    grid = np.unique(np.concatenate([*past, times, asked, np.linspace(now, end, _FUTURE)]))
    return grid, now if len(times) else np.nan, tuple(map(float, asked))


def _checked_until(until: Any, now: float) -> float:
    try:
        end = float(until)
    except (TypeError, ValueError):
        end = np.nan
    if not np.isfinite(end) or end <= now:
        raise DataError(
            Problem("until", repr(until), f"a time after {now:g}, where the records end (or begin)")
        )
    return end


def _curves(found: Prediction, prob: float) -> pd.DataFrame:
    frame = curve_table(found, prob)
    for inner in FAN:
        own = summarise(found.replicates[None], prob=inner)
        word = f"{100 * inner:.0f}"
        frame = frame.assign(**{f"lower_new_{word}": own.lower, f"upper_new_{word}": own.upper})
    return frame.sort_values(["outcome", "place"], kind="stable").reset_index(drop=True)


def _states(
    twin: Twin, times: np.ndarray, now: float, prob: float, ahead: Mapping[str, Any]
) -> tuple[pd.DataFrame, tuple[Absent, ...]]:
    from hierarchical_twin.twin.states import states

    frames = [states(twin, times, prob=prob, **ahead).assign(kind="smoothed")]
    absent: tuple[Absent, ...] = ()
    if not np.isnan(now):
        try:
            past = times[times <= now]
            found = states(twin, past, prob=prob, **ahead, is_filtered=True)
            frames.append(found.assign(kind="filtered"))
        except TwinError as error:
            absent = (Absent("Filtered states", f"{error.problems[0].got}."),)
    return pd.concat(frames, ignore_index=True), absent
