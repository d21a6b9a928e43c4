"""Simulated measurements seen through the same limits of quantification as the real ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.residuals import outcome_places

BELOW, ABOVE = 1, -1
"""How `censored` says on which side of DV a value is."""


def row_limits(rows: pd.DataFrame, side: int) -> np.ndarray:
    """Lower (`side` 1) or upper (-1) limit of quantification of each row ``[row]``.

    A censored row states its limit. Rows that were measured do not: theirs is taken to be the commonest limit of
    their outcome on that side, and none where the measurement itself is beyond that. Infinite where none is known.
    """
    censored, value = rows["censored"].to_numpy(), rows["DV"].to_numpy(float)
    limits = np.full(len(rows), -np.inf if side == BELOW else np.inf)
    for places in outcome_places(rows).values():
        stated = value[places][censored[places] == side]
        if not stated.size:
            continue
        kinds, counts = np.unique(stated, return_counts=True)
        limits[places] = kinds[np.argmax(counts)]
    was_seen = (censored == 0) & (side * (limits - value) > 0)
    limits = np.where(was_seen, -side * np.inf, limits)
    return np.where(censored == side, value, limits)


def within_limits(rows: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Values ``[..., row]`` put at the limit where they are beyond it.

    Measurements that are censored are there already, so percentiles of both are comparable: one that is
    equal to a limit is at or beyond it.
    """
    return np.clip(values, row_limits(rows, BELOW), row_limits(rows, ABOVE))


def is_beyond(rows: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Which simulated values ``[..., row]`` could not have been quantified, on either side."""
    return (values < row_limits(rows, BELOW)) | (values > row_limits(rows, ABOVE))
