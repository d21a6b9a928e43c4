"""A chain on its way: its state, what it kept, and how it is saved and found again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.inference.keeper import Keeper, SavedChain
from hierarchical_twin.inference.settings import Schedule

_COUNTS = ("divergences", "gradients", "warmup", "draws")


@dataclass
class Chain:
    """A chain, or a batch of them that advance together.

    Attributes
    ----------
    number : int
    state : pytree
        The kernel's.
    done : int
        Iterations made.
    piece : int
        Iterations to make next.
    kept : list of ndarray, shape [draw, size] or [draw, chain, size]
    stats : list of mapping of str to ndarray, shape [draw] or [draw, chain]
    counts : dict of str to float
        Sums over the iterations: divergences, gradients, seconds of warmup and of draws.
    parts : int
        Part files on disk; they hold the first `saved` pieces of `kept`.
    saved, saved_done, saved_at : int, int, float
        Pieces and iterations that are saved, and when they were.
    """

    number: int
    state: Any
    done: int = 0
    piece: int = 1
    kept: list[np.ndarray] = field(default_factory=list)
    stats: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0.0))
    parts: int = 0
    saved: int = 0
    saved_done: int = 0
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def draws(self) -> int:
        """Draws kept so far."""
        return sum(len(part) for part in self.kept)


def total_counts(chains: list[Chain]) -> dict[str, float]:
    """The counts of all chains together."""
    return {name: sum(chain.counts[name] for chain in chains) for name in _COUNTS}


def save_chain(chain: Chain, keep: Keeper) -> None:
    """Save a chain where it stands, with the draws since it was last saved."""
    if not keep.is_kept or chain.saved_done == chain.done:
        return
    pieces, stats = chain.kept[chain.saved :], chain.stats[chain.saved :]
    part: dict[str, np.ndarray] = {}
    if sum(len(piece) for piece in pieces):
        part = {name: np.concatenate([piece[name] for piece in stats]) for name in stats[0]}
        part["positions"] = np.concatenate(pieces)
    leaves = tuple(np.asarray(leaf) for leaf in jax.tree.leaves(chain.state))
    keep.save_chain(chain.number, SavedChain(leaves, chain.done, chain.counts), chain.parts, part)
    chain.parts += bool(part)
    chain.saved, chain.saved_done, chain.saved_at = len(chain.kept), chain.done, time.monotonic()


def restore_chain(number: int, like: Any, keep: Keeper, schedule: Schedule) -> Chain | None:
    """A chain where it was saved, or None.

    Parameters
    ----------
    number : int
    like : pytree of jax.ShapeDtypeStruct
        Shapes of the kernel's state.
    keep : Keeper
    schedule : Schedule

    Raises
    ------
    SamplingError
        What was saved is damaged.
    """
    found = keep.find_chain(number)
    if found is None:
        return None
    shapes, structure = jax.tree.flatten(like)
    draws = max(found.done - schedule.warmup, 0) // schedule.thin
    is_whole = (
        [(leaf.shape, leaf.dtype) for leaf in found.leaves] == [(leaf.shape, leaf.dtype) for leaf in shapes]
        and 0 < found.done <= schedule.iterations
        and set(found.counts) == set(_COUNTS)
        and all("positions" in part for part in found.parts)
        and sum(len(part["positions"]) for part in found.parts) == draws
    )
    if not is_whole:
        raise keep.damaged(f"chain_{number}", "a chain of another run")
    parts = len(found.parts)
    return Chain(
        number,
        jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in found.leaves]),
        done=found.done,
        kept=[part["positions"] for part in found.parts],
        stats=[{name: part[name] for name in part if name != "positions"} for part in found.parts],
        counts=dict(found.counts),
        parts=parts,
        saved=parts,
        saved_done=found.done,
    )
