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
_BLOCK_NUMBERS = 1_000_000  # about 8 MB of doubles at a time, so that memory stays bounded
_ROUNDING = 1e-12  # a quantity that varies less than this, relatively, is a constant computed twice


@dataclass(frozen=True)
class Convergence:
    """How well the draws of each element are known; every array is ``[element]``.

    `mcse` is the Monte Carlo standard error of the mean. The first four are NaN for elements that are
    constant, or hold a draw that is not finite; `is_finite` and `is_constant` say which.
    """

    rhat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray
    mcse: np.ndarray
    sd: np.ndarray
    is_finite: np.ndarray
    is_constant: np.ndarray


def convergence(draws: np.ndarray) -> Convergence:
    """Rank-normalised split R-hat, bulk and tail effective sample size, Monte Carlo error of the mean.

    Parameters
    ----------
    draws : np.ndarray, [chain, draw, element]
        R-hat needs two chains, all need four draws; otherwise they are NaN.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), Bayesian Analysis 16(2),
    doi:10.1214/20-BA1221. Tail: the smaller of the ESS of the 5 % and 95 % quantiles.
    """
    rows = over_elements(convergence_rows, draws, rows=7)
    return Convergence(*rows[:5], is_finite=rows[5] == 1, is_constant=rows[6] == 1)


def convergence_rows(block: np.ndarray) -> np.ndarray:
    """The fields of `Convergence` as rows ``[7, element]``, from ``[element, chain, draw]``."""
    result = np.full((7, len(block)), np.nan)
    finite, varies = _is_finite(block), is_assessable(block)
    result[5], result[6] = finite, finite & ~varies
    if block.shape[1] * block.shape[2] > 1:
        with np.errstate(invalid="ignore"):
            result[4] = np.std(block.reshape(len(block), -1), axis=1, ddof=1)
    if block.shape[2] >= _SMALLEST_DRAWS and varies.any():
        result[:4, varies] = _quality(block if varies.all() else block[varies])
    return result


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
    finite = _is_finite(block)
    lowest = np.where(finite, flat.min(axis=1), 0.0)
    highest = np.where(finite, flat.max(axis=1), 0.0)
    return finite & (highest - lowest > _ROUNDING * np.maximum(np.abs(lowest), np.abs(highest)))


def _is_finite(block: np.ndarray) -> np.ndarray:
    return np.isfinite(block.reshape(len(block), block.shape[1] * block.shape[2])).all(axis=1)


def _quality(block: np.ndarray) -> np.ndarray:
    """R-hat, bulk and tail ESS, and the mean's Monte Carlo error, of elements that vary.

    Each element is sorted once: ranks, median and quantiles are read off, and the distances from the
    median are two ordered runs, which a merge sort joins.
    """
    halves = _split(block)
    flat = halves.reshape(len(block), -1)
    order = np.argsort(flat, axis=1)
    ordered = np.take_along_axis(flat, order, axis=1)
    scores = _normal_scores(order, ordered).reshape(halves.shape)
    rhat = np.full(len(block), np.nan)
    if block.shape[1] > 1:
        middle = flat.shape[1] // 2
        folded = np.abs(ordered - (ordered[:, middle - 1 : middle] + ordered[:, middle : middle + 1]) / 2)
        nearest = np.argsort(folded, axis=1, kind="stable")
        folded = np.take_along_axis(folded, nearest, axis=1)
        distances = _normal_scores(np.take_along_axis(order, nearest, axis=1), folded)
        rhat = np.fmax(_rhat(scores), _rhat(distances.reshape(halves.shape)))
    is_whole = flat.shape[1] == block.shape[1] * block.shape[2]
    whole = ordered if is_whole else np.sort(block.reshape(len(block), -1), axis=1)
    bounds = [quantile_of_sorted(whole, level) for level in _TAILS]
    tails = [_ess((halves <= bound[:, None, None]).astype(np.float64)) for bound in bounds]
    error = np.std(block.reshape(len(block), -1), axis=1, ddof=1) / np.sqrt(_ess(halves))
    return np.stack([rhat, _ess(scores), np.fmin(*tails), error])


def quantile_of_sorted(ordered: np.ndarray, level: float) -> np.ndarray:
    """Quantile of each row of ``[element, draw]``, linear between draws (Hyndman and Fan's type 7)."""
    place = level * (ordered.shape[1] - 1)
    below = int(np.floor(place))
    above = min(below + 1, ordered.shape[1] - 1)
    return ordered[:, below] + (place - below) * (ordered[:, above] - ordered[:, below])


def _split(block: np.ndarray) -> np.ndarray:
    """Each chain as two, ``[element, 2 chain, draw // 2]``; an odd chain loses its middle draw."""
    half = block.shape[2] // 2
    return np.concatenate([block[:, :, :half], block[:, :, -half:]], axis=1)


def _normal_scores(order: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Blom's normal scores of the ranks over all draws; ties share their average rank.

    Parameters
    ----------
    order : np.ndarray of int, [element, draw]
        Place of each of the sorted draws.
    ordered : np.ndarray, [element, draw]
        The sorted draws.
    """
    size = ordered.shape[1]
    starts = np.ones(ordered.shape, dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    # Twice the rank is an integer even for ties, so the scores come from a table, not 20 million ndtri.
    table = ndtri((np.arange(2 * size + 1) / 2 - 3 / 8) / (size + 1 / 4))
    if starts.all():
        scores = np.broadcast_to(table[2::2], ordered.shape)
    else:
        place = np.arange(size)
        first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
        ends = np.concatenate([starts[:, 1:], np.ones((len(ordered), 1), dtype=bool)], axis=1)
        last = np.minimum.accumulate(np.where(ends, place, size)[:, ::-1], axis=1)[:, ::-1]
        scores = table[first + last + 2]
    result = np.empty_like(ordered)
    np.put_along_axis(result, order, scores, axis=1)
    return result


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
