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
        is_outside`` (observed is outside the band).
    censored : pd.DataFrame
        Fraction beyond a limit of quantification: ``stratum, bin, middle, observed, simulated, lower,
        upper, is_outside``; no rows where nothing is censored.
    points : pd.DataFrame
        ``stratum, patient, coordinate, value`` (corrected), ``censored``.
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

    @property
    def is_corrected(self) -> bool:
        """Whether values were corrected by predictions."""
        return bool(self.correction)

    @property
    def verdict(self) -> str:
        """How many observed percentiles are outside their bands, in a sentence."""
        total, outside = len(self.percentiles), int(self.percentiles["is_outside"].to_numpy().sum())
        expected = (1 - self.prob) * total
        return (
            f"{outside} of {total} observed percentiles are outside their {self.prob:.0%} bands "
            f"(about {expected:.2g} are expected of a model that is right)"
        )


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
    return VisualCheck(
        outcome=name,
        unit=own.units.get(name, ""),
        coordinate=coordinate,
        prob=float(prob),
        draws=own.draws,
        correction=correction,
        bins=cells.table,
        percentiles=_percentile_table(data, cells, prob),
        censored=_fraction_table(beyond, cells, prob),
        points=points,
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


def _percentile_table(values: _Values, cells: _Cells, prob: float) -> pd.DataFrame:
    frames = []
    for number, at in enumerate(cells.places):
        observed = np.percentile(values.observed[at], PERCENTILES)
        finite = np.isfinite(values.simulated[:, at]).all(axis=1)
        simulated = np.percentile(values.simulated[np.ix_(finite, at)], PERCENTILES, axis=1).T
        head = cells.table.loc[[number] * len(PERCENTILES), ["stratum", "bin", "middle"]]
        frames.append(_with_band(head.assign(percentile=PERCENTILES), observed, simulated, prob))
    return pd.concat(frames, ignore_index=True)


def _fraction_table(beyond: _Values, cells: _Cells, prob: float) -> pd.DataFrame:
    observed = np.array([beyond.observed[at].mean() for at in cells.places])
    simulated = np.stack([beyond.simulated[:, at].mean(axis=1) for at in cells.places], axis=1)
    table = _with_band(cells.table.loc[:, ["stratum", "bin", "middle"]], observed, simulated, prob)
    return table if beyond.observed.any() else table.iloc[:0]


def _with_band(head: pd.DataFrame, observed: np.ndarray, simulated: np.ndarray, prob: float) -> pd.DataFrame:
    """Observed ``[line]``, and median and band of simulated ``[draw, line]``, beside the lines' names."""
    tail = (1 - prob) / 2
    if len(simulated):
        lower, middle, upper = np.quantile(simulated, [tail, 0.5, 1 - tail], axis=0)
    else:
        lower = middle = upper = np.full(len(head), np.nan)
    return head.reset_index(drop=True).assign(
        observed=observed,
        simulated=middle,
        lower=lower,
        upper=upper,
        is_outside=(observed < lower) | (observed > upper),
    )
