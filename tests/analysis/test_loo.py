"""Leave-one-observation-out against closed forms and ArviZ."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kstest, norm

from hierarchical_twin.analysis.loo import leave_one_observation_out
from hierarchical_twin.errors import SamplingError

ROWS, SIGMA = 60, 1.0


def normal_mean(seed: int = 0, outliers: int = 0, draws: int = 1_000) -> xr.DataTree:
    """A tree of the mean of normal data with a flat prior, whose leave-one-out densities are known."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=ROWS)
    data[:outliers] += 9.0
    mean = data.mean() + rng.normal(size=(4, draws)) / np.sqrt(ROWS)
    dim = "observation_y"
    coords = {
        "patient_y": (dim, [f"p{n // 3}" for n in range(ROWS)]),
        "time_y": (dim, np.arange(ROWS, dtype=float)),
        "row_y": (dim, np.arange(1, ROWS + 1)),
        "censored_y": (dim, np.zeros(ROWS, dtype=int)),
    }
    sample = ("chain", "draw")
    labels = {"chain": np.arange(4), "draw": np.arange(draws)}
    likelihood = norm.logpdf(data, mean[..., None], SIGMA)
    replicated = mean[..., None] + SIGMA * rng.normal(size=(4, draws, ROWS))
    return xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"mean": (sample, mean)}, labels),
            "log_likelihood": xr.Dataset({"y": ((*sample, dim), likelihood)}, labels),
            "posterior_predictive": xr.Dataset({"y": ((*sample, dim), replicated)}, labels),
            "observed_data": xr.Dataset({"y": (dim, data)}, coords),
        }
    )


def without_each(tree: xr.DataTree) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of each row's predictive distribution given the others, exactly."""
    data = tree["observed_data"]["y"].values
    mean = (data.sum() - data) / (ROWS - 1)
    return mean, np.full(ROWS, SIGMA * np.sqrt(1 + 1 / (ROWS - 1)))


def test_densities_and_transforms_are_the_exact_ones():
    tree = normal_mean()
    found = leave_one_observation_out(tree)
    mean, sd = without_each(tree)
    data = tree["observed_data"]["y"].values
    np.testing.assert_allclose(found.rows["elpd"], norm.logpdf(data, mean, sd), atol=0.02)
    np.testing.assert_allclose(found.rows["LOO_PIT"], norm.cdf(data, mean, sd), atol=0.05)
    assert kstest(found.rows["LOO_PIT"], "uniform").pvalue > 0.01
    assert found.p_loo == pytest.approx(1.0, abs=0.5) and found.unreliable == 0
    assert list(found.rows.columns[:6]) == ["patient", "outcome", "time", "row", "DV", "censored"]


def test_agrees_with_arviz():
    import arviz_stats

    tree = normal_mean(seed=3)
    ours, theirs = leave_one_observation_out(tree), arviz_stats.loo(tree, var_name="y", pointwise=True)
    assert ours.elpd == pytest.approx(theirs.elpd, abs=0.02)
    assert ours.se == pytest.approx(theirs.se, rel=0.01)
    assert ours.p_loo == pytest.approx(theirs.p, abs=0.02)
    assert ours.k_limit == pytest.approx(theirs.good_k)


def test_says_what_it_is_not_and_which_rows_are_unreliable():
    found = leave_one_observation_out(normal_mean())
    assert "nothing about new patients" in found.verdict and "unreliable" not in found.verdict
    tree = normal_mean()
    tree["log_likelihood"]["y"].values[..., 0] -= np.abs(np.random.default_rng(1).standard_cauchy((4, 1_000)))
    assert "unreliable" in leave_one_observation_out(tree).verdict


def test_a_row_that_every_draw_is_sure_of_weighs_all_draws_alike():
    """A censored value far beyond its limit has likelihood 1 in every draw."""
    tree = normal_mean()
    tree["log_likelihood"]["y"].values[..., 4] = 0.0
    rows = leave_one_observation_out(tree).rows
    assert (
        rows["elpd"][4] == pytest.approx(0.0)
        and rows["k_hat"][4] == -np.inf
        and rows["p"][4] == pytest.approx(0.0)
    )


def test_a_censored_row_is_somewhere_in_its_mass():
    tree = normal_mean()
    tree["observed_data"]["censored_y"].values[:] = np.where(np.arange(ROWS) % 2, 1, -1)
    pit = leave_one_observation_out(tree).rows["LOO_PIT"].to_numpy()
    mean, sd = without_each(tree)
    limit = norm.cdf(tree["observed_data"]["y"].values, mean, sd)
    assert (pit[1::2] < limit[1::2] + 0.05).all() and (pit[::2] > limit[::2] - 0.05).all()


def test_a_fit_without_rows_says_so():
    tree = normal_mean()
    del tree["log_likelihood"]
    with pytest.raises(SamplingError, match="no group 'log_likelihood'"):
        leave_one_observation_out(tree)
