"""The patients' part of the page: one compact row each, and what is drawn of each on demand.

Numbers are kept to six significant digits, those of rows to five, of curves to four.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import interval_words
from hierarchical_twin.analysis.variables import (
    errors_of,
    labels_of,
    links_of,
    patients_of,
    spec_part,
    units_of,
)
from hierarchical_twin.dims import NO_POOLING, PATIENT
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.forest import forest_figure
from hierarchical_twin.report.page.numbers import kept
from hierarchical_twin.report.page.pictures import picture_of
from hierarchical_twin.report.page.predicted import Predicted
from hierarchical_twin.report.page.sections import Absent, PatientsSection, Picture
from hierarchical_twin.report.shrinkage import LINKS, population_values

PATIENTS_PER_BLOCK = 100
STATISTICS = ("mean", "median", "sd", "lower", "upper", "rhat", "ess_bulk", "ess_tail")
_ROW_COLUMNS = (
    "place", "DV", "censored", "PRED", "IPRED", "lower", "upper", "lower_new", "upper_new",
    "EPRED", "IRES", "IWRES", "NPDE", "PIT",
)  # fmt: skip
_CURVE_COLUMNS = ("place", "median", "lower", "upper", "lower_new", "upper_new", "population")
_DIGITS, _CURVE_DIGITS = 5, 4
_MOST_FORESTS = 4


def gather_patients(fit: Fit, intervals: pd.DataFrame, predicted: Predicted) -> PatientsSection:
    """Every patient's estimates, measurements, curve and shrinkage, compact.

    Parameters
    ----------
    fit : Fit
    intervals : pd.DataFrame
        `Fit.intervals`.
    predicted : Predicted
    """
    labels = labels_of(patients_of(fit.tree), PATIENT)
    names = tuple(dict.fromkeys(intervals["parameter"]))
    columns = tuple(name for name in _ROW_COLUMNS if name in predicted.rows)
    outcomes = tuple(dict.fromkeys(predicted.rows["outcome"]))
    shrinkage = fit.patient_shrinkage()
    head = {
        "interval": interval_words(intervals["prob"].iloc[0], intervals["kind"].iloc[0]),
        "prob": float(intervals["prob"].iloc[0]),
        "statistics": list(STATISTICS),
        "parameters": [_parameter(fit, name, intervals) for name in names],
        "effects": list(dict.fromkeys(shrinkage["effect"])),
        "outcomes": [_outcome(fit, str(name), predicted.rows) for name in outcomes],
        "coordinate": _coordinate(fit, predicted),
        "row_columns": list(columns),
        "curve_columns": list(_CURVE_COLUMNS),
        "block": PATIENTS_PER_BLOCK,
        "count": len(labels),
    }
    rows = _rows(labels, intervals, shrinkage, predicted.rows)
    details = _details(fit, labels, names, outcomes, predicted)
    blocks = tuple(
        details[start : start + PATIENTS_PER_BLOCK] for start in range(0, len(details), PATIENTS_PER_BLOCK)
    )
    return PatientsSection(
        interval=str(head["interval"]),
        head=head,
        rows=tuple(rows),
        blocks=blocks,
        pictures=_forests(fit, names, head),
        absent=_absent(predicted),
    )


def _absent(predicted: Predicted) -> tuple[Absent, ...]:
    if not predicted.why_not:
        return ()
    what = "Curves between measurements, residuals and the population's curve"
    if "lower_new" not in predicted.rows:
        what += ", and the band of each measurement"
    return (Absent(what, f"This fit cannot be predicted from: {predicted.why_not}"),)


def _parameter(fit: Fit, name: str, intervals: pd.DataFrame) -> dict[str, Any]:
    mine = intervals[intervals["parameter"] == name]
    link = links_of(fit.tree).get(name, "identity")
    medians, limits = mine["median"].to_numpy(), mine[["lower", "upper"]].to_numpy().ravel()
    limits, medians = limits[np.isfinite(limits)], medians[np.isfinite(medians)]
    low, high = (float(limits.min()), float(limits.max())) if limits.size else (0.0, 1.0)
    is_log = low > 0 and (link == "log" or high > 20 * low)
    spread = np.ptp(medians) if medians.size else 0.0
    return {
        "name": name,
        "unit": _pretty(str(mine["unit"].iloc[0])),
        "declared": str(mine["unit"].iloc[0]),
        "scale": "log" if is_log else "linear",
        "low": kept([low])[0],
        "high": kept([high])[0],
        "varies": bool(len(mine) == 1 or spread > 1e-9 * np.abs(medians).max(initial=0.0)),
    }


def _outcome(fit: Fit, name: str, rows: pd.DataFrame) -> dict[str, Any]:
    values = rows.loc[rows["outcome"] == name, "DV"].to_numpy(float)
    is_log = errors_of(fit.tree).get(name) == "lognormal" and bool(np.nanmin(values) > 0)
    return {"name": name, "unit": _pretty(units_of(fit.tree).get(name, "1")), "log": is_log}


def _coordinate(fit: Fit, predicted: Predicted) -> dict[str, Any]:
    word = predicted.coordinate
    keys = ("time", "unit") if word == "time" else ("inputs", word, "unit")
    unit = "" if word == "row" else str(spec_part(fit.tree, *keys) or "1")
    place = predicted.rows["place"].to_numpy(float)
    positive = place[place > 0]
    # Concentrations run over decades, often with a zero for the control well.
    is_wide = word != "time" and positive.size > 0 and positive.max() > 30 * positive.min()
    threshold = kept([positive.min()])[0] if is_wide else None
    label = "measurement number" if word == "row" else word
    return {"name": label, "unit": _pretty(unit), "decades_from": threshold}


def _pretty(unit: str) -> str:
    return (
        ""
        if unit == "1"
        else unit.replace("^2", "²").replace("^3", "³").replace("**2", "²").replace("**3", "³")
    )


def _rows(
    labels: tuple[str, ...], intervals: pd.DataFrame, shrinkage: pd.DataFrame, measured: pd.DataFrame
) -> list[list[Any]]:
    """``[label, measurements, outside, estimates[parameter][statistic], shrinkage[effect]]`` of each patient."""
    wide = np.array([kept(intervals[word]) for word in STATISTICS], dtype=object)
    estimates = wide.reshape(len(STATISTICS), -1, len(labels)).transpose(2, 1, 0).tolist()
    own = np.array(kept(shrinkage["shrinkage"], 4), dtype=object).reshape(-1, len(labels)).T.tolist()
    counts = measured["patient"].astype(str).value_counts()
    outside = _outside(measured)
    return [
        [label, int(counts.get(label, 0)), outside.get(label), estimates[at], own[at] if own else []]
        for at, label in enumerate(labels)
    ]


def _outside(measured: pd.DataFrame) -> Mapping[str, int]:
    """Number of each patient's uncensored measurements outside the band of a new measurement."""
    if "lower_new" not in measured:
        return {}
    value = measured["DV"].to_numpy(float)
    is_out = (value < measured["lower_new"].to_numpy()) | (value > measured["upper_new"].to_numpy())
    is_out &= measured["censored"].to_numpy() == 0
    found = pd.Series(is_out).groupby(measured["patient"].astype(str).to_numpy()).sum()
    return {str(label): int(count) for label, count in found.items()}


def _details(
    fit: Fit,
    labels: tuple[str, ...],
    names: tuple[str, ...],
    outcomes: tuple[str, ...],
    predicted: Predicted,
) -> list[list[Any]]:
    """``[rows[outcome][column], curve[outcome][column], journey[parameter]]`` of each patient."""
    columns = tuple(name for name in _ROW_COLUMNS if name in predicted.rows)
    rows = _by_patient(predicted.rows, columns, _DIGITS)
    curves = _by_patient(predicted.curves, _CURVE_COLUMNS, _CURVE_DIGITS)
    journeys = _journeys(fit, names, len(labels))
    return [
        [
            [rows.get((label, outcome), []) for outcome in outcomes],
            [curves.get((label, outcome), []) for outcome in outcomes],
            [journey and journey[at] for journey in journeys],
        ]
        for at, label in enumerate(labels)
    ]


def _by_patient(
    frame: pd.DataFrame, columns: tuple[str, ...], digits: int
) -> dict[tuple[str, str], list[Any]]:
    """(patient, outcome) to their numbers, column by column, in the order of their place."""
    if frame.empty:
        return {}
    ordered = frame.sort_values("place", kind="stable")
    numbers = [kept(ordered[name], digits) for name in columns]
    keys = [ordered["patient"].astype(str).to_numpy(), ordered["outcome"].to_numpy()]
    places = ordered.reset_index(drop=True).groupby(keys, sort=False).indices
    return {
        (str(patient), str(outcome)): [[column[at] for at in found] for column in numbers]
        for (patient, outcome), found in places.items()
    }


def _journeys(fit: Fit, names: tuple[str, ...], patients: int) -> list[list[list[float | None]] | None]:
    """Of each parameter and patient: own-data estimate, population value, share of the distance kept.

    The share is taken on the scale of the link, from the population's value to the own estimate; None for
    a parameter that has no estimate without pooling.
    """
    if NO_POOLING not in fit.tree.children:
        return [None] * len(names)
    stored = fit.tree[NO_POOLING].to_dataset()
    order = patients_of(fit.tree)[PATIENT]
    journeys: list[list[list[float | None]] | None] = []
    for name in names:
        if name not in stored:
            journeys.append(None)
            continue
        link = links_of(fit.tree).get(name, "identity")
        own = np.asarray(stored[name].sel({PATIENT: order}).values, dtype=np.float64)
        population = population_values(fit, name, link, np.arange(patients))
        pooled = fit.intervals(name)["median"].to_numpy()
        forward, _ = LINKS[link]
        with np.errstate(divide="ignore", invalid="ignore"):
            start = forward(population)
            share = (forward(pooled) - start) / (forward(own) - start)
        told = (kept(values, _DIGITS) for values in (own, population, share))
        journeys.append([list(one) for one in zip(*told, strict=True)])
    return journeys


def _forests(fit: Fit, names: tuple[str, ...], head: Mapping[str, Any]) -> tuple[Picture, ...]:
    varying = [name for name, words in zip(names, head["parameters"], strict=True) if words["varies"]]
    return tuple(
        picture_of(f"forest-{at}", lambda name=name: forest_figure(fit, name))
        for at, name in enumerate(varying[:_MOST_FORESTS])
    )
