"""Labels: from named draws to the xarray tree that a fit holds. Names and dims are in `dims`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from hierarchical_twin import dims
from hierarchical_twin.graph.build import Model
from hierarchical_twin.spec.population import is_estimated, link_of
from hierarchical_twin.spec.units import working_units


@dataclass(frozen=True)
class Record:
    """The numbers of a run, by name, before they are labelled.

    `posterior` ``[chain, draw, ...]``; `stats` ``[chain, draw]``; `log_likelihood` and `replicates`
    ``[chain, draw, observation]`` per outcome; `no_pooling` ``[patient]`` per parameter.
    """

    posterior: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    log_likelihood: Mapping[str, np.ndarray]
    replicates: Mapping[str, np.ndarray]
    no_pooling: Mapping[str, np.ndarray]


def label_draws(model: Model, record: Record, attributes: Mapping[str, str | int | float]) -> xr.DataTree:
    """The labelled tree of a run.

    Parameters
    ----------
    model : Model
    record : Record
    attributes : mapping
        Root attributes: provenance and timings.
    """
    over_draws = (dims.CHAIN, dims.DRAW)
    units = variable_units(model)
    measured = {node.name: (dims.observation_dim(node.name),) for node in model.graph.observes}
    groups = {
        dims.POSTERIOR: _dataset(model, record.posterior, _posterior_dims(model), over_draws, units),
        dims.SAMPLE_STATS: _dataset(model, record.stats, dict.fromkeys(record.stats, ()), over_draws, {}),
        dims.LOG_LIKELIHOOD: _observed(model, record.log_likelihood, measured, over_draws, {}),
        dims.POSTERIOR_PREDICTIVE: _observed(model, record.replicates, measured, over_draws, units),
        dims.OBSERVED_DATA: _observed(model, _values(model), measured, (), units),
        dims.CONSTANT_DATA: _constants(model),
    }
    if record.no_pooling:
        over_patients = dict.fromkeys(record.no_pooling, (dims.PATIENT,))
        groups[dims.NO_POOLING] = _dataset(model, record.no_pooling, over_patients, (), units)
    tree = xr.DataTree.from_dict(groups)
    links = {
        name: link_of(model.spec, name)
        for name, words in model.spec.parameters.items()
        if is_estimated(words)
    }
    errors = {node.name: node.error for node in model.graph.observes}
    tree.attrs = {
        **attributes,
        "link": json.dumps(links),
        "unit": json.dumps(units),
        "error": json.dumps(errors),
    }
    return tree


def variable_units(model: Model) -> dict[str, str]:
    """Unit of each variable that has one; effects and their SDs live on the link scale and do not."""
    spec = model.spec
    units = {name: words.unit for name, words in spec.parameters.items()}
    units |= {f"{name}_typical": unit for name, unit in units.items()}
    for outcome, words in spec.observations.items():
        units[outcome] = words.unit
        is_relative = words.error in ("lognormal", "proportional")
        units[f"sigma_{outcome}"] = "1" if is_relative else words.unit
    derived = working_units(spec).derived
    for name, words in spec.derived.items():
        units[name] = "1" if words.relative_to is not None else derived[name]
    return units


def _posterior_dims(model: Model) -> dict[str, tuple[str, ...]]:
    found = {node.name: tuple(node.dims) for node in model.graph.reported}
    for name, words in model.spec.derived.items():
        found[name] = () if words.at is not None else (dims.PATIENT,)
    return found


def _dataset(
    model: Model,
    values: Mapping[str, np.ndarray],
    own_dims: Mapping[str, tuple[str, ...]],
    leading: tuple[str, ...],
    units: Mapping[str, str],
) -> xr.Dataset:
    used = {dim for name in values for dim in own_dims[name]}
    coords = {dim: np.asarray(model.coords[dim]) for dim in used if dim in model.coords}
    if leading and values:
        chains, draws = next(iter(values.values())).shape[:2]
        coords |= {dims.CHAIN: np.arange(chains), dims.DRAW: np.arange(draws)}
    variables = {
        name: xr.Variable((*leading, *own_dims[name]), value, {"unit": units[name]} if name in units else {})
        for name, value in values.items()
    }
    return xr.Dataset(variables, coords)


def _observed(
    model: Model,
    values: Mapping[str, np.ndarray],
    own_dims: Mapping[str, tuple[str, ...]],
    leading: tuple[str, ...],
    units: Mapping[str, str],
) -> xr.Dataset:
    dataset = _dataset(model, values, own_dims, leading, units)
    rows = model.cohort.rows
    for outcome, (dim,) in own_dims.items():
        own = rows[rows["outcome"] == outcome]
        told = {"patient": "patient", "time": "time", "row": "table_row", "censored": "censored"}
        told |= {name: name for name in model.spec.inputs}
        dataset = dataset.assign_coords(
            {
                f"{word}_{outcome}": (dim, _plain(own[column]))
                for word, column in told.items()
                if column in own
            }
        )
    return dataset


def _plain(column: object) -> np.ndarray:
    array = np.asarray(column)
    return array.astype(str) if array.dtype == object else array


def _values(model: Model) -> dict[str, np.ndarray]:
    arrays = model.cohort.arrays
    return {node.name: arrays[node.observed][arrays[node.mask]] for node in model.graph.observes}


def _constants(model: Model) -> xr.Dataset:
    """The patients' covariates, so that a saved fit can be read against them."""
    frame = model.cohort.covariates
    variables = {
        f"covariate_{name}": xr.Variable((dims.PATIENT,), _plain(frame[name].to_numpy()))
        for name in frame.columns
    }
    return xr.Dataset(variables, {dims.PATIENT: np.asarray(model.cohort.patients)})
