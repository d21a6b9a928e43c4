"""The `Solve` node in JAX: a mechanism along the patients' records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from hierarchical_twin.graph.nodes import Solve
from hierarchical_twin.mechanisms import MECHANISMS

Array = Any
Values = dict[str, Array]


def argument_of(values: Mapping[str, Array], given: float | tuple[float, ...] | str) -> Array:
    """A node's value by name, or the number that stands in its place."""
    return values[given] if isinstance(given, str) else jnp.asarray(given)


def mechanism_arguments(node: Solve, values: Mapping[str, Array]) -> tuple[list[Array], Values]:
    """What a mechanism is called with: its exposure, then its parameters ``[patient, 1]`` or ``[]``."""
    arguments = {}
    for parameter in node.parameters:
        value = jnp.asarray(argument_of(values, parameter.source))
        value = value if parameter.factor == 1.0 else value * parameter.factor
        arguments[parameter.argument] = value[:, None] if value.ndim == 1 else value
    return [values[name] for name in node.exposure], arguments


def solve(node: Solve, values: Mapping[str, Array]) -> Values:
    """The predicted outcomes ``[patient, time]`` of a `Solve` node."""
    exposure, arguments = mechanism_arguments(node, values)
    solution = MECHANISMS[node.mechanism].solve()(*exposure, **arguments, **dict(node.options))
    return outcomes_of(node, solution, jnp.shape(exposure[0]))


def outcomes_of(node: Solve, solution: Mapping[str, Array], shape: tuple[int, ...]) -> Values:
    """A mechanism's outputs as the outcomes a `Solve` node names, in their units."""
    outcomes = {}
    for output in node.outputs:
        value = solution[output.output]
        if output.factor != 1.0:
            value = value + math.log(output.factor) if output.is_log else value * output.factor
        outcomes[output.name] = jnp.broadcast_to(value, shape)
    return outcomes
