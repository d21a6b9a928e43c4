"""Twins in batches: each in its place, and nothing of the process changed while a result is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import hierarchical_twin as ht
from hierarchical_twin.twin import batches
from hierarchical_twin.twin.start import population_for


def doubled(population: Any, given: np.ndarray) -> np.ndarray:
    return 2 * given


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """What is open of the compilation cache."""
    blocks: list[str] = []

    @contextmanager
    def cache() -> Iterator[None]:
        blocks.append("open")
        yield
        blocks.pop()

    monkeypatch.setattr(batches, "compilation_cache", cache)
    return blocks


def test_a_result_is_looked_at_outside_the_compilation_cache(opened) -> None:
    population = SimpleNamespace(compiled=set())
    asked = [np.full(2 + number % 2, float(number)) for number in range(40)]
    places = []
    for place, found in batches.in_batches(population, doubled, asked):
        assert not opened
        np.testing.assert_array_equal(found, 2 * asked[place])
        places.append(place)
    assert sorted(places) == list(range(40)) and len(population.compiled) == 2


def test_what_twins_share_is_in_double_precision(sleepers) -> None:
    with jax.enable_x64(False):
        shared = population_for(ht.Fit(sleepers.tree)).shared
    assert {leaf.dtype for leaf in jax.tree.leaves(shared)} == {np.dtype(np.float64)}
