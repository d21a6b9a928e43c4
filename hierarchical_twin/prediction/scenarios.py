"""The verb `compare_scenarios`: the same patients under other doses, inputs or covariates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval, summarise
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.cohort.columns import as_number, as_text
from hierarchical_twin.cohort.table import open_table
from hierarchical_twin.errors import DataError, Problem, nearest
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.prediction.predict import DRAWS, predict
from hierarchical_twin.prediction.source import cohort_of

AS_GIVEN = "as given"
"""The scenario in which nothing is changed."""
NAME = "scenario"
"""The column of a table of scenarios that names them."""

Scenarios = Mapping[str, Mapping[str, Any]]


def compare_scenarios(
    fit: Fit,
    scenarios: Scenarios | pd.DataFrame | str | os.PathLike[str],
    *,
    times: Sequence[float] | np.ndarray | None = None,
    rows: str | os.PathLike[str] | pd.DataFrame | None = None,
    patients: Sequence[str] | None = None,
    reference: str | None = None,
    prob: float = DEFAULT_PROB,
    draws: int | None = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Predict the same patients, in the same draws, under several scenarios, and take differences.

    Parameters
    ----------
    fit : Fit
    scenarios : mapping, DataFrame or path
        Name to what is changed, such as ``{"half": {"dose_mg": 50}}``; or a table with a column
        ``scenario`` and one for each column that is set (a blank cell changes nothing).
    times, rows, patients, draws, seed
        As in `predict`.
    reference : str, optional
        The scenario that the others are compared with. Without it, the rows as they are, in which nothing
        is changed and which is then called ``as given``.
    prob : float
        Probability inside each interval; they are equal-tailed.

    Returns
    -------
    pandas.DataFrame
        For each scenario, outcome, patient and row, and then for each parameter or derived quantity that a
        scenario changes: ``scenario, patient, is_new, quantity, time``, the inputs, ``unit``, the mean,
        median and limits of the true value under the scenario (``mean, median, lower, upper``), of its
        difference from the reference (``difference, difference_median, difference_lower,
        difference_upper``), the probability that the difference is above 0 (``probability_above``),
        ``prob`` and ``kind``.

    Raises
    ------
    DataError
        A scenario names no column that the spec reads doses, inputs or covariates from, or no scenario
        has the name `reference`.
    """
    check_interval(prob, "equal-tailed")
    named = read_scenarios(scenarios)
    named, base = _with_reference(named, reference)
    if times is None and rows is None and patients is None:
        # The fit's own rows are read the same way in every scenario only if they are asked for.
        patients = cohort_of(fit).patients
    found = {
        name: predict(
            fit, times=times, rows=rows, patients=patients, scenario=changes, draws=draws, seed=seed
        )
        for name, changes in named.items()
    }
    moved = [
        name
        for name, values in found[base].parameters.items()
        if any(not np.array_equal(values, one.parameters[name], equal_nan=True) for one in found.values())
    ]
    tables = []
    for name, prediction in found.items():
        tables += [_outcome_table(name, prediction, found[base], prob)]
        tables += [_parameter_table(name, prediction, found[base], (word, prob)) for word in moved]
    return pd.concat(tables, ignore_index=True)


def read_scenarios(given: Scenarios | pd.DataFrame | str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Name of each scenario to what it changes.

    Parameters
    ----------
    given : mapping, DataFrame or path
        As in `compare_scenarios`.

    Raises
    ------
    DataError
        It is none of these, or names no scenario, or one twice.
    """
    if isinstance(given, Mapping):
        wrong = [name for name, changes in given.items() if not isinstance(changes, Mapping)]
        if wrong or not given:
            got = f"'{wrong[0]}' without columns" if wrong else "none"
            raise DataError(Problem("scenarios", got, "name to columns, such as {'half': {'dose_mg': 50}}"))
        return {str(name): dict(changes) for name, changes in given.items()}
    table = open_table(given)
    columns = [str(name) for name in table.frame.columns]
    if NAME not in columns:
        expected, hint = f"a column '{NAME}' of names", nearest(NAME, columns)
        raise DataError(Problem(table.source, f"the columns {', '.join(columns)}", expected, hint))
    named: dict[str, dict[str, Any]] = {}
    for place, cells in enumerate(table.frame.to_dict("records")):
        name = as_text(cells.pop(NAME))
        if name is None or name in named:
            got = "a blank cell" if name is None else f"'{name}' again"
            raise DataError(Problem(table.place(place, NAME), got, "a name of its own for each scenario"))
        named[name] = {
            str(column): _plain(text) for column, cell in cells.items() if (text := as_text(cell)) is not None
        }
    return named


def _plain(text: str) -> str | float:
    number = as_number(text)
    return text if number is None else number


def _with_reference(
    named: dict[str, dict[str, Any]], reference: str | None
) -> tuple[dict[str, dict[str, Any]], str]:
    if reference is not None:
        if reference not in named:
            hint = nearest(reference, named)
            raise DataError(Problem("reference", f"'{reference}'", f"one of {', '.join(named)}", hint))
        return named, reference
    for name, changes in named.items():
        if not changes:
            return named, name
    if AS_GIVEN in named:
        raise DataError(Problem(f"scenario '{AS_GIVEN}'", "changes", "another name, or no changes"))
    return {AS_GIVEN: {}, **named}, AS_GIVEN


def _outcome_table(name: str, prediction: Prediction, base: Prediction, prob: float) -> pd.DataFrame:
    """One row for each row that both have: what is set decides where a row stands, and whether it can be."""
    own, other = _keys(prediction), _keys(base)
    places = own.get_indexer(other)
    order = places[places >= 0]
    rows = prediction.rows.iloc[order].reset_index(drop=True)
    told = rows.drop(columns=["outcome", "DV", "censored", "table_row"], errors="ignore")
    told.insert(2, "quantity", rows["outcome"])
    told["unit"] = [prediction.units.get(outcome, "1") for outcome in rows["outcome"]]
    told.insert(0, NAME, name)
    return _compared(told, prediction.individual[:, order], base.individual[:, places >= 0], prob)


def _keys(prediction: Prediction) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(prediction.rows[["table_row", "outcome"]])


def _parameter_table(
    name: str, prediction: Prediction, base: Prediction, asked: tuple[str, float]
) -> pd.DataFrame:
    word, prob = asked
    told = prediction.patients.assign(quantity=word, time=np.nan, unit=prediction.units.get(word, "1"))
    told.insert(0, NAME, name)
    return _compared(told, prediction.parameters[word], base.parameters[word], prob)


def _compared(told: pd.DataFrame, values: np.ndarray, others: np.ndarray, prob: float) -> pd.DataFrame:
    """The mean and limits of values ``[draw, element]`` and of how far they are from others."""
    own, apart = summarise(values[None], prob=prob), summarise((values - others)[None], prob=prob)
    return told.assign(
        mean=own.mean,
        median=own.median,
        lower=own.lower,
        upper=own.upper,
        difference=apart.mean,
        difference_median=apart.median,
        difference_lower=apart.lower,
        difference_upper=apart.upper,
        probability_above=(values > others).mean(axis=0),
        prob=prob,
        kind="equal-tailed",
    )
