"""R-hat, effective sample size and Monte Carlo error of many quantities at once.

The definitions are ArviZ's, to rounding (a test holds this), computed for all patients together:
`arviz_stats` visits one patient at a time and takes over a second to import, which is most of
what opening a saved fit may cost. Arrays only; names and verdicts live in `diagnostics`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri

_SMALLEST_DRAWS = 4
_TAILS = (0.05, 0.95)
_BLOCK_NUMBERS = 1_000_000  # about 8 MB of doubles at a time, so that sorting stays in cache
_ROUNDING = 1e-12  # a quantity that varies less than this, relatively, is a constant computed twice


@dataclass(frozen=True)
class Convergence:
    """How well the draws of each element are known; every array is ``[element]``.

    Elements that are constant, or hold a draw that is not finite, are NaN throughout.
    """

    rhat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray


def convergence(draws: np.ndarray) -> Convergence:
    """Rank-normalised split R-hat, bulk and tail effective sample size.

    Parameters
    ----------
    draws : np.ndarray, [chain, draw, element]
        R-hat needs two chains, all three need four draws; otherwise they are NaN.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Bayesian Analysis 16(2),
    doi:10.1214/20-BA1221. Tail: the smaller of the ESS of the 5 % and 95 % quantiles.
    """
    rhat, bulk, tail = over_elements(_where_assessable(_convergence_of, 3), draws, rows=3)
    return Convergence(rhat, bulk, tail)


def mcse_mean(draws: np.ndarray) -> np.ndarray:
    """Monte Carlo standard error of the posterior mean, ``[element]``, from ``[chain, draw, element]``."""
    return over_elements(_where_assessable(_mcse_of, 1), draws, rows=1)[0]


def energy_bfmi(energy: np.ndarray) -> np.ndarray:
    """Estimated Bayesian fraction of missing information of each chain.

    Parameters
    ----------
    energy : np.ndarray, [chain, draw]

    Returns
    -------
    np.ndarray, [chain]
        Low values mean that momentum resampling cannot move the energy: heavy tails or funnels.

    References
    ----------
    Betancourt (2016), arXiv:1604.00695.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.square(np.diff(energy, axis=1)).mean(axis=1) / np.var(energy, axis=1, ddof=1)


def over_elements(
    function: Callable[[np.ndarray], np.ndarray], draws: np.ndarray, *, rows: int
) -> np.ndarray:
    """Apply `function` to cache-sized blocks of elements, on every core.

    Parameters
    ----------
    function : callable
        From ``[element, chain, draw]`` (contiguous float64) to ``[row, element]``.
    draws : np.ndarray, [chain, draw, element]
    rows : int
        Number of rows `function` returns.

    Returns
    -------
    np.ndarray, [row, element]
    """
    chains, length, elements = draws.shape
    result = np.full((rows, elements), np.nan)
    step = max(1, _BLOCK_NUMBERS // max(1, chains * length))

    def fill(start: int) -> None:
        block = np.moveaxis(draws[:, :, start : start + step], 2, 0)
        result[:, start : start + step] = function(np.ascontiguousarray(block, dtype=np.float64))

    # Sorting and FFTs release the interpreter lock, so threads use every core.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(fill, range(0, elements, step)))
    return result


def is_assessable(block: np.ndarray) -> np.ndarray:
    """Which elements of ``[element, chain, draw]`` are finite throughout and vary beyond rounding."""
    if block.shape[1] * block.shape[2] == 0:
        return np.zeros(len(block), dtype=bool)
    flat = block.reshape(len(block), -1)
    finite = np.isfinite(flat).all(axis=1)
    lowest = np.where(finite, flat.min(axis=1), 0.0)
    highest = np.where(finite, flat.max(axis=1), 0.0)
    return finite & (highest - lowest > _ROUNDING * np.maximum(np.abs(lowest), np.abs(highest)))


def _where_assessable(
    function: Callable[[np.ndarray], np.ndarray], rows: int
) -> Callable[[np.ndarray], np.ndarray]:
    def masked(block: np.ndarray) -> np.ndarray:
        result = np.full((rows, len(block)), np.nan)
        usable = is_assessable(block)
        if block.shape[2] >= _SMALLEST_DRAWS and usable.any():
            result[:, usable] = function(block[usable])
        return result

    return masked


def _convergence_of(block: np.ndarray) -> np.ndarray:
    many_chains = block.shape[1] > 1
    halves = _split(block)
    scores = _normal_scores(halves)
    rhat = np.full(len(block), np.nan)
    if many_chains:
        middle = np.median(halves, axis=(1, 2), keepdims=True)
        rhat = np.fmax(_rhat(scores), _rhat(_normal_scores(np.abs(halves - middle))))
    bounds = np.quantile(block.reshape(len(block), -1), _TAILS, axis=1)
    tails = [_ess(_split((block <= bound[:, None, None]).astype(np.float64))) for bound in bounds]
    return np.stack([rhat, _ess(scores), np.fmin(*tails)])


def _mcse_of(block: np.ndarray) -> np.ndarray:
    spread = np.std(block.reshape(len(block), -1), axis=1, ddof=1)
    return (spread / np.sqrt(_ess(_split(block))))[None]


def _split(block: np.ndarray) -> np.ndarray:
    """Each chain as two, ``[element, 2 chain, draw // 2]``; an odd chain loses its middle draw."""
    half = block.shape[2] // 2
    return np.concatenate([block[:, :, :half], block[:, :, -half:]], axis=1)


def _normal_scores(block: np.ndarray) -> np.ndarray:
    """Blom's normal scores of the ranks over all draws; ties share their average rank."""
    flat = block.reshape(len(block), -1)
    size = flat.shape[1]
    order = np.argsort(flat, axis=1)
    ordered = np.take_along_axis(flat, order, axis=1)
    starts = np.ones(flat.shape, dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    # Twice the rank is an integer even for ties, so the scores come from a table, not 20 million ndtri.
    table = ndtri((np.arange(2 * size + 1) / 2 - 3 / 8) / (size + 1 / 4))
    if starts.all():
        scores = np.broadcast_to(table[2::2], flat.shape)
    else:
        place = np.arange(size)
        first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
        ends = np.concatenate([starts[:, 1:], np.ones((len(flat), 1), dtype=bool)], axis=1)
        last = np.minimum.accumulate(np.where(ends, place, size)[:, ::-1], axis=1)[:, ::-1]
        scores = table[first + last + 2]
    result = np.empty_like(flat)
    np.put_along_axis(result, order, scores, axis=1)
    return result.reshape(block.shape)


def _rhat(block: np.ndarray) -> np.ndarray:
    length = block.shape[2]
    between = length * np.var(block.mean(axis=2), axis=1, ddof=1)
    within = np.var(block, axis=2, ddof=1).mean(axis=1)
    # Chains that are each stuck at their own value have no variance within: R-hat is infinite.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((between / within + length - 1) / length)


def _ess(block: np.ndarray) -> np.ndarray:
    """ESS by Geyer's initial monotone sequence, over ``[element, chain, draw]``."""
    elements, chains, length = block.shape
    total = chains * length
    correlation = _pooled_autocorrelation(block)
    pairs = correlation[:, : 2 * (length // 2)].reshape(elements, -1, 2)
    # A pair is looked at while every pair before it is positive and its own lags exist.
    last_pair = max(0, (length - 3) // 2) if length > 4 else 0
    sums = pairs.sum(axis=2)
    positive = sums[:, : last_pair + 1] > 0
    ends = np.where(positive.all(axis=1), last_pair, np.argmin(positive, axis=1))
    kept = np.arange(sums.shape[1]) < ends[:, None]
    monotone = np.minimum.accumulate(np.where(kept, sums, np.inf), axis=1)
    closing = pairs[np.arange(elements), ends, 0]
    tau = (
        -1 + 2 * np.where(kept, monotone, 0).sum(axis=1) + np.where(_closes(sums, ends, closing), closing, 0)
    )
    tau = np.maximum(tau, 1 / np.log10(total))
    flat = block.reshape(elements, -1)
    return np.where(np.ptp(flat, axis=1) < np.finfo(float).resolution, float(total), total / tau)


def _closes(sums: np.ndarray, ends: np.ndarray, closing: np.ndarray) -> np.ndarray:
    """Whether the even lag of the last pair looked at counts: where it, or its pair, is positive."""
    return (closing > 0) | (sums[np.arange(len(ends)), ends] >= 0)


def _pooled_autocorrelation(block: np.ndarray) -> np.ndarray:
    """Autocorrelation ``[element, lag]`` with the variance between chains counted in."""
    _, chains, length = block.shape
    size = next_fast_len(2 * length, real=True)
    centred = block - block.mean(axis=2, keepdims=True)
    spectrum = np.asarray(rfft(centred, size, axis=2))
    power = (np.real(spectrum) ** 2 + np.imag(spectrum) ** 2).mean(axis=1)
    covariance = np.asarray(irfft(power, size, axis=1))[:, :length] / length
    within = covariance[:, 0] * length / (length - 1)
    pooled = covariance[:, 0].copy()
    if chains > 1:
        pooled += np.var(block.mean(axis=2), axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = 1 - (within[:, None] - covariance) / pooled[:, None]
    correlation[:, 0] = 1.0
    return correlation
