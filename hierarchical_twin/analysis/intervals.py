"""Point estimates and credible intervals, one tidy row for each patient and parameter.

Also the words and numbers every interval is stated with: its probability and its kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from hierarchical_twin.analysis.convergence import (
    Convergence,
    convergence,
    over_elements,
    quantile_of_sorted,
)
from hierarchical_twin.analysis.patient_summary import (
    check_kept,
    interval_bounds,
    statistics_of,
    stored_convergence,
)
from hierarchical_twin.analysis.variables import (
    elements_of,
    labels_of,
    links_of,
    patient_variables,
    patients_of,
    summary_of,
    unit_of,
    units_of,
)
from hierarchical_twin.dims import PATIENT
from hierarchical_twin.errors import Problem, SamplingError, nearest

DEFAULT_PROB = 0.9
KINDS = ("equal-tailed", "hdi")
"""Kinds of interval: equal probability in each tail, or the narrowest (highest density)."""


@dataclass(frozen=True)
class Summary:
    """Posterior mean, median, standard deviation and interval, each ``[element]``."""

    mean: np.ndarray
    median: np.ndarray
    sd: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def patient_intervals(
    tree: xr.DataTree,
    parameters: str | Sequence[str] | None = None,
    *,
    prob: float = DEFAULT_PROB,
    kind: str = "equal-tailed",
) -> pd.DataFrame:
    """Each patient's estimate of each parameter, with its interval and its Monte Carlo quality.

    Parameters
    ----------
    tree : xr.DataTree
        A fit.
    parameters : str or sequence of str, optional
        Parameters or derived quantities that every patient has; all of them by default.
    prob : float
        Probability inside the interval, between 0 and 1.
    kind : {"equal-tailed", "hdi"}

    Returns
    -------
    pd.DataFrame
        Columns ``patient, parameter, unit, mean, median, sd, lower, upper, rhat, ess_bulk,
        ess_tail, prob, kind``; values in the declared unit.

    Raises
    ------
    SamplingError
        Unknown parameter, probability or kind, a tree that is not a fit, or an interval that a fit
        without patients' draws does not hold.
    """
    check_interval(prob, kind)
    own = patients_of(tree)
    names = choose_patient_variables(own, parameters)
    links, units = links_of(tree), units_of(tree)
    patients = labels_of(own, PATIENT)
    frames = []
    for name in names:
        head = pd.DataFrame({"patient": patients, "parameter": name, "unit": unit_of(name, units, links)})
        summary = patient_estimates(tree, name, prob=prob, kind=kind)
        numbers = _columns(summary, _patient_convergence(tree, name))
        frames.append(pd.concat([head, numbers], axis=1))
    return pd.concat(frames, ignore_index=True).assign(prob=float(prob), kind=kind)


def patient_estimates(tree: xr.DataTree, name: str, *, prob: float, kind: str) -> Summary:
    """Estimates and intervals ``[patient]`` of one quantity every patient has.

    Raises
    ------
    SamplingError
        Unknown kind or probability, or one that a fit without patients' draws does not hold.
    """
    check_interval(prob, kind)
    stored = summary_of(tree)
    if stored is None:
        return summarise(elements_of(patients_of(tree), name).draws, prob=prob, kind=kind)
    check_kept(prob, kind)
    found = statistics_of(stored, name)
    return Summary(found["mean"], found["q50"], found["sd"], *interval_bounds(found, prob))


def _patient_convergence(tree: xr.DataTree, name: str) -> Convergence:
    stored = summary_of(tree)
    if stored is None:
        return convergence(elements_of(patients_of(tree), name).draws)
    return stored_convergence(statistics_of(stored, name))


def summary_columns(draws: np.ndarray, *, prob: float, kind: str) -> pd.DataFrame:
    """Columns mean to ess_tail, one row for each element of ``[chain, draw, element]``."""
    return _columns(summarise(draws, prob=prob, kind=kind), convergence(draws))


def _columns(summary: Summary, quality: Convergence) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "mean": summary.mean,
            "median": summary.median,
            "sd": summary.sd,
            "lower": summary.lower,
            "upper": summary.upper,
            "rhat": quality.rhat,
            "ess_bulk": quality.ess_bulk,
            "ess_tail": quality.ess_tail,
        }
    )


def summarise(draws: np.ndarray, *, prob: float = DEFAULT_PROB, kind: str = "equal-tailed") -> Summary:
    """Summaries over chains and draws; an element with a draw that is NaN is NaN throughout.

    Parameters
    ----------
    draws : np.ndarray, [chain, draw, element]
    prob, kind
        As in `patient_intervals`. Quantiles interpolate linearly (Hyndman and Fan's type 7). The
        HDI is the narrowest interval between two draws that holds ``floor(prob * draws)`` gaps, as
        in ArviZ.
    """
    check_interval(prob, kind)
    if draws.shape[0] * draws.shape[1] == 0:
        return Summary(*np.full((5, draws.shape[2]), np.nan))
    bounds = _narrowest if kind == "hdi" else _equal_tails

    def block_summary(block: np.ndarray) -> np.ndarray:
        flat = np.sort(block.reshape(len(block), -1), axis=1)
        flat[np.isnan(flat[:, -1])] = np.nan
        sd = flat.std(axis=1, ddof=1) if flat.shape[1] > 1 else np.full(len(flat), np.nan)
        return np.stack([flat.mean(axis=1), quantile_of_sorted(flat, 0.5), sd, *bounds(flat, prob)])

    with np.errstate(invalid="ignore"):
        return Summary(*over_elements(block_summary, draws, rows=5))


def choose_patient_variables(dataset: xr.Dataset, parameters: str | Sequence[str] | None) -> tuple[str, ...]:
    """The asked-for quantities, or all that every patient has; refuses a name the fit lacks."""
    known = patient_variables(dataset)
    if not known:
        raise SamplingError(Problem("fit posterior", "no variable along 'patient'", "per-patient parameters"))
    if parameters is None:
        return known
    asked = (parameters,) if isinstance(parameters, str) else tuple(parameters)
    if not asked:
        raise SamplingError(Problem("parameters", "an empty list", f"one or more of {', '.join(known)}"))
    problems = [
        Problem("parameters", repr(name), f"one of {', '.join(known)}", nearest(str(name), known))
        for name in asked
        if name not in known
    ]
    if problems:
        raise SamplingError(problems)
    return tuple(dict.fromkeys(asked))


def check_interval(prob: float, kind: str) -> None:
    """Refuse a probability outside (0, 1) or a kind that is not in `KINDS`."""
    problems = []
    is_number = isinstance(prob, int | float | np.number) and not isinstance(prob, bool)
    if not is_number or not 0 < prob < 1:
        as_percent = is_number and math.isfinite(prob) and 1 < prob < 100
        hint = f"did you mean {prob / 100:g}?" if as_percent else ""
        problems.append(Problem("prob", repr(prob), "a number between 0 and 1, such as 0.9", hint))
    if kind not in KINDS:
        problems.append(Problem("kind", repr(kind), f"one of {', '.join(KINDS)}", nearest(str(kind), KINDS)))
    if problems:
        raise SamplingError(problems)


def interval_words(prob: float, kind: str) -> str:
    """How the interval is named wherever it is shown, for example ``90% equal-tailed interval``."""
    return f"{100 * prob:.6g}% {'HDI' if kind == 'hdi' else 'equal-tailed interval'}"


def _equal_tails(ordered: np.ndarray, prob: float) -> tuple[np.ndarray, np.ndarray]:
    tail = (1 - prob) / 2
    return quantile_of_sorted(ordered, tail), quantile_of_sorted(ordered, 1 - tail)


def _narrowest(ordered: np.ndarray, prob: float) -> tuple[np.ndarray, np.ndarray]:
    gaps = min(int(np.floor(prob * ordered.shape[1])), ordered.shape[1] - 1)
    widths = ordered[:, gaps:] - ordered[:, : ordered.shape[1] - gaps]
    start = np.argmin(widths, axis=1)
    rows = np.arange(len(ordered))
    return ordered[rows, start], ordered[rows, start + gaps]
