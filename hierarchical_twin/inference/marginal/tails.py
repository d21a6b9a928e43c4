"""The tail of importance weights: Pareto k-hat for many patients at once, in plain NumPy."""

from __future__ import annotations

import numpy as np

_BLOCK_SIZE = 2e7
_PRIOR_WEIGHT = 10


def tail_shapes(log_weights: np.ndarray) -> np.ndarray:
    """Shape of the generalized Pareto distribution fitted to the largest weights of each patient.

    Parameters
    ----------
    log_weights : ndarray, shape [draw, patient]

    Returns
    -------
    ndarray, shape [patient]
        Above 0.7 importance weights are unreliable (Vehtari, Simpson, Gelman, Yao and Gabry 2024,
        JMLR 25:72); the fit is that of Zhang and Stephens (2009, doi:10.1198/tech.2009.08017).
    """
    draws = len(log_weights)
    tail = int(np.ceil(min(0.2 * draws, 3 * np.sqrt(draws))))
    order = np.sort(log_weights - log_weights.max(axis=0), axis=0)
    cutoff = np.exp(np.maximum(order[-tail - 1], np.log(np.finfo(float).tiny)))
    beyond = np.exp(order[-tail:]) - cutoff
    grid = 30 + int(np.sqrt(tail))
    block = max(1, int(_BLOCK_SIZE / (grid * tail)))
    starts = range(0, beyond.shape[1], block)
    return np.concatenate([_pareto_shape(beyond[:, s : s + block], grid) for s in starts])


def _pareto_shape(beyond: np.ndarray, grid: int) -> np.ndarray:
    """Shapes ``[patient]`` from sorted exceedances ``[exceedance, patient]``; minus infinity if all are 0."""
    count = len(beyond)
    quartile = beyond[int(count / 4 + 0.5) - 1]
    is_flat = (beyond[-1] <= 0.0) | (quartile <= 0.0)
    safe = np.where(is_flat, 1.0, beyond)
    slopes = 1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    slopes = slopes[:, None] / (3.0 * np.where(is_flat, 1.0, quartile)) + 1.0 / safe[-1]
    shapes = np.mean(np.log1p(-slopes[:, None] * safe), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fit = count * (np.log(-slopes / shapes) - shapes - 1.0)
    fit = np.where(np.isnan(fit), -np.inf, fit)
    weight = np.exp(fit - fit.max(axis=0))
    slope = np.sum(slopes * weight, axis=0) / np.sum(weight, axis=0)
    shape = np.mean(np.log1p(-slope * safe), axis=0)
    shape = (count * shape + _PRIOR_WEIGHT * 0.5) / (count + _PRIOR_WEIGHT)
    return np.where(is_flat, -np.inf, shape)
