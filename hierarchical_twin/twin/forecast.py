"""Forecasts of a twin, and what they are asked for: `forecast`, `probability_of`, `compare_plans`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.statements import Chance
from hierarchical_twin.cohort.table import open_table
from hierarchical_twin.errors import DataError, Problem
from hierarchical_twin.prediction.predict import predict
from hierarchical_twin.prediction.statements import POPULATION, probability
from hierarchical_twin.twin.as_fit import DRAWS, as_fit
from hierarchical_twin.twin.chances import limited
from hierarchical_twin.twin.course import Plan
from hierarchical_twin.twin.twin import Twin


def forecast(
    twin: Twin,
    times: Sequence[float] | np.ndarray | None = None,
    *,
    rows: str | os.PathLike[str] | pd.DataFrame | None = None,
    plan: Plan | None = None,
    scenario: Mapping[str, Any] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Prediction:
    """Predict a twin's measurements, to any horizon, under any plan.

    Parameters
    ----------
    twin : Twin
    times : sequence of float, optional
        In the spec's unit, past or to come (values of the coordinate for a mechanism without time); every
        outcome is predicted at each.
    rows : path or pandas.DataFrame, optional
        What to predict, in the spec's columns, as in `predict`; the patient's column may be left out. Doses
        or inputs in them stand in place of all the twin's own. With neither `times` nor `rows`, what has
        been measured.
    plan : DataFrame, mapping or sequence of mappings, optional
        Doses and inputs to come: rows in the spec's columns, beside the twin's records.
    scenario : mapping, optional
        Column to value, such as ``{"dose_mg": 50}``: doses, inputs or covariates as they might be, past ones
        too.
    draws : int
        Of equal weight, resampled from the particles.
    seed : int
        Of the resampling and of measurement noise.

    Returns
    -------
    Prediction
        ``individual`` is the patient's true value, ``replicates`` a new measurement, each ``[draw, row]``;
        ``table()`` gives means and intervals.

    Raises
    ------
    DataError
        A row or a time cannot be read, both `times` and `rows` are given, or nothing was measured yet and
        neither is.
    """
    fit = as_fit(twin, draws, plan=plan, seed=seed)
    if times is None and rows is None and fit.model.cohort.rows.empty:
        got = f"no measurement of '{twin.patient}' yet"
        raise DataError(Problem("forecast", got, "times, or rows in the spec's columns"))
    asked = rows if rows is None else _own_rows(twin, rows)
    return predict(fit, times=times, rows=asked, scenario=scenario, draws=None, seed=seed)


def probability_of(
    twin: Twin,
    statements: str | Sequence[str],
    *,
    plan: Plan | None = None,
    scenario: Mapping[str, Any] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Probability that something is true of a twin's patient now.

    Parameters
    ----------
    twin : Twin
    statements : str or sequence of str
        As in `probability`: ``S_I < 2e-4``, ``volume > 10 cm^3 at 90``, ``measured volume < 5 at 60 day``.
    plan, scenario, draws, seed
        As in `forecast`.

    Returns
    -------
    pandas.DataFrame
        ``patient, statement, probability, lower, upper, ess, prob``: one row for each statement, as
        `probability` gives them; draws are worth no more than the particles they come from.

    Raises
    ------
    SamplingError
        A statement cannot be read, or names what the twin does not have.
    DataError
        A column or a plan cannot be read.
    """
    fit = as_fit(twin, draws, plan=plan, seed=seed)
    table = probability(fit, statements, scenario=scenario, draws=None, seed=seed)
    own = table[~table["is_new"]].drop(columns="is_new").reset_index(drop=True)
    chance = Chance(*(own[name].to_numpy() for name in ("probability", "lower", "upper", "ess")))
    known = limited(chance, twin, own["patient"].to_numpy() == POPULATION)
    return own.assign(lower=known.lower, upper=known.upper, ess=known.ess)


def compare_plans(
    twin: Twin,
    plans: Mapping[str, Plan | None],
    statements: str | Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Probability of statements under each of several plans: doses, schedules or inputs to choose among.

    Parameters
    ----------
    twin : Twin
    plans : mapping
        Name to doses and inputs to come, as in `forecast`; None for nothing more.
    statements, draws, seed
        As in `probability_of`; draws and noise are the same under every plan.

    Returns
    -------
    pandas.DataFrame
        ``plan``, and the columns of `probability_of`.

    Raises
    ------
    SamplingError, DataError
        As `probability_of`; also where there is no plan.
    """
    if not isinstance(plans, Mapping) or not plans:
        got = "none" if isinstance(plans, Mapping) else f"a {type(plans).__name__}"
        hint = "{'once': [{'hour': 24, 'amount': 100}], 'nothing': None}"
        raise DataError(Problem("plans", got, f"name to rows in the spec's columns, such as {hint}"))
    tables = []
    for name, plan in plans.items():
        table = probability_of(twin, statements, plan=plan, draws=draws, seed=seed)
        table.insert(0, "plan", str(name))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _own_rows(twin: Twin, rows: str | os.PathLike[str] | pd.DataFrame) -> pd.DataFrame:
    """Asked rows with the patient's label, where they do not say whose they are."""
    frame, label = open_table(rows).frame, twin.population.model.spec.patient.column
    return frame if label in frame else frame.assign(**{label: twin.patient})
