"""The population's priors at each draw, and drawn alone, against SciPy's densities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import expon, halfnorm, kstest, norm, uniform

import hierarchical_twin as ht
from hierarchical_twin.analysis.sensitivity import power_scaling, prior_posterior
from hierarchical_twin.prediction.population_prior import draw_population_prior, population_log_prior
from prediction.conftest import sampled
from prediction.models import line_rows
from prediction.test_points import MIXED


def test_log_prior_is_the_sum_of_the_densities_in_the_spec(line_fit: ht.Fit):
    found = population_log_prior(line_fit)
    draws = line_fit.tree["posterior"].to_dataset()
    rho = draws["omega_correlation"].values[..., 0, 1]
    expected = (
        norm.logpdf(draws["intercept_typical"], 0, 20)
        + norm.logpdf(draws["slope_typical"], 0, 5)
        + norm.logpdf(draws["beta_slope"], 0, 1).sum(axis=-1)
        + halfnorm.logpdf(draws["omega"], scale=5).sum(axis=-1)
        + halfnorm.logpdf(draws["omega_site"], scale=1).sum(axis=-1)
        + halfnorm.logpdf(draws["sigma_y"], scale=5)
        + np.log(1 - rho**2)  # LKJ(2): the determinant to the power 1
    )
    assert found.shape == (2, 200)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-7)


def test_scalars_of_mixed_families_are_found_in_their_vector():
    """Omegas with priors of two families are sampled one by one, and stored as one vector."""
    fit = sampled(ht.parse_spec(MIXED), line_rows())
    draws = fit.tree["posterior"].to_dataset()
    expected = (
        uniform.logpdf(draws["intercept_typical"], -30, 70)
        + norm.logpdf(draws["slope_typical"], 0, 5)
        + norm.logpdf(draws["beta_slope"], 0, 1).sum(axis=-1)
        + halfnorm.logpdf(draws["omega"].values[..., 0], scale=5)
        + expon.logpdf(draws["omega"].values[..., 1])
        + halfnorm.logpdf(draws["omega_site"], scale=1).sum(axis=-1)
        + halfnorm.logpdf(draws["sigma_y"], scale=5)
    )
    np.testing.assert_allclose(population_log_prior(fit), expected, rtol=1e-9, atol=1e-7)


def test_a_population_variable_that_is_not_stored_is_no_zero(line_fit: ht.Fit):
    tree = line_fit.tree.copy()
    tree["posterior"] = tree["posterior"].to_dataset().drop_vars("slope_typical")
    with pytest.raises(ht.SamplingError, match="no slope_typical"):
        population_log_prior(ht.Fit(tree))


def test_prior_draws_follow_the_priors_and_are_named_as_the_posterior(line_fit: ht.Fit):
    prior = draw_population_prior(line_fit, draws=2_000, seed=1)
    posterior = line_fit.tree["posterior"]
    for name, values in prior.data_vars.items():
        assert values.dims == posterior[name].dims, name
    assert set(prior.data_vars) >= {
        "intercept_typical",
        "beta_slope",
        "omega",
        "omega_site",
        "omega_correlation",
    }
    assert kstest(prior["intercept_typical"].values.ravel(), norm(0, 20).cdf).pvalue > 0.001
    assert kstest(prior["omega"].values[..., 1].ravel(), halfnorm(scale=5).cdf).pvalue > 0.001
    # LKJ(2) of two effects: (1 + rho) / 2 ~ Beta(2, 2), with variance 1/20 on (0, 1).
    rho = prior["omega_correlation"].values[..., 0, 1]
    assert np.var((1 + rho) / 2) == pytest.approx(0.05, rel=0.1)


def test_both_serve_the_sensitivity_tables(line_fit: ht.Fit):
    table = power_scaling(line_fit.tree, population_log_prior(line_fit))
    assert {"intercept_typical", "omega[slope]", "sigma_y"} <= set(table["variable"])
    assert table[["prior", "likelihood"]].notna().all().all()
    beside = prior_posterior(line_fit.tree, draw_population_prior(line_fit, draws=500))
    assert set(beside["variable"]) == set(table["variable"])
    assert beside.set_index("variable").loc["intercept_typical", "contraction"] > 0.9
