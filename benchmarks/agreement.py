"""Whether engines drew from the same posterior: means against their Monte Carlo error, and SDs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ENOUGH_ESS = 100.0
"""Quantities with fewer effective draws on either side are not compared."""


@dataclass(frozen=True)
class Agreement:
    """One engine against a reference.

    Attributes
    ----------
    quantities : int
        Compared: those with enough effective draws on both sides.
    z_max : float
        Largest difference of means over the joint Monte Carlo error.
    z_expected : float
        What that maximum is likely to stay under for so many independent quantities (0.999 quantile).
    shift_max : float
        Largest difference of means in posterior SDs, population only.
    sd_low, sd_high : float
        Smallest and largest ratio of SDs, population only.
    worst : str
        The quantity with the largest z.
    """

    quantities: int
    z_max: float
    z_expected: float
    shift_max: float
    sd_low: float
    sd_high: float
    worst: str

    @property
    def is_same(self) -> bool:
        """Whether nothing speaks against one posterior: judged by z alone, the only one with a known error."""
        return self.z_max <= self.z_expected


def compare(own: Mapping[str, Any], reference: Mapping[str, Any]) -> Agreement | None:
    """Compare the moments of two results; None where they share no well-sampled quantity."""
    names = [name for name in own["names"] if name in set(reference["names"])]
    left, right = _picked(own, names), _picked(reference, names)
    good = (left["ess"] >= ENOUGH_ESS) & (right["ess"] >= ENOUGH_ESS)
    good &= np.isfinite(left["mcse"]) & np.isfinite(right["mcse"]) & (left["sd"] > 0) & (right["sd"] > 0)
    if not good.any():
        return None
    error = np.hypot(left["mcse"], right["mcse"])
    z = np.where(good, np.abs(left["mean"] - right["mean"]) / np.where(error > 0, error, 1.0), 0.0)
    population = good & np.array([not name.startswith("effects") for name in names])
    ratio = left["sd"][population] / right["sd"][population]
    shift = np.abs(left["mean"] - right["mean"])[population] / right["sd"][population]
    worst = names[int(z.argmax())]
    return Agreement(
        int(good.sum()),
        float(z.max()),
        _largest_normal(int(good.sum())),
        float(shift.max(initial=0.0)),
        float(ratio.min(initial=np.inf)),
        float(ratio.max(initial=0.0)),
        worst,
    )


def reference_of(results: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The peer's result to compare with: the largest smallest ESS among those that converged."""
    peers = [
        result
        for result in results
        if result["status"] == "ok" and not result["family"].startswith("ours") and result["rhat_max"] < 1.05
    ]
    return max(peers, key=lambda result: result["ess_bulk_min"], default=None)


def _picked(moments: Mapping[str, Any], names: list[str]) -> dict[str, np.ndarray]:
    place = {name: index for index, name in enumerate(moments["names"])}
    order = [place[name] for name in names]
    return {word: np.array(moments[word], dtype=float)[order] for word in ("mean", "sd", "mcse", "ess")}


def _largest_normal(count: int) -> float:
    from scipy.stats import norm

    return float(norm.isf((1 - 0.999 ** (1 / count)) / 2))
