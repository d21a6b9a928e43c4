"""Fits that several tests look at, sampled once."""

from __future__ import annotations

import pytest

import hierarchical_twin as ht
from inference.models import LINEAR, linear_model, sleep_model, unequal_patients


@pytest.fixture(scope="session")
def sleep() -> ht.Model:
    """The sleep spec on six people."""
    return sleep_model()


@pytest.fixture(scope="session")
def sleep_fit(sleep) -> ht.Fit:
    """Two chains of 600 draws of it."""
    return ht.sample(sleep, chains=2, warmup=300, draws=600, seed=1, device="cpu", progress=False)


@pytest.fixture(scope="session")
def unequal_fit() -> ht.Fit:
    """Patients with many, some and hardly any measurements."""
    model = linear_model(LINEAR, unequal_patients())
    return ht.sample(model, chains=2, warmup=300, draws=600, seed=2, device="cpu", progress=False)
