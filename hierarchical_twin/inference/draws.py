"""From flat draws to what a fit stores: parameters, log likelihood, replicates, derived quantities.

Runs the oracle over the draws in batches, so that memory stays bounded by one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from hierarchical_twin.graph.derived import derived_values
from hierarchical_twin.graph.evaluate import draw_on_path, flat_size, reported_values, score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.device import Place, map_ahead

Array = Any
_BATCH_NUMBERS = 4_000_000
_WITHOUT_REJECTION = ("normal", "lognormal", "proportional", "combined")
"""Error models whose draws are one transformed normal."""


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


@dataclass(frozen=True)
class Unfolding:
    """What evaluates `batch` draws at once, compiled."""

    batch: int
    evaluate: Callable[..., Any]


def compile_unfolding(model: Model, draws: int) -> Unfolding:
    """The program of `unfold_draws` for so many draws of all chains together."""
    generator, words = _generator(model)

    def one(point: Array, key: Array) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        scored = score(model, point)
        named = {**reported_values(model, scored.values), **derived_values(model, scored.values)}
        replicates = draw_on_path(model, scored.values, jax.random.wrap_key_data(key, impl=generator))
        return named, scored.log_likelihood, replicates

    batch = batch_size(model, draws)
    points, keys = np.zeros((batch, flat_size(model))), np.zeros((batch, words), np.uint32)
    return Unfolding(batch, jax.jit(jax.vmap(one)).lower(points, keys).compile())


def unfold_draws(
    model: Model, positions: np.ndarray, place: Place, *, seed: int, made: Unfolding | None = None
) -> Unfolded:
    """Evaluate the model at every draw.

    Parameters
    ----------
    model : Model
    positions : ndarray, shape [chain, draw, size]
    place : Place
        On whose workers batches are evaluated.
    seed : int
        For the replicates of the posterior predictive.
    made : Unfolding, optional
        What `compile_unfolding` made before; of no use where there are fewer draws now.
    """
    chains, draws, size = positions.shape
    flat = positions.reshape(-1, size)
    _, words = _generator(model)
    keys = np.random.default_rng([seed, 0x9E9]).integers(0, 2**32, (len(flat), words), dtype=np.uint32)
    masks = {node.name: model.cohort.arrays[node.mask] for node in model.graph.observes}

    batch = batch_size(model, len(flat))
    if made is None or made.batch != batch:
        made = compile_unfolding(model, len(flat))
    evaluate = made.evaluate
    whole: tuple[dict[str, np.ndarray], ...] = ({}, {}, {})

    def batch_at(start: int) -> tuple[dict[str, np.ndarray], ...]:
        # The last batch is the last `batch` draws, so that one shape is compiled; of it only what is new.
        begin = min(start, len(flat) - batch)
        found = evaluate(flat[begin : begin + batch], keys[begin : begin + batch])
        named, *by_outcome = ({name: np.asarray(value) for name, value in kind.items()} for kind in found)
        measured = [{name: value[:, masks[name]] for name, value in kind.items()} for kind in by_outcome]
        return tuple({n: value[start - begin :] for n, value in kind.items()} for kind in (named, *measured))

    starts = range(0, len(flat), batch)
    for start, found in zip(starts, map_ahead(batch_at, starts, place), strict=True):
        for kept, values in zip(whole, found, strict=True):
            for name, value in values.items():
                # Filled in place: joined from parts, everything would be there twice.
                if name not in kept:
                    kept[name] = np.empty((len(flat), *value.shape[1:]), value.dtype)
                kept[name][start : start + len(value)] = value
    shaped = [
        {name: value.reshape(chains, draws, *value.shape[1:]) for name, value in kind.items()}
        for kind in whole
    ]
    # JAX returns a dictionary's keys sorted; readers want the order of the spec.
    order = [node.name for node in model.graph.reported] + list(model.spec.derived)
    return Unfolded({name: shaped[0][name] for name in order}, shaped[1], shaped[2])


def _generator(model: Model) -> tuple[str, int]:
    """Random generator of the replicates, and the words of its keys.

    The hardware's own compiles in a fraction of the default one's time. Over a batch it draws from the
    first key only, so a rejection loop in which that one is done would never end.
    """
    is_safe = all(node.error in _WITHOUT_REJECTION for node in model.graph.observes)
    return ("unsafe_rbg", 4) if is_safe else ("threefry2x32", 2)


def batch_size(model: Model, draws: int) -> int:
    """How many draws are unfolded at once, so that what they take in between stays bounded."""
    arrays = model.cohort.arrays
    numbers = sum(arrays[node.mask].size for node in model.graph.observes) * 4
    return int(np.clip(_BATCH_NUMBERS // max(numbers, 1), 1, min(draws, 500)))
