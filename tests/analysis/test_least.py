"""The least value that reaches a target, on curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from hierarchical_twin.analysis.least import least_value
from hierarchical_twin.analysis.statements import count_true


def curve_of(thresholds: np.ndarray):
    """Each draw is true from its threshold ``[draw, element]`` on."""
    return lambda values: count_true((values >= thresholds)[None].astype(float), 0.9)


def quantile_draw(thresholds: np.ndarray, target: float) -> np.ndarray:
    """The least threshold at which a share `target` of the draws is true."""
    ordered = np.sort(thresholds, axis=0)
    return ordered[int(np.ceil(target * len(ordered))) - 1]


def test_it_is_the_quantile_of_the_thresholds():
    rng = np.random.default_rng(1)
    thresholds = np.exp(rng.normal([0.0, 1.0, 2.0], [0.2, 0.5, 1.0], (400, 3)))
    found = least_value(curve_of(thresholds), 3, (0.01, 1000.0), 0.9)
    assert found.value == pytest.approx(quantile_draw(thresholds, 0.9), rel=2e-3)
    assert (found.value >= quantile_draw(thresholds, 0.9)).all(), "never too little"
    assert (found.probability >= 0.9).all() and (found.probability < 0.92).all()
    assert (found.lower < found.value).all() and (found.value < found.upper).all()
    assert found.is_monotone.all()


def test_the_limits_cover_the_value_of_endlessly_many_draws():
    rng = np.random.default_rng(2)
    thresholds = np.exp(rng.normal(0.0, 0.5, (200, 300)))
    truth = np.exp(0.5 * 1.2815515655446004)
    found = least_value(curve_of(thresholds), 300, (0.05, 50.0), 0.9)
    assert ((found.lower <= truth) & (truth <= found.upper)).mean() == pytest.approx(0.9, abs=0.07)


def test_from_zero():
    thresholds = np.full((100, 1), 0.3)
    found = least_value(curve_of(thresholds), 1, (0.0, 10.0), 0.5)
    assert found.value[0] == pytest.approx(0.3, rel=2e-3)


def test_reached_at_once_and_not_at_all():
    spread = np.random.default_rng(5).permutation(np.linspace(1, 199, 100))
    thresholds = np.stack([np.full(100, 0.001), spread], axis=1)
    found = least_value(curve_of(thresholds), 2, (0.1, 100.0), 0.9)
    assert found.value[0] == 0.1 and found.probability[0] == 1.0
    assert np.isnan(found.value[1]) and found.probability[1] == pytest.approx(0.5)
    assert np.isnan(found.lower[1]) and np.isnan(found.upper[1])


def test_nobody_reaches_it():
    found = least_value(curve_of(np.full((50, 2), 1e9)), 2, (0.1, 100.0), 0.9)
    assert np.isnan(found.value).all() and (found.probability == 0).all()


def test_a_curve_that_falls_again_is_told():
    def window(values):
        inside = (values > 1) & (values < 10)
        return count_true(np.broadcast_to(inside, (1, 100, len(values))).astype(float), 0.9)

    found = least_value(window, 1, (0.1, 100.0), 0.9)
    assert found.value[0] == pytest.approx(1.0, rel=1e-2)
    assert not found.is_monotone[0]
