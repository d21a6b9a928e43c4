"""The verdict: good draws pass; each kind of trouble is named, with what to try."""

import numpy as np
import pytest

from .conftest import make_fit, posterior_dataset, stats_dataset


def failed(fit):
    return {check.name for check in fit.diagnostics().failures}


def test_good_draws_are_trusted(fit):
    found = fit.diagnostics()
    assert found.is_trustworthy
    assert found.verdict.startswith("These draws can be trusted (4 chains of 500 draws): R-hat at most 1.0")
    assert (found.chains, found.draws, found.divergences, found.divergence_fraction) == (4, 500, 0, 0)
    assert len(found.e_bfmi) == 4
    assert "FAIL" not in str(found)


def test_table_names_the_worst_element(fit):
    table = fit.diagnostics().table().set_index("variable")
    assert table.loc["omega_correlation", "elements"] == 1
    assert table.loc["V_0", "rhat_at"].startswith("V_0[p")
    assert table.loc["V_0", "mcse_relative"] == pytest.approx(1 / np.sqrt(2000), rel=0.15)


def test_disagreeing_chains_are_named():
    posterior = posterior_dataset()
    posterior["r_typical"][0] += 1.0
    fit = make_fit(posterior, stats_dataset())
    assert failed(fit) == {"R-hat", "ESS bulk", "ESS tail"}
    verdict = fit.diagnostics().verdict
    assert verdict.startswith("DO NOT TRUST")
    assert "r_typical" in verdict and "longer warm-up" in verdict


def test_divergences_energy_and_depth_are_named():
    stats = stats_dataset()
    stats["diverging"][1, :7] = True
    stats["tree_depth"][:, ::50] = 10
    stats["energy"][2] = np.cumsum(np.random.default_rng(0).normal(size=500))
    fit = make_fit(posterior_dataset(), stats)
    assert failed(fit) == {"divergences", "E-BFMI", "tree depth"}
    found = fit.diagnostics()
    assert found.divergences == 7 and found.divergence_fraction == pytest.approx(7 / 2000)
    assert found.tree_depth_saturation == pytest.approx(0.02)
    assert "7 (0.35%)" in str(found)
    assert "raise the target acceptance to 0.99" in found.verdict  # above the default, 0.95


def test_interrupted_after_twenty_draws():
    fit = make_fit(posterior_dataset(draws=20), stats_dataset(draws=20))
    assert {"ESS bulk", "ESS tail"} <= failed(fit)
    assert "draw about" in fit.diagnostics().verdict


@pytest.mark.parametrize("draws", [0, 1, 3])
def test_almost_no_draws(draws):
    fit = make_fit(posterior_dataset(draws=draws), stats_dataset(draws=draws))
    assert {"length", "R-hat", "ESS bulk"} <= failed(fit)
    assert "nothing can be judged" in fit.diagnostics().verdict
    assert len(fit.intervals()) == 36 and len(fit.population()) == 8 and len(fit.shrinkage()) == 4


def test_one_chain_cannot_be_trusted():
    fit = make_fit(posterior_dataset(chains=1, draws=2000), stats_dataset(chains=1, draws=2000))
    assert failed(fit) == {"length", "R-hat"}
    assert "run four chains" in fit.diagnostics().verdict


def test_nan_draws_are_named():
    posterior = posterior_dataset()
    posterior["V_0"][0, 3, 2] = np.nan
    fit = make_fit(posterior, stats_dataset())
    assert failed(fit) == {"finite"}
    assert "draws of V_0 are NaN" in fit.diagnostics().verdict


def test_a_constant_is_noted_not_blamed():
    posterior = posterior_dataset()
    posterior["V_0_typical"][:] = 3.0
    found = make_fit(posterior, stats_dataset()).diagnostics()
    assert found.is_trustworthy
    assert "V_0_typical constant" in str(found)


def test_a_sampler_that_never_moved_is_blamed():
    posterior = posterior_dataset()
    stuck = posterior.isel(draw=[0] * 500, chain=[0] * 4)
    assert "movement" in failed(make_fit(stuck, stats_dataset()))


def test_chains_stuck_at_different_places_are_blamed():
    stuck = posterior_dataset().isel(draw=[0] * 500)
    assert "R-hat" in failed(make_fit(stuck, stats_dataset()))


def test_what_was_not_recorded_is_said():
    found = make_fit(posterior_dataset()).diagnostics()
    assert found.is_trustworthy
    assert str(found).count("not recorded") == 3
