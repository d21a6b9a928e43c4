"""Weighted means, SDs, quantiles and their errors: a draw without weight is as if it were not there."""

from __future__ import annotations

import numpy as np
import pytest

from hierarchical_twin.analysis.weighted import (
    monte_carlo_errors,
    weighted_mean,
    weighted_quantiles,
    weighted_sd,
)

PROBS = (0.0, 0.05, 0.5, 0.95, 1.0)


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -1e300])
def test_draws_without_weight_say_nothing(nothing) -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.standard_normal((60, 2)), rng.exponential(size=60)
    more = np.concatenate([np.full((3, 2), nothing), values])
    none = np.concatenate([np.zeros(3), weights])
    for told in (weighted_mean, weighted_sd):
        np.testing.assert_allclose(told(more, none), told(values, weights), rtol=1e-13)
    np.testing.assert_allclose(
        weighted_quantiles(more, none, PROBS), weighted_quantiles(values, weights, PROBS), rtol=1e-13
    )
    blocks = np.arange(60) // 6
    errors = monte_carlo_errors(more, none, np.concatenate([np.zeros(3, dtype=int), blocks]), 0.9)
    for found, expected in zip(errors, monte_carlo_errors(values, weights, blocks, 0.9), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_an_infinite_draw_has_a_place_among_quantiles_and_leaves_no_sd() -> None:
    values, weights = np.array([3.0, 1.0, np.inf, 2.0, 4.0]), np.full(5, 0.2)
    assert np.isnan(weighted_sd(values, weights)) and weighted_mean(values, weights) == np.inf
    assert weighted_quantiles(values, weights, (0.5,)) == pytest.approx([3.0])


def test_quantiles_of_equal_weights_are_hazens() -> None:
    values = np.random.default_rng(1).standard_normal(41)
    found = weighted_quantiles(values, np.ones(41), PROBS)
    np.testing.assert_allclose(found, np.quantile(values, PROBS, method="hazen"), rtol=1e-13)
