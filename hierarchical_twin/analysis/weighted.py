"""Means, SDs and quantiles of weighted draws, in plain NumPy.

A draw of weight 0 is as if it were not there, whatever its value is.
"""

from __future__ import annotations

import numpy as np


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the first axis.

    Parameters
    ----------
    values : ndarray, shape [draw, ...]
    weights : ndarray, shape [draw]
        Not negative, with a positive sum.
    """
    values, share = counting(values, weights)
    return np.tensordot(share, values, axes=1)


def weighted_sd(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """SD over the first axis, as in `weighted_mean`; not a number where a draw is infinite."""
    values, share = counting(values, weights)
    with np.errstate(invalid="ignore"):
        apart = values - np.tensordot(share, values, axes=1)
    return np.sqrt(np.tensordot(share, apart**2, axes=1))


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, probs: tuple[float, ...]) -> np.ndarray:
    """Quantiles over the first axis.

    Each draw stands in the middle of its weight, and quantiles lie on the line between two of them; equal
    weights give Hazen's quantiles (``method="hazen"`` in NumPy).

    Parameters
    ----------
    values : ndarray, shape [draw, ...]
    weights : ndarray, shape [draw]
    probs : tuple of float

    Returns
    -------
    ndarray, shape [prob, ...]
    """
    values, share = counting(values, weights)
    flat = values.reshape(len(values), -1)
    order = np.argsort(flat, axis=0)
    share = share[order]
    middle = np.cumsum(share, axis=0) - share / 2
    ordered = np.take_along_axis(flat, order, axis=0)
    found = np.stack(
        [np.interp(probs, middle[:, at], ordered[:, at]) for at in range(flat.shape[1])], axis=-1
    )
    return found.reshape(len(probs), *values.shape[1:])


def counting(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws that have a weight, and their shares of it ``[draw]``; 0 times a value that is none would be none."""
    counts = weights > 0
    if not counts.all():
        values, weights = values[counts], weights[counts]
    return values, weights / weights.sum()


def effective_size(weights: np.ndarray) -> float:
    """How many equal weights would leave as little Monte Carlo error."""
    return float(weights.sum() ** 2 / np.sum(weights**2))


def monte_carlo_errors(
    values: np.ndarray, weights: np.ndarray, blocks: np.ndarray, prob: float
) -> tuple[np.ndarray, np.ndarray]:
    """Monte Carlo standard errors of weighted means and interval ends, by batch means.

    Draws of one block may depend on each other, as neighbours of a Markov chain do; blocks may not. Weighted
    means are ratios, and their errors those of the ratios' linear parts (Owen 2013, Monte Carlo theory,
    methods and examples, chapter 9; https://artowen.su.domains/mc/).

    Parameters
    ----------
    values : ndarray, shape [draw, quantity]
    weights : ndarray, shape [draw]
    blocks : ndarray of int, shape [draw]
        From 0; at least two different ones.
    prob : float
        Inside the equal-tailed interval.

    Returns
    -------
    ndarray, shape [quantity]
        Of the means.
    ndarray, shape [2, quantity]
        Of the lower and the upper ends.
    """
    count = int(blocks.max()) + 1
    blocks, _ = counting(blocks, weights)
    values, share = counting(values, weights)
    sums = np.zeros((count, len(share)))
    sums[blocks, np.arange(len(share))] = share

    def error(statistic: np.ndarray) -> np.ndarray:
        apart = sums @ (statistic - share @ statistic)
        return np.sqrt(count / (count - 1) * np.sum(apart**2, axis=0))

    tail = (1 - prob) / 2
    probs = tuple(at + step for at in (tail, 1 - tail) for step in (0.0, -0.6 * tail, 0.6 * tail))
    found = weighted_quantiles(values, share, probs)
    # An end is as uncertain as the share below it, over the density there.
    ends = [error(values < found[at]) * (found[at + 2] - found[at + 1]) / (1.2 * tail) for at in (0, 3)]
    return error(values), np.stack(ends)
