"""Polynomials that stand in for a costly mechanism while NUTS finds its way.

Where a patient's parameters may lie, what is predicted of their measurements is a smooth function of a few
numbers: polynomials of the fourth degree, fitted patient by patient to some thousands of solutions, err by
less than a tenth of a unit of log likelihood in all. Trajectories follow them at a fraction of the cost;
`kernels.delayed_kernel` accepts or refuses where they end by the model itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.blocks import count_effects, join_blocks
from hierarchical_twin.graph.evaluate import Solver, parameters_at, score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Solve
from hierarchical_twin.graph.solving import Values
from hierarchical_twin.inference.curvature import (
    judged_prediction,
    linked_parameters,
    precision_of,
    predictors_of,
)
from hierarchical_twin.inference.device import Place, map_ahead
from hierarchical_twin.inference.marginal.rules import Frames, find_frames
from hierarchical_twin.inference.patients import Densities, take_patients
from hierarchical_twin.inference.polynomials import bound, count_products, enter, products, whitening
from hierarchical_twin.mechanisms import MECHANISMS

Array = Any
Arrays = Mapping[str, Array]

_ERRORS = ("normal", "student_t", "lognormal", "combined")
"""Error models whose likelihood bears any prediction a polynomial may make."""
_DEGREE, _MOST_TERMS, _MOST_EFFECTS = 4, 250, 4
_NODES, _JUDGED = 8_192, 1_024
_POPULATION_WIDTH, _EFFECTS_WIDTH, _FREEDOM = 1.6, 1.8, 8.0
"""How much wider than the pilot's posterior, and than a patient's frame, nodes are spread."""
_TEMPERS, _NODES_PER_TERM = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05), 40.0
"""Powers of the posterior by which nodes are weighted: the highest that leaves so many effective ones."""
_FLOOR = 1.5
"""SDs of a log parameter, in units of that SD, from where on down the data are taken not to tell it from 0."""
_REACH, _FALL = 12.0, 0.25
"""SDs of a patient's nodes beyond which a polynomial levels off; how the density falls from there."""
_RIDGE = 1e-8
_LEFT_OUT, _MOST_COMPONENTS = 0.01, 24
"""In SDs of a measurement, what components of a patient's predictions may leave out."""
_MOST_SPREAD = 1.0
"""SD of what the polynomials err by, over the posterior, beyond which they are of no use."""
_BATCH = 64


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
    outcomes : tuple of (str, str)
        Node of each prediction, and of its logarithm; where there is no second, an empty string, and where
        a prediction is fitted as it is, ``"="``.
    floors : Array, shape [parameter, patient]
        Of log-linked parameters, as `polynomials.enter` takes them.
    center : Array, shape [parameter, patient]
    whiten : Array, shape [parameter, parameter, patient]
    coefficients : Array, shape [patient, component, term]
    level : Array, shape [outcome, patient, time]
    basis : Array, shape [outcome, patient, time, component]
    """

    parameters: tuple[tuple[str, str], ...]
    outcomes: tuple[tuple[str, str], ...]
    floors: Array
    center: Array
    whiten: Array
    coefficients: Array
    level: Array
    basis: Array

    def solver(self, node: Solve, values: Values) -> Values:
        """What `graph.solving.solve` gives, of the predictions that measurements are judged by."""
        del node
        terms = products(self._inside(self._variables(values)), _DEGREE).T
        # Batched by patient: several times faster on a CPU than the sum over terms.
        weights = jax.lax.dot_general(self.coefficients, terms, (((2,), (1,)), ((0,), (0,))))
        judged = jnp.asarray(self.level) + jnp.einsum("optc,pc->opt", self.basis, weights)
        found: Values = {}
        for (name, logarithm), row in zip(self.outcomes, judged, strict=True):
            found[name] = row if logarithm == "=" else jnp.exp(row)
            if logarithm not in ("", "="):
                found[logarithm] = row
        return found

    def wall(self, values: Values) -> Array:
        """What the log density falls by where some patient lies beyond reach: 0 elsewhere."""
        variables = self._variables(values)
        return _FALL * (jnp.sum(variables**2) - jnp.sum(self._inside(variables) ** 2))

    def log_density(self, model: Model, flat: Array) -> Array:
        """The model's log density by the polynomials, at a flat point of any parameterization."""
        scored = score(model, flat, solver=self.solver)
        return scored.log_density - self.wall(scored.values)

    def _variables(self, values: Values) -> Array:
        size, patients = self.center.shape
        entered = enter(predictors_of(values, self.parameters, patients), jnp.asarray(self.floors))
        apart = entered - self.center
        rows = [
            sum(self.whiten[row, place] * apart[place] for place in range(row + 1)) for row in range(size)
        ]
        return jnp.stack(rows)

    @staticmethod
    def _inside(variables: Array) -> Array:
        return bound(variables, _REACH, axis=0)


class Emulated(NamedTuple):
    """The polynomials, and where the effects lie, in the coordinates of the model they were fitted to."""

    emulator: Emulator
    frames: Frames


def fit_emulator(
    model: Model, center: np.ndarray, root: np.ndarray, place: Place, *, seed: int = 0
) -> Emulated | None:
    """Solve the mechanism where each patient's parameters may lie, and fit.

    Parameters
    ----------
    model : Model
        With all patient effects informed, such as `Pilot.model`.
    center, root : ndarray, shape [coordinate] and [coordinate, coordinate]
        The population about the middle of its posterior; of its approximate covariance, ``root root'``.
    place : Place
        Whose workers share the patients.
    seed : int

    Returns
    -------
    Emulated or None
        None where the mechanism costs little, or polynomials are of no use.
    """
    if not _can_emulate(model):
        return None
    generator = np.random.default_rng([seed, 0xE301])
    nodes = _Nodes.drawn(generator, center, root, count_effects(model))
    patients = model.size(PATIENT)
    batches = -(-patients // _BATCH)
    # All batches are of one size, so that one program serves them.
    chosen = np.resize(np.arange(patients), (batches, -(-patients // batches)))
    seen = _Seen(take_patients(model, chosen[0]), center)
    parts = list(map_ahead(lambda own: seen.fit(take_patients(model, own), nodes), chosen, place))
    fitted = [one for part in parts for one in part.patients][:patients]
    frames = Frames(
        *(
            np.concatenate(part, axis=-1)[..., :patients]
            for part in zip(*(p.frames for p in parts), strict=True)
        )
    )
    found = _joined(model, fitted)
    return Emulated(found, frames) if _spread(found, model, frames, nodes) <= _MOST_SPREAD else None


def _can_emulate(model: Model) -> bool:
    (solution,) = (node for node in model.graph if isinstance(node, Solve))
    return (
        MECHANISMS[solution.mechanism].is_costly
        and model.graph.filter is None
        and 0 < count_effects(model) <= _MOST_EFFECTS
        and count_products(len(linked_parameters(model)), _DEGREE) <= _MOST_TERMS
        and all(node.error in _ERRORS for node in model.graph.observes)
    )


class _Nodes(NamedTuple):
    """Where the mechanism is solved: populations ``[node, coordinate]``, standardized effects
    ``[node, effect]``, and the log density ``[node]`` these were drawn from, less a constant."""

    populations: np.ndarray
    standard: np.ndarray
    log_density: np.ndarray

    @classmethod
    def drawn(
        cls, generator: np.random.Generator, center: np.ndarray, root: np.ndarray, effects: int
    ) -> _Nodes:
        """Around a pilot, wider than its posterior."""
        steps = _POPULATION_WIDTH * generator.standard_normal((_NODES, len(center)))
        tails = np.sqrt(generator.chisquare(_FREEDOM, (_NODES, 1)) / _FREEDOM)
        drawn = generator.standard_normal((_NODES, effects)) / tails
        log_density = -(_FREEDOM + effects) / 2 * np.log1p(np.sum(drawn**2, axis=1) / _FREEDOM)
        return cls(center + steps @ root.T, _EFFECTS_WIDTH * drawn, log_density)

    def first(self, count: int) -> _Nodes:
        """Some of them."""
        return _Nodes(*(part[:count] for part in self))


class _Fitted(NamedTuple):
    """One patient's polynomials: arrays as in `Emulator`, components by falling size, and that size in
    SDs of a measurement."""

    floors: np.ndarray
    center: np.ndarray
    whiten: np.ndarray
    coefficients: np.ndarray
    level: np.ndarray
    basis: np.ndarray
    sizes: np.ndarray


class _Part(NamedTuple):
    """A batch of patients, fitted, and the mean and root of their frames."""

    patients: list[_Fitted]
    frames: tuple[np.ndarray, np.ndarray]


class _Seen:
    """Solutions of a batch of patients at nodes, compiled once for all batches."""

    def __init__(self, model: Model, center: np.ndarray) -> None:
        self.model, self.center = model, center
        self.densities = Densities(model)
        self.parameters = linked_parameters(model)
        self._at = jax.jit(self._solve)

    def _solve(self, points: tuple[Array, Array], arrays: Arrays) -> tuple[Array, Array, Array]:
        own = self.model.with_arrays(arrays)

        def one(point: tuple[Array, Array]) -> tuple[Array, Array, Array]:
            scored = score(own, join_blocks(own, *point))
            judged = jnp.stack([judged_prediction(own, node, scored.values) for node in own.graph.observes])
            predictors = predictors_of(scored.values, self.parameters, own.size(PATIENT))
            return predictors, judged, scored.patient_log_density

        return jax.lax.map(one, points)

    def fit(self, model: Model, nodes: _Nodes) -> _Part:
        """The polynomials of a batch of as many patients."""
        densities = Densities(model, like=self.densities)
        frames = find_frames(densities, self.center, nodes.standard.shape[1])
        arrays = {name: jnp.asarray(value) for name, value in model.arrays.items()}
        points = (jnp.asarray(nodes.populations), jnp.asarray(frames.place(nodes.standard)))
        predictors, judged, found = map(np.asarray, self._at(points, arrays))
        weights = _tempered(found - nodes.log_density[:, None], count_products(predictors.shape[1], _DEGREE))
        is_measured = np.stack([np.asarray(model.arrays[node.mask]) for node in model.graph.observes])
        precisions = _precisions(model, self.center)
        is_log = np.array([word == "log" for _, word in self.parameters])
        fitted = [
            _fit_patient(
                predictors[:, :, place],
                judged[:, :, place],
                weights[:, place],
                is_measured[:, place],
                precisions=precisions,
                is_log=is_log,
            )
            for place in range(predictors.shape[2])
        ]
        return _Part(fitted, (frames.mean, frames.root))


def _precisions(model: Model, center: np.ndarray) -> np.ndarray:
    """Precision of a typical measurement of each outcome ``[outcome]``, on the scale it is judged on."""
    blank = jnp.zeros((count_effects(model), model.size(PATIENT)))
    values = parameters_at(model, join_blocks(model, jnp.asarray(center), blank))
    return np.array([float(precision_of(model, node.name, values)) for node in model.graph.observes])


def _tempered(log_weights: np.ndarray, terms: int) -> np.ndarray:
    """Weights ``[node, patient]`` of mean 1: of the posterior, flattened until enough nodes count."""
    held = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    apart = held - held.max(axis=0)
    found = np.exp(_TEMPERS[-1] * apart)
    is_left = np.ones(found.shape[1], dtype=bool)
    for power in _TEMPERS:
        weights = np.exp(power * apart)
        enough = weights.sum(axis=0) ** 2 / np.sum(weights**2, axis=0) >= _NODES_PER_TERM * terms
        found = np.where(is_left & enough, weights, found)
        is_left &= ~enough
    return found / found.mean(axis=0)


def _fit_patient(
    predictors: np.ndarray,
    judged: np.ndarray,
    weights: np.ndarray,
    is_measured: np.ndarray,
    *,
    precisions: np.ndarray,
    is_log: np.ndarray,
) -> _Fitted:
    """Weighted least squares of one patient's predictions ``[node, outcome, time]`` on products of predictors."""
    is_used = (weights > 1e-4) & np.isfinite(judged).all(axis=(1, 2)) & np.isfinite(predictors).all(axis=1)
    predictors, judged, weights = predictors[is_used], judged[is_used], weights[is_used]
    middle, _ = whitening(predictors, weights)
    spread = np.sqrt(weights @ (predictors - middle) ** 2 / weights.sum())
    floors = np.where(is_log, np.exp(middle) * np.minimum(_FLOOR * spread, 1.0), 0.0)
    entered = enter(predictors, floors, np)
    center, whiten = whitening(entered, weights)
    variables = bound(whiten @ (entered - center).T, _REACH, axis=0, xp=np)
    terms = products(variables, _DEGREE, np).T
    design = np.concatenate([np.ones((len(terms), 1)), terms], axis=1)
    scales = np.broadcast_to(np.sqrt(precisions)[:, None], is_measured.shape)[is_measured]
    target = judged[:, is_measured] * scales
    square = (design * weights[:, None]).T @ design
    shift = _RIDGE * weights.sum() * np.eye(len(square))
    found = np.linalg.solve(square + shift, design.T @ (weights[:, None] * target))
    # Few components carry a patient's whole course: those of the fitted values, by their weighted size.
    moved = np.sqrt(weights / weights.sum())[:, None] * (terms @ found[1:])
    _, sizes, rows = np.linalg.svd(moved, full_matrices=False)
    kept = min(_MOST_COMPONENTS, len(rows))
    level, basis = np.ones(is_measured.shape), np.zeros((*is_measured.shape, kept))
    level[is_measured], basis[is_measured] = found[0] / scales, (rows[:kept] / scales).T
    left = np.sqrt(np.cumsum(sizes[::-1] ** 2)[::-1])
    return _Fitted(floors, center, whiten, rows[:kept] @ found[1:].T, level, basis, left[:kept])


def _joined(model: Model, fitted: list[_Fitted]) -> Emulator:
    """All patients together, with as many components as the one who needs most."""
    needed = max(1, max(int(np.sum(one.sizes > _LEFT_OUT)) for one in fitted))
    last = [
        np.stack([getattr(one, word) for one in fitted], axis=-1) for word in ("floors", "center", "whiten")
    ]
    coefficients = np.stack([_padded(one.coefficients, needed, axis=0) for one in fitted])
    level = np.stack([one.level for one in fitted], axis=1)
    basis = np.stack([_padded(one.basis, needed, axis=2) for one in fitted], axis=1)
    return Emulator(linked_parameters(model), _outcomes(model), *last, coefficients, level, basis)


def _padded(values: np.ndarray, size: int, *, axis: int) -> np.ndarray:
    """The first `size` along an axis, zeros where there are fewer."""
    values = np.take(values, np.arange(min(size, values.shape[axis])), axis=axis)
    widths = [(0, size - values.shape[axis] if place == axis else 0) for place in range(values.ndim)]
    return np.pad(values, widths)


def _outcomes(model: Model) -> tuple[tuple[str, str], ...]:
    """Nodes of each prediction and its logarithm, as `Emulator.outcomes`."""
    return tuple(
        (node.predicted, "=" if node.error != "lognormal" else node.log_predicted or "")
        for node in model.graph.observes
    )


def _spread(emulator: Emulator, model: Model, frames: Frames, nodes: _Nodes) -> float:
    """SD, over about the posterior, of what the polynomials err by, summed over patients."""
    few = nodes.first(_JUDGED)

    @jax.jit
    def both(points: tuple[Array, Array], emulator: Emulator, numbers: Arrays) -> tuple[Array, Array]:
        own = model.with_arrays(numbers)

        def one(point: tuple[Array, Array]) -> tuple[Array, Array]:
            flat = join_blocks(own, *point)
            solvers: tuple[dict[str, Solver], ...] = ({}, {"solver": emulator.solver})
            exact, near = (score(own, flat, **words).patient_log_density for words in solvers)
            return exact, near

        return jax.lax.map(one, points)

    points = (jnp.asarray(few.populations), jnp.asarray(frames.place(few.standard)))
    exact, near = map(np.asarray, both(points, emulator, model.numbers))
    weights = _tempered(exact - few.log_density[:, None], 0)
    errors = np.where(weights > 0, near - exact, 0.0)
    errors = errors - np.sum(weights * errors, axis=0) / weights.sum(axis=0)
    variances = np.sum(weights * errors**2, axis=0) / weights.sum(axis=0)
    return math.sqrt(np.nan_to_num(variances, nan=np.inf, posinf=np.inf).sum())
