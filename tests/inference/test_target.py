"""Buckets of patients of like length: the same density, patients back in their own order."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.backends.numpyro import flat_log_density
from hierarchical_twin.graph.evaluate import flat_size
from hierarchical_twin.inference import target as targets
from hierarchical_twin.inference.curvature import blank_information
from hierarchical_twin.inference.pilot import informed
from hierarchical_twin.inference.target import find_buckets, make_target, record_lengths
from inference.models import LINEAR, linear_model


@pytest.fixture(scope="module")
def uneven():
    """Patients of 1 to 12 records, the longest neither first nor last."""
    lengths = (3, 12, 1, 5, 2, 12, 4)
    rows = [
        (f"p{n}", float(t), 10.0 + n + 2.0 * t + 0.1 * (t % 3))
        for n, count in enumerate(lengths)
        for t in range(count)
    ]
    model = linear_model(LINEAR, rows)
    return informed(model, blank_information(model))


def test_lengths_are_those_of_the_table(uneven):
    assert record_lengths(uneven).tolist() == [3, 12, 1, 5, 2, 12, 4]


def test_a_bucketed_density_is_the_density(uneven, monkeypatch):
    plain = make_target(uneven, flat_log_density)
    assert np.array_equal(plain.order, np.arange(7))
    monkeypatch.setattr(targets, "_BUCKET_COST", 1)
    cut = make_target(uneven, flat_log_density)
    assert isinstance(cut.numbers, list) and len(cut.numbers) > 2
    assert cut.numbers[0]["time"].shape[1] < cut.numbers[-1]["time"].shape[1] == 12
    points = np.random.default_rng(0).normal(size=(1, 3, flat_size(uneven))) * 0.3
    own = cut.restore(points)
    assert not np.array_equal(points, own)
    for there, here in zip(points[0], own[0], strict=True):
        expected = float(plain.density(jnp.asarray(here), plain.numbers))
        assert float(cut.density(jnp.asarray(there), cut.numbers)) == pytest.approx(expected, rel=1e-12)
        by_patient = np.asarray(plain.patients(jnp.asarray(here), plain.numbers))
        assert np.asarray(cut.patients(jnp.asarray(there), cut.numbers)) == pytest.approx(
            by_patient[cut.order]
        )


def test_buckets_are_cut_where_it_pays():
    even = np.full(1000, 7)
    assert find_buckets(even) == [1000]
    long = np.sort(np.r_[np.full(10_000, 5), np.full(10, 500)])
    assert find_buckets(long) == [10_000, 10_010]
    assert find_buckets(np.array([1, 2, 3])) == [3]
