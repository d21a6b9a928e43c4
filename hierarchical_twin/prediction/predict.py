"""The verb `predict`: what fitted and new patients would show, at any times, doses, inputs and covariates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.cohort import Cohort
from hierarchical_twin.cohort.asked import MeasuredRows, asked_at, read_asked, without_limits
from hierarchical_twin.cohort.table import open_table
from hierarchical_twin.errors import DataError, Problem
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.inference.label import variable_units
from hierarchical_twin.prediction.given import Effects, draw_places, effects_for, population_of
from hierarchical_twin.prediction.rows import evaluate_rows
from hierarchical_twin.prediction.source import model_of, own_patients
from hierarchical_twin.prediction.wandering import refuse_wandering, with_history

DRAWS = 400
"""Draws a prediction is made from, unless asked otherwise."""


def predict(
    fit: Fit,
    *,
    times: Sequence[float] | np.ndarray | None = None,
    rows: str | os.PathLike[str] | pd.DataFrame | None = None,
    patients: Sequence[str] | None = None,
    scenario: Mapping[str, Any] | None = None,
    draws: int | None = DRAWS,
    seed: int = 0,
) -> Prediction:
    """Predict measurements, and the parameters behind them, jointly over rows and patients.

    Parameters
    ----------
    fit : Fit
    times : sequence of float, optional
        Times in the spec's unit (or values of the coordinate, such as a concentration, where the mechanism
        has no time): every patient is predicted at each, every outcome, under their own doses, inputs
        and covariates.
    rows : path or pandas.DataFrame, optional
        What to predict, in the spec's columns; measurements may be blank or absent. A patient of the fit
        is predicted given their data, and keeps their doses, inputs and covariates unless a row says
        otherwise; a new label is a new patient, drawn from the population given their covariates. With
        neither `times` nor `rows`, the measured rows of the fit.
    patients : sequence of str, optional
        Only these of the fit's patients.
    scenario : mapping, optional
        Column to value, such as ``{"dose_mg": 50}``: doses, inputs or covariates as they might have been.
        A dose column is changed where a dose is given.
    draws : int, optional
        At most so many of the fit's draws, evenly spaced; all for None.
    seed : int
        Of new patients' effects and of measurement noise.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError
        A row cannot be read, a patient is not in the fit, or both `times` and `rows` are given.
    SamplingError
        The fit keeps neither its table nor, for its own patients, their draws; or a scenario is asked for
        under process noise.

    Notes
    -----
    Standard errors and numbers of trials of new measurements are those of `rows`; where there are none,
    the cohort's median.

    Under process noise the true value is that of a path of the state, drawn given the patient's measurements
    before and after, and no scenario can be asked for.
    """
    if times is not None and rows is not None:
        raise DataError(
            Problem("predict", "both times and rows", "one of them", "put the times into the rows")
        )
    source = model_of(fit)
    model, measured = _asked_model(source, times, rows, patients, scenario)
    chosen = draw_places(fit, draws)
    effects = effects_for(fit, source.cohort, model, chosen)
    with compilation_cache(), float64_on(choose_place("cpu", 1)):
        values = evaluate_rows(model, population_of(fit, model, chosen), effects, seed)
    return Prediction(
        rows=_row_table(model, measured, effects),
        individual=values.individual,
        population=values.population,
        replicates=values.replicates,
        new_patients=values.new_patients,
        residual_sd=values.residual_sd,
        patients=pd.DataFrame({"patient": model.cohort.patients, "is_new": effects.is_new}),
        parameters=values.parameters,
        units=variable_units(model),
        errors={node.name: node.error for node in model.graph.measurements},
    )


def _asked_model(
    source: Model,
    times: Sequence[float] | np.ndarray | None,
    rows: str | os.PathLike[str] | pd.DataFrame | None,
    patients: Sequence[str] | None,
    scenario: Mapping[str, Any] | None,
) -> tuple[Model, MeasuredRows]:
    own = own_patients(source.cohort, patients)
    if times is None and rows is None and not scenario and patients is None:
        found = source.cohort.rows
        return source, MeasuredRows(found["value"].to_numpy(float), found["censored"].to_numpy())
    if rows is not None:
        asked = open_table(rows)
    elif times is not None:
        asked = asked_at(source.spec, _checked_times(times), own)
    else:
        asked = open_table(source.cohort.table.iloc[_measured_places(source.cohort, own)])
    if scenario:
        refuse_wandering(source.spec, "scenario", "what they were given is part of where they have wandered")
    cohort, measured = read_asked(asked, source.spec, source.cohort, scenario)
    if rows is None and times is None:
        cohort, measured = _only_used(source.cohort, own, cohort, measured)
    if source.spec.process_noise:
        cohort = with_history(cohort, source.cohort)
    return build(without_limits(source.spec), cohort, parameterization="noncentered"), measured


def _checked_times(times: Sequence[float] | np.ndarray) -> np.ndarray:
    try:
        grid = np.asarray(times, dtype=float).ravel()
    except (TypeError, ValueError):
        raise DataError(Problem("predict times", repr(times), "numbers, such as [0, 10, 20]")) from None
    if not grid.size or not np.isfinite(grid).all():
        raise DataError(Problem("predict times", repr(times), "at least one number, all finite"))
    return grid


def _measured_places(cohort: Cohort, patients: tuple[str, ...]) -> np.ndarray:
    """Places in the table of the measured rows of some patients."""
    kept = cohort.rows["patient"].isin(set(patients)).to_numpy()
    return np.unique(cohort.rows["table_row"].to_numpy()[kept] - 1)


def _only_used(
    source: Cohort, patients: tuple[str, ...], cohort: Cohort, measured: MeasuredRows
) -> tuple[Cohort, MeasuredRows]:
    """Of rows that were read again, the outcomes that the fit has used; a wide row may hold others."""
    places = _measured_places(source, patients)
    rows = cohort.rows
    asked = pd.MultiIndex.from_arrays([places[rows["table_row"].to_numpy() - 1] + 1, rows["outcome"]])
    is_used = asked.isin(pd.MultiIndex.from_frame(source.rows[["table_row", "outcome"]]))
    kept = rows[is_used].assign(table_row=asked.get_level_values(0)[is_used]).reset_index(drop=True)
    return replace(cohort, rows=kept), MeasuredRows(measured.value[is_used], measured.censored[is_used])


def _row_table(model: Model, measured: MeasuredRows, effects: Effects) -> pd.DataFrame:
    rows = model.cohort.rows
    told = {"patient": rows["patient"].to_numpy(), "is_new": effects.is_new[rows["patient_index"].to_numpy()]}
    told |= {name: rows[name].to_numpy() for name in ("outcome", "time", *model.spec.inputs) if name in rows}
    told |= {"DV": measured.value, "censored": measured.censored, "table_row": rows["table_row"].to_numpy()}
    return pd.DataFrame(told)
