"""What the page predicts from a fit: its measured rows, and a curve for each patient.

A fit that keeps no table or no draws of its patients cannot be predicted from; then the page says so, and
shows what the fit itself holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import summarise
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.strata import coordinate_of
from hierarchical_twin.analysis.variables import labels_of, patients_of
from hierarchical_twin.dims import CHAIN, DRAW, OBSERVED_DATA, PATIENT, POSTERIOR_PREDICTIVE, observation_dim
from hierarchical_twin.errors import SamplingError, TwinError
from hierarchical_twin.inference.fit import Fit

_CURVE_POINTS, _FEWER_POINTS, _MANY = 40, 14, 500
_ROWS_AT_ONCE = 120_000
_NUMBERS_AT_ONCE = 12_000_000
_MOST_DRAWS, _LEAST_DRAWS = 1_000, 100
_DECADES = 30
_BESIDE = 0.05  # of a patient's follow-up, drawn beyond their last measurement


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predictions the page draws on.

    Parameters
    ----------
    measured : Prediction or None
        The fitted rows; None where the fit cannot be predicted from.
    rows : pd.DataFrame
        Row table of the measurements: patient, outcome, place (time or coordinate), DV, censored, and what of
        PRED, IPRED, limits, residuals the fit allows.
    curves : pd.DataFrame
        patient, outcome, place, median, lower, upper, lower_new, upper_new, population; may be empty.
    coordinate : str
        ``time``, an input's name, or ``row``.
    why_not : str
        Why there is no prediction; empty where there is one.
    """

    measured: Prediction | None
    rows: pd.DataFrame
    curves: pd.DataFrame
    coordinate: str
    why_not: str


def predict_page(fit: Fit, *, prob: float, seed: int = 0) -> Predicted:
    """Predict the measured rows of a fit, and curves between them."""
    from hierarchical_twin.prediction.predict import (
        predict,  # imports JAX, which a page without it can do without
    )

    try:
        measured = predict(fit, seed=seed)
    except TwinError as error:
        rows, coordinate = _stored_rows(fit, prob)
        return Predicted(None, rows, pd.DataFrame(), coordinate, _reason(error))
    rows = measured.table(prob=prob)
    coordinate = _coordinate_of(rows)
    place = rows[coordinate] if coordinate in rows else np.arange(len(rows), dtype=float)
    rows = rows.assign(place=np.asarray(place, dtype=float))
    curves = pd.DataFrame()
    if coordinate != "row":
        curves = _curves(fit, rows, prob, seed)
    return Predicted(measured, rows, curves, coordinate, "")


def curve_grid(place: np.ndarray, *, is_time: bool = True, points: int = _CURVE_POINTS) -> np.ndarray:
    """Where curves are evaluated: half evenly over the follow-up, half where measurements are dense.

    Parameters
    ----------
    place : np.ndarray, [row]
        Times (or coordinates) of all measurements.
    is_time : bool
        Otherwise coordinates that run over decades, such as concentrations, are spaced evenly in logarithm.
    points : int
        About how many.
    """
    low, high = min(0.0, float(place.min())), float(place.max())
    if high <= low:
        return np.array([low])
    positive = place[place > 0]
    if not is_time and low == 0 and high > _DECADES * positive.min():
        return np.concatenate([[0.0], np.geomspace(positive.min(), high, points)])
    even = np.linspace(low, high + _BESIDE * (high - low), points - points // 2)
    dense = np.quantile(place, np.linspace(0, 1, points // 2))
    return np.unique(np.concatenate([even, dense]))


def _curves(fit: Fit, rows: pd.DataFrame, prob: float, seed: int) -> pd.DataFrame:
    from hierarchical_twin.prediction.predict import predict

    patients = labels_of(patients_of(fit.tree), PATIENT)
    outcomes = rows["outcome"].nunique()
    points = _CURVE_POINTS if len(patients) <= _MANY else _FEWER_POINTS
    grid = curve_grid(rows["place"].to_numpy(), is_time=_coordinate_of(rows) == "time", points=points)
    frames = []
    for some in _batches(patients, max(1, _ROWS_AT_ONCE // (len(grid) * outcomes))):
        count = len(some) * len(grid) * outcomes
        draws = int(np.clip(_NUMBERS_AT_ONCE // count, _LEAST_DRAWS, _MOST_DRAWS))
        try:
            found = predict(fit, times=grid, patients=some, draws=draws, seed=seed)
        except TwinError:  # a mechanism whose coordinates cannot be asked for: points are joined instead
            return pd.DataFrame()
        frames.append(curve_table(found, prob))
    return _within_follow_up(pd.concat(frames, ignore_index=True), rows)


def _batches(labels: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(labels), size):
        yield labels[start : start + size]


def curve_table(found: Prediction, prob: float) -> pd.DataFrame:
    """Curves of predicted rows, as `Predicted.curves` holds them; intervals as `Prediction.table` gives them."""
    own = summarise(found.individual[None], prob=prob)
    new = summarise(found.replicates[None], prob=prob)
    place = found.rows[_coordinate_of(found.rows)].to_numpy(float)
    return pd.DataFrame(
        {
            "patient": found.rows["patient"].astype(str).to_numpy(),
            "outcome": found.rows["outcome"].to_numpy(),
            "place": place,
            "median": own.median,
            "lower": own.lower,
            "upper": own.upper,
            "lower_new": new.lower,
            "upper_new": new.upper,
            "population": np.median(found.population, axis=0),
        }
    )


def _within_follow_up(curves: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Curves no further than shortly after each patient's last measurement of any outcome."""
    last = rows.groupby("patient")["place"].max()
    first = min(0.0, float(rows["place"].min()))
    limit = curves["patient"].map(last + _BESIDE * (last - first))
    return curves[curves["place"] <= limit.to_numpy() + 1e-12]


def _coordinate_of(rows: pd.DataFrame) -> str:
    """What rows run along; where there is nothing, their number."""
    try:
        return coordinate_of(rows)
    except SamplingError:
        return "row"


def _stored_rows(fit: Fit, prob: float) -> tuple[pd.DataFrame, str]:
    """Rows out of the fit's own groups, with a band where replicates were kept."""
    if OBSERVED_DATA not in fit.tree.children:
        return pd.DataFrame(columns=["patient", "outcome", "place", "DV", "censored"]), "row"
    observed = fit.tree[OBSERVED_DATA].to_dataset()
    frames = [_stored_outcome(fit, str(name), prob) for name in observed.data_vars]
    rows = pd.concat(frames, ignore_index=True)
    coordinate = _coordinate_of(rows)
    place = rows[coordinate] if coordinate in rows else np.arange(len(rows), dtype=float)
    return rows.assign(place=np.asarray(place, dtype=float)), coordinate


def _stored_outcome(fit: Fit, outcome: str, prob: float) -> pd.DataFrame:
    observed = fit.tree[OBSERVED_DATA].to_dataset()[outcome]
    told = {str(name).removesuffix(f"_{outcome}"): values.values for name, values in observed.coords.items()}
    frame = pd.DataFrame({"patient": told["patient"].astype(str), "outcome": outcome, "time": np.nan})
    ignored = ("patient", "row", "censored", "observation")
    for name, values in told.items():
        if name not in ignored and values.dtype.kind in "iuf":
            frame[name] = values
    frame = frame.assign(DV=observed.values, censored=told.get("censored", np.zeros(len(frame), dtype=int)))
    if POSTERIOR_PREDICTIVE in fit.tree.children:
        draws = fit.tree[POSTERIOR_PREDICTIVE].to_dataset()[outcome]
        band = summarise(draws.transpose(CHAIN, DRAW, observation_dim(outcome)).values, prob=prob)
        frame = frame.assign(IPRED=band.mean, lower_new=band.lower, upper_new=band.upper)
    return frame


def _reason(error: TwinError) -> str:
    problem = error.problems[0]
    return (
        f"{problem.got}. {problem.hint[:1].upper()}{problem.hint[1:]}." if problem.hint else f"{problem.got}."
    )
