"""Labels: from named draws to the xarray tree that a fit holds. Names and dims are in `dims`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from hierarchical_twin import dims
from hierarchical_twin.analysis.patient_summary import STATISTICS
from hierarchical_twin.cohort.kept import table_to_dataset
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.adaptation import Learned
from hierarchical_twin.spec.population import is_estimated, link_of
from hierarchical_twin.spec.units import diffusion_units, working_units


@dataclass(frozen=True, eq=False)
class Integrals:
    """How well the marginal method integrated the patients' effects out.

    Attributes
    ----------
    k_hat : ndarray, shape [patient]
        Tail shape of the importance weights of each patient's draws.
    coordinates : tuple of str
        The population's coordinates.
    shift_of_mean, shift_of_sd : ndarray, shape [coordinate]
        Estimated error of each posterior mean in posterior SDs, and of each SD relative to it.
    doubts : tuple of str
        What speaks against trusting the fit, in plain words; empty if nothing does.
    """

    k_hat: np.ndarray
    coordinates: tuple[str, ...]
    shift_of_mean: np.ndarray
    shift_of_sd: np.ndarray
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """The numbers of a run, by name, before they are labelled.

    `posterior` ``[chain, draw, ...]``; `stats` ``[chain, draw]``; `log_likelihood` and `replicates`
    ``[chain, draw, observation]`` per outcome; `no_pooling` ``[patient]`` per parameter; `learned` is
    for later runs; `patient_summary` ``[statistic, patient, ...]`` where patients' draws are not kept,
    and then there are no `log_likelihood` and `replicates`.
    """

    posterior: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    log_likelihood: Mapping[str, np.ndarray]
    replicates: Mapping[str, np.ndarray]
    no_pooling: Mapping[str, np.ndarray]
    learned: Learned | None = None
    integrals: Integrals | None = None
    patient_summary: Mapping[str, np.ndarray] = field(default_factory=dict)


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
        dims.OBSERVED_DATA: _observed(model, _values(model), measured, (), units),
        dims.CONSTANT_DATA: _constants(model),
        dims.TABLE: table_to_dataset(model.cohort.table),
    }
    if record.patient_summary:
        groups[dims.PATIENT_SUMMARY] = _summary(model, record.patient_summary, units)
    else:
        groups[dims.LOG_LIKELIHOOD] = _observed(model, record.log_likelihood, measured, over_draws, {})
        groups[dims.POSTERIOR_PREDICTIVE] = _observed(model, record.replicates, measured, over_draws, units)
    if record.no_pooling:
        over_patients = dict.fromkeys(record.no_pooling, (dims.PATIENT,))
        groups[dims.NO_POOLING] = _dataset(model, record.no_pooling, over_patients, (), units)
    if record.integrals is not None:
        groups[dims.INTEGRALS] = _integrals(model, record.integrals)
    if record.learned is not None:
        groups[dims.ADAPTATION] = _adaptation(record.learned)
    tree = xr.DataTree.from_dict(groups)
    links = {
        name: link_of(model.spec, name)
        for name, words in model.spec.parameters.items()
        if is_estimated(words)
    }
    errors = {node.name: node.error for node in model.graph.measurements}
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
    units |= {dims.diffusion_name(state): unit for state, unit in diffusion_units(spec).items()}
    derived = working_units(spec).derived
    for name, words in spec.derived.items():
        units[name] = "1" if words.relative_to is not None else derived[name]
    return units


def _posterior_dims(model: Model) -> dict[str, tuple[str, ...]]:
    found = {node.name: tuple(node.dims) for node in model.graph.reported}
    for name, words in model.spec.derived.items():
        found[name] = () if words.at is not None else (dims.PATIENT,)
    return found


def _summary(model: Model, values: Mapping[str, np.ndarray], units: Mapping[str, str]) -> xr.Dataset:
    own = {name: (dims.STATISTIC, *words) for name, words in _posterior_dims(model).items()}
    return _dataset(model, values, own, (), units).assign_coords({dims.STATISTIC: list(STATISTICS)})


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


def _integrals(model: Model, integrals: Integrals) -> xr.Dataset:
    variables = {
        "k_hat": xr.Variable((dims.PATIENT,), integrals.k_hat),
        "shift_of_mean": xr.Variable((dims.COORDINATE,), integrals.shift_of_mean),
        "shift_of_sd": xr.Variable((dims.COORDINATE,), integrals.shift_of_sd),
    }
    coords = {
        dims.PATIENT: np.asarray(model.coords[dims.PATIENT]),
        dims.COORDINATE: np.asarray(integrals.coordinates, dtype=np.str_),
    }
    return xr.Dataset(variables, coords, {"doubts": json.dumps(integrals.doubts)})


def _adaptation(learned: Learned) -> xr.Dataset:
    matrix = (dims.COORDINATE, f"other_{dims.COORDINATE}")
    variables = {
        "center": xr.Variable(matrix[:1], learned.center),
        "root": xr.Variable(matrix, learned.root),
        "step_size": xr.Variable((dims.CHAIN,), learned.step_size),
    }
    return xr.Dataset(variables, {dims.COORDINATE: np.asarray(learned.names, dtype=np.str_)})


def _constants(model: Model) -> xr.Dataset:
    """The patients' covariates, so that a saved fit can be read against them."""
    frame = model.cohort.covariates
    variables = {
        f"covariate_{name}": xr.Variable((dims.PATIENT,), _plain(frame[name].to_numpy()))
        for name in frame.columns
    }
    return xr.Dataset(variables, {dims.PATIENT: np.asarray(model.cohort.patients)})
