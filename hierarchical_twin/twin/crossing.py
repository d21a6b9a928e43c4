"""The verb `crossing`: whether, and when, a twin's state or outcome passes a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB
from hierarchical_twin.analysis.statements import Statement, read_statement, share_limits
from hierarchical_twin.cohort.arrays import TROUGH_SHIFT
from hierarchical_twin.errors import DataError, Problem, SamplingError
from hierarchical_twin.spec.conversion import unit_factor
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.twin.course import Plan, follow, lay_track, unit_along, values_along
from hierarchical_twin.twin.states import record_times
from hierarchical_twin.twin.twin import Twin

_STEPS = 200
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Crossing:
    """When a statement first becomes true, as far as a twin knows.

    Attributes
    ----------
    statement : str
    unit : str
        Of time.
    times : ndarray, shape [time]
        From where it is looked at to the horizon.
    first : ndarray, shape [particle]
        When it is first true of each particle; infinite where it is not before the horizon.
    weights : ndarray, shape [particle]
        Normalized.
    size : float
        How many independent draws would know as much.
    """

    statement: str
    unit: str
    times: np.ndarray
    first: np.ndarray
    weights: np.ndarray
    size: float

    @property
    def probability(self) -> float:
        """Probability that it is true at some time up to the horizon."""
        return min(float(self.weights[np.isfinite(self.first)].sum()), 1.0)

    def table(self) -> pd.DataFrame:
        """``time, probability, lower, upper, prob``: that it has been true by each time, with Monte Carlo limits."""
        order = np.argsort(self.first)
        ends = np.concatenate([[0.0], np.cumsum(self.weights[order])])
        share = np.clip(ends[np.searchsorted(self.first[order], self.times, side="right")], 0.0, 1.0)
        lower, upper = share_limits(share, self.size, DEFAULT_PROB)
        told = {"time": self.times, "probability": share, "lower": lower, "upper": upper}
        return pd.DataFrame(told).assign(prob=DEFAULT_PROB)

    def quantiles(self, probs: Sequence[float] = _QUANTILES) -> pd.DataFrame:
        """``probability, time``: by when it has been true with each probability; NaN beyond the horizon."""
        order = np.argsort(self.first)
        ends = np.cumsum(self.weights[order])
        at = np.searchsorted(ends, np.asarray(probs, dtype=float) * (1 - 1e-12))
        when = np.append(self.first[order], np.inf)[at]
        return pd.DataFrame({"probability": probs, "time": np.where(np.isfinite(when), when, np.nan)})


def crossing(
    twin: Twin,
    statement: str,
    until: float,
    *,
    since: float | None = None,
    plan: Plan | None = None,
    scenario: Mapping[str, Any] | None = None,
    steps: int = _STEPS,
) -> Crossing:
    """When an outcome or a state of a twin first passes a threshold.

    Parameters
    ----------
    twin : Twin
    statement : str
        ``NAME > NUMBER [unit]``, of the true value of an outcome or of a state, such as
        ``volume > 10 cm^3`` or ``X < 0.001``, without ``at``.
    until : float
        The horizon, in the spec's unit of time.
    since : float, optional
        From when on it counts; the time of the last record without it (0 where there is none). What is true
        then already is first true then.
    plan, scenario
        As in `forecast`.
    steps : int
        Equal steps of the time that is looked at; between two of them values are taken as linear. Times of
        doses are looked at too, and what a dose makes true at once is first true at its time.

    Returns
    -------
    Crossing

    Raises
    ------
    SamplingError
        The statement cannot be read, or the mechanism has no time.
    DataError
        `until` is not after `since`, or the plan cannot be read.
    """
    spec = twin.population.model.spec
    settled = _settled(spec, statement)
    times = record_times(twin)
    start = float(max(times[np.isfinite(times)], default=0.0)) if since is None else since
    grid = _grid(start, until, steps)
    track = lay_track(twin, grid, plan=plan, scenario=scenario)
    jumps = _doses(track.arrays, grid)
    if jumps.size:
        grid = np.unique(np.concatenate([grid, jumps, _ahead(jumps)]))
        track = lay_track(twin, grid, plan=plan, scenario=scenario)
    values = values_along(follow(track, twin.particles), settled.name)
    kept = twin.weights > 0
    assert spec.time is not None  # record_times has looked
    first = _first(settled, grid, values[kept], np.isin(grid, jumps))
    shown = grid[~np.isin(grid, _ahead(jumps))]
    return Crossing(settled.text, spec.time.unit, shown, first, twin.weights[kept], twin.effective)


def _settled(spec: Spec, text: str) -> Statement:
    """The statement with its number in the unit of what it names."""
    read = read_statement(text)
    where = f"statement '{read.text}'"
    unit = unit_along(spec, read.name, where)
    if read.place is not None or read.is_measured:
        got = "'at'" if read.place is not None else "'measured'"
        hint = "probability_of takes both: it asks about one time"
        raise SamplingError(Problem(where, got, "the true value, at any time up to `until`", hint))
    factor = unit_factor(read.unit, unit, where=where) if read.unit else 1.0
    return replace(read, number=read.number * factor)


def _grid(start: float, until: float, steps: int) -> np.ndarray:
    try:
        low, high, count = float(start), float(until), int(steps)
    except (TypeError, ValueError):
        low, high, count = np.nan, np.nan, 0
    if not (np.isfinite(low) and np.isfinite(high) and low < high and count > 0):
        got = f"since {start}, until {until} in {steps} steps"
        raise DataError(Problem("crossing", got, "a time, a later one, and at least one step"))
    return np.linspace(low, high, count + 1)


def _doses(arrays: Mapping[str, np.ndarray], grid: np.ndarray) -> np.ndarray:
    """Times of doses along a grid, without its start."""
    if "dose_time" not in arrays:
        return np.zeros(0)
    times, amounts = arrays["dose_time"][0], arrays["dose_amount"][0]
    return np.unique(times[(_ahead(times) > grid[0]) & (times <= grid[-1]) & (amounts > 0)])


def _ahead(doses: np.ndarray) -> np.ndarray:
    """Times at which doses have not been given yet: troughs."""
    return doses - TROUGH_SHIFT * np.maximum(1.0, np.abs(doses))


def _first(statement: Statement, grid: np.ndarray, values: np.ndarray, is_jump: np.ndarray) -> np.ndarray:
    """When a statement is first true of each row of values ``[particle, time]``; some times are jumps."""
    holds = statement.holds(values)
    at = np.argmax(holds, axis=1)
    before, own = np.maximum(at - 1, 0), np.arange(len(values))
    low, high = values[own, before], values[own, at]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (statement.number - low) / (high - low)
    share = np.where(np.isfinite(share) & ~is_jump[at], np.clip(share, 0.0, 1.0), 1.0)
    when = grid[before] + share * (grid[at] - grid[before])
    return np.where(holds.any(axis=1), when, np.inf)
