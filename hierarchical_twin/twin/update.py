"""The verb `update`: a twin and new records to the next twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from hierarchical_twin.errors import DataError, Problem, SamplingError, nearest
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.twin.batches import in_batches, run_advance, run_described
from hierarchical_twin.twin.merging import Layout, Merged, merge_rows
from hierarchical_twin.twin.moves import Patient
from hierarchical_twin.twin.padding import one_patient, own_widths, pad, widen
from hierarchical_twin.twin.records import Read, as_frame, labels_of, read_records, rows_of
from hierarchical_twin.twin.steps import seen_in, step_of
from hierarchical_twin.twin.twin import Twin

Records = pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def update(twin: Twin, records: Records) -> Twin:
    """Update a twin with new records; the old twin is unchanged.

    Parameters
    ----------
    twin : Twin
    records : DataFrame, mapping or sequence of mappings
        Rows in the spec's columns: measurements, doses, inputs, in any order of time. At one and the same
        time, the order of arrival counts: a measurement that comes before its dose is taken as made before
        it. What is known of the patient need not be repeated. A column ``record`` identifies each; without
        it a record is known by its cells, those it had before a correction included. A record that is
        already there says nothing new; one with a known identifier and other cells corrects the earlier one.

    Returns
    -------
    Twin
        With one more `Step`, whose `warnings` say what to look at; `twin` itself where nothing is new.

    Raises
    ------
    DataError
        A record cannot be read, is of another patient, or is there twice.
    SamplingError
        No particle can explain the records.
    """
    return update_many([twin], {twin.patient: records})[0]


def update_many(twins: Sequence[Twin], records: pd.DataFrame | Mapping[str, Records]) -> list[Twin]:
    """Update many twins of one population at once.

    Parameters
    ----------
    twins : sequence of Twin
    records : DataFrame or mapping
        Rows of all patients, with the spec's patient column; or patient to records as `update` takes.

    Returns
    -------
    list of Twin
        In the order of `twins`; those without new records are the same values as before.

    Raises
    ------
    DataError
        As `update`; also a patient who is not among the twins, or twins of several populations.
    SamplingError
        As `update`. Either names all patients of whom it is true; none is updated then.
    """
    if not twins:
        return []
    population = twins[0].population
    by_label = {twin.patient: twin for twin in twins}
    if len(by_label) < len(twins) or any(twin.population is not population for twin in twins):
        got = "two twins of one patient" if len(by_label) < len(twins) else "twins of several populations"
        raise DataError(Problem("update_many", got, "one twin for each patient, of one population"))
    spec, learned = population.model.spec, population.model.cohort
    merged = _merged(_by_patient(records, by_label, spec), by_label, Layout.of(spec))
    merged = {label: one for label, one in merged.items() if one.added or one.corrected}
    if not merged:
        return list(twins)
    moved = [by_label[label] for label in merged]
    statics = {twin.patient: twin.static for twin in moved}
    read = read_records({label: one.frame for label, one in merged.items()}, statics, spec, learned)
    following = _advanced(moved, merged, read)
    return [following.get(twin.patient, twin) for twin in twins]


def described(twins: Sequence[Twin]) -> list[Twin]:
    """Twins of one population with their parameters filled in from their particles."""
    filled = list(twins)
    asked = [(twin.arrays, twin.particles) for twin in twins]
    for place, parameters in in_batches(twins[0].population, run_described, asked):
        filled[place] = replace(twins[place], parameters=_ordered(twins[place], parameters))
    return filled


def _by_patient(
    records: pd.DataFrame | Mapping[str, Records], twins: Mapping[str, Twin], spec: Spec
) -> dict[str, list[dict[str, Any]]]:
    """New records of each patient, as column to cell."""
    found: dict[str, list[dict[str, Any]]] = {}
    if isinstance(records, pd.DataFrame):
        for label, row in zip(labels_of(records, spec), rows_of(as_frame(records, spec)), strict=True):
            found.setdefault(label, []).append(row)
    else:
        problems: list[Problem] = []
        for name, own in records.items():
            try:
                found[str(name)] = rows_of(as_frame(own, spec))
            except DataError as error:
                problems += [replace(one, where=f"{one.where} of '{name}'") for one in error.problems]
        if problems:
            raise DataError(problems)
    unknown = [name for name in found if name not in twins]
    if unknown:
        expected = "a patient who has a twin"
        raise DataError(
            [
                Problem("records", f"patient '{name}'", expected, nearest(name, list(twins)))
                for name in unknown
            ]
        )
    return found


def _merged(
    records: Mapping[str, list[dict[str, Any]]], twins: Mapping[str, Twin], layout: Layout
) -> dict[str, Merged]:
    """Each patient's records with the new ones among them."""
    found: dict[str, Merged] = {}
    problems: list[Problem] = []
    for label, rows in records.items():
        try:
            found[label] = merge_rows(twins[label].records, rows, layout, label, twins[label].static)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return found


def _advanced(twins: list[Twin], merged: Mapping[str, Merged], read: Read) -> dict[str, Twin]:
    population, arrays, seen = twins[0].population, pad(read.cohort), seen_in(read)
    asked = [_patient(twin, arrays, read, place) for place, twin in enumerate(twins)]
    following: dict[str, Twin] = {}
    lost: dict[int, Problem] = {}
    for place, own in in_batches(population, run_advance, asked):
        twin = twins[place]
        if not np.isfinite(own.log_evidence):
            where, got = f"update of '{twin.patient}'", "records that no particle can explain"
            expected, hint = "records that are possible under the model", "check the values and their units"
            lost[place] = Problem(where, got, expected, hint)
            continue
        one, parameters = merged[twin.patient], _ordered(twin, own.parameters)
        used = seen.get(twin.patient, [])
        step = step_of(twin, one, used, own, patient=asked[place], parameters=parameters)
        following[twin.patient] = replace(
            twin,
            records=one.frame,
            arrays=asked[place].after,
            particles=own.particles,
            parameters=parameters,
            steps=(*twin.steps, step),
        )
    if lost:
        raise SamplingError([lost[place] for place in sorted(lost)])
    return following


def _patient(twin: Twin, arrays: Mapping[str, np.ndarray], read: Read, place: int) -> Patient:
    """What the update of one twin reads, as wide as its own records need."""
    cohort, population = read.cohort, twin.population
    after = one_patient(arrays, cohort, place)
    own, old = own_widths(after, cohort.dims), own_widths(twin.arrays, cohort.dims)
    widths = {dim: max(size, old[dim]) for dim, size in own.items()}
    member = {}
    for name, group in population.outer_groups.items():
        label = cohort.coords[group][int(cohort.arrays[f"level_{group}"][place])]
        member[name] = np.int32(population.member(name, label))
    return Patient(
        before=widen(twin.arrays, cohort.dims, widths),
        after=widen(after, cohort.dims, widths),
        particles=twin.particles,
        member=member,
        is_new=np.bool_(twin.patient not in population.labels),
        key=_key(twin),
    )


def _key(twin: Twin) -> np.ndarray:
    """Raw words of a random key of this twin and update."""
    entropy = [twin.seed, twin.revision, crc32(twin.patient.encode())]
    return np.random.SeedSequence(entropy).generate_state(2, np.uint32)


def _ordered(twin: Twin, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """In the order of the spec; JAX sorts names."""
    model = twin.population.model
    order = [node.name for node in model.graph.reported] + list(model.spec.derived)
    return {name: parameters[name] for name in order if name in parameters}
