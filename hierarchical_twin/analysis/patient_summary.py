"""What a fit keeps of each patient where it does not keep their draws: statistics, in place of draws.

A fit sampled with ``patients="summary"`` has a group ``patient_summary`` of these; its posterior then
holds the population only. Which questions such a fit can answer is said here.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import xarray as xr

from hierarchical_twin.analysis.convergence import (
    Convergence,
    convergence_rows,
    over_elements,
    quantile_of_sorted,
)
from hierarchical_twin.analysis.variables import labels_of
from hierarchical_twin.dims import STATISTIC
from hierarchical_twin.errors import Problem, SamplingError

_LEVELS = (2.5, 5.0, 25.0, 50.0, 75.0, 95.0, 97.5)
_QUALITY = ("rhat", "ess_bulk", "ess_tail", "mcse")
STATISTICS = ("mean", "sd", *(f"q{level:g}" for level in _LEVELS), *_QUALITY)
"""Labels along `statistic`; quantiles in percent, `mcse` the Monte Carlo error of the mean."""
PROBABILITIES = (0.5, 0.9, 0.95)
"""Probabilities whose equal-tailed intervals a summary holds."""
_ROUNDING = 1e-12


def summarise_elements(draws: np.ndarray) -> np.ndarray:
    """The statistics ``[statistic, element]`` of draws ``[chain, draw, element]``, in `STATISTICS`' order.

    All are NaN for an element with a draw that is NaN; quality is NaN as in `convergence`.
    """

    def rows(block: np.ndarray) -> np.ndarray:
        flat = np.sort(block.reshape(len(block), -1), axis=1)
        flat[np.isnan(flat[:, -1])] = np.nan
        quality = convergence_rows(block)
        quantiles = [quantile_of_sorted(flat, level / 100) for level in _LEVELS]
        return np.stack([flat.mean(axis=1), quality[4], *quantiles, *quality[:4]])

    with np.errstate(invalid="ignore"):
        return over_elements(rows, draws, rows=len(STATISTICS))


def statistics_of(summary: xr.Dataset, name: str) -> dict[str, np.ndarray]:
    """Statistic to ``[element]`` of one variable; elements as `element_labels` names them."""
    values = summary[name].transpose(STATISTIC, ...)
    flat = np.asarray(values.values, dtype=np.float64).reshape(values.sizes[STATISTIC], -1)
    return dict(zip(labels_of(summary, STATISTIC), flat, strict=True))


def element_labels(summary: xr.Dataset, name: str) -> tuple[str, ...]:
    """Labels of a variable's elements, such as ``eta[p1,r]``."""
    dims = [str(dim) for dim in summary[name].dims if dim != STATISTIC]
    words = itertools.product(*(labels_of(summary, dim) for dim in dims))
    return tuple(f"{name}[{','.join(word)}]" for word in words)


def interval_bounds(statistics: dict[str, np.ndarray], prob: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits ``[element]`` of the equal-tailed interval; `check_kept` says which there are."""
    tail = 50 * (1 - prob)
    return statistics[f"q{tail:.6g}"], statistics[f"q{100 - tail:.6g}"]


def check_kept(prob: float, kind: str) -> None:
    """Refuse an interval that a summary does not hold.

    Raises
    ------
    SamplingError
        With the intervals it does hold.
    """
    known = any(math.isclose(prob, one, abs_tol=1e-9) for one in PROBABILITIES)
    hint = "this fit keeps statistics of patients, not draws: sample again with patients='draws'"
    problems = []
    if not known:
        expected = f"one of {', '.join(map(str, PROBABILITIES))}"
        problems.append(Problem("prob of a patient's interval", repr(prob), expected, hint))
    if kind != "equal-tailed":
        problems.append(Problem("kind of a patient's interval", repr(kind), "'equal-tailed'", hint))
    if problems:
        raise SamplingError(problems)


def stored_convergence(statistics: dict[str, np.ndarray]) -> Convergence:
    """What `convergence` found when the statistics were made."""
    mean, sd = statistics["mean"], statistics["sd"]
    is_finite = np.isfinite(mean)
    with np.errstate(invalid="ignore"):
        is_constant = is_finite & (sd <= _ROUNDING * np.abs(mean))
    return Convergence(*(statistics[word] for word in _QUALITY), sd, is_finite, is_constant)
