"""Bins of an independent variable, for visual predictive checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hierarchical_twin.errors import Problem, SamplingError

_FEW_VALUES = 12
_ROWS_PER_BIN = 20
_FEWEST_BINS, _MOST_BINS = 2, 10


def bin_edges(values: np.ndarray, bins: int | Sequence[float] | None) -> np.ndarray:
    """Edges ``[bin + 1]`` of bins that hold all values; a value on an edge belongs to the bin above it.

    Parameters
    ----------
    values : np.ndarray, [row]
    bins : int, sequence of float, or None
        A number of bins with about equally many rows each (fewer where many values are equal), or the edges
        themselves (a value outside them is in no bin), or None: one bin for each distinct value where there
        are at most 12, and otherwise bins of about 20 rows or more, 2 to 10 of them.

    Raises
    ------
    SamplingError
        Edges do not increase, or the number is not a whole number from 1.
    """
    distinct = np.unique(values)
    if bins is None:
        if len(distinct) <= _FEW_VALUES:
            return _around(distinct)
        return _quantile_edges(values, int(np.clip(len(values) // _ROWS_PER_BIN, _FEWEST_BINS, _MOST_BINS)))
    if isinstance(bins, int | np.integer):
        if bins < 1:
            raise SamplingError(Problem("bins", repr(bins), "a whole number from 1, or edges"))
        return _quantile_edges(values, int(bins))
    return _checked_edges(bins)


def place_in_bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Number of each value's bin ``[row]``; -1 outside. The last bin holds its upper edge."""
    places = np.searchsorted(edges, values, side="right") - 1
    places = np.where(values == edges[-1], len(edges) - 2, places)
    return np.where((places >= 0) & (places < len(edges) - 1), places, -1)


def _around(distinct: np.ndarray) -> np.ndarray:
    """Edges half way between distinct values; the outermost are those values themselves."""
    between = (distinct[1:] + distinct[:-1]) / 2
    return np.concatenate([distinct[:1], between, distinct[-1:]])


def _quantile_edges(values: np.ndarray, count: int) -> np.ndarray:
    """Edges at quantiles, moved half way to the next smaller value so that equal values stay together."""
    distinct = np.unique(values)
    inner = np.quantile(values, np.arange(1, count) / count, method="higher")
    at = np.unique(np.searchsorted(distinct, inner))
    at = at[at > 0]
    return np.concatenate([distinct[:1], (distinct[at] + distinct[at - 1]) / 2, distinct[-1:]])


def _checked_edges(bins: Sequence[float]) -> np.ndarray:
    try:
        edges = np.asarray(bins, dtype=float)
    except (TypeError, ValueError):
        edges = np.empty(0)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise SamplingError(
            Problem("bins", repr(bins), "a number of bins, or at least two edges that increase")
        )
    return edges
