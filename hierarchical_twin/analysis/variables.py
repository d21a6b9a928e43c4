"""Which variables a fit holds, by the part they play, their units, and what each element is called.

The names are those of the contract in `dims`; nothing is computed here.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import xarray as xr
from ruamel.yaml import YAML, YAMLError

from hierarchical_twin.dims import CHAIN, DRAW, EFFECT, PATIENT, PATIENT_SUMMARY, POSTERIOR, STATISTIC
from hierarchical_twin.errors import Problem, SamplingError

_SAMPLE_DIMS = (CHAIN, DRAW)
_NOT_OWN = (CHAIN, DRAW, STATISTIC)
_FACTOR_BREAK = re.compile(r":(?![^\[(]*[\])])")  # the colons of age:sex[M], not those of a level or a call
_PLAIN_COVARIATE = re.compile(r"(?:center\()?(\w+)\)?")
_POPULATION_ORDER = ("beta_", "omega", "omega_correlation", "sigma_", "concentration_", "diffusion_")


@dataclass(frozen=True)
class Elements:
    """One variable's scalars: labels such as ``omega[r]``, and draws ``[chain, draw, element]``."""

    labels: tuple[str, ...]
    draws: np.ndarray


@dataclass(frozen=True)
class EffectGroup:
    """The random effects of one grouping level, and the names of its variables."""

    group: str
    eta: str
    omega: str
    effect_dim: str


def posterior_of(tree: xr.DataTree) -> xr.Dataset:
    """The posterior draws as a dataset.

    Raises
    ------
    SamplingError
        The tree holds no posterior group with chains and draws.
    """
    if POSTERIOR not in tree.children:
        found = ", ".join(tree.children) or "no groups"
        raise SamplingError(Problem("fit", found, "a group named 'posterior'", "was it sampled?"))
    dataset = tree[POSTERIOR].to_dataset()
    if not set(_SAMPLE_DIMS) <= set(dataset.sizes):
        found = f"dimensions {', '.join(map(str, dataset.sizes)) or 'none'}"
        raise SamplingError(Problem("fit posterior", found, "dimensions chain and draw"))
    return dataset


def summary_of(tree: xr.DataTree) -> xr.Dataset | None:
    """Statistics of what every patient has, or None where the fit keeps their draws."""
    return tree[PATIENT_SUMMARY].to_dataset() if PATIENT_SUMMARY in tree.children else None


def patients_of(tree: xr.DataTree) -> xr.Dataset:
    """The dataset that holds what every patient has: the posterior, or the summary in its place."""
    posterior, summary = posterior_of(tree), summary_of(tree)
    return posterior if summary is None else summary


def patient_variables(dataset: xr.Dataset) -> tuple[str, ...]:
    """Names of the quantities every patient has: parameters first, then derived, as stored."""
    return tuple(str(name) for name, values in dataset.data_vars.items() if _own_dims(values) == (PATIENT,))


def population_variables(posterior: xr.Dataset) -> tuple[str, ...]:
    """Names of the quantities that belong to nobody: typical values, betas, omegas, sigmas, scalars."""
    names = [
        str(name)
        for name, values in posterior.data_vars.items()
        if all(dim.startswith((EFFECT, "term_")) for dim in _own_dims(values))
    ]
    return tuple(sorted(names, key=_population_rank))


def effect_groups(tree: xr.DataTree) -> tuple[EffectGroup, ...]:
    """Every grouping level that has random effects in this fit, patients first."""
    posterior, patients = posterior_of(tree), patients_of(tree)
    groups = []
    for name, values in {**patients.data_vars, **posterior.data_vars}.items():
        dims = [dim for dim in _own_dims(values) if dim.startswith(EFFECT)]
        if not (str(name) == "eta" or str(name).startswith("eta_")) or len(dims) != 1:
            continue
        omega = "omega" + str(name).removeprefix("eta")
        if omega in posterior:
            group = str(name).removeprefix("eta_") if name != "eta" else PATIENT
            groups.append(EffectGroup(group, str(name), omega, dims[0]))
    return tuple(sorted(groups, key=lambda group: group.group != PATIENT))


def elements_of(posterior: xr.Dataset, name: str) -> Elements:
    """Every scalar of one variable, labelled; of a correlation matrix, each pair once."""
    values = posterior[name].transpose(CHAIN, DRAW, ...)
    dims = _own_dims(values)
    words = [labels_of(posterior, dim) for dim in dims]
    places = list(itertools.product(*(range(len(axis)) for axis in words)))
    flat = np.asarray(values.values).reshape(values.sizes[CHAIN], values.sizes[DRAW], len(places))
    if name.startswith("omega_correlation") and len(dims) == 2:
        keep = [index for index, (row, column) in enumerate(places) if row < column]
        places, flat = [places[index] for index in keep], flat[:, :, keep]
    labels = (",".join(axis[at] for axis, at in zip(words, place, strict=True)) for place in places)
    return Elements(tuple(f"{name}[{label}]" if label else name for label in labels), flat)


def labels_of(dataset: xr.Dataset, dim: str) -> tuple[str, ...]:
    """Labels along a dimension as text; positions where it has no coordinate."""
    return tuple(str(label) for label in dataset[dim].values.tolist())


def links_of(tree: xr.DataTree) -> dict[str, str]:
    """Parameter to link (``log``, ``logit``, ``identity``), as the fit recorded it."""
    return _json_attribute(tree, "link")


def units_of(tree: xr.DataTree) -> dict[str, str]:
    """Variable to unit, as the fit recorded it."""
    return _json_attribute(tree, "unit")


def has_process_noise(tree: xr.DataTree) -> bool:
    """Whether the states of a fit wander away from its mechanism."""
    return any(str(name).startswith("diffusion_") for name in posterior_of(tree).data_vars)


def errors_of(tree: xr.DataTree) -> dict[str, str]:
    """Outcome to error model, as the fit recorded it."""
    return _json_attribute(tree, "error")


def covariate_units_of(tree: xr.DataTree) -> dict[str, str]:
    """Covariate to the unit its spec declares; covariates without one are left out."""
    declared = spec_part(tree, "covariates")
    words = declared.items() if isinstance(declared, dict) else ()
    return {str(name): str(keys["unit"]) for name, keys in words if isinstance(keys, dict) and "unit" in keys}


def spec_part(tree: xr.DataTree, *keys: str) -> Any:
    """What stands at some keys of the fit's spec, or None: for labels, so that absence is no error."""
    try:
        found = YAML(typ="safe", pure=True).load(StringIO(str(tree.attrs.get("spec", ""))))
    except YAMLError:
        return None
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def unit_of(
    label: str,
    units: Mapping[str, str],
    links: Mapping[str, str],
    covariate_units: Mapping[str, str] | None = None,
) -> str:
    """Unit of a variable or of one element of it, such as ``omega[r]``.

    Random effects, their omegas and covariate coefficients are on the link scale: without unit
    under a log or logit link, in the parameter's unit under identity. There the coefficient of a
    number, and the omega of a slope on it, are for one unit of it: ``ms/year``, or ``ms per unit``
    where the spec gives the covariate no unit, or the formula transforms it.
    """
    name, _, inside = label.removesuffix("]").partition("[")
    for known in (label, name, name.removesuffix("_typical")):
        if known in units:
            return units[known]
    if name.startswith(("omega_correlation", "sigma_proportional_", "concentration_")):
        return "1"
    if name.startswith("beta_"):
        parameter, term = name.removeprefix("beta_"), inside
    elif name.startswith(("omega", "eta")):
        effect = inside if name.startswith("omega") else inside.rpartition(",")[2]
        parameter, _, term = effect.partition(":")
    else:
        return ""
    if links.get(parameter) != "identity":
        return "1"
    return _per_covariate(units.get(parameter, ""), term, covariate_units or {})


def _per_covariate(unit: str, term: str, covariate_units: Mapping[str, str]) -> str:
    """A parameter's unit for one unit of each number in a term; a level, such as ``sex[M]``, is none."""
    numbers = [factor for factor in _FACTOR_BREAK.split(term) if factor and not factor.endswith("]")]
    if not numbers or not unit:
        return unit
    names = [found.group(1) if (found := _PLAIN_COVARIATE.fullmatch(factor)) else "" for factor in numbers]
    given = [covariate_units.get(name, "1") for name in names]
    if "1" in given:
        return unit if unit == "1" else f"{unit} per unit"
    return unit + "".join(f"/({one})" if re.search(r"[*/ ]", one) else f"/{one}" for one in given)


def _own_dims(values: xr.DataArray) -> tuple[str, ...]:
    return tuple(str(dim) for dim in values.dims if dim not in _NOT_OWN)


def _population_rank(name: str) -> int:
    """Typical values, then the words of `_POPULATION_ORDER`, then derived quantities."""
    if name.endswith("_typical"):
        return -1
    starts = [place for place, start in enumerate(_POPULATION_ORDER) if name.startswith(start)]
    return starts[-1] if starts else len(_POPULATION_ORDER)


def _json_attribute(tree: xr.DataTree, name: str) -> dict[str, str]:
    text = tree.attrs.get(name, "{}")
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise SamplingError(
            Problem(f"fit attribute '{name}'", repr(text), "a JSON object written by this package")
        )
    return {str(key): str(value) for key, value in found.items()}
