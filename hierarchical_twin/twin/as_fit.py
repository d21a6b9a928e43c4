"""`as_fit`: a twin as a fit of one patient, so that every verb that asks a fit may be asked of a twin."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.dims import TABLE, group_suffix
from hierarchical_twin.errors import DataError, Problem
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.label import Record, label_draws
from hierarchical_twin.prediction.source import ModelledFit
from hierarchical_twin.spec.write import write_spec
from hierarchical_twin.twin.course import Plan, known_table, planned_cohort, with_plan
from hierarchical_twin.twin.twin import Twin

DRAWS = 1000
"""Draws of a twin as a fit, unless asked otherwise."""


def as_fit(twin: Twin, draws: int = DRAWS, *, plan: Plan | None = None, seed: int = 0) -> ModelledFit:
    """A twin as a fit of its one patient, with draws of equal weight.

    `predict`, `probability`, `dose_for` and `compare_scenarios` then answer for this patient, given all the
    twin knows; a new patient that they speak of is drawn from the population as the twin knows it.

    Parameters
    ----------
    twin : Twin
    draws : int
        Particles that are drawn, by their weights: systematic resampling, in random order.
    plan : DataFrame, mapping or sequence of mappings, optional
        Doses and inputs to come: rows in the spec's columns, beside the twin's records.
    seed : int
        Of the resampling.

    Returns
    -------
    ModelledFit
        Group ``posterior``: the population, the patient's effects, parameters and derived quantities, one
        chain. It is not for saving: keep the twin.

    Raises
    ------
    DataError
        `draws` is not a whole number from 1, or the plan cannot be read.

    Notes
    -----
    Draws are no better than the particles they come from: the Monte Carlo error is that of
    `Twin.effective` particles where those are fewer.
    """
    chosen = resampled(twin, draws, seed)
    model = own_model(twin, plan)
    posterior = {name: value[twin.particles.draw[chosen]] for name, value in twin.population.draws.items()}
    if twin.particles.effects.shape[1]:
        posterior["eta"] = twin.particles.effects[chosen][:, None]
    for name, group in twin.population.outer_groups.items():
        posterior[name] = _members(model.cohort, group, posterior[name], twin.particles.outer[name][chosen])
    posterior |= {name: value[chosen][:, None] for name, value in twin.parameters.items()}
    labelled = {name: value[None] for name, value in posterior.items()}
    attributes = {
        **twin.population.provenance,
        "spec": write_spec(model.spec),
        "twin": json.dumps({"patient": twin.patient, "revision": twin.revision}),
    }
    tree = label_draws(model, Record(labelled, {}, {}, {}, {}), attributes)
    return ModelledFit(tree.drop_nodes(TABLE), model)


def own_model(twin: Twin, plan: Plan | None = None) -> Model:
    """The model of a twin's patient alone, non-centred, over its records as they are read now.

    Raises
    ------
    DataError
        The plan cannot be read.
    SamplingError
        Under process noise: the plan is one of the past.
    """
    population, planned = twin.population.model, planned_cohort(twin, plan)
    arrays = _with_precisions(planned, population.cohort)
    cohort = replace(planned, arrays=arrays, table=known_table(twin, with_plan(twin, plan)))
    return build(population.spec, cohort, parameterization="noncentered")


def resampled(twin: Twin, draws: int, seed: int) -> np.ndarray:
    """Places of particles drawn by their weights ``[draw]``, in random order.

    Raises
    ------
    DataError
        `draws` is not a whole number from 1.
    """
    if not isinstance(draws, int | np.integer) or isinstance(draws, bool) or draws < 1:
        raise DataError(Problem("draws", repr(draws), "a whole number from 1"))
    generator = np.random.default_rng([seed, 0xD2A5])
    ends = np.cumsum(twin.weights)
    places = (generator.random() + np.arange(draws)) / draws * ends[-1]
    chosen = np.minimum(np.searchsorted(ends, places, side="right"), len(ends) - 1)
    return generator.permutation(chosen)


def _with_precisions(own: Cohort, learned: Cohort) -> dict[str, np.ndarray]:
    """A patient's arrays; what has not been measured of them is as precise as the cohort's median is."""
    arrays = dict(own.arrays)
    for name in own.arrays:
        kind = next((kind for kind in ("standard_error_", "trials_") if name.startswith(kind)), None)
        if kind is None:
            continue
        mask = f"mask_{name.removeprefix(kind)}"
        if not own.arrays[mask].any():
            # Under a false mask: read where a new measurement is asked for, never in a likelihood.
            arrays[name] = np.full_like(
                own.arrays[name], np.median(learned.arrays[name][learned.arrays[mask]])
            )
    return arrays


def _members(cohort: Cohort, group: str, known: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Effects of a level's members ``[draw, member, effect]``: those of the population, and the twin's own."""
    place = int(cohort.arrays[f"level{group_suffix(group)}"][0])
    lacking = len(cohort.coords[group]) - known.shape[1]
    effects = np.concatenate([known, np.zeros((len(known), lacking, known.shape[2]))], axis=1)
    effects[:, place] = own
    return effects
