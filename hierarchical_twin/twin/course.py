"""A twin's course: every state and outcome along asked times, for each particle.

Bands, forecasts, crossings and the worth of a measurement are all read off it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np
import pandas as pd

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.cohort.asked import asked_at, read_asked
from hierarchical_twin.cohort.columns import accepted_values
from hierarchical_twin.cohort.patients import column_of
from hierarchical_twin.errors import DataError, Problem, SamplingError, nearest
from hierarchical_twin.graph.evaluate import wander
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Filter, Solve, SolveOutput
from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.prediction.wandering import refuse_another_past, refuse_wandering, with_history
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.units import output_units, working_units
from hierarchical_twin.twin.padding import one_patient, pad
from hierarchical_twin.twin.particles import Particles, values_of
from hierarchical_twin.twin.population import Population
from hierarchical_twin.twin.records import RECORD, as_frame, columns_of, merge, read_records
from hierarchical_twin.twin.twin import Twin

Array = Any
Plan = pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Doses and inputs to come: rows as `update` takes them; what is measured in them is not looked at."""

_NUMBERS_AT_ONCE = 400_000
_COMPILED: WeakKeyDictionary[Population, Callable[..., Any]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Track:
    """Times at which a twin is asked for, under its doses, inputs and covariates.

    Attributes
    ----------
    population : Population
    arrays : mapping to ndarray, shape [1, ...]
    position : mapping to ndarray of int, shape [time]
        For each outcome, where the asked times stand along the arrays.
    """

    population: Population
    arrays: Mapping[str, np.ndarray]
    position: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Course:
    """What particles say along the times of a track.

    Attributes
    ----------
    states : mapping to ndarray, shape [particle, time]
        Each output of the mechanism, in the unit that `state_units` gives.
    predicted, log_predicted : mapping to ndarray, shape [particle, time]
        Each outcome's true value in its unit (the share, where trials are counted), and its logarithm
        where the mechanism gives it.
    """

    states: Mapping[str, np.ndarray]
    predicted: Mapping[str, np.ndarray]
    log_predicted: Mapping[str, np.ndarray]


def state_units(spec: Spec) -> dict[str, str]:
    """Unit of each output of a spec's mechanism: that of the outcome it predicts, or the mechanism's own."""
    units = output_units(spec)
    return units | {state: spec.observations[name].unit for state, name in _outcome_of(spec).items()}


def read_times(times: Any, what: str) -> np.ndarray:
    """Times that are asked for ``[time]``.

    Raises
    ------
    DataError
        They are no numbers, or none.
    """
    try:
        grid = np.asarray(times, dtype=float).ravel()
    except (TypeError, ValueError):
        raise DataError(Problem(what, repr(times), "numbers, such as [0, 10, 20]")) from None
    if not grid.size or not np.isfinite(grid).all():
        raise DataError(Problem(what, repr(times), "at least one number, all finite"))
    return grid


def with_plan(twin: Twin, plan: Plan | None) -> pd.DataFrame:
    """A twin's records and what is planned, as its records are laid out.

    Raises
    ------
    DataError
        The plan is no table of the spec's columns, or of another patient.
    """
    if plan is None:
        return twin.records
    spec = twin.population.model.spec
    rows = as_frame(plan, spec).copy()
    for words in spec.observations.values():
        rows[words.column] = None
    return merge(twin.records, rows, spec, twin.patient, twin.static).frame


def known_cohort(twin: Twin, records: pd.DataFrame) -> Cohort:
    """What the population's cohort has taught, with a twin's records as its only table."""
    return replace(twin.population.model.cohort, table=known_table(twin, records))


def known_table(twin: Twin, records: pd.DataFrame) -> pd.DataFrame:
    """Records without their identifiers; without any, one row of what is known of the patient."""
    spec = twin.population.model.spec
    columns = list(columns_of(spec))
    if len(records):
        return records.drop(columns=RECORD)[columns].reset_index(drop=True)
    row: dict[str, Any] = dict.fromkeys(columns)
    row |= {column: accepted_values(wanted)[0] for column, wanted in spec.where.items()}
    row |= {spec.patient.column: twin.patient, **twin.static}
    return pd.DataFrame([row], columns=columns, dtype=object)


def lay_track(
    twin: Twin,
    times: np.ndarray,
    *,
    plan: Plan | None = None,
    scenario: Mapping[str, Any] | None = None,
    until: float | None = None,
) -> Track:
    """Lay asked times out as arrays.

    Parameters
    ----------
    twin : Twin
    times : ndarray, shape [time]
        In the spec's unit; values of the coordinate for a mechanism without time.
    plan : DataFrame, mapping or sequence of mappings, optional
        Doses and inputs to come.
    scenario : mapping, optional
        Column to value, as in `predict`.
    until : float, optional
        Under process noise, the last time whose measurements say where the state has wandered to; the last
        of all where it is left out.

    Raises
    ------
    DataError
        A row cannot be read, or a time is not one that the mechanism has.
    SamplingError
        A scenario, or a plan of the past, is asked for under process noise.
    """
    spec = twin.population.model.spec
    _refuse_levels(twin, scenario or {})
    if scenario:
        refuse_wandering(spec, "scenario", "plan what is to come instead")
    known = known_cohort(twin, with_plan(twin, plan))
    cohort, _ = read_asked(asked_at(spec, times, (twin.patient,)), spec, known, scenario)
    if spec.process_noise:
        cohort = with_history(cohort, _until(planned_cohort(twin, plan), until))
    position = {}
    for name in spec.observations:
        own = cohort.rows[cohort.rows["outcome"] == name].sort_values("table_row", kind="stable")
        position[name] = own["position"].to_numpy()
    return Track(twin.population, one_patient(pad(cohort), cohort, 0), position)


def planned_cohort(twin: Twin, plan: Plan | None) -> Cohort:
    """A twin's records, and what is planned, as they are read.

    Raises
    ------
    DataError
        The plan cannot be read.
    SamplingError
        Under process noise: the plan is one of the past.
    """
    population, statics = twin.population.model, {twin.patient: twin.static}

    def read(records: pd.DataFrame) -> Cohort:
        return read_records({twin.patient: records}, statics, population.spec, population.cohort).cohort

    cohort = read(with_plan(twin, plan))
    if plan is not None and population.spec.process_noise:
        refuse_another_past(cohort, read(twin.records))
    return cohort


def _until(cohort: Cohort, until: float | None) -> Cohort:
    """The cohort with its measurements up to a time alone."""
    if until is None:
        return cohort
    is_known = cohort.arrays["time"] <= until
    masks = {name: value & is_known for name, value in cohort.arrays.items() if name.startswith("mask_")}
    return replace(cohort, arrays={**cohort.arrays, **masks})


def _refuse_levels(twin: Twin, scenario: Mapping[str, Any]) -> None:
    """A level above the patient that is another one has effects that the particles do not carry."""
    spec = twin.population.model.spec
    levels = {column_of(spec, group) for group in twin.population.outer_groups.values()}
    if moved := sorted(levels & set(scenario)):
        hint = "forecast takes it: it draws from the population"
        raise DataError(Problem("scenario", f"'{moved[0]}'", "the patient's own level", hint))


def follow(track: Track, particles: Particles, seed: int = 0) -> Course:
    """States and outcomes of some particles along a track.

    Under process noise each particle follows one path of its own, drawn given what was measured.
    """
    population = track.population
    if population not in _COMPILED:
        _COMPILED[population] = make_course(population.one)
    with compilation_cache(), float64_on(choose_place("cpu", 1)):
        keys = jax.random.split(jax.random.key(seed), len(particles.draw))
        found = _COMPILED[population](population.draws, dict(track.arrays), particles, keys)
        states, predicted, logs = jax.tree.map(np.asarray, found)
    outcome_of = _outcome_of(population.model.spec)
    first = next(iter(track.position))
    at = {state: track.position[outcome_of.get(state, first)] for state in states}
    return Course(
        {name: values[:, at[name]] for name, values in states.items()},
        {name: values[:, track.position[name]] for name, values in predicted.items()},
        {name: values[:, track.position[name]] for name, values in logs.items()},
    )


def unit_along(spec: Spec, name: str, where: str) -> str:
    """Unit of an outcome or a state along a course.

    Raises
    ------
    SamplingError
        There is none of that name.
    """
    states = state_units(spec)
    if name in spec.observations:
        seen = spec.observations[name]
        return "1" if seen.error == "binomial" else seen.unit
    if name not in states:
        known = tuple(dict.fromkeys((*spec.observations, *states)))
        expected = f"an outcome or a state: {', '.join(known)}"
        raise SamplingError(Problem(where, f"'{name}'", expected, nearest(name, known)))
    return states[name]


def values_along(course: Course, name: str) -> np.ndarray:
    """True values ``[particle, time]`` of an outcome or a state, in the unit of `unit_along`."""
    return course.predicted[name] if name in course.predicted else course.states[name]


def make_course(model: Model) -> Callable[..., Any]:
    """Compile what particles say along a track.

    Parameters
    ----------
    model : Model
        Of one patient; its arrays are replaced.

    Returns
    -------
    callable
        Draws ``[draw, ...]``, arrays ``[1, ...]``, particles and a key for each to states, predictions
        and their logarithms, each by name ``[particle, time]``.
    """
    whole, names = _whole(model)

    def one(draws: Any, arrays: Any, particle: Any) -> Any:
        draw, effects, outer, key = particle
        population = {name: value[draw] for name, value in draws.items()}
        own, values = values_of(whole, arrays, population, outer, effects)
        values = wander(own, values, key, is_free=False)
        states = {output: values[name][0] for output, name in names.items()}
        predicted = {seen.name: values[seen.predicted][0] for seen in model.graph.measurements}
        logs = {
            seen.name: values[seen.log_predicted][0]
            for seen in model.graph.measurements
            if seen.log_predicted is not None
        }
        return states, predicted, logs

    @jax.jit
    def course(draws: Any, arrays: Any, particles: Particles, keys: Array) -> Any:
        width = max(value.size for value in arrays.values())
        batch = int(np.clip(_NUMBERS_AT_ONCE // (12 * width), 1, len(particles.draw)))
        given = (particles.draw, particles.effects, dict(particles.outer), keys)
        return jax.lax.map(lambda particle: one(draws, arrays, particle), given, batch_size=batch)

    return course


def _whole(model: Model) -> tuple[Model, dict[str, str]]:
    """The model with every output of its mechanism solved for, and the node of each."""
    (node,) = (node for node in model.graph if isinstance(node, Solve))
    factors, outcome_of = working_units(model.spec).outcome, _outcome_of(model.spec)
    names = {output: f"state {output}" for output in MECHANISMS[node.mechanism].outputs}
    more = tuple(
        SolveOutput(name, output, factors[outcome_of[output]] if output in outcome_of else 1.0)
        for output, name in names.items()
    )
    solved = replace(node, outputs=(*node.outputs, *more))
    nodes = tuple(
        solved if own is node else replace(own, solve=solved) if isinstance(own, Filter) else own
        for own in model.graph
    )
    return replace(model, graph=replace(model.graph, nodes=nodes)), names


def _outcome_of(spec: Spec) -> dict[str, str]:
    """Output to the first outcome that measures it in a unit of its own."""
    measured = [
        (words.predicts, name) for name, words in spec.observations.items() if words.error != "binomial"
    ]
    return dict(reversed(measured))
