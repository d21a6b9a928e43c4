"""Laying a selection out as a `Cohort`: arrays, designs, labels, rows and report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.arrays import (
    Records,
    Uses,
    ahead_of_doses,
    align,
    dose_arrays,
    hash_data,
    place,
)
from hierarchical_twin.cohort.cohort import Cohort, hash_reading
from hierarchical_twin.cohort.designs import (
    Builder,
    add_designs,
    add_effects,
    refuse_unknown_columns,
    repeat_designs,
)
from hierarchical_twin.cohort.events import DoseEvents
from hierarchical_twin.cohort.inputs import Samples, coordinate_of
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.cohort.observations import Measured, is_censorable
from hierarchical_twin.cohort.selection import Selection
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.cohort.tally import count_rows, note_rows
from hierarchical_twin.dims import DOSE, PATIENT, TIME
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.units import WorkingUnits, working_units
from hierarchical_twin.spec.vocabulary import FILLERS


def lay_out(table: Table, spec: Spec, selection: Selection, learned: Cohort | None = None) -> Cohort:
    """Lay a selection out as arrays.

    Parameters
    ----------
    table : Table
    spec : Spec
    selection : Selection
        With at least one patient.
    learned : Cohort, optional
        Whose encodings of covariates are used; learned from the selection without it.
    """
    units = working_units(spec)
    build = Builder()
    build.notes += selection.notes
    build.coords[PATIENT] = selection.patients
    events = _events(selection)
    observed = [_uses(spec, selection, outcome, events) for outcome in selection.measured]
    series = [_of_kept(samples, selection.place_of) for samples in selection.samples]
    records, positions = _align(spec, observed, series, len(selection.patients))
    build.coords[TIME] = tuple(range(records.width))
    along = _exposure(build, spec, units, records, series)
    rows = _outcomes(build, spec, selection, records, (observed, positions, along))
    given = _doses(build, units, events, len(selection.patients))
    covariates = _covariates(spec, selection)
    for name, values in selection.people.known.items():
        build.add(f"known_{name}", values[selection.kept], PATIENT)
    if learned is None:
        encodings = add_designs(build, spec, covariates)
        effects, effect_encodings = add_effects(build, spec, covariates)
        refuse_unknown_columns(spec, encodings, effects)
    else:
        repeat_designs(build, covariates, learned)
        encodings, effects, effect_encodings = learned.encodings, learned.effects, learned.effect_encodings
    build.notes += note_rows(table, spec, selection, rows)
    for outcome in selection.measured:
        build.notes += outcome.notes
    report = count_rows(table, selection, rows, given, build.notes)
    return Cohort(
        patients=selection.patients,
        arrays=build.arrays,
        dims=build.dims,
        coords=build.coords,
        effects=effects,
        rows=rows,
        covariates=covariates,
        table=table.frame[list(dict.fromkeys(need.column for need in needs_of(spec)))],
        encodings=encodings,
        effect_encodings=effect_encodings,
        report=report,
        data_hash=hash_data(build.arrays, build.coords),
        spec_hash=hash_reading(spec),
    )


def _covariates(spec: Spec, selection: Selection) -> pd.DataFrame:
    """Covariates of the patients that stay; levels stay too where the spec declares them."""
    frame = selection.people.covariates[selection.kept].copy()
    for name, column in frame.items():
        declared = spec.covariates.get(str(name))
        is_open = declared is None or not declared.levels
        if is_open and isinstance(column.dtype, pd.CategoricalDtype):
            frame[name] = column.cat.remove_unused_categories()
    return frame.set_axis(pd.Index(selection.patients, name=PATIENT, dtype=object))


def _events(selection: Selection) -> DoseEvents | None:
    """Doses of the patients that stay, numbered as in the cohort, not yet written out."""
    if selection.rows.doses is None:
        return None
    events = selection.rows.doses.events
    kept = events.take(selection.kept[events.patient])
    return DoseEvents(selection.place_of[kept.patient], *(getattr(kept, name) for name in _DOSE_FIELDS))


_DOSE_FIELDS = ("time", "amount", "duration", "additional", "interval", "row")


def _uses(spec: Spec, selection: Selection, outcome: Measured, events: DoseEvents | None) -> Uses:
    rows = selection.rows
    patient = selection.place_of[rows.patient.codes]
    at = np.flatnonzero(outcome.used & (patient >= 0))
    key = _keys(spec, selection)[at]
    if events is not None:
        key = ahead_of_doses(patient[at], key, at, events)
    return Uses(patient[at], key, at)


def _keys(spec: Spec, selection: Selection) -> np.ndarray:
    name = coordinate_of(spec)
    return selection.rows.time if name is None else selection.rows.inputs[name]


def _of_kept(samples: Samples, place_of: np.ndarray) -> Samples:
    patient = place_of[samples.patient]
    kept = patient >= 0
    return Samples(
        samples.name, samples.interpolation, patient[kept], samples.time[kept], samples.value[kept]
    )


def _align(
    spec: Spec, observed: list[Uses], series: list[Samples], patients: int
) -> tuple[Records, list[np.ndarray]]:
    sources = list(observed)
    starts_at_zero = MECHANISMS[spec.mechanism.name].starts_at_zero
    for samples in series:
        # A step has a record before it and one after it, so that the input is exact between records too.
        at = np.repeat(np.arange(len(samples.time)), 1 + samples.jumps())
        at = at[samples.time[at] >= 0] if starts_at_zero else at
        sources.append(Uses(samples.patient[at], samples.time[at], np.arange(len(at))))
    if starts_at_zero:
        sources.append(Uses(np.arange(patients), np.zeros(patients), np.zeros(patients, dtype=np.int64)))
    return align(sources, patients)


def _exposure(
    build: Builder, spec: Spec, units: WorkingUnits, records: Records, series: list[Samples]
) -> dict[str, np.ndarray]:
    """Time and inputs along the records; returns the inputs in declared units, ``[patient, time]``."""
    if MECHANISMS[spec.mechanism.name].has_time:
        build.add(TIME, records.pad(records.key), PATIENT, TIME)
    along: dict[str, np.ndarray] = {}
    coordinate = coordinate_of(spec)
    if coordinate is not None:
        along[coordinate] = records.pad(records.key)
    for samples in series:
        along[samples.name] = records.pad(samples.at(records.patient, records.key, records.slot == 0))
    for name, values in along.items():
        build.add(name, values * units.input[name], PATIENT, TIME)
    return along


def _outcomes(
    build: Builder,
    spec: Spec,
    selection: Selection,
    records: Records,
    laid: tuple[list[Uses], list[np.ndarray], dict[str, np.ndarray]],
) -> pd.DataFrame:
    """The arrays of every outcome, and the table of used rows."""
    observed, positions, along = laid
    tables = []
    for outcome, uses, position in zip(selection.measured, observed, positions, strict=False):
        name, at = outcome.outcome, uses.row
        _lay_outcome(build, spec, outcome, (records, uses, position))
        table = pd.DataFrame(
            {
                "outcome": name,
                "patient": np.array(selection.patients, dtype=object)[uses.patient],
                "patient_index": uses.patient,
                "position": position,
                "time": selection.rows.time[at],
                **{key: values[uses.patient, position] for key, values in along.items()},
                "value": outcome.value[at],
                "censored": outcome.censored[at],
                "table_row": at + 1,
            }
        )
        tables.append(table.sort_values(["patient_index", "position"], kind="stable"))
    return pd.concat(tables, ignore_index=True)


def _lay_outcome(
    build: Builder, spec: Spec, outcome: Measured, laid: tuple[Records, Uses, np.ndarray]
) -> None:
    records, uses, position = laid
    observation = spec.observations[outcome.outcome]
    at = uses.row
    layers: list[tuple[str, np.ndarray, float | bool]] = [
        ("observed", outcome.value[at], FILLERS[observation.error]),
        ("mask", np.ones(len(at), dtype=bool), False),
    ]
    if is_censorable(observation):
        layers.append(("censored", outcome.censored[at], 0))
    if outcome.standard_error is not None:
        layers.append(("standard_error", outcome.standard_error[at], 0.0))
    if outcome.trials is not None:
        layers.append(("trials", outcome.trials[at], 1.0))
    for prefix, values, filler in layers:
        array = place(records, uses.patient, position, values, filler)
        build.add(f"{prefix}_{outcome.outcome}", array, PATIENT, TIME)


def _doses(build: Builder, units: WorkingUnits, events: DoseEvents | None, patients: int) -> int:
    if events is None:
        return 0
    written = events.written_out()
    arrays = dose_arrays(written, patients)
    factors = {"dose_time": units.dose_time, "dose_amount": units.dose, "dose_duration": units.dose_time}
    for name, array in arrays.items():
        build.add(name, array * factors[name], PATIENT, DOSE)
    build.coords[DOSE] = tuple(range(arrays["dose_time"].shape[1]))
    return len(written.time)
