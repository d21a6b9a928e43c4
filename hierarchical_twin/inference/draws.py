"""From flat draws to what a fit stores: parameters, log likelihood, replicates, derived quantities.

Runs the oracle over the draws in batches, so that memory stays bounded by one batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.graph.build import Model
from hierarchical_twin.graph.derived import derived_values
from hierarchical_twin.graph.evaluate import draw_outcomes, reported_values, score

Array = Any
_BATCH_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Unfolded:
    """Draws by name.

    Attributes
    ----------
    posterior : mapping to ndarray, shape [chain, draw, ...]
    log_likelihood, replicates : mapping of outcome to ndarray, shape [chain, draw, observation]
        Over the measured rows, in the cohort's row order.
    """

    posterior: Mapping[str, np.ndarray]
    log_likelihood: Mapping[str, np.ndarray]
    replicates: Mapping[str, np.ndarray]


def unfold_draws(model: Model, positions: np.ndarray, *, seed: int) -> Unfolded:
    """Evaluate the model at every draw.

    Parameters
    ----------
    model : Model
    positions : ndarray, shape [chain, draw, size]
    seed : int
        For the replicates of the posterior predictive.
    """
    chains, draws, size = positions.shape
    flat = positions.reshape(-1, size)
    keys = jax.random.split(jax.random.fold_in(jax.random.PRNGKey(seed), 0x9E9), len(flat))

    def one(point: Array, key: Array) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        scored = score(model, point)
        named = {**reported_values(model, scored.values), **derived_values(model, scored.values)}
        return named, scored.log_likelihood, draw_outcomes(model, scored.values, key)

    batch = _batch_size(model, len(flat))
    evaluate = jax.jit(jax.vmap(one))
    parts = []
    for start in range(0, len(flat), batch):
        # The last batch is the last `batch` draws, so that one shape is compiled.
        begin = max(0, min(start, len(flat) - batch))
        named, likelihood, replicates = evaluate(
            jnp.asarray(flat[begin : begin + batch]), keys[begin : begin + batch]
        )
        kept = slice(start - begin, None)
        named = {name: np.asarray(value)[kept] for name, value in named.items()}
        parts.append((named, _measured(model, likelihood, kept), _measured(model, replicates, kept)))
    joined = [
        {name: np.concatenate([part[kind][name] for part in parts]) for name in parts[0][kind]}
        for kind in range(3)
    ]
    shaped = [
        {name: value.reshape(chains, draws, *value.shape[1:]) for name, value in kind.items()}
        for kind in joined
    ]
    # JAX returns a dictionary's keys sorted; readers want the order of the spec.
    order = [node.name for node in model.graph.reported] + list(model.spec.derived)
    shaped[0] = {name: shaped[0][name] for name in order}
    return Unfolded(*shaped)


def _batch_size(model: Model, draws: int) -> int:
    arrays = model.cohort.arrays
    numbers = sum(arrays[node.mask].size for node in model.graph.observes) * 4
    return int(np.clip(_BATCH_NUMBERS // max(numbers, 1), 1, min(draws, 500)))


def _measured(model: Model, by_outcome: Mapping[str, Array], kept: slice) -> dict[str, np.ndarray]:
    arrays = model.cohort.arrays
    masks = {node.name: arrays[node.mask] for node in model.graph.observes}
    return {name: np.asarray(value)[kept][:, masks[name]] for name, value in by_outcome.items()}
