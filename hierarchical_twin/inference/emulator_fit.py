"""How an emulator is fitted: the mechanism solved at some thousands of places, and least squares.

Polynomials of the fourth degree, patient by patient, err by about a tenth of a unit of log likelihood in all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.blocks import count_effects, join_blocks
from hierarchical_twin.graph.evaluate import Solver, parameters_at, score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Solve
from hierarchical_twin.graph.solving import solve
from hierarchical_twin.inference.curvature import (
    judged_prediction,
    linked_parameters,
    precision_of,
    predictors_of,
)
from hierarchical_twin.inference.device import Place, map_ahead
from hierarchical_twin.inference.emulator import BEND, DEGREE, REACH, Emulator, Fitted
from hierarchical_twin.inference.marginal.rules import Frames, find_frames
from hierarchical_twin.inference.patients import Densities, take_patients
from hierarchical_twin.inference.polynomials import bound, count_products, enter_rate, products, whitening
from hierarchical_twin.inference.target import bucket_ends
from hierarchical_twin.mechanisms import MECHANISMS

Array = Any
Arrays = Mapping[str, Array]

_ERRORS = ("normal", "student_t", "lognormal", "combined")
"""Error models whose likelihood bears any prediction a polynomial may make."""
_MOST_TERMS, _MOST_EFFECTS = 130, 4
_NODES, _JUDGES = 8_192, 2_048
_LEAST_JUDGES = 20.0
"""Effective nodes of a patient that an error is judged by; with fewer, by a flatter posterior."""
_POPULATION_WIDTH, _EFFECTS_WIDTH, _FREEDOM = 1.6, 1.8, 8.0
"""How much wider than the pilot's posterior, and than a patient's frame, nodes are spread."""
_TEMPERS, _NODES_PER_TERM = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05), 40.0
"""Powers of the posterior by which nodes are weighted: the highest that leaves so many effective ones."""
_LEAST_PER_TERM = 2.0
"""Effective nodes for each term without which nothing is fitted."""
_FLOOR = 3.0
"""A log parameter's floor, as a share of its typical value: so many SDs of the logarithm, at most 1."""
_ARRAYS = ("floors", "center", "whiten", "coefficients", "level", "basis")
"""An emulator's, in their order."""
_RIDGE = 1e-8
_LEFT_OUT, _MOST_COMPONENTS = 0.01, 24
"""In SDs of a measurement, what components of a patient's predictions may leave out."""
_MOST_SPREAD = 1.0
"""SD of what the polynomials err by, over the posterior, beyond which they are of no use."""
_BATCH_BYTES, _COPIES = 6e7, 4
"""Of the predictions of a batch of patients at all nodes, and how many such arrays are held at once."""


def fit_emulator(model: Model, center: np.ndarray, root: np.ndarray, place: Place) -> Emulator | None:
    """Solve the mechanism where each patient's parameters may lie, and fit.

    Parameters
    ----------
    model : Model
        With all patient effects informed, such as `Pilot.model`.
    center, root : ndarray, shape [coordinate] and [coordinate, coordinate]
        The population about the middle of its posterior; of its approximate covariance, ``root root'``.
    place : Place
        Whose workers share the patients.

    Returns
    -------
    Emulator or None
        None where the mechanism costs little, or polynomials are of no use.
    """
    if not can_emulate(model):
        return None
    generator, effects = np.random.default_rng(0xE301), count_effects(model)
    nodes = _Nodes.drawn(generator, center, root, effects, count=_NODES)
    patients = model.size(PATIENT)
    batches = -(-patients // max(1, int(_BATCH_BYTES / _bytes_each(model))))
    # All batches are of one size, so that one program serves them.
    chosen = np.resize(np.arange(patients), (batches, -(-patients // batches)))
    seen = _Seen(take_patients(model, chosen[0]), center, _precisions(model, center))
    parts = list(map_ahead(lambda own: seen.fit(take_patients(model, own), nodes), chosen, place))
    if any(one is None for part in parts for one in part.patients):
        return None
    fitted = [one for part in parts for one in part.patients][:patients]
    frames = Frames(
        *(
            np.concatenate(part, axis=-1)[..., :patients]
            for part in zip(*(p.frames for p in parts), strict=True)
        )
    )
    found = _joined(model, fitted)
    judges = _Nodes.drawn(generator, center, root, effects, count=_JUDGES)
    return found if _spread(found, model, frames, judges) <= _MOST_SPREAD else None


def emulator_arrays(emulator: Emulator) -> dict[str, np.ndarray]:
    """What a checkpoint keeps of it."""
    return {word: np.asarray(getattr(emulator, word)) for word in _ARRAYS}


def emulator_from(arrays: Mapping[str, np.ndarray], model: Model) -> Emulator:
    """Inverse of `emulator_arrays`, on the same model; `KeyError` or `ValueError` if they are of another."""
    emulator = Emulator(linked_parameters(model), _outcomes(model), *(arrays[word] for word in _ARRAYS))
    if np.shape(emulator.center) != (len(emulator.parameters), model.size(PATIENT)):
        raise ValueError("arrays of another model")
    return emulator


def fitting_bytes(model: Model, workers: int) -> float:
    """Memory that `fit_emulator` takes at its peak; 0 where it would fit nothing."""
    if not can_emulate(model):
        return 0.0
    each = _bytes_each(model)
    return _COPIES * workers * min(max(_BATCH_BYTES, each), model.size(PATIENT) * each)


def _bytes_each(model: Model) -> float:
    """Of one patient's predictions and parameters at all nodes."""
    times = np.shape(model.arrays[model.graph.observes[0].mask])[1]
    return 8.0 * _NODES * (len(model.graph.observes) * times + 2 * len(linked_parameters(model)))


def can_emulate(model: Model) -> bool:
    """Whether polynomials may stand in for the model's mechanism, and are worth it."""
    (solution,) = (node for node in model.graph if isinstance(node, Solve))
    return (
        MECHANISMS[solution.mechanism].is_costly
        and model.graph.filter is None
        and 0 < count_effects(model) <= _MOST_EFFECTS
        and count_products(len(linked_parameters(model)), DEGREE) <= _MOST_TERMS
        and all(node.error in _ERRORS for node in model.graph.observes)
        and len(bucket_ends(model)) == 1
    )


class _Nodes(NamedTuple):
    """Where the mechanism is solved: populations ``[node, coordinate]``, standardized effects
    ``[node, effect]``, and the log density ``[node]`` these were drawn from, less a constant."""

    populations: np.ndarray
    standard: np.ndarray
    log_density: np.ndarray

    @classmethod
    def drawn(
        cls, generator: np.random.Generator, center: np.ndarray, root: np.ndarray, effects: int, *, count: int
    ) -> _Nodes:
        """Around a pilot, wider than its posterior."""
        steps = _POPULATION_WIDTH * generator.standard_normal((count, len(center)))
        tails = np.sqrt(generator.chisquare(_FREEDOM, (count, 1)) / _FREEDOM)
        drawn = generator.standard_normal((count, effects)) / tails
        log_density = -(_FREEDOM + effects) / 2 * np.log1p(np.sum(drawn**2, axis=1) / _FREEDOM)
        return cls(center + steps @ root.T, _EFFECTS_WIDTH * drawn, log_density)


class _Curves(NamedTuple):
    """One patient's polynomials: arrays as in `Emulator`, components by falling size, and what all from each
    one on make up, in SDs of a measurement."""

    floors: np.ndarray
    center: np.ndarray
    whiten: np.ndarray
    coefficients: np.ndarray
    level: np.ndarray
    basis: np.ndarray
    left: np.ndarray


class _Part(NamedTuple):
    """A batch of patients, fitted, and the mean and root of their frames."""

    patients: list[_Curves | None]
    frames: tuple[np.ndarray, np.ndarray]


class _Seen:
    """Solutions of a batch of patients at nodes, compiled once for all batches."""

    def __init__(self, model: Model, center: np.ndarray, precisions: np.ndarray) -> None:
        self.model, self.center, self.precisions = model, center, precisions
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
        wanted = _NODES_PER_TERM * count_products(predictors.shape[1], DEGREE)
        weights = _tempered(found - nodes.log_density[:, None], wanted)
        is_measured = np.stack([np.asarray(model.arrays[node.mask]) for node in model.graph.observes])
        is_log = np.array([word == "log" for _, word in self.parameters])
        fitted = [
            _fit_patient(
                predictors[:, :, place],
                judged[:, :, place],
                weights[:, place],
                is_measured[:, place],
                precisions=self.precisions,
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


def _tempered(log_weights: np.ndarray, wanted: float) -> np.ndarray:
    """Weights ``[node, patient]`` of mean 1: of the posterior, flattened until so many nodes count in effect."""
    held = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    top = held.max(axis=0)
    apart = held - np.where(np.isfinite(top), top, 0.0)
    found = np.exp(_TEMPERS[-1] * apart)
    is_left = np.ones(found.shape[1], dtype=bool)
    for power in _TEMPERS:
        weights = np.exp(power * apart)
        enough = weights.sum(axis=0) ** 2 >= wanted * np.sum(weights**2, axis=0)
        found = np.where(is_left & enough, weights, found)
        is_left &= ~enough
    return found / np.maximum(found.mean(axis=0), 1e-300)


def _fit_patient(
    predictors: np.ndarray,
    judged: np.ndarray,
    weights: np.ndarray,
    is_measured: np.ndarray,
    *,
    precisions: np.ndarray,
    is_log: np.ndarray,
) -> _Curves | None:
    """Weighted least squares of one patient's predictions ``[node, outcome, time]`` on products of predictors.

    None where too few nodes bear a solution.
    """
    is_used = (weights > 1e-4) & np.isfinite(judged).all(axis=(1, 2)) & np.isfinite(predictors).all(axis=1)
    predictors, judged, weights = predictors[is_used], judged[is_used], weights[is_used]
    needed = _LEAST_PER_TERM * count_products(predictors.shape[1], DEGREE)
    if not len(weights) or weights.sum() ** 2 < needed * np.sum(weights**2):
        return None
    middle, _ = whitening(predictors, weights)
    spread = np.sqrt(weights @ (predictors - middle) ** 2 / weights.sum())
    floors = np.where(is_log, np.exp(np.where(is_log, middle, 0.0)) * np.minimum(_FLOOR * spread, 1.0), 0.0)
    rates = np.exp(np.where(is_log, predictors, 0.0))
    entered = np.where(is_log, enter_rate(rates, floors, np), predictors)
    center, whiten = whitening(entered, weights)
    variables = bound(whiten @ (entered - center).T, REACH, axis=0, power=BEND, xp=np)
    terms = products(variables, DEGREE, np).T
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
    return _Curves(floors, center, whiten, rows[:kept] @ found[1:].T, level, basis, left[:kept])


def _joined(model: Model, fitted: list[_Curves]) -> Emulator:
    """All patients together, with as many components as the one who needs most."""
    needed = max(1, max(int(np.sum(one.left > _LEFT_OUT)) for one in fitted))
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


def _outcomes(model: Model) -> tuple[Fitted, ...]:
    """What is fitted of each outcome: what `judged_prediction` gives."""
    return tuple(
        Fitted(
            node.predicted, node.log_predicted, node.error == "lognormal" or node.log_predicted is not None
        )
        for node in model.graph.observes
    )


def _spread(emulator: Emulator, model: Model, frames: Frames, judges: _Nodes) -> float:
    """SD, over about the posterior, of what the polynomials err by in all, patients taken as independent."""

    @jax.jit
    def both(points: tuple[Array, Array], emulator: Emulator, numbers: Arrays) -> tuple[Array, ...]:
        own = model.with_arrays(numbers)

        def one(point: tuple[Array, Array]) -> tuple[Array, ...]:
            flat = join_blocks(own, *point)
            solvers: tuple[Solver, ...] = (solve, emulator.solver)
            return tuple(score(own, flat, solver=solver).patient_log_density for solver in solvers)

        return jax.lax.map(one, points)

    points = (jnp.asarray(judges.populations), jnp.asarray(frames.place(judges.standard)))
    exact, near = map(np.asarray, both(points, emulator, model.numbers))
    weights = _tempered(exact - judges.log_density[:, None], _LEAST_JUDGES)
    errors = np.where(weights > 0, near - exact, 0.0)
    errors = errors - np.mean(weights * errors, axis=0)
    variances = np.mean(weights * errors**2, axis=0)
    return math.sqrt(np.nan_to_num(variances, nan=np.inf, posinf=np.inf).sum())
