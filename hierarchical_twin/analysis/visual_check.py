"""Visual predictive checks: percentiles of the measurements over those of simulated trials, bin by bin.

Numbers only; `report.visual_check` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.bins import bin_edges, place_in_bins
from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval
from hierarchical_twin.analysis.limits import is_beyond, within_limits
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.strata import coordinate_of, strata_of
from hierarchical_twin.errors import Problem, SamplingError

PERCENTILES = (5.0, 50.0, 95.0)
"""The percentiles that are compared."""
_SHARES = tuple(percent / 100 for percent in PERCENTILES)


@dataclass(frozen=True, eq=False)
class VisualCheck:
    """Measurements of one outcome beside simulated ones.

    Attributes
    ----------
    outcome, unit : str
    coordinate : str
        What the bins run along: ``time``, or an input where the mechanism has no time.
    prob : float
        Probability inside the bands.
    draws : int
        Number of simulated trials. Each has its own draw of the population and new patients with the
        covariates and designs of the real ones, so that the bands hold the uncertainty of the parameters.
    correction : str
        How values were corrected by predictions, in words; empty for a plain check.
    bins : pd.DataFrame
        ``stratum, bin, lower_edge, upper_edge, middle`` (median coordinate), ``rows, patients``.
    percentiles : pd.DataFrame
        ``stratum, bin, middle, percentile, observed, simulated`` (median over trials), ``lower, upper,
        is_outside`` (observed is not inside the band; also where there is no band, or nothing observed to
        compare, because values are NaN).
    censored : pd.DataFrame
        Fraction beyond a limit of quantification: ``stratum, bin, middle, observed, simulated, lower,
        upper, is_outside``; no rows where nothing is censored.
    points : pd.DataFrame
        ``stratum, patient, coordinate, value`` (corrected), ``censored``.
    tail_probability : float
        Share of the simulated trials with at least as many percentiles outside the bands as the measurements
        have: small if the model is wrong. Percentiles share patients, so a binomial would be wrong. Only
        percentiles that have a band count, and trials without NaN in them; NaN where there are none.
    """

    outcome: str
    unit: str
    coordinate: str
    prob: float
    draws: int
    correction: str
    bins: pd.DataFrame
    percentiles: pd.DataFrame
    censored: pd.DataFrame
    points: pd.DataFrame
    tail_probability: float

    @property
    def is_corrected(self) -> bool:
        """Whether values were corrected by predictions."""
        return bool(self.correction)

    @property
    def outside(self) -> int:
        """Number of observed percentiles that are not inside a band."""
        return int(self.percentiles["is_outside"].to_numpy().sum())

    @property
    def without_band(self) -> int:
        """Number of percentiles that cannot be compared, because values are NaN."""
        return int((~_has_band(self.percentiles)).sum())

    @property
    def verdict(self) -> str:
        """How many observed percentiles are outside their bands, and how often that is by chance, in a sentence."""
        told = f"{self.outside} of {len(self.percentiles)} observed percentiles are outside their {self.prob:.0%} bands"
        if self.without_band:
            told += f", {self.without_band} of them because there are values that are not numbers"
        if not np.isfinite(self.tail_probability):
            return told
        whose = "of the others, so many" if self.without_band else "so many"
        return f"{told} ({whose} or more in {self.tail_probability:.1%} of the simulated trials)"


def visual_check(
    prediction: Prediction,
    outcome: str | None = None,
    *,
    bins: int | Sequence[float] | None = None,
    stratify: str | Mapping[str, object] | None = None,
    corrected: bool = False,
    prob: float = DEFAULT_PROB,
) -> VisualCheck:
    """Compare the 5th, 50th and 95th percentiles of measurements with those of simulated trials.

    Parameters
    ----------
    prediction : Prediction
        Of measured rows: `ht.predict(fit)`. Rows without a measurement are left out.
    outcome : str, optional
        The first by default.
    bins : int, sequence of float, or None
        See `bins.bin_edges`; the same for all strata.
    stratify : str or mapping, optional
        A column of the prediction's rows, or patient to stratum. A number with more than 6 values is cut at its
        median over patients.
    corrected : bool
        Whether to correct by predictions, so that patients with other doses or covariates can share a bin.
    prob : float
        Probability inside the bands, equal-tailed.

    Returns
    -------
    VisualCheck

    Raises
    ------
    SamplingError
        No such outcome or column, no measured row, a patient without a stratum, or edges that do not increase.

    Notes
    -----
    Measured and simulated values beyond a limit of quantification both count as being at it, in percentiles
    and before correction; the fraction of them is compared by itself.

    The correction multiplies a value by (median PRED of its bin) / PRED, with PRED the posterior mean of the
    prediction with effects at 0; where a PRED is not above 0 it adds the difference instead, as for data on the
    log scale. Measured and simulated values have the same factor.

    References
    ----------
    Holford (2005), PAGE 14, abstract 738. Karlsson and Holford (2008), PAGE 17, abstract 1434. Bergstrand, Hooker,
    Wallin and Karlsson (2011), AAPS Journal 13(2), doi:10.1208/s12248-011-9255-z.
    """
    check_interval(prob, "equal-tailed")
    own = _measured_part(prediction, outcome)
    name = str(own.rows["outcome"].iloc[0])
    coordinate = coordinate_of(own.rows)
    along = own.rows[coordinate].to_numpy(float)
    edges = bin_edges(along, bins)
    # A value in no bin takes no part, neither measured nor simulated.
    kept = np.flatnonzero(place_in_bins(along, edges) >= 0)
    if not len(kept):
        raise SamplingError(
            Problem("bins", f"no measured row of '{name}' inside", f"edges around its {coordinate}")
        )
    own, along = own.take(kept), along[kept]
    cells = _cells(own.rows, along, edges, strata_of(own.rows, stratify))
    measured = within_limits(own.rows, own.rows["DV"].to_numpy(float))
    data = _Values(measured, within_limits(own.rows, own.new_patients))
    beyond = _Values(
        (own.rows["censored"].to_numpy() != 0).astype(float), is_beyond(own.rows, own.new_patients)
    )
    correction = ""
    if corrected:
        data, correction = _correct(data, own.population.mean(axis=0), cells)
    points = pd.DataFrame(
        {
            "stratum": cells.stratum,
            "patient": own.rows["patient"].to_numpy(),
            "coordinate": along,
            "value": data.observed,
            "censored": own.rows["censored"].to_numpy(),
        }
    )
    observed, simulated = _percentiles(data, cells)
    percentiles = _percentile_table(observed, simulated, cells, prob)
    return VisualCheck(
        outcome=name,
        unit=own.units.get(name, ""),
        coordinate=coordinate,
        prob=float(prob),
        draws=own.draws,
        correction=correction,
        bins=cells.table,
        percentiles=percentiles,
        censored=_fraction_table(beyond, cells, prob),
        points=points,
        tail_probability=_tail_probability(percentiles, simulated),
    )


@dataclass(frozen=True, eq=False)
class _Values:
    """Measured ``[row]`` and simulated ``[draw, row]``."""

    observed: np.ndarray
    simulated: np.ndarray


@dataclass(frozen=True, eq=False)
class _Cells:
    """Bins within strata: `table` has a line for each, `places` the rows of each, `stratum` ``[row]``."""

    table: pd.DataFrame
    places: tuple[np.ndarray, ...]
    stratum: np.ndarray


def _measured_part(prediction: Prediction, outcome: str | None) -> Prediction:
    name = str(prediction.rows["outcome"].iloc[0]) if outcome is None else outcome
    own = prediction.select(name)
    measured = np.flatnonzero(np.isfinite(own.rows["DV"].to_numpy(float)))
    if not len(measured):
        raise SamplingError(
            Problem(
                f"prediction of '{name}'",
                "no measured row",
                "a prediction of measured rows",
                "ht.predict(fit)",
            )
        )
    return own.take(measured)


def _cells(rows: pd.DataFrame, along: np.ndarray, edges: np.ndarray, stratum: np.ndarray) -> _Cells:
    number, patients = place_in_bins(along, edges), rows["patient"].to_numpy()
    lines, places = [], []
    for word in dict.fromkeys(sorted(stratum)):
        for place in range(len(edges) - 1):
            at = np.flatnonzero((stratum == word) & (number == place))
            if not len(at):
                continue
            places.append(at)
            lines.append(
                {
                    "stratum": word,
                    "bin": place + 1,
                    "lower_edge": edges[place],
                    "upper_edge": edges[place + 1],
                    "middle": float(np.median(along[at])),
                    "rows": len(at),
                    "patients": len(np.unique(patients[at])),
                }
            )
    return _Cells(pd.DataFrame(lines), tuple(places), stratum)


def _correct(values: _Values, predicted: np.ndarray, cells: _Cells) -> tuple[_Values, str]:
    """Values as they would be at the median prediction of their bin, and how that was done in words."""
    target = np.full(len(predicted), np.nan)
    for at in cells.places:
        target[at] = np.median(predicted[at])
    if (predicted > 0).all():
        factor, words = target / predicted, "multiplied by median PRED of the bin / PRED"
        return _Values(values.observed * factor, values.simulated * factor), words
    added, words = target - predicted, "median PRED of the bin - PRED added (a PRED is not above 0)"
    return _Values(values.observed + added, values.simulated + added), words


def _percentiles(values: _Values, cells: _Cells) -> tuple[np.ndarray, np.ndarray]:
    """Observed ``[line]`` and simulated ``[draw, line]`` percentiles, line by line of the table; NaN if a value is."""
    observed = [_quantiles(values.observed[at], _SHARES) for at in cells.places]
    simulated = [_quantiles(values.simulated[:, at].T, _SHARES).T for at in cells.places]
    return np.concatenate(observed), np.concatenate(simulated, axis=1)


def _percentile_table(
    observed: np.ndarray, simulated: np.ndarray, cells: _Cells, prob: float
) -> pd.DataFrame:
    lines = np.repeat(np.arange(len(cells.places)), len(PERCENTILES))
    head = cells.table.loc[lines, ["stratum", "bin", "middle"]]
    return _with_band(
        head.assign(percentile=np.tile(PERCENTILES, len(cells.places))), observed, simulated, prob
    )


def _tail_probability(table: pd.DataFrame, simulated: np.ndarray) -> float:
    """Share of trials ``[draw, line]`` with as many percentiles outside their bands as observed, or more."""
    known = _has_band(table)
    lower, upper = table.loc[known, "lower"].to_numpy(), table.loc[known, "upper"].to_numpy()
    trials = simulated[:, known]
    trials = trials[~np.isnan(trials).any(axis=1)]
    if not trials.size:
        return float("nan")
    counts = ((trials < lower) | (trials > upper)).sum(axis=1)
    return float(np.mean(counts >= int(table.loc[known, "is_outside"].sum())))


def _has_band(table: pd.DataFrame) -> np.ndarray:
    return ~table[["observed", "lower", "upper"]].isna().to_numpy().any(axis=1)


def _quantiles(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Quantiles ``[share, ...]`` over the first axis, linear between neighbours; NaN where a value is.

    Unlike NumPy's they know infinite values: 2 is the median of 1, 2 and infinity.
    """
    ordered = np.sort(values, axis=0)
    place = np.round((len(values) - 1) * np.asarray(shares), 12)
    below = np.floor(place).astype(int)
    part = (place - below).reshape(-1, *[1] * (values.ndim - 1))
    low, high = ordered[below], ordered[np.minimum(below + 1, len(values) - 1)]
    with np.errstate(invalid="ignore"):
        between = (1 - part) * low + part * high
    found = np.where((part == 0) | (low == high), low, between)
    return np.where(np.isnan(ordered[-1]), np.nan, found)


def _fraction_table(beyond: _Values, cells: _Cells, prob: float) -> pd.DataFrame:
    observed = np.array([beyond.observed[at].mean() for at in cells.places])
    simulated = np.stack([beyond.simulated[:, at].mean(axis=1) for at in cells.places], axis=1)
    table = _with_band(cells.table.loc[:, ["stratum", "bin", "middle"]], observed, simulated, prob)
    return table if beyond.observed.any() else table.iloc[:0]


def _with_band(head: pd.DataFrame, observed: np.ndarray, simulated: np.ndarray, prob: float) -> pd.DataFrame:
    """Observed ``[line]``, and median and band of simulated ``[draw, line]`` but for NaN, beside the lines' names."""
    tail = (1 - prob) / 2
    bands = np.full((3, len(head)), np.nan)
    for line, trials in enumerate(simulated.T):
        known = trials[~np.isnan(trials)]
        if known.size:
            bands[:, line] = _quantiles(known, [tail, 0.5, 1 - tail])
    lower, middle, upper = bands
    return head.reset_index(drop=True).assign(
        observed=observed,
        simulated=middle,
        lower=lower,
        upper=upper,
        # Not "below or above": a comparison with NaN is false, and would count as inside.
        is_outside=~((observed >= lower) & (observed <= upper)),
    )
