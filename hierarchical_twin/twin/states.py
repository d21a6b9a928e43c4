"""The verb `states`: credible bands of every state of a twin's mechanism, smoothed or filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval
from hierarchical_twin.analysis.weighted import weighted_mean, weighted_quantiles
from hierarchical_twin.cohort.columns import as_number, as_text
from hierarchical_twin.dims import group_suffix
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.twin.course import Plan, follow, lay_track, read_times, state_units
from hierarchical_twin.twin.padding import one_patient, pad
from hierarchical_twin.twin.particles import Particles
from hierarchical_twin.twin.population import outer_root
from hierarchical_twin.twin.records import empty_records, read_records
from hierarchical_twin.twin.twin import Twin
from hierarchical_twin.twin.update import update


def states(
    twin: Twin,
    times: Sequence[float] | np.ndarray,
    *,
    prob: float = DEFAULT_PROB,
    plan: Plan | None = None,
    scenario: Mapping[str, Any] | None = None,
    is_filtered: bool = False,
) -> pd.DataFrame:
    """Credible bands of every state that the mechanism has, measured or not.

    Parameters
    ----------
    twin : Twin
    times : sequence of float
        In the spec's unit, past or to come; values of the coordinate for a mechanism without time.
    prob : float
        Probability inside each band, at each time alone.
    plan : DataFrame, mapping or sequence of mappings, optional
        Doses and inputs to come: rows in the spec's columns, beside the twin's records.
    scenario : mapping, optional
        Column to value, as in `predict`.
    is_filtered : bool
        Give each time only what was measured up to it (filtered), not all of the records (smoothed).
        Doses and inputs are those of all records in either case.

    Returns
    -------
    pandas.DataFrame
        One row for each state and time: ``state, unit, time, mean, median, lower, upper, prob, kind``; the
        bands are equal-tailed. A state that an outcome measures has the outcome's unit, another the
        mechanism's.

    Raises
    ------
    DataError
        A time is no number, or the patient's inputs do not say what the mechanism needs.
    SamplingError
        `prob` is not between 0 and 1; the mechanism has no time to filter along; or no particle can
        explain the records up to a time.

    Notes
    -----
    Filtering starts from the population's draws and lets the records in again in order of time (Särkkä
    2013, Bayesian Filtering and Smoothing, doi:10.1017/CBO9781139344203). Of a new patient it is exact. The
    draws of the population have seen the records of a patient of the fit, whose bands are a little narrower
    for it.
    """
    check_interval(prob, "equal-tailed")
    grid = read_times(times, "states times")
    track = lay_track(twin, grid, plan=plan, scenario=scenario)
    wanders = bool(twin.population.model.spec.process_noise)
    stages = _filtered(twin, grid) if is_filtered else [(twin, np.arange(len(grid)))]
    units = state_units(twin.population.model.spec)
    probs = (0.5, (1 - prob) / 2, (1 + prob) / 2)
    bands: dict[str, np.ndarray] = {}
    for known, places in stages:
        if wanders and known is not twin:
            until = float(grid[places].max())
            track = lay_track(twin, grid, plan=plan, scenario=scenario, until=until)
        course, weights = follow(track, known.particles, twin.seed), known.weights
        kept = weights > 0
        for name, values in course.states.items():
            own = values[np.ix_(kept, places)]
            told = bands.setdefault(name, np.full((4, len(grid)), np.nan))
            told[0, places] = weighted_mean(own, weights[kept])
            told[1:, places] = weighted_quantiles(own, weights[kept], probs)
    parts = [
        pd.DataFrame(
            {"state": name, "unit": units[name], "time": grid}
            | dict(zip(("mean", "median", "lower", "upper"), bands[name], strict=True))
        )
        for name in units
    ]
    return pd.concat(parts, ignore_index=True).assign(prob=prob, kind="equal-tailed")


def unmeasured(twin: Twin) -> Twin:
    """The same patient before any record: the population's draws, and effects drawn from it."""
    population, count = twin.population, len(twin.particles.draw)
    model, spec = population.model, population.model.spec
    generator = np.random.default_rng([twin.seed, 0xF117])
    draw = np.linspace(0, len(population.root) - 1, count).round().astype(np.int32)
    records = empty_records(spec)
    cohort = read_records({twin.patient: records}, {twin.patient: twin.static}, spec, model.cohort).cohort
    outer = {}
    for name, group in population.outer_groups.items():
        label, known = (
            cohort.coords[group][int(cohort.arrays[f"level_{group}"][0])],
            model.cohort.coords[group],
        )
        if label in known:
            outer[name] = population.draws[name][draw, known.index(label)]
        else:
            outer[name] = _fresh(outer_root(population.draws, group_suffix(group))[draw], generator)
    effects = _fresh(population.root[draw], generator)
    return replace(
        twin,
        records=records,
        arrays=one_patient(pad(cohort), cohort, 0),
        particles=Particles(draw, effects, outer, np.full(count, -np.log(count))),
        parameters={},
        steps=(),
    )


def _fresh(roots: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Effects ``[particle, effect]`` under roots of their covariance ``[particle, effect, effect]``."""
    return np.einsum("pij,pj->pi", roots, generator.standard_normal(roots.shape[:2]))


def _filtered(twin: Twin, grid: np.ndarray) -> list[tuple[Twin, np.ndarray]]:
    """What is known at each time of a grid, and the places of the grid that it is for."""
    at = record_times(twin)
    now, last = unmeasured(twin), -np.inf
    stages: list[tuple[Twin, np.ndarray]] = []
    for time in np.unique(grid):
        fresh = (at <= time) & ((at > last) | ~np.isfinite(last))
        places = np.flatnonzero(grid == time)
        if fresh.any():
            now = update(now, twin.records[fresh])
        if stages and stages[-1][0] is now:
            stages[-1] = (now, np.concatenate([stages[-1][1], places]))
        else:
            stages.append((now, places))
        last = time
    return stages


def record_times(twin: Twin) -> np.ndarray:
    """Time of each of a twin's records ``[record]``; minus infinity where it has none.

    Raises
    ------
    SamplingError
        The mechanism has no time.
    """
    time = twin.population.model.spec.time
    if time is None:
        expected = "a mechanism with time"
        raise SamplingError(Problem("twin", "records without time", expected))
    cells = [as_number(as_text(cell) or "") for cell in twin.records[time.column]]
    return np.array([-np.inf if cell is None else cell for cell in cells], dtype=float)
