"""Scores of left-out units against answers known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from hierarchical_twin.analysis.left_out import held_out, k_hat_limit, leave_one_out


def normal_mean(units: list[np.ndarray], draws: int = 2000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihoods ``[chain, draw, unit]`` under a flat prior on a mean with SD 1, and the exact elpd."""
    rng = np.random.default_rng(seed)
    values = np.concatenate(units)
    mean = values.mean() + rng.standard_normal((4, draws)) / np.sqrt(len(values))
    found = np.stack([norm.logpdf(mean[..., None], own).sum(axis=-1) for own in units], axis=2)
    exact = []
    for place, own in enumerate(units):
        others = np.concatenate([unit for at, unit in enumerate(units) if at != place])
        covariance = np.eye(len(own)) + 1 / len(others)
        apart = own - others.mean()
        size = np.linalg.slogdet(2 * np.pi * covariance)[1]
        exact.append(-0.5 * (size + apart @ np.linalg.solve(covariance, apart)))
    return found, np.array(exact)


def test_elpd_is_the_closed_form_one():
    rng = np.random.default_rng(2)
    found, exact = normal_mean([rng.standard_normal(2) for _ in range(12)])
    scores = leave_one_out(found)
    np.testing.assert_allclose(scores.elpd, exact, atol=0.03)
    assert (np.abs(scores.elpd - exact) < 5 * scores.mcse + 1e-3).all()
    assert not scores.is_doubtful.any() and scores.limit == 0.7
    # One parameter was estimated.
    assert (scores.lpd - scores.elpd).sum() == pytest.approx(1.0, abs=0.25)


def test_a_unit_with_most_of_the_data_is_doubted():
    rng = np.random.default_rng(3)
    found, _ = normal_mean([rng.standard_normal(40), *(rng.standard_normal(1) for _ in range(4))])
    assert leave_one_out(found).is_doubtful.tolist() == [True, False, False, False, False]


def test_autocorrelated_draws_have_a_larger_error():
    rng = np.random.default_rng(4)
    units = [rng.standard_normal(2) for _ in range(12)]
    sticky = np.repeat(normal_mean(units, draws=200)[0], 10, axis=1)
    fresh = normal_mean(units, draws=2000)[0]
    ratio = leave_one_out(sticky).mcse / leave_one_out(fresh).mcse
    # Ten times fewer independent draws.
    assert 2.5 < np.median(ratio) < 4.0


def test_weights_that_do_not_vary_need_no_smoothing():
    scores = leave_one_out(np.full((2, 100, 1), -3.0))
    assert scores.elpd == pytest.approx([-3.0]) and scores.lpd == pytest.approx([-3.0])
    assert scores.k_hat[0] == -np.inf and not scores.is_doubtful.any()


def test_too_few_draws_are_doubted_not_an_error():
    scores = leave_one_out(np.random.default_rng(5).standard_normal((2, 8, 3)))
    assert np.isnan(scores.k_hat).all() and scores.is_doubtful.all() and np.isfinite(scores.elpd).all()


def test_an_impossible_draw_is_doubted():
    rng = np.random.default_rng(7)
    found, _ = normal_mean([rng.standard_normal(2) for _ in range(8)], draws=500)
    found[0, 3, 1] = -np.inf
    assert np.flatnonzero(leave_one_out(found).is_doubtful).tolist() == [1]


def test_held_out_is_the_mean_density():
    found = np.random.default_rng(6).standard_normal((4, 500, 3))
    elpd, mcse = held_out(found)
    flat = found.reshape(-1, 3)
    np.testing.assert_allclose(elpd, logsumexp(flat, axis=0) - np.log(len(flat)))
    density = np.exp(flat)
    np.testing.assert_allclose(mcse, density.std(axis=0) / density.mean(axis=0) / np.sqrt(2000), rtol=0.2)


def test_the_limit_depends_on_the_number_of_draws():
    assert k_hat_limit(100) == pytest.approx(0.5) and k_hat_limit(4000) == 0.7
