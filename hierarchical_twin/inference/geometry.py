"""The coordinates NUTS moves in: the pilot's posterior made about standard normal.

The population is whitened by the pilot's covariance; effects in informed frames are standard already,
others are scaled by the spread of pilot draws. A step size and a mass matrix of one then fit from the
first iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.graph.blocks import join_blocks, mark_population, population_slots, split_blocks
from hierarchical_twin.graph.evaluate import log_density, score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.pilot import Objective, Pilot, convert_points, draw_starts

Array = Any
_TRIED = 40
_LEAST_SHARE, _NEARLY_ALL = 0.2, 0.99


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Geometry:
    """An affine map from the sampler's coordinates to a model's flat vector.

    Attributes
    ----------
    center : Array, shape [coordinate]
    root : Array, shape [coordinate, coordinate]
        Of the population: ``center + root @ whitened``.
    effect_center, effect_scale : Array, shape [effect, patient]
    """

    center: Array
    root: Array
    effect_center: Array
    effect_scale: Array

    def population(self, whitened: Array) -> Array:
        """The population's coordinates in the model's layout."""
        return self.center + self.root @ whitened

    def effects(self, scaled: Array) -> Array:
        """Effects ``[effect, patient]`` in the model's layout."""
        return self.effect_center + self.effect_scale * scaled

    def ordered(self, order: np.ndarray) -> Geometry:
        """The same map with the patients in another order."""
        return Geometry(self.center, self.root, self.effect_center[..., order], self.effect_scale[..., order])

    def flat(self, model: Model, whitened: Array, scaled: Array) -> Array:
        """The model's flat vector ``[size]``."""
        return join_blocks(model, self.population(whitened), self.effects(scaled))


def find_geometry(pilot: Pilot, model: Model) -> Geometry:
    """The pilot's scales in the layout of the model that will be sampled."""
    marked = mark_population(model)
    if model.graph.samples == pilot.model.graph.samples:
        center = pilot.position[marked]
        shape = split_blocks(model, pilot.position)[1].shape
        return Geometry(center, pilot.root, np.zeros(shape), np.ones(shape))
    # The pilot's own draws say how wide another parameterization's coordinates are.
    points = convert_points(pilot, model, draw_starts(pilot, 200, seed=0))
    _, rows = split_blocks(model, points.mean(axis=0))
    _, scales = split_blocks(model, points.std(axis=0))
    center, root = pilot.center, pilot.root
    if _population_shapes(model) != _population_shapes(pilot.model):
        population = points[:, marked]
        center, root = population.mean(axis=0), np.diag(np.maximum(population.std(axis=0), 1e-6))
    return Geometry(center, root, rows, np.maximum(scales, 1e-6))


def _population_shapes(model: Model) -> list[tuple[str, tuple[int, ...]]]:
    return [(slot.name, slot.shape) for slot in population_slots(model)]


class Starts(NamedTuple):
    """Where chains start, in the sampler's coordinates, and minus the log density there.

    `whitened` ``[chain, coordinate]``, `effects` ``[chain, effect, patient]``, `potential` ``[chain]``,
    and its gradient in the two.
    """

    whitened: np.ndarray
    effects: np.ndarray
    potential: np.ndarray
    whitened_slope: np.ndarray
    effects_slope: np.ndarray

    def ordered(self, order: np.ndarray) -> Starts:
        """The same starts with the patients in another order."""
        return self._replace(effects=self.effects[..., order], effects_slope=self.effects_slope[..., order])


def is_near_frames(model: Model, pilot: Pilot) -> bool:
    """Whether nearly all patients' effects are about standard normal in their informed frames.

    Judged by importance weights of draws from the multivariate t that the blocked method proposes, at
    the pilot's population.
    """
    shape = split_blocks(model, pilot.position)[1].shape
    center = jnp.asarray(pilot.position[mark_population(pilot.model)])
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((_TRIED, *shape)) / np.sqrt(rng.chisquare(4.0, (_TRIED, 1, shape[1])) / 4.0)

    @jax.jit
    def densities(drawn: Array, numbers: Any) -> Array:
        own = pilot.model.with_arrays(numbers)
        return jax.lax.map(
            lambda effects: score(own, join_blocks(own, center, effects)).patient_log_density, drawn
        )

    found = np.asarray(densities(jnp.asarray(drawn), pilot.model.numbers))
    square = np.sum(drawn**2, axis=1)
    weight = found + (4.0 + shape[0]) / 2 * np.log1p(square / 4.0)
    weight = np.exp(np.nan_to_num(weight - weight.max(axis=0), nan=-np.inf))
    share = weight.sum(axis=0) ** 2 / np.sum(weight**2, axis=0) / _TRIED
    return bool(np.mean(share > _LEAST_SHARE) >= _NEARLY_ALL)


def starts_in(geometry: Geometry, pilot: Pilot, model: Model, chains: int, seed: int) -> Starts:
    """Overdispersed starts around the pilot."""
    points = convert_points(pilot, model, draw_starts(pilot, chains, seed))
    objective = _objective(pilot, model)
    found = [_start_at(geometry, model, point, objective) for point in points]
    return Starts(*(np.stack(part) for part in zip(*found, strict=True)))


def _start_at(
    geometry: Geometry, model: Model, point: np.ndarray, objective: Objective
) -> tuple[np.ndarray, ...]:
    population, effects = split_blocks(model, point)
    value, slope = objective(point)
    population_slope, effects_slope = split_blocks(model, slope)
    return (
        np.linalg.solve(geometry.root, population - geometry.center),
        (effects - geometry.effect_center) / geometry.effect_scale,
        np.asarray(value),
        geometry.root.T @ population_slope,
        effects_slope * geometry.effect_scale,
    )


def _objective(pilot: Pilot, model: Model) -> Objective:
    """Minus the log density and its gradient: the pilot's, which is compiled, where the layouts agree."""
    if model.graph.samples == pilot.model.graph.samples:
        return pilot.objective
    gradient = jax.jit(jax.value_and_grad(lambda flat: -log_density(model)(flat)))
    return lambda point: tuple(np.asarray(part) for part in gradient(jnp.asarray(point)))
