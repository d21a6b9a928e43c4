"""The verb `start_twin`: a patient's particles before any further record."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.cohort.columns import as_text, is_filled, read_words
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.dims import PATIENT, group_suffix
from hierarchical_twin.errors import DataError, Problem, nearest
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.inference.provenance import package_version
from hierarchical_twin.prediction.given import effects_for
from hierarchical_twin.prediction.source import model_of, own_patients
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.twin.merging import FIRST, RECORD, columns_of
from hierarchical_twin.twin.padding import one_patient, own_widths, pad, widen
from hierarchical_twin.twin.particles import Particles
from hierarchical_twin.twin.population import Population, outer_root, population_draws
from hierarchical_twin.twin.records import empty_records, read_records, static_columns
from hierarchical_twin.twin.twin import Twin
from hierarchical_twin.twin.update import described

PARTICLES = 2000
"""Particles of a twin, unless asked otherwise."""


def start_twin(
    fit: Fit,
    *,
    patient: str | None = None,
    covariates: Mapping[str, Any] | None = None,
    particles: int = PARTICLES,
    seed: int = 0,
) -> Twin:
    """Start the twin of a patient.

    Parameters
    ----------
    fit : Fit
    patient : str, optional
        A patient of the fit, whose twin starts from their posterior and their records; or the label of a
        new one.
    covariates : mapping, optional
        Of a new patient: column to value, all that the spec reads once per patient (covariates, levels,
        known parameters). Their effects are drawn from the population. An empty mapping where the spec
        reads nothing.
    particles : int
        The fit's draws are used in turn, evenly spaced.
    seed : int
        Of a new patient's effects, and of all updates.

    Returns
    -------
    Twin

    Raises
    ------
    DataError
        No such patient, a column that the spec does not read or that is missing, or a number out of range.
    SamplingError
        The fit keeps no table, or of its own patients no draws.
    """
    if covariates is None:
        if patient is None:
            hint = "start_twin(fit, patient='...') or start_twin(fit, covariates={...})"
            raise DataError(Problem("start_twin", "neither patient nor covariates", "one of them", hint))
        return start_twins(fit, patients=[patient], particles=particles, seed=seed)[0]
    label = "new" if patient is None else str(patient)
    column = population_for(fit).model.spec.patient.column
    rows = pd.DataFrame([{column: label, **covariates}], dtype=object)
    return start_twins(fit, rows=rows, particles=particles, seed=seed)[0]


def start_twins(
    fit: Fit,
    *,
    patients: Sequence[str] | None = None,
    rows: pd.DataFrame | None = None,
    particles: int = PARTICLES,
    seed: int = 0,
) -> list[Twin]:
    """Start many twins at once; they share the population.

    Parameters
    ----------
    fit : Fit
    patients : sequence of str, optional
        Of the fit; all of them where `rows` is not given either.
    rows : pandas.DataFrame, optional
        New patients: one row each, the label and what is known once per patient. Not beside `patients`.
    particles, seed
        As in `start_twin`.

    Raises
    ------
    DataError, SamplingError
        As `start_twin`; also `patients` beside `rows`.
    """
    if patients is not None and rows is not None:
        hint = "start those of the fit and the new ones by themselves"
        raise DataError(Problem("start_twins", "patients beside rows", "one of them", hint))
    if not isinstance(particles, int | np.integer) or isinstance(particles, bool) or particles < 10:
        raise DataError(Problem("start_twin particles", repr(particles), "a whole number from 10"))
    population = population_for(fit)
    model = population.model
    draw = np.linspace(0, len(population.root) - 1, int(particles)).round().astype(np.int32)
    if rows is None:
        frames = _own_records(model, own_patients(model.cohort, patients))
        statics = {label: _known(model.spec, frame) for label, frame in frames.items()}
    else:
        statics = _statics(model, rows)
        frames = {label: empty_records(model.spec) for label in statics}
    cohort = read_records(frames, statics, model.spec, model.cohort).cohort
    known = None
    if rows is None and PATIENT in cohort.effects:
        known = _known_effects(fit, model, cohort, draw)
    arrays, twins = pad(cohort), []
    for place, label in enumerate(frames):
        # Of the label, so that a twin is the same whoever is started beside it.
        generator = np.random.default_rng([seed, crc32(label.encode())])
        outer = _outer_effects(population, cohort, place, draw, generator)
        own = drawn(population.root, draw, generator) if known is None else known[:, place]
        single = one_patient(arrays, cohort, place)
        twins.append(
            Twin(
                population=population,
                patient=label,
                static=statics[label],
                records=frames[label],
                arrays=widen(single, cohort.dims, own_widths(single, cohort.dims)),
                particles=Particles(draw, own, outer, np.full(len(draw), -np.log(len(draw)))),
                parameters={},
                seed=int(seed),
            )
        )
    return described(twins)


_POPULATIONS: list[tuple[weakref.ref[Fit], Population]] = []


def population_for(fit: Fit) -> Population:
    """The population of a fit: the same value for all of its twins, as long as it is in use.

    Raises
    ------
    DataError
        The spec reads a column of a name that records are known by.
    SamplingError
        The fit keeps no table.
    """
    _POPULATIONS[:] = [(known, own) for known, own in _POPULATIONS if known() is not None]
    for known, own in _POPULATIONS:
        if known() is fit:
            return own
    model = model_of(fit)
    if taken := {RECORD, FIRST} & set(columns_of(model.spec)):
        expected = f"columns of other names: twins know records by '{RECORD}' and '{FIRST}'"
        raise DataError([Problem("spec", f"a column '{name}'", expected) for name in sorted(taken)])
    sizes = fit.tree["posterior"].sizes
    places = np.arange(sizes["chain"] * sizes["draw"])
    population = Population(model, *population_draws(fit, model, places), _provenance(fit))
    _POPULATIONS.append((weakref.ref(fit), population))
    return population


def _known_effects(fit: Fit, model: Model, cohort: Cohort, draw: np.ndarray) -> np.ndarray:
    """Effects of patients of the fit at each particle's draw ``[particle, patient, effect]``."""
    places, at = np.unique(draw, return_inverse=True)
    levels = effects_for(fit, model.cohort, replace(model, cohort=cohort), places).levels
    return next(level.known for level in levels if level.name == "eta")[at]


def _outer_effects(
    population: Population, cohort: Cohort, place: int, draw: np.ndarray, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Effects of a patient's own member of each level above: the fit's, or new ones of one it does not know."""
    found = {}
    for name, group in population.outer_groups.items():
        member = population.member(name, cohort.coords[group][int(cohort.arrays[f"level_{group}"][place])])
        if member < 0:
            root = outer_root(population.draws, group_suffix(group))
            found[name] = drawn(root, draw, generator)
        else:
            found[name] = population.draws[name][draw, member]
    return found


def drawn(root: np.ndarray, draw: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """New effects ``[particle, effect]`` under each particle's draw of the population."""
    fresh = generator.standard_normal((len(draw), root.shape[1]))
    return np.einsum("pij,pj->pi", root[draw], fresh)


def _own_records(model: Model, patients: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Rows of the fitted table of each patient, known by their number."""
    table = model.cohort.table
    labels = read_words(table[model.spec.patient.column])
    named = table.astype(object)
    named.insert(0, RECORD, [f"row {number}" for number in range(1, len(table) + 1)])
    named[model.spec.patient.column] = labels.to_numpy()
    parts = dict(iter(named.groupby(labels.to_numpy(), sort=False)))
    return {label: parts[label].reset_index(drop=True) for label in patients}


def _known(spec: Spec, frame: pd.DataFrame) -> dict[str, Any]:
    """The first cell that says something in each column that is read once per patient."""
    known = {}
    for column in static_columns(spec):
        filled = frame[column][is_filled(frame[column])]
        known |= {column: filled.iloc[0]} if len(filled) else {}
    return known


def _statics(model: Model, rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """New patients by label, each with what is known of them.

    Raises
    ------
    DataError
        A column is unknown or missing, or a label is blank, there twice, or of a patient of the fit.
    """
    spec = model.spec
    label, columns = spec.patient.column, static_columns(spec)
    problems = [
        Problem(
            "start_twin",
            f"a column '{name}'",
            f"one of {', '.join((label, *columns))}",
            nearest(str(name), columns),
        )
        for name in rows.columns
        if name not in (label, *columns)
    ]
    found: dict[str, dict[str, Any]] = {}
    keys = ("covariates.", "parameters.")
    if spec.doses is not None and spec.doses.time is not None:
        keys += ("doses.amount",)
    needed = [need.column for need in needs_of(spec) if need.key.startswith(keys)]
    for cells in rows.to_dict("records"):
        name = as_text(cells.pop(label, None))
        own = {str(column): cell for column, cell in cells.items() if as_text(cell) is not None}
        missing = [column for column in dict.fromkeys(needed) if column not in own]
        if missing:
            got = f"no {', '.join(missing)} of '{name}'"
            problems.append(
                Problem("start_twin covariates", got, f"a value for each of {', '.join(columns)}")
            )
        if name is None or name in found or name in model.cohort.patients:
            expected = "a label of its own for each new patient, that the fit does not have"
            problems.append(Problem(f"start_twin column '{label}'", repr(name), expected))
            continue
        found[name] = own
    if problems or not found:
        raise DataError(problems or [Problem("start_twin rows", "no rows", "one row for each new patient")])
    return found


def _provenance(fit: Fit) -> dict[str, str]:
    told = fit.attributes
    kept = {word: str(told[word]) for word in ("data_hash", "data_source", "seed") if word in told}
    return kept | {"spec_hash": spec_hash_of(fit), "version": package_version("hierarchical_twin")}


def spec_hash_of(fit: Fit) -> str:
    """SHA-256 of a fit's spec."""
    return sha256(fit.spec_text.encode()).hexdigest()
