"""Where each patient's effects lie, and integration rules made for each patient's own density.

Everything is in the coordinates of an informed model, where a patient's conditional density moves
little when the population does. Nodes that are fixed there serve a whole run: the integral becomes a
smooth function of the population with an exact gradient, without an inner optimisation in every step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.inference.marginal.quadrature import gauss_rules, log_sum, moments, standard_grid
from hierarchical_twin.inference.patients import Densities

_FIRST_WIDTH = 1.3
_GRID = {1: 41, 2: 25, 3: 9, 4: 9}


@dataclass(frozen=True, eq=False)
class Frames:
    """Where each patient's effects lie, in the model's own coordinates.

    Attributes
    ----------
    mean : ndarray, shape [effect, patient]
    root : ndarray, shape [effect, effect, patient]
        Lower Cholesky factor of the covariance.
    """

    mean: np.ndarray
    root: np.ndarray

    def place(self, standard: np.ndarray) -> np.ndarray:
        """Effects ``[node, effect, patient]`` at standardized ``[node, effect]`` or ``[node, effect, patient]``."""
        standard = standard[:, :, None] if standard.ndim == 2 else standard
        shape = (*standard.shape[:2], self.mean.shape[1])
        return self.mean + np.einsum("ijp,qjp->qip", self.root, np.broadcast_to(standard, shape))

    @property
    def log_volume(self) -> np.ndarray:
        """Log determinant of the roots ``[patient]``."""
        return np.log(np.einsum("iip->pi", self.root)).sum(axis=1)

    def take(self, chosen: np.ndarray) -> Frames:
        """Those of some patients."""
        return Frames(self.mean[:, chosen], self.root[:, :, chosen])


@dataclass(frozen=True, eq=False)
class Rule:
    """An integration rule for each patient: ``log sum_q exp(log density(node_q) + log_weight_q)``.

    Attributes
    ----------
    nodes : ndarray, shape [node, effect, patient]
    log_weights : ndarray, shape [node, patient]
    """

    nodes: np.ndarray
    log_weights: np.ndarray

    def take(self, chosen: np.ndarray) -> Rule:
        """Those of some patients."""
        return Rule(self.nodes[:, :, chosen], self.log_weights[:, chosen])

    def integrals(self, densities: Densities, points: np.ndarray) -> np.ndarray:
        """Log integrals ``[point, patient]`` at populations ``[point, coordinate]``."""
        return np.stack([log_sum(densities(point, self.nodes) + self.log_weights) for point in points])


def find_frames(densities: Densities, population: np.ndarray, effects: int, rounds: int = 3) -> Frames:
    """Mean and covariance of each patient's effects at one population ``[coordinate]``.

    Found by quadrature around the last mean and covariance, a few times over; patients for whom that
    fails keep the informed frame, mean 0 and SD 1.
    """
    patients = densities.model.size(PATIENT)
    unit = np.repeat(np.eye(effects)[:, :, None], patients, axis=2)
    frames = Frames(np.zeros((effects, patients)), unit * _FIRST_WIDTH)
    if effects == 0:
        return frames
    standard, constant = standard_grid((9 if effects < 3 else 5,) * effects)
    for turn in range(rounds):
        nodes = frames.place(standard)
        mean, covariance = moments(nodes, densities(population, nodes) + constant[:, None])
        width = 1.0 if turn == rounds - 1 else _FIRST_WIDTH
        frames = _framed(mean, width**2 * covariance)
    return frames


def _framed(mean: np.ndarray, covariance: np.ndarray) -> Frames:
    own = np.moveaxis(covariance, 2, 0) + 1e-10 * np.eye(len(mean))
    spread = np.diagonal(own, axis1=1, axis2=2)
    is_usable = (
        np.isfinite(own).all(axis=(1, 2)) & np.isfinite(mean).all(axis=0) & (spread > 1e-8).all(axis=1)
    )
    own[~is_usable] = np.eye(len(mean))
    return Frames(np.where(is_usable, mean, 0.0), np.moveaxis(np.linalg.cholesky(own), 0, 2))


@dataclass(frozen=True, eq=False)
class Average:
    """The average of each patient's conditional densities over a few populations, on a fine grid.

    Attributes
    ----------
    points : ndarray, shape [point, coordinate]
    log_integrals : ndarray, shape [point, patient]
    on_grid : ndarray, shape [node, patient]
        Log of the average, normalized density.
    """

    densities: Densities
    frames: Frames
    points: np.ndarray
    log_integrals: np.ndarray
    on_grid: np.ndarray

    def log_density(self, nodes: np.ndarray) -> np.ndarray:
        """Log of the average, normalized density at ``[node, effect, patient]``: ``[node, patient]``."""
        total = np.full((nodes.shape[0], nodes.shape[2]), -np.inf)
        for point, size in zip(self.points, self.log_integrals, strict=True):
            total = np.logaddexp(total, self.densities(point, nodes) - size)
        return total - np.log(len(self.points))


def average_density(densities: Densities, frames: Frames, points: np.ndarray) -> Average:
    """Integrate on the fine grid at every population of ``[point, coordinate]``, and average."""
    effects = len(frames.mean)
    standard, constant = standard_grid((_GRID[effects],) * effects)
    nodes = frames.place(standard)
    total, sizes = np.full((len(standard), nodes.shape[2]), -np.inf), []
    for point in points:
        values = densities(point, nodes)
        sizes.append(log_sum(values + constant[:, None]) + frames.log_volume)
        total = np.logaddexp(total, values - sizes[-1])
    return Average(densities, frames, points, np.stack(sizes), total - np.log(len(points)))


def make_rule(average: Average, count: int) -> Rule:
    """The Gauss rule of the average density: one effect, then the next given the earlier ones."""
    effects, patients = average.frames.mean.shape
    prefix, log_weights = np.zeros((1, 0, patients)), np.zeros((1, patients))
    line = standard_grid((_GRID[effects],))[0][:, 0]
    for place in range(effects):
        standard, constant = standard_grid((len(line),) * (effects - place))
        values = _on_lines(average, prefix, standard) if place else average.on_grid[None]
        shape = (len(prefix), len(line), -1, patients)
        along = log_sum((values + constant[:, None]).reshape(shape), axis=2)
        along = np.moveaxis(along, 2, 1).reshape(-1, len(line))
        along = np.exp(along - along.max(axis=1, keepdims=True))
        nodes, weights = (x.reshape(len(prefix), patients, count) for x in gauss_rules(line, along, count))
        prefix = np.concatenate([np.repeat(prefix, count, axis=0), _by_node(nodes)[:, None]], axis=1)
        with np.errstate(divide="ignore"):
            log_weights = np.repeat(log_weights, count, axis=0) + np.log(_by_node(weights))
    placed = average.frames.place(prefix)
    return Rule(placed, log_weights - average.log_density(placed))


def _on_lines(average: Average, prefix: np.ndarray, standard: np.ndarray) -> np.ndarray:
    """The average's log density at each prefix joined with each grid point: ``[prefix, point, patient]``."""
    shape = (*standard.shape, prefix.shape[2])
    rest = np.broadcast_to(standard[:, :, None], shape)
    rows = []
    for start in prefix:
        first = np.broadcast_to(start, (len(standard), *start.shape))
        rows.append(average.log_density(average.frames.place(np.concatenate([first, rest], axis=1))))
    return np.stack(rows)


def _by_node(values: np.ndarray) -> np.ndarray:
    """``[prefix, patient, node]`` as ``[prefix and node, patient]``."""
    return np.moveaxis(values, 2, 1).reshape(-1, values.shape[1])
