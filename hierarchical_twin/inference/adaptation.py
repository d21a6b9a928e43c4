"""What a fit learned of its posterior's shape, for a later run of the same spec on new data.

Kept in the fit's group `adaptation`: the population's mean and covariance on the sampler's scale, and
the step sizes. Patients and levels that only one of the two runs has play no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import product
from typing import Any

import numpy as np

from hierarchical_twin import dims
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.graph.blocks import population_slots
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.inference.geometry import Geometry
from hierarchical_twin.inference.provenance import spec_hash

_SHRINKING = 5.0
"""Draws that a covariance is shrunk towards none by, as Stan does in its warm-up."""


@dataclass(frozen=True, eq=False)
class Learned:
    """The population's posterior as a run found it.

    Attributes
    ----------
    names : tuple of str
        Coordinates, such as ``omega[r]``; of the unconstrained scale.
    center : ndarray, shape [coordinate]
    root : ndarray, shape [coordinate, coordinate]
        Of the covariance, ``root root'``.
    step_size : ndarray, shape [chain]
        At the end, in the whitened coordinates of that run.
    """

    names: tuple[str, ...]
    center: np.ndarray
    root: np.ndarray
    step_size: np.ndarray

    @property
    def hash(self) -> str:
        """SHA-256 of what decides draws."""
        return sha256(repr(self.names).encode() + self.center.tobytes() + self.root.tobytes()).hexdigest()


def learn(model: Model, population: np.ndarray, stats: Mapping[str, np.ndarray]) -> Learned:
    """What the draws of a run say of the population.

    Parameters
    ----------
    model : Model
        The model that was sampled.
    population : ndarray, shape [chain, draw, coordinate]
    stats : mapping of str to ndarray, shape [chain, draw]
    """
    population = population.reshape(-1, population.shape[-1])
    spread = population.std(axis=0)
    # A coordinate that never moved has taught nothing.
    moved = np.isfinite(spread) & (spread > 0)
    names = tuple(name for name, is_known in zip(population_names(model), moved, strict=True) if is_known)
    population, spread = population[:, moved], spread[moved]
    scaled = (population - population.mean(axis=0)) / spread
    weight = len(scaled) / (len(scaled) + _SHRINKING)
    correlation = weight * (scaled.T @ scaled) / len(scaled) + (1 - weight) * np.eye(len(names))
    root = spread[:, None] * np.linalg.cholesky(correlation)
    return Learned(names, population.mean(axis=0), root, np.asarray(stats["step_size"])[:, -1])


def learned_from(fit: Any, model: Model) -> Learned:
    """What an old fit learned, for a model of the same spec.

    Raises
    ------
    SamplingError
        No fit, a fit of another spec, or one that holds no adaptation.
    """
    where = "sample start_from"
    if not isinstance(fit, Fit):
        raise SamplingError(Problem(where, f"a {type(fit).__name__}", "a Fit", "ht.open_fit(path) opens one"))
    if fit.attributes.get("spec_hash") != spec_hash(model.spec):
        hint = "leave it out, or use the fit's own spec (fit.spec_text)"
        raise SamplingError(Problem(where, "a fit of another spec", "one of the same spec", hint))
    if dims.ADAPTATION not in fit.tree.children:
        raise SamplingError(Problem(where, "a fit without its adaptation", "one that `sample` made"))
    group = fit.tree[dims.ADAPTATION].to_dataset()
    names = tuple(map(str, group[dims.COORDINATE].values))
    return Learned(names, group["center"].values, group["root"].values, group["step_size"].values)


def geometry_from(learned: Learned, geometry: Geometry, model: Model) -> Geometry:
    """A pilot's geometry with the old posterior in place of the pilot's, where both know a coordinate."""
    names = population_names(model)
    here = [place for place, name in enumerate(names) if name in learned.names]
    there = [learned.names.index(names[place]) for place in here]
    others = np.setdiff1d(np.arange(len(names)), here)
    pilot, old = geometry.root @ geometry.root.T, learned.root @ learned.root.T
    covariance = np.zeros_like(pilot)
    covariance[np.ix_(others, others)] = pilot[np.ix_(others, others)]
    covariance[np.ix_(here, here)] = old[np.ix_(there, there)]
    center = np.array(geometry.center)
    center[here] = learned.center[there]
    return replace(geometry, center=center, root=np.linalg.cholesky(covariance))


def population_names(model: Model) -> list[str]:
    """Coordinates of the population by label, so that levels of two cohorts are told apart."""
    nodes = {node.name: node for node in model.graph.samples}
    names = []
    for slot in population_slots(model):
        labels = product(*(map(str, model.coords[dim]) for dim in nodes[slot.name].dims))
        names += [f"{slot.name}[{','.join(label)}]" if label else slot.name for label in labels]
    return names
