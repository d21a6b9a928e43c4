"""Polynomials that stand in for a costly mechanism while NUTS finds its way.

Where a patient's parameters may lie, what is predicted of their measurements is a smooth function of a few
numbers. Trajectories follow polynomials of them at a fraction of the cost; `delayed.delayed_kernel` accepts or
refuses where they end by the model itself. `emulator_fit` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.graph.likelihood import JAX
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Solve
from hierarchical_twin.graph.operations import link
from hierarchical_twin.graph.solving import Values
from hierarchical_twin.inference.polynomials import bound, enter_rate, products

Array = Any

DEGREE = 4
REACH, BEND = 12.0, 8
"""SDs of a patient's nodes towards which a polynomial levels off, and how sharply.

Farther out a polynomial would make walls of its own, on which trajectories diverge."""
_FALL = 0.25
"""How the density falls from there."""


class Fitted(NamedTuple):
    """The nodes of an outcome's prediction, and of its logarithm where there is one; whether the logarithm is
    what was fitted."""

    predicted: str
    log_predicted: str | None
    is_log: bool


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["floors", "center", "whiten", "coefficients", "level", "basis"],
    meta_fields=["parameters", "outcomes"],
)
@dataclass(frozen=True, eq=False)
class Emulator:
    """Predictions of every patient as polynomials of their link-scale parameters.

    Attributes
    ----------
    parameters : tuple of (str, str)
        Node of each parameter, and its link.
    outcomes : tuple of Fitted
        What each of the rows of `level` is.
    floors : Array, shape [parameter, patient]
        Of log-linked parameters, as `polynomials.enter_rate` takes them.
    center : Array, shape [parameter, patient]
    whiten : Array, shape [parameter, parameter, patient]
        Lower triangular: to the polynomials' variables.
    coefficients : Array, shape [patient, component, term]
    level : Array, shape [outcome, patient, time]
    basis : Array, shape [outcome, patient, time, component]
    """

    parameters: tuple[tuple[str, str], ...]
    outcomes: tuple[Fitted, ...]
    floors: Array
    center: Array
    whiten: Array
    coefficients: Array
    level: Array
    basis: Array

    def solver(self, node: Solve, values: Values) -> Values:
        """What `graph.solving.solve` gives, of the predictions that measurements are judged by."""
        del node
        terms = products(self._inside(self._variables(values)), DEGREE).T
        # Batched by patient: several times faster on a CPU than the sum over terms.
        weights = jax.lax.dot_general(self.coefficients, terms, (((2,), (1,)), ((0,), (0,))))
        judged = jnp.asarray(self.level) + jnp.einsum("optc,pc->opt", self.basis, weights)
        found: Values = {}
        for outcome, row in zip(self.outcomes, judged, strict=True):
            found[outcome.predicted] = jnp.exp(row) if outcome.is_log else row
            if outcome.log_predicted is not None:
                found[outcome.log_predicted] = row
        return found

    def wall(self, values: Values) -> Array:
        """What the log density falls by where some patient lies beyond reach: about 0 elsewhere."""
        variables = self._variables(values)
        return _FALL * (jnp.sum(variables**2) - jnp.sum(self._inside(variables) ** 2))

    def log_density(self, model: Model, flat: Array) -> Array:
        """The model's log density by the polynomials, at a flat point of any parameterization."""
        scored = score(model, flat, solver=self.solver)
        return scored.log_density - self.wall(scored.values)

    def _variables(self, values: Values) -> Array:
        size = len(self.parameters)
        # Of rates, whose logarithms would be a quarter of what a gradient costs.
        entered = [
            enter_rate(values[name], floor) if word == "log" else link(JAX, values[name], name=word)
            for (name, word), floor in zip(self.parameters, jnp.asarray(self.floors), strict=True)
        ]
        apart = [own - middle for own, middle in zip(entered, jnp.asarray(self.center), strict=True)]
        rows = [
            sum(self.whiten[row, place] * apart[place] for place in range(row + 1)) for row in range(size)
        ]
        return jnp.stack(rows)

    @staticmethod
    def _inside(variables: Array) -> Array:
        return bound(variables, REACH, axis=0, power=BEND)
