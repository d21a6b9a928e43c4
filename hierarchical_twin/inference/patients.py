"""One model seen patient by patient: a subset of its patients, and their log densities at many points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.cohort import subset
from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.blocks import join_blocks
from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.marginal.quadrature import standard_grid

Array = Any
Arrays = Mapping[str, Array]

_PLACES_AT_ONCE = 20_000


def take_patients(model: Model, chosen: np.ndarray) -> Model:
    """The same model with only some of its patients; levels above the patient and coding stay.

    Parameters
    ----------
    model : Model
    chosen : ndarray of int
        Places of the patients, in the order they are to have.
    """
    cohort, known = subset.take_patients(model.cohort, chosen), model.information
    if known is not None:
        known = replace(
            known,
            curvature={name: value[..., chosen] for name, value in known.curvature.items()},
            score={name: value[..., chosen] for name, value in known.score.items()},
        )
    return replace(model, cohort=cohort, information=known)


class Densities:
    """Log densities of a model's patients, compiled once for all numbers of nodes and populations.

    Parameters
    ----------
    model : Model
        With its effects in informed frames.
    like : Densities, optional
        Of other patients of the same model: what is compiled is shared if they are as many.
    """

    def __init__(self, model: Model, like: Densities | None = None) -> None:
        self.model = model
        self._arrays = {name: jnp.asarray(value) for name, value in model.arrays.items()}
        self._together = max(1, _PLACES_AT_ONCE // max(model.size(PATIENT), 1))
        is_alike = like is not None and like.patients == self.patients
        self._at = like._at if is_alike else jax.jit(self._densities)
        self._integrate = like._integrate if is_alike else jax.jit(self._integrals)

    @property
    def patients(self) -> int:
        """How many patients the model has."""
        return self.model.size(PATIENT)

    def __call__(self, population: np.ndarray, effects: np.ndarray) -> np.ndarray:
        """``log p(y_i, effects | population)`` ``[node, patient]`` at effects ``[node, effect, patient]``."""
        found = np.array(self._at(jnp.asarray(population), jnp.asarray(effects), self._arrays))
        found[~np.isfinite(found)] = -np.inf
        return found

    def integrals(
        self, points: np.ndarray, mean: np.ndarray, root: np.ndarray, counts: tuple[int, ...]
    ) -> np.ndarray:
        """Log integrals over effects ``[point, patient]`` by a Gauss-Hermite product.

        Parameters
        ----------
        points : ndarray, shape [point, coordinate]
            Populations.
        mean : ndarray, shape [effect, patient]
        root : ndarray, shape [effect, effect, patient]
            Lower Cholesky factors of the scale of the rule around `mean`.
        counts : tuple of int
            Nodes in each effect.
        """
        standard, constant = standard_grid(counts)
        batches = -(-len(standard) // self._together)
        # Few lengths, so that few programs are compiled: rounded up to a power of two of batches.
        padded = self._together * 2 ** int(np.ceil(np.log2(batches)))
        nodes, weights = np.zeros((padded, len(counts))), np.full(padded, -np.inf)
        nodes[: len(standard)], weights[: len(standard)] = standard, constant
        frames = (jnp.asarray(mean), jnp.asarray(root))
        found = self._integrate(jnp.asarray(points), frames, nodes, weights, batches, self._arrays)
        return np.asarray(found) + np.log(np.einsum("iip->pi", root)).sum(axis=1)

    def _one(self, arrays: Arrays, population: Array) -> Callable[[Array], Array]:
        own = self.model.with_arrays(arrays)
        return lambda rows: score(own, join_blocks(own, population, rows)).patient_log_density

    def _densities(self, population: Array, effects: Array, arrays: Arrays) -> Array:
        return jax.lax.map(self._one(arrays, population), effects, batch_size=self._together)

    def _integrals(
        self,
        points: Array,
        frames: tuple[Array, Array],
        nodes: Array,
        weights: Array,
        batches: Array,
        arrays: Arrays,
    ) -> Array:
        mean, root = frames

        def at(population: Array) -> Array:
            one = self._one(arrays, population)

            def add(batch: Array, total: Array) -> Array:
                start = batch * self._together
                standard = jax.lax.dynamic_slice_in_dim(nodes, start, self._together)
                constant = jax.lax.dynamic_slice_in_dim(weights, start, self._together)
                placed = mean + jnp.einsum("ijp,qj->qip", root, standard)
                values = jax.vmap(one)(placed) + constant[:, None]
                values = jnp.where(jnp.isfinite(values), values, -jnp.inf)
                return jnp.logaddexp(total, jax.nn.logsumexp(values, axis=0))

            return jax.lax.fori_loop(0, batches, add, jnp.full(mean.shape[1], -jnp.inf))

        return jax.lax.map(at, points)
