"""R-hat, ESS and MCSE equal ArviZ's, element by element, and say NaN where nothing can be said."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from hierarchical_twin.analysis.convergence import convergence, energy_bfmi


def autoregressive(shape, rho, seed=0):
    noise = np.random.default_rng(seed).normal(size=shape)
    draws = noise.copy()
    for step in range(1, shape[1]):
        draws[:, step] = rho * draws[:, step - 1] + noise[:, step]
    return draws


@pytest.mark.parametrize("size", [(4, 200), (4, 201), (2, 20), (4, 4), (4, 5), (4, 7), (3, 11), (4, 13)])
@pytest.mark.parametrize("rho", [0.0, 0.9, -0.6])
@pytest.mark.parametrize("has_ties", [False, True])
def test_equal_to_arviz(size, rho, has_ties):
    draws = autoregressive((*size, 7), rho)
    draws = np.round(draws, 1) if has_ties else draws
    found = convergence(draws)
    patients_first = np.moveaxis(draws, 2, 0)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(found.rhat, array_stats.rhat(patients_first), rtol=1e-9)
        bulk = array_stats.ess(patients_first, method="bulk")
        tail = array_stats.ess(patients_first, method="tail", prob=(0.05, 0.95))
        np.testing.assert_allclose(found.ess_bulk, bulk, rtol=1e-9)
        np.testing.assert_allclose(found.ess_tail, tail, rtol=1e-9)
        np.testing.assert_allclose(found.mcse, array_stats.mcse(patients_first), rtol=1e-9)


def test_one_chain_has_ess_but_no_rhat():
    found = convergence(autoregressive((1, 1000, 3), 0.0))
    assert np.isnan(found.rhat).all()
    assert (found.ess_bulk > 10).all()


def test_constant_rounding_noise_and_nan_are_not_assessed():
    draws = autoregressive((4, 50, 4), 0.0)
    draws[:, :, 0] = 3.0
    draws[:, :, 1] = 3.0 + 1e-15 * draws[:, :, 1]
    draws[2, 7, 2] = np.nan
    found = convergence(draws)
    assert np.isnan(found.rhat).tolist() == [True, True, True, False]
    assert np.isnan(found.ess_tail).tolist() == [True, True, True, False]
    assert np.isnan(found.mcse).tolist() == [True, True, True, False]
    assert found.is_finite.tolist() == [True, True, False, True]
    assert found.is_constant.tolist() == [True, True, False, False]


def test_chains_each_stuck_elsewhere_have_a_huge_rhat():
    draws = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 30, 1))
    assert convergence(draws).rhat[0] > 1e6


def test_bfmi_equals_arviz():
    energy = autoregressive((4, 100, 1), 0.8)[:, :, 0]
    np.testing.assert_allclose(energy_bfmi(energy), array_stats.bfmi(energy))


def test_many_blocks_equal_one_by_one():
    draws = autoregressive((4, 100, 6000), 0.3)
    alone = convergence(draws[:, :, 5999:])
    assert convergence(draws).rhat[5999] == alone.rhat[0]
