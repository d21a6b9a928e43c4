"""Power-scaling sensitivity against ArviZ and conjugate posteriors; prior beside posterior."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from hierarchical_twin.analysis.sensitivity import (
    CONFLICT,
    NO_CONCERN,
    STRONG_PRIOR,
    power_scaling,
    prior_posterior,
)
from hierarchical_twin.errors import SamplingError

SAMPLE = ("chain", "draw")
DRAWS = 2_000


def conjugate(
    prior_mean: float, prior_sd: float, data_mean: float, data_sd: float
) -> tuple[xr.DataTree, np.ndarray]:
    """A typical value with a normal prior and a normal likelihood: tree and log prior ``[chain, draw]``."""
    rng = np.random.default_rng(3)
    precision = prior_sd**-2 + data_sd**-2
    mean = (prior_mean * prior_sd**-2 + data_mean * data_sd**-2) / precision
    typical = mean + rng.normal(size=(4, DRAWS)) / np.sqrt(precision)
    labels = {"chain": np.arange(4), "draw": np.arange(DRAWS)}
    likelihood = norm.logpdf(data_mean, typical, data_sd)[..., None]
    tree = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({"r_typical": (SAMPLE, typical)}, labels),
            "log_likelihood": xr.Dataset({"y": ((*SAMPLE, "observation_y"), likelihood)}, labels),
        }
    )
    tree.attrs = {"unit": json.dumps({"r": "1/day"}), "link": json.dumps({"r": "log"})}
    return tree, norm.logpdf(typical, prior_mean, prior_sd)


@pytest.mark.parametrize(
    ("numbers", "diagnosis"),
    [
        ((0.0, 10.0, 0.5, 1.0), NO_CONCERN),
        ((0.0, 1.0, 8.0, 1.0), CONFLICT),
        ((0.0, 1.0, 2.0, 12.0), STRONG_PRIOR),
    ],
    ids=["much data", "conflict", "little data"],
)
def test_knows_who_decides(numbers: tuple[float, ...], diagnosis: str):
    tree, log_prior = conjugate(*numbers)
    table = power_scaling(tree, log_prior)
    assert list(table.columns) == ["variable", "unit", "prior", "likelihood", "diagnosis"]
    assert table["variable"].tolist() == ["r_typical"] and table["unit"].tolist() == ["1/day"]
    assert table["diagnosis"].tolist() == [diagnosis]


def test_is_arviz_own():
    import arviz_stats

    tree, log_prior = conjugate(0.0, 1.0, 3.0, 1.0)
    table = power_scaling(tree, log_prior)
    tree["log_prior"] = xr.DataTree(xr.Dataset({"r_typical": (SAMPLE, log_prior)}))
    expected = arviz_stats.psense_summary(tree, var_names=["r_typical"], round_to=12)
    assert table["prior"][0] == pytest.approx(expected["prior"].iloc[0], rel=1e-6)
    assert table["likelihood"][0] == pytest.approx(expected["likelihood"].iloc[0], rel=1e-6)


def test_refuses_a_prior_of_other_draws():
    tree, log_prior = conjugate(0.0, 1.0, 3.0, 1.0)
    with pytest.raises(SamplingError, match=r"log_prior: got an array of shape \(4, 10\)"):
        power_scaling(tree, log_prior[:, :10])
    with pytest.raises(SamplingError, match="1 not finite"):
        power_scaling(tree, _one_nan(log_prior))
    del tree["log_likelihood"]
    with pytest.raises(SamplingError, match="no group 'log_likelihood'"):
        power_scaling(tree, log_prior)


def _one_nan(values: np.ndarray) -> np.ndarray:
    broken = values.copy()
    broken[2, 7] = np.nan
    return broken


def test_prior_beside_posterior():
    tree, _ = conjugate(0.0, 1.0, 3.0, 1.0)
    rng = np.random.default_rng(5)
    prior = xr.Dataset(
        {"r_typical": (SAMPLE, rng.normal(size=(1, 20_000))), "other": (SAMPLE, np.zeros((1, 20_000)))}
    )
    table = prior_posterior(tree, prior, prob=0.9)
    assert table["variable"].tolist() == ["r_typical"]
    line = table.iloc[0]
    assert line["contraction"] == pytest.approx(0.5, abs=0.04)
    assert line["shift"] == pytest.approx(1.5, abs=0.06)
    assert line["prior_lower"] == pytest.approx(-1.645, abs=0.06)
    assert line["upper"] == pytest.approx(1.5 + 1.645 / np.sqrt(2), abs=0.06)
    with pytest.raises(SamplingError, match="prior: got other; expected variables"):
        prior_posterior(tree, prior[["other"]])


def test_what_is_positive_is_compared_relatively():
    """A posterior ten times the prior's median and half as wide on the log scale has learned, whatever its unit."""
    tree, _ = conjugate(0.0, 1.0, 3.0, 1.0)
    rng = np.random.default_rng(6)
    tree["posterior"]["r_typical"].values[:] = np.exp(np.log(10) + 0.5 * rng.normal(size=(4, DRAWS)))
    prior = xr.Dataset({"r_typical": (SAMPLE, np.exp(rng.normal(size=(1, 20_000))))})
    line = prior_posterior(tree, prior).iloc[0]
    assert line["contraction"] == pytest.approx(0.75, abs=0.03)
    assert line["shift"] == pytest.approx(np.log(10), abs=0.06)
