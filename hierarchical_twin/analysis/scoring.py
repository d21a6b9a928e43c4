"""How good forecasts were: scores of weighted draws against what was measured then, and their table.

Forecasts are made elsewhere; here are CRPS, intervals and PIT of one value each, and means over patients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB
from hierarchical_twin.analysis.residuals import randomised_rank, row_uniforms
from hierarchical_twin.analysis.weighted import weighted_quantiles

TWIN, POPULATION, NO_POOLING = "twin", "population only", "no pooling"
METHODS = (TWIN, POPULATION, NO_POOLING)
"""Forecasts that are compared: the twin, one that knows none of the patient's records, one that knows nothing else."""
ALL = "all"
"""The horizon that holds every row."""
SCORE_COLUMNS = (
    "patient", "record", "method", "k", "outcome", "time", "ahead", "value", "censored",
    "median", "lower", "upper", "crps", "pit", "is_covered", "is_trustworthy",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scores:
    """Forecasts of measurements that were made later, each with its scores.

    Attributes
    ----------
    rows : pandas.DataFrame
        One line for each forecast: ``patient, record, method`` (one of `METHODS`), ``k`` (records known),
        ``outcome, time, ahead`` (time since the last known record; since the first one where k is 0),
        ``value, censored`` (0 measured, 1 below the value, -1 above it), ``median, lower, upper`` of the
        forecast, ``crps`` (in the outcome's unit, or of logarithms), ``pit``, ``is_covered`` (1, 0) and
        ``is_trustworthy`` (whether the twin had no doubts). CRPS and coverage are NaN where censored.
    prob : float
        Probability inside the intervals.
    horizons : tuple of float
        Ends of the groups of `ahead`, in the spec's unit of time; empty for one group.
    units : mapping
        Of outcomes, and of ``time``.
    logged : tuple of str
        Outcomes under lognormal error: their CRPS is that of logarithms, where 0.1 is about 10 %. On their own
        scale the far tail of a wide forecast would be all that counts.
    """

    rows: pd.DataFrame
    prob: float = DEFAULT_PROB
    horizons: tuple[float, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    logged: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """Scores by method, known records, outcome and horizon.

        Returns
        -------
        pandas.DataFrame
            ``method, k, outcome, horizon`` (``all``, and each group where there are any), then

            - ``records, patients``: how many forecasts of how many;
            - ``crps, crps_se``: mean; ``crps_median``; ``crps_ratio, crps_ratio_se``: mean over that of
              the population alone for the same records, below 1 where the patient's records helped;
            - ``coverage, coverage_se``: share inside the interval; ``width``: median width of it;
            - ``pit_mean, pit_sd``: 0.5 and 0.289 where forecasts are right;
            - ``doubted``: share of forecasts of a twin that had doubts;
            - ``unit, prob``, and ``crps_unit``: the same unit, or ``log``.

            Standard errors take patients as independent, not records; NaN with one patient.
        """
        lines = []
        for (k, outcome), own in self.rows.groupby(["k", "outcome"], sort=False):
            for horizon, part in self._parts(own):
                reference = part[part["method"] == POPULATION].set_index(["patient", "record"])["crps"]
                for method in METHODS:
                    chosen = part[part["method"] == method]
                    if len(chosen):
                        head = {"method": method, "k": k, "outcome": outcome, "horizon": horizon}
                        lines.append(head | _line(chosen, reference))
        frame = pd.DataFrame(lines)
        units = [self.units.get(name, "1") for name in frame["outcome"]]
        order = {method: place for place, method in enumerate(METHODS)}
        is_log = frame["outcome"].isin(self.logged)
        frame = frame.assign(unit=units, prob=self.prob, crps_unit=np.where(is_log, "log", units))
        frame = frame.sort_values("method", key=lambda names: names.map(order), kind="stable")
        return frame.reset_index(drop=True)

    def _parts(self, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
        yield ALL, rows
        if not self.horizons:
            return
        place = np.searchsorted(self.horizons, rows["ahead"].to_numpy(float), side="left")
        for number, name in enumerate(horizon_names(self.horizons)):
            if (place == number).any():
                yield name, rows[place == number]


def horizon_names(horizons: tuple[float, ...]) -> tuple[str, ...]:
    """Words for the groups that some ends make, one more than there are ends."""
    between = [f"{low:g} to {high:g}" for low, high in pairwise(horizons)]
    return (f"up to {horizons[0]:g}", *between, f"beyond {horizons[-1]:g}")


def weighted_crps(draws: np.ndarray, weights: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of the distribution that weighted draws are.

    Parameters
    ----------
    draws : ndarray, shape [draw, row]
        Those that are not finite are left out.
    weights : ndarray, shape [draw]
        Not negative.
    observed : ndarray, shape [row]

    Returns
    -------
    ndarray, shape [row]
        In the unit of the draws, never negative; 0 is best. For one certain value it is the absolute error.
        NaN where nothing was observed, or no draw is left.

    Notes
    -----
    Of n draws it is too large by about a share 1/n of their mean distance; an estimate without that can be
    negative, and is where a few far draws are most of the distance.

    References
    ----------
    Gneiting and Raftery (2007), doi:10.1198/016214506000001437, equation 21.
    """
    found = np.full(len(observed), np.nan)
    for at, value in enumerate(observed):
        kept = np.isfinite(draws[:, at]) & (weights > 0)
        if not np.isfinite(value) or not kept.any():
            continue
        # From the observed value, so that no digits are lost where draws are far from 0.
        apart = draws[kept, at] - value
        order = np.argsort(apart)
        apart, share = apart[order], weights[kept][order] / weights[kept].sum()
        ends = np.cumsum(share)
        # The integral of (F - 1[x > 0])^2, piece by piece: a sum of terms that are not negative.
        edges = np.concatenate([apart, [0.0]])
        heights = np.concatenate([ends, [0.0]])
        order = np.argsort(edges, kind="stable")
        edges, heights = edges[order], np.maximum.accumulate(heights[order])
        is_after = edges[:-1] >= 0
        found[at] = np.sum(np.diff(edges) * np.where(is_after, (1.0 - heights[:-1]) ** 2, heights[:-1] ** 2))
    return found


def score_rows(
    rows: pd.DataFrame, draws: np.ndarray, weights: np.ndarray, prob: float, logged: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Rows with the scores of their forecast.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``patient, outcome, value, censored``.
    draws : ndarray, shape [draw, row]
    weights : ndarray, shape [draw]
    prob : float
    logged : tuple of str
        Outcomes whose CRPS is that of logarithms.

    Returns
    -------
    pandas.DataFrame
        With ``median, lower, upper, crps, pit, is_covered``.
    """
    value, censored = rows["value"].to_numpy(float), rows["censored"].to_numpy()
    measured = np.where(censored == 0, value, np.nan)
    probs = (0.5, (1 - prob) / 2, (1 + prob) / 2)
    limits = np.full((3, len(rows)), np.nan)
    below, ties, sizes = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows))
    for at in range(len(rows)):
        kept = np.isfinite(draws[:, at]) & (weights > 0)
        if kept.any():
            own, share = draws[kept, at], weights[kept] / weights[kept].sum()
            limits[:, at] = weighted_quantiles(own, share, probs)
            sizes[at] = 1 / np.sum(share**2)
            below[at] = sizes[at] * share[own < value[at]].sum()
            ties[at] = sizes[at] * share[own == value[at]].sum()
    uniform = row_uniforms(rows, "forecast")
    pit = randomised_rank(below, ties, sizes, (censored, uniform))
    is_covered = (limits[1] <= measured) & (measured <= limits[2])
    is_known = np.isfinite(measured) & np.isfinite(limits[0])
    is_log = rows["outcome"].isin(logged).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(is_log, np.log(draws), draws), np.where(is_log, np.log(measured), measured)
    return rows.assign(
        median=limits[0],
        lower=limits[1],
        upper=limits[2],
        crps=weighted_crps(scaled[0], weights, scaled[1]),
        pit=np.where(sizes > 0, pit, np.nan),
        is_covered=np.where(is_known, is_covered.astype(float), np.nan),
    )


def _line(rows: pd.DataFrame, reference: pd.Series) -> dict[str, float]:
    crps, covered = rows["crps"].to_numpy(float), rows["is_covered"].to_numpy(float)
    alone = reference.reindex(pd.MultiIndex.from_frame(rows[["patient", "record"]])).to_numpy(float)
    patients = rows["patient"].to_numpy()
    mean, mean_se = _ratio(crps, np.ones(len(crps)), patients)
    ratio, ratio_se = _ratio(crps, alone, patients)
    coverage, coverage_se = _ratio(covered, np.ones(len(covered)), patients)
    pit = rows["pit"].to_numpy(float)
    pit = pit[np.isfinite(pit)]
    return {
        "records": len(rows),
        "patients": rows["patient"].nunique(),
        "crps": mean,
        "crps_se": mean_se,
        "crps_median": float(np.median(crps[np.isfinite(crps)])) if np.isfinite(crps).any() else np.nan,
        "crps_ratio": ratio,
        "crps_ratio_se": ratio_se,
        "coverage": coverage,
        "coverage_se": coverage_se,
        "width": float((rows["upper"] - rows["lower"]).median()),
        "pit_mean": float(pit.mean()) if len(pit) else np.nan,
        "pit_sd": float(pit.std(ddof=1)) if len(pit) > 1 else np.nan,
        "doubted": float(1 - rows["is_trustworthy"].mean()),
    }


def _ratio(above: np.ndarray, below: np.ndarray, patients: np.ndarray) -> tuple[float, float]:
    """Ratio of two sums, and its standard error with patients as independent."""
    known = np.isfinite(above) & np.isfinite(below)
    if not known.any() or below[known].sum() == 0:
        return np.nan, np.nan
    ratio = above[known].sum() / below[known].sum()
    sums = pd.Series(above[known] - ratio * below[known]).groupby(patients[known]).sum().to_numpy()
    count = len(sums)
    if count < 2:
        return float(ratio), np.nan
    return float(ratio), float(np.sqrt(count / (count - 1) * np.sum(sums**2)) / abs(below[known].sum()))
