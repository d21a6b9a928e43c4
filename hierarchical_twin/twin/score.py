"""The verb `score_forecasts`: what twins would have forecast of patients whose records are known by now."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval
from hierarchical_twin.analysis.scoring import (
    NO_POOLING,
    POPULATION,
    SCORE_COLUMNS,
    TWIN,
    Scores,
    score_rows,
)
from hierarchical_twin.cohort.columns import is_filled
from hierarchical_twin.cohort.inputs import coordinate_of
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.cohort.table import open_table
from hierarchical_twin.dims import PATIENT
from hierarchical_twin.errors import DataError, Problem
from hierarchical_twin.graph.evaluate import draw_on_path
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.inference.label import variable_units
from hierarchical_twin.inference.no_pooling import WIDENED
from hierarchical_twin.spec import parse_spec
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.twin.padding import one_patient, pad
from hierarchical_twin.twin.particles import Particles, over_particles
from hierarchical_twin.twin.records import (
    RECORD,
    as_frame,
    empty_records,
    labels_of,
    merge,
    read_records,
    static_columns,
)
from hierarchical_twin.twin.start import PARTICLES, start_twins
from hierarchical_twin.twin.twin import Twin
from hierarchical_twin.twin.update import update_many

Array = Any
Arrays = Mapping[str, Array]


def score_forecasts(
    fit: Fit,
    records: str | os.PathLike[str] | pd.DataFrame,
    *,
    ks: Sequence[int] = (0, 1, 2, 3),
    horizons: Sequence[float] | None = None,
    prob: float = DEFAULT_PROB,
    particles: int = PARTICLES,
    seed: int = 0,
) -> Scores:
    """Forecast the later records of patients from their first ones, and score the forecasts.

    Every patient of the table is new to the fit. After the first `k` of their records in order of time
    (of the table, where the mechanism has no time) the others are forecast under the doses and inputs that
    were given, by three methods: the patient's twin; the population alone, which knows none of the records;
    and no pooling, for which the spread between patients is ten times wider, so that almost only the
    patient's own records speak. All three keep what the population says of residual error and of levels
    above the patient.

    Parameters
    ----------
    fit : Fit
    records : path or DataFrame
        Rows in the spec's columns, of patients that the fit does not have.
    ks : sequence of int
        Numbers of records that are known. Patients with no more than so many are left out there.
    horizons : sequence of float, optional
        Ends of groups of the time since the last known record, in the spec's unit of time, such as
        ``(30, 90)``.
    prob : float
        Probability inside the intervals.
    particles, seed
        As in `start_twin`.

    Returns
    -------
    Scores

    Raises
    ------
    DataError
        A cell cannot be read, a row names nobody or a patient of the fit, no patient has more records than
        the least of `ks`, or `ks` or `horizons` are not numbers in order.
    SamplingError
        As `start_twin` and `update`; also an unknown `prob`.

    References
    ----------
    Scoring: Gneiting and Raftery (2007), doi:10.1198/016214506000001437. PIT: Dawid (1984),
    doi:10.2307/2981683.
    """
    check_interval(prob, "equal-tailed")
    known = _checked_ks(ks)
    spec = parse_spec(fit.spec_text, "the fit's spec")
    ends = _checked_horizons(horizons, spec)
    frames = _by_patient(open_table(records).frame, spec)
    twins = _started(fit, frames, spec, particles=particles, seed=seed)
    told = _read(frames, twins)
    if told.rows["rank"].max() < known[0]:
        got = f"no patient with more than {known[0]} records that can be used"
        raise DataError(Problem("score_forecasts", got, "records to forecast", "a lower number in ks"))
    replicate = _make_replicate(twins[0].population.one)
    scored = []
    with compilation_cache(), float64_on(choose_place("cpu", 1)):
        alone = _forecasts(replicate, twins, told, 0, seed)
    for k in known:
        scored += _scored(POPULATION, k, twins, told, alone, prob)
    for method, started in ((TWIN, twins), (NO_POOLING, _widened(twins))):
        for k in known:
            if method == NO_POOLING and (k == 0 or not started):
                continue
            started = _updated(started, told, k)
            with compilation_cache(), float64_on(choose_place("cpu", 1)):
                drawn = _forecasts(replicate, started, told, k, seed)
            scored += _scored(method, k, started, told, drawn, prob)
    units = variable_units(twins[0].population.model) | {"time": "" if spec.time is None else spec.time.unit}
    return Scores(pd.concat(scored, ignore_index=True), float(prob), ends, units, told.logged)


@dataclass(frozen=True, eq=False)
class _Told:
    """All records of the patients.

    Attributes
    ----------
    frames : mapping of patient to pandas.DataFrame
        As in `records.Merged`.
    rows : pandas.DataFrame
        Used measurements: ``patient, record, rank`` (of the record among the patient's, from 0),
        ``outcome, time, position, value, censored``.
    arrays : mapping of patient to arrays
        With everything that was recorded.
    spec : Spec
    """

    frames: Mapping[str, pd.DataFrame]
    rows: pd.DataFrame
    arrays: Mapping[str, Arrays]
    spec: Spec

    @cached_property
    def own(self) -> Mapping[str, pd.DataFrame]:
        """Rows of each patient who has any."""
        return {str(label): rows for label, rows in self.rows.groupby(PATIENT, sort=False)}

    @property
    def logged(self) -> tuple[str, ...]:
        """Outcomes under lognormal error."""
        return tuple(name for name, words in self.spec.observations.items() if words.error == "lognormal")

    def arrays_after(self, patient: str, k: int) -> Arrays:
        """A patient's arrays with the measurements of the first `k` records alone."""
        arrays, own = dict(self.arrays[patient]), self.own.get(patient)
        later = None if own is None else own[own["rank"] >= k]
        for outcome in self.spec.observations:
            mask = arrays[f"mask_{outcome}"].copy()
            if later is not None:
                mask[0, later["position"][later["outcome"] == outcome]] = False
            arrays[f"mask_{outcome}"] = mask
        return arrays

    def known(self, patient: str, k: int) -> pd.DataFrame:
        """A patient's records with the measurements of all but the first `k` left blank."""
        frame, own = self.frames[patient], self.own[patient]
        is_later = frame[RECORD].isin(own["record"][own["rank"] >= k]).to_numpy()
        frame = frame.copy()
        for column in dict.fromkeys(words.column for words in self.spec.observations.values()):
            frame[column] = frame[column].where(~is_later, None)
        return frame[~is_later | _gives(frame, self.spec)]


def _gives(frame: pd.DataFrame, spec: Spec) -> np.ndarray:
    """Which rows are doses or other events, or hold an input, whatever else they hold."""
    coordinate, fixed = coordinate_of(spec), static_columns(spec)
    inputs = {words.column for name, words in spec.inputs.items() if name != coordinate}
    events = {need.column for need in needs_of(spec) if need.key.startswith("doses.")} - set(fixed)
    gives = np.zeros(len(frame), dtype=bool)
    for column in inputs:
        gives |= is_filled(frame[column])
    for column in events:
        numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        gives |= is_filled(frame[column]) & (numbers != 0)
    return gives


def _checked_ks(ks: Sequence[int]) -> tuple[int, ...]:
    numbers: tuple[Any, ...] = tuple(ks) if isinstance(ks, Sequence | np.ndarray) else (ks,)
    is_count = [isinstance(k, int | np.integer) and not isinstance(k, bool) and k >= 0 for k in numbers]
    if not numbers or not all(is_count):
        raise DataError(Problem("score_forecasts ks", repr(ks), "whole numbers from 0, such as (0, 1, 2, 3)"))
    return tuple(sorted({int(k) for k in numbers}))


def _checked_horizons(horizons: Sequence[float] | None, spec: Spec) -> tuple[float, ...]:
    if horizons is None:
        return ()
    expected = "times in order, above 0, such as (30, 90)"
    try:
        ends = tuple(float(end) for end in horizons)
    except (TypeError, ValueError):
        raise DataError(Problem("score_forecasts horizons", repr(horizons), expected)) from None
    if not ends or not all(np.diff((0.0, *ends)) > 0) or not np.isfinite(ends[-1]):
        raise DataError(Problem("score_forecasts horizons", repr(horizons), expected))
    if coordinate_of(spec) is not None or spec.time is None:
        raise DataError(Problem("score_forecasts horizons", "a spec without time", "no horizons"))
    return ends


def _by_patient(table: pd.DataFrame, spec: Spec) -> dict[str, pd.DataFrame]:
    labels = labels_of(table, spec)
    frame = as_frame(table, spec).astype(object)
    frame[RECORD] = [f"row {number}" for number in range(1, len(frame) + 1)]
    frame[spec.patient.column] = labels
    return {str(name): part for name, part in frame.groupby(labels, sort=False)}


def _started(
    fit: Fit, frames: Mapping[str, pd.DataFrame], spec: Spec, *, particles: int, seed: int
) -> list[Twin]:
    lines = []
    for label, frame in frames.items():
        line: dict[str, Any] = {spec.patient.column: label}
        for column in static_columns(spec):
            filled = frame[column][is_filled(frame[column])] if column in frame else pd.Series(dtype=object)
            line |= {column: filled.iloc[0]} if len(filled) else {}
        lines.append(line)
    return start_twins(fit, rows=pd.DataFrame(lines, dtype=object), particles=particles, seed=seed)


def _read(frames: Mapping[str, pd.DataFrame], twins: Sequence[Twin]) -> _Told:
    model = twins[0].population.model
    statics = {twin.patient: twin.static for twin in twins}
    empty = empty_records(model.spec)
    merged = {
        label: merge(empty, frame, model.spec, label, statics[label]).frame for label, frame in frames.items()
    }
    read = read_records(merged, statics, model.spec, model.cohort)
    padded = pad(read.cohort)
    arrays = {label: one_patient(padded, read.cohort, place) for place, label in enumerate(merged)}
    rows = read.cohort.rows[["patient", "outcome", "time", "position", "value", "censored", "table_row"]]
    rows = rows.assign(record=[read.names[row - 1] for row in rows["table_row"]])
    rows = rows.sort_values(["patient", "time", "table_row"], kind="stable").reset_index(drop=True)
    fresh = rows["record"] != rows["record"].shift()
    rows["rank"] = fresh.groupby(rows["patient"]).cumsum() - 1
    if rows.empty:
        raise DataError(Problem("score_forecasts", "no measurement that can be used", "records to forecast"))
    return _Told(merged, rows.drop(columns="table_row"), arrays, model.spec)


def _widened(twins: Sequence[Twin]) -> list[Twin]:
    """The same twins under a population so wide that it hardly pulls; none where nobody differs.

    Their parameters are not known before their first update.
    """
    if not twins[0].particles.effects.shape[1]:
        return []
    population = twins[0].population
    wide = replace(population, root=WIDENED * population.root)
    return [
        replace(
            twin,
            population=wide,
            particles=twin.particles._replace(effects=WIDENED * twin.particles.effects),
            parameters={},
        )
        for twin in twins
    ]


def _updated(twins: Sequence[Twin], told: _Told, k: int) -> list[Twin]:
    """Twins of the patients with more than `k` records, after the first `k` of them."""
    left = [twin for twin in twins if twin.patient in told.own and told.own[twin.patient]["rank"].max() >= k]
    frames = {twin.patient: told.known(twin.patient, k) for twin in left} if k else {}
    return update_many(left, {label: frame for label, frame in frames.items() if len(frame)})


def _forecasts(
    replicate: Callable[..., Any], twins: Sequence[Twin], told: _Told, k: int, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """New measurements at all places of each patient: outcome to ``[particle, time]``."""
    found = {}
    place = {label: number for number, label in enumerate(told.frames)}
    for twin in twins:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), k), place[twin.patient])
        drawn = replicate(
            twin.population.shared.draws, told.arrays_after(twin.patient, k), twin.particles, key
        )
        found[twin.patient] = {name: np.asarray(value) for name, value in drawn.items()}
    return found


def _make_replicate(model: Model) -> Callable[..., dict[str, Array]]:
    """Compile one replicate of each outcome for every particle of a patient."""

    def replicate(draws: Arrays, arrays: Arrays, particles: Particles, key: Array) -> dict[str, Array]:
        def one(own: Model, values: Arrays, key: Array) -> dict[str, Array]:
            return {name: value[0] for name, value in draw_on_path(own, values, key).items()}

        keys = jax.random.split(key, len(particles.draw))
        return over_particles(model, draws, arrays, particles, one, keys)

    return jax.jit(replicate)


def _scored(
    method: str,
    k: int,
    twins: Sequence[Twin],
    told: _Told,
    drawn: Mapping[str, Mapping[str, np.ndarray]],
    prob: float,
) -> list[pd.DataFrame]:
    frames = []
    for twin in twins:
        own = told.own.get(twin.patient)
        if own is None or own["rank"].max() < k:
            continue
        now = own["time"][own["rank"] == max(k - 1, 0)].iloc[0]
        rest = own[own["rank"] >= k]
        values = [drawn[twin.patient][row.outcome][:, row.position] for row in rest.itertuples()]
        is_trustworthy = method == POPULATION or not twin.doubts
        rest = rest.assign(method=method, k=k, ahead=rest["time"] - now, is_trustworthy=is_trustworthy)
        scored = score_rows(
            rest.reset_index(drop=True), np.stack(values, axis=1), twin.weights, prob, told.logged
        )
        frames.append(scored[list(SCORE_COLUMNS)])
    return frames
