"""Derived quantities of a draw: a patient's doubling time, a typical ratio between two genotypes.

They are functions of a point of the posterior and never of its density, so the backends' programs do
not carry them; the fit does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from hierarchical_twin.graph.likelihood import JAX
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.operations import unlink
from hierarchical_twin.mechanisms import MECHANISMS
from hierarchical_twin.spec.population import link_of
from hierarchical_twin.spec.schema import Derived
from hierarchical_twin.spec.units import working_units

Array = Any


def derived_values(model: Model, values: Mapping[str, Array]) -> dict[str, Array]:
    """Every derived quantity of the spec at one point.

    Parameters
    ----------
    model : Model
    values : mapping
        The point's node values, natural scale.

    Returns
    -------
    dict
        Name to ``[patient]``, or to a scalar where the spec says ``at``.
    """
    out = {}
    for name, derived in model.spec.derived.items():
        if derived.at is None:
            own = {parameter: _own(model, values, parameter) for parameter in _needed(model, derived)}
            out[name] = _quantity(model, derived, own)
            continue
        out[name] = _typical_quantity(model, values, derived, derived.at)
        if derived.relative_to is not None:
            out[name] = out[name] / _typical_quantity(model, values, derived, derived.relative_to)
    return out


def _needed(model: Model, derived: Derived) -> tuple[str, ...]:
    words = MECHANISMS[model.spec.mechanism.name].derived.get(derived.quantity)
    return (derived.quantity,) if words is None else words.parameters


def _own(model: Model, values: Mapping[str, Array], parameter: str) -> Array:
    """A patient's value ``[patient]`` (or a constant) in the declared unit."""
    declared = model.spec.parameters.get(parameter)
    if declared is None:
        return jnp.asarray(MECHANISMS[model.spec.mechanism.name].parameters[parameter].default)
    if declared.value is not None:
        return jnp.asarray(float(declared.value))
    return values[f"known_{parameter}"] if declared.column is not None else values[parameter]


def _typical_quantity(
    model: Model, values: Mapping[str, Array], derived: Derived, at: Mapping[str, str | int | float]
) -> Array:
    typical = {parameter: _typical(model, values, parameter, at) for parameter in _needed(model, derived)}
    return _quantity(model, derived, typical)


def _typical(
    model: Model, values: Mapping[str, Array], parameter: str, at: Mapping[str, str | int | float]
) -> Array:
    """The population-typical value at given covariates, effects at zero, declared unit."""
    declared = model.spec.parameters.get(parameter)
    if declared is None or declared.typical is None:
        return _own(model, values, parameter)
    if f"beta_{parameter}" not in values:
        return values[f"{parameter}_typical"]
    encoding = model.cohort.encodings[parameter]
    row = {**encoding.reference(), **at}
    design = np.asarray(encoding.design(pd.DataFrame([row])))[0]
    predictor = values[f"{parameter}_typical_link"] + jnp.asarray(design) @ values[f"beta_{parameter}"]
    return unlink(JAX, predictor, name=link_of(model.spec, parameter))


def _quantity(model: Model, derived: Derived, parameters: Mapping[str, Array]) -> Array:
    """The quantity itself; a mechanism's own runs in working units."""
    mechanism = MECHANISMS[model.spec.mechanism.name]
    words = mechanism.derived.get(derived.quantity)
    if words is None:
        return parameters[derived.quantity]
    units = working_units(model.spec)
    converted = {name: value * units.parameter.get(name, 1.0) for name, value in parameters.items()}
    numbers = {**words.arguments, **derived.arguments}
    value = mechanism.derive(derived.quantity)(**converted, **numbers)
    return jnp.broadcast_to(value, jnp.broadcast_shapes(*(jnp.shape(item) for item in converted.values())))
