"""How well what was left out is predicted: by Pareto-smoothed importance sampling, or from draws that never saw it.

Arrays only. A unit is whatever is left out together: a patient, or one measurement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from hierarchical_twin.analysis.convergence import convergence

_K_HAT_MOST = 0.7
_FEWEST_DRAWS = 25


@dataclass(frozen=True, eq=False)
class Scores:
    """Log predictive densities of left-out units; every array is ``[unit]``.

    Attributes
    ----------
    elpd : ndarray
        Log density of the unit's measurements given all other units.
    lpd : ndarray
        The same given all units, itself included: ``lpd - elpd`` is how much it was needed.
    mcse : ndarray
        Monte Carlo standard error of `elpd`.
    k_hat : ndarray
        Tail shape of the importance weights; NaN where there are too few draws to tell.
    limit : float
        The k-hat up to which `elpd` may be trusted.
    """

    elpd: np.ndarray
    lpd: np.ndarray
    mcse: np.ndarray
    k_hat: np.ndarray
    limit: float

    @property
    def is_doubtful(self) -> np.ndarray:
        """Units whose importance weights are not to be trusted ``[unit]``."""
        return ~(self.k_hat <= self.limit)


def k_hat_limit(draws: int) -> float:
    """The k-hat up to which so many draws suffice: ``min(1 - 1/log10(draws), 0.7)``.

    Vehtari, Simpson, Gelman, Yao and Gabry (2024), JMLR 25(72), section 3.2.4.
    """
    return min(1.0 - 1.0 / math.log10(max(draws, 2)), _K_HAT_MOST)


def leave_one_out(log_likelihood: np.ndarray) -> Scores:
    """Score every unit given all others, from draws that saw them all.

    Parameters
    ----------
    log_likelihood : ndarray, shape [chain, draw, unit]
        Log density of each unit's measurements at each draw.

    Returns
    -------
    Scores

    Notes
    -----
    Pareto-smoothed importance sampling (Vehtari, Gelman and Gabry 2017, doi:10.1007/s11222-016-9696-4),
    by ArviZ. Autocorrelation of the draws enters the Monte Carlo error and the length of the tail.
    """
    chains, length, units = log_likelihood.shape
    flat = np.moveaxis(log_likelihood, 2, 0).reshape(units, -1)
    log_weights, k_hat = smooth_weights(log_likelihood)
    elpd, mcse = _weighted(flat, log_weights, relative_efficiency(log_likelihood))
    lpd = logsumexp(flat, axis=1) - math.log(flat.shape[1])
    return Scores(elpd, lpd, mcse, k_hat, k_hat_limit(chains * length))


def smooth_weights(log_likelihood: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights that make draws which saw every unit draws which did not see one of them.

    Parameters
    ----------
    log_likelihood : ndarray, shape [chain, draw, unit]

    Returns
    -------
    ndarray, shape [unit, draw]
        Logs of Pareto-smoothed weights that sum to 1.
    ndarray, shape [unit]
        k-hat: minus infinity where weights do not vary, infinite where one draw has all the weight, NaN
        where there are too few draws to tell.
    """
    # Here and not above: it takes a second to import, and a fit must open faster.
    from arviz_stats.base import array_stats

    flat = np.moveaxis(log_likelihood, 2, 0).reshape(log_likelihood.shape[2], -1)
    efficiency = relative_efficiency(log_likelihood)
    # Weights that do not vary have no tail to smooth.
    is_even = np.ptp(flat, axis=1) < 1e-10
    log_weights = np.full(flat.shape, -math.log(flat.shape[1]))
    k_hat = np.where(is_even, -np.inf, np.nan)
    for unit in np.flatnonzero(~is_even & np.isfinite(flat).all(axis=1)):
        if flat.shape[1] >= _FEWEST_DRAWS:
            with np.errstate(all="ignore"):
                smoothed, shape = array_stats.psislw(flat[unit], r_eff=efficiency[unit])
            k_hat[unit] = np.inf if np.isnan(shape) else shape
        else:
            smoothed = -flat[unit]
        log_weights[unit] = smoothed - logsumexp(smoothed)
    return log_weights, k_hat


def held_out(log_likelihood: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log predictive density and its Monte Carlo error ``[unit]`` of units that the draws never saw.

    Parameters
    ----------
    log_likelihood : ndarray, shape [chain, draw, unit]
    """
    flat = np.moveaxis(log_likelihood, 2, 0).reshape(log_likelihood.shape[2], -1)
    even = np.full(flat.shape, -math.log(flat.shape[1]))
    return _weighted(flat, even, relative_efficiency(log_likelihood))


def relative_efficiency(log_likelihood: np.ndarray) -> np.ndarray:
    """Effective draws of each unit's likelihood for each draw ``[unit]``, at most 1."""
    chains, length, units = log_likelihood.shape
    found = np.ones(units)
    usable = np.isfinite(log_likelihood).all(axis=(0, 1))
    ess = convergence(log_likelihood[:, :, usable]).ess_bulk / (chains * length)
    found[usable] = np.clip(np.nan_to_num(ess, nan=1.0), 1e-3, 1.0)
    return found


def _weighted(
    log_density: np.ndarray, log_weights: np.ndarray, efficiency: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log of the weighted mean of ``[unit, draw]`` densities, and the delta method's error of it."""
    mean = logsumexp(log_density + log_weights, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.exp(log_weights) * np.expm1(log_density - mean[:, None])
        return mean, np.sqrt(np.sum(apart**2, axis=1) / efficiency)
