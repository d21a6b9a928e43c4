"""What one cell yields: draws under common names, times, and the numbers the page prints."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Draws = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Settings:
    """How long every engine samples, and on how many cores."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    cores: int = 2
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """What an engine returns.

    Attributes
    ----------
    draws : mapping of str to ndarray, shape [chain, draw, ...]
        ``typical, omega, sigma, effects`` and, where the posterior has one, ``rho`` or ``beta``.
    divergences : int
    seconds : mapping of str to float
        ``import, build, compile, warmup, sampling``, and ``pilot`` where there is one.
    gradients : mapping of str to float
        ``warmup`` and ``sampling``; NaN where the engine does not count them.
    split : str
        How warm-up and sampling were told apart: ``measured`` or ``by gradients``.
    notes : tuple of str
    peak_mb : float, optional
        Peak memory, where the engine took it itself, before its draws were copied for comparison.
    """

    draws: Draws
    divergences: int
    seconds: Mapping[str, float]
    gradients: Mapping[str, float]
    split: str = "measured"
    notes: tuple[str, ...] = ()
    peak_mb: float | None = None


def peak_megabytes(children_at_once: int = 0) -> float:
    """Peak resident memory of this process, plus so many times its largest child."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (own + children_at_once * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / unit


def split_by_gradients(total: float, gradients: Mapping[str, float]) -> dict[str, float]:
    """Seconds of warm-up and sampling in proportion to their gradients."""
    counted = gradients["warmup"] + gradients["sampling"]
    share = gradients["sampling"] / counted if counted > 0 else math.nan
    return {"warmup": total * (1 - share), "sampling": total * share}


def flatten(draws: Draws) -> tuple[list[str], np.ndarray]:
    """Names and ``[chain, draw, quantity]`` of everything, population first."""
    names, columns = [], []
    for name in ("typical", "beta", "omega", "rho", "sigma", "effects"):
        if name not in draws:
            continue
        value = np.asarray(draws[name], dtype=float)
        flat = value.reshape(*value.shape[:2], -1)
        names += [f"{name}[{place}]" if flat.shape[2] > 1 else name for place in range(flat.shape[2])]
        columns.append(flat)
    return names, np.concatenate(columns, axis=2)


def summarise(outcome: Outcome) -> dict[str, Any]:
    """Effective sample sizes over all quantities, R-hat, and the moments that engines are compared by."""
    from hierarchical_twin.analysis.convergence import convergence

    names, values = flatten(outcome.draws)
    found = convergence(values)
    mean, sd = values.mean((0, 1)), values.std((0, 1), ddof=1)
    population = [not name.startswith("effects") for name in names]
    seconds = dict(outcome.seconds)
    bulk = float(np.nanmin(found.ess_bulk)) if np.isfinite(found.ess_bulk).any() else math.nan
    total = seconds["warmup"] + seconds["sampling"]
    gradients = sum(outcome.gradients.values())
    return {
        "seconds": seconds,
        "split": outcome.split,
        "notes": list(outcome.notes),
        "divergences": outcome.divergences,
        "gradients": dict(outcome.gradients),
        "quantities": len(names),
        "ess_bulk_min": bulk,
        "ess_bulk_median": float(np.nanmedian(found.ess_bulk)),
        "ess_bulk_min_population": float(np.nanmin(found.ess_bulk[population])),
        "ess_tail_min": float(np.nanmin(found.ess_tail)),
        "ess_tail_median": float(np.nanmedian(found.ess_tail)),
        "worst": names[int(np.nanargmin(found.ess_bulk))],
        "rhat_max": float(np.nanmax(found.rhat)),
        "ess_per_second": bulk / total,
        "ess_per_second_sampling": bulk / seconds["sampling"],
        "gradients_per_effective": gradients / bulk,
        "moments": {
            "names": names,
            "mean": _rounded(mean),
            "sd": _rounded(sd),
            "mcse": _rounded(found.mcse),
            "ess": _rounded(found.ess_bulk, 4),
        },
    }


def _rounded(values: np.ndarray, digits: int = 7) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in values]
