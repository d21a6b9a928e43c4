"""Running a population's compiled functions over its twins: a few at a time, alike in shape, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np

from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import Place, choose_place, float64_on
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
    place = choose_place("cpu", len(asked))
    leaves = [jax.tree.leaves(given) for given in asked]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, own in enumerate(leaves):
        groups.setdefault(tuple((leaf.shape, leaf.dtype.char) for leaf in map(np.asarray, own)), []).append(
            number
        )
    for shapes, members in groups.items():
        together = min(_TOGETHER, 1 << (len(members) - 1).bit_length())
        batches = [members[start : start + together] for start in range(0, len(members), together)]
        own = partial(_run_batch, population, run, asked, together, place)
        signature = (run.__name__, together, shapes)
        if signature not in population.compiled:
            # Alone, so that it is compiled once.
            with compilation_cache():
                yield from own(batches.pop(0))
            population.compiled.add(signature)
        if len(batches) < 2 or place.workers < 2:
            for batch in batches:
                yield from own(batch)
            continue
        with ThreadPoolExecutor(place.workers) as pool:
            for found in pool.map(own, batches):
                yield from found


def _run_batch(
    population: Population, run: Run, asked: Sequence[Any], together: int, place: Place, members: list[int]
) -> list[tuple[int, Any]]:
    """One call of the compiled function, filled up with the last patient."""
    filled = members + [members[-1]] * (together - len(members))
    with float64_on(place):
        stacked = jax.tree.map(lambda *values: np.stack(values), *(asked[number] for number in filled))
        found = jax.tree.map(np.asarray, run(population, stacked))
    return [
        (number, jax.tree.map(lambda value, at=at: value[at], found)) for at, number in enumerate(members)
    ]
