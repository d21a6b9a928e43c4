"""Running a population's compiled functions over its twins: a few at a time, alike in shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import jax
import numpy as np

from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.twin.population import Population

_TOGETHER = 16

Run = Callable[[Population, Any], Any]


def run_advance(population: Population, patients: Any) -> Any:
    """The update of several patients."""
    return population.advance(population.shared, patients)


def run_described(population: Population, given: Any) -> Any:
    """The parameters of several patients, from arrays and particles."""
    return population.described(population.shared.draws, *given)


def in_batches(population: Population, run: Run, asked: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Run a compiled function over patients.

    Parameters
    ----------
    population : Population
    run : callable
        One of the functions above.
    asked : sequence
        What it takes of each patient: arrays in tuples and mappings, all of one structure.

    Yields
    ------
    (int, result)
        Place in `asked`, and the arrays found, those of one shape together.
    """
    leaves = [jax.tree.leaves(given) for given in asked]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, own in enumerate(leaves):
        groups.setdefault(tuple((leaf.shape, leaf.dtype.char) for leaf in map(np.asarray, own)), []).append(
            number
        )
    for shapes, members in groups.items():
        together = min(_TOGETHER, 1 << (len(members) - 1).bit_length())
        signature = (run.__name__, together, shapes)
        # Batches run one after the other: XLA uses the cores itself, and threads beside its own slowed it
        # fivefold.
        for start in range(0, len(members), together):
            batch = (members[start : start + together], together)
            # Switching the cache on takes as long as an update: only where something is to be compiled.
            with nullcontext() if signature in population.compiled else compilation_cache():
                found = _run_batch(population, run, asked, batch)
            population.compiled.add(signature)
            yield from found


def _run_batch(
    population: Population, run: Run, asked: Sequence[Any], batch: tuple[list[int], int]
) -> list[tuple[int, Any]]:
    """One call of the compiled function for some patients, filled up with the last of them."""
    members, together = batch
    filled = members + [members[-1]] * (together - len(members))
    with float64_on(choose_place("cpu", 1)):
        stacked = jax.tree.map(lambda *values: np.stack(values), *(asked[number] for number in filled))
        found = jax.tree.map(np.asarray, run(population, stacked))
    return [
        (number, jax.tree.map(lambda value, at=at: value[at], found)) for at, number in enumerate(members)
    ]
