"""Fits with chosen draws, shared by the tests of twins."""

from __future__ import annotations

import pytest

import hierarchical_twin as ht
from twin.lines import Lines, lines, sleep_fit


@pytest.fixture(scope="session")
def population() -> Lines:
    """Draws of a population of lines."""
    return lines()


@pytest.fixture(scope="session")
def sleepers(population) -> ht.Fit:
    """A fit of six lines with those draws."""
    return sleep_fit(population)
