"""The graph's values where the population and the effects are given, as a fit stores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from hierarchical_twin.graph.evaluate import errors_of
from hierarchical_twin.graph.filtering import foresee
from hierarchical_twin.graph.likelihood import JAX
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Compute, Data, Filter, Observe, Sample, Solve
from hierarchical_twin.graph.operations import OPERATIONS
from hierarchical_twin.graph.solving import Values, solve

Array = Any
_WITH_SD = ("normal", "proportional", "combined")


def values_given(model: Model, held: Mapping[str, Array]) -> Values:
    """Every node that follows from the given ones, natural scale.

    Parameters
    ----------
    model : Model
    held : mapping
        Node to value: typical values, coefficients, residual parameters, and each level's effects
        (``eta``, ``eta_site``). What only sampling needs is not asked for and not returned.
    """
    values: Values = {}
    for node in model.graph:
        if node.name in held:
            values[node.name] = jnp.asarray(held[node.name])
            continue
        match node:
            case Data(name):
                values[name] = jnp.asarray(model.arrays[name])
            case Compute(name, _, operation, inputs, words) if all(word in values for word in inputs):
                values[name] = OPERATIONS[operation](JAX, *(values[i] for i in inputs), **dict(words))
            case Solve():
                values |= solve(node, values)
            case Filter():
                values |= foresee(node, model.arrays, values)
            case Sample() | Compute() | Observe():
                pass
    return values


def predictions(model: Model, values: Mapping[str, Array]) -> Values:
    """Each outcome's prediction ``[patient, time]`` in the unit of its measurements.

    Under a binomial error model that is the expected count, trials times the mechanism's share. Under process
    noise it is the mechanism's own course, or a path where the values hold one (`evaluate.wander`).
    """
    found = {}
    for node in model.graph.measurements:
        trials = errors_of(model, node, values).trials
        found[node.name] = values[node.predicted] if trials is None else trials * values[node.predicted]
    return found


def residual_sds(model: Model, values: Mapping[str, Array]) -> Values:
    """SD of a measurement around each outcome's prediction ``[patient, time]``.

    In the outcome's unit; on the log scale under lognormal error; NaN under a beta or binomial one, and
    under a Student t of at most two degrees of freedom, which has none.
    """
    found = {}
    for node in model.graph.measurements:
        errors, predicted = errors_of(model, node, values), values[node.predicted]
        if node.error in _WITH_SD:
            sd = errors.sd(predicted)
        elif node.error == "lognormal":
            sd = errors.parameters["sigma"]
        elif node.error == "student_t":
            freedom = jnp.asarray(errors.parameters["degrees_of_freedom"])
            is_finite = freedom > 2
            stretch = jnp.sqrt(freedom / jnp.where(is_finite, freedom - 2, 1.0))
            sd = errors.parameters["sigma"] * jnp.where(is_finite, stretch, jnp.nan)
        else:
            sd = jnp.nan
        found[node.name] = jnp.broadcast_to(sd, predicted.shape)
    return found
