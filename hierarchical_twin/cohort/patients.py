"""What is known once per patient: covariates, grouping levels, parameters given by a column.

Each is read from all rows of a patient, where it must be the same (blank cells aside).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.columns import (
    Labels,
    as_number,
    as_text,
    is_missing,
    read_labels,
    read_numbers,
    same_value,
)
from hierarchical_twin.cohort.encode import level_names
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.dims import PATIENT
from hierarchical_twin.errors import Problem, nearest
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.population import covariates_of, effects_of
from hierarchical_twin.spec.schema import Covariate, Spec


@dataclass(frozen=True)
class People:
    """Every patient of the selected rows.

    Parameters
    ----------
    covariates : pandas.DataFrame
        One row per patient: floats, or ordered categoricals, the reference level first.
    known : mapping
        Parameter to its value for each patient, NaN where missing; shape [patient].
    missing : mapping
        Reason to the patients it excludes; bool, shape [patient].
    """

    covariates: pd.DataFrame
    known: Mapping[str, np.ndarray]
    missing: Mapping[str, np.ndarray]


def column_of(spec: Spec, covariate: str) -> str:
    """The table's column behind a covariate or a grouping level."""
    declared = spec.covariates.get(covariate)
    return declared.column if declared is not None and declared.column else covariate


def groups_of(spec: Spec) -> tuple[str, ...]:
    """Grouping levels above the patient, in order of first use."""
    return tuple(group for group in effects_of(spec) if group != PATIENT)


def read_people(
    table: Table, spec: Spec, patient: Labels, selected: np.ndarray, problems: list[Problem]
) -> People:
    """Read what is known once per patient.

    Parameters
    ----------
    table : Table
    spec : Spec
    patient : Labels
        The patient of each row.
    selected : ndarray of bool, shape [row]
        Rows the spec's `where` selects.
    problems : list of Problem
        Grows by what is wrong.
    """
    needed = covariates_of(spec)
    groups = groups_of(spec)
    columns: dict[str, pd.Series] = {}
    missing: dict[str, np.ndarray] = {}
    for name in dict.fromkeys((*needed, *groups, *spec.covariates)):
        is_group = name in groups and name not in needed
        column = _covariate(table, spec, name, is_group, (patient, selected), problems)
        columns[name] = column
        if name in needed or name in groups:
            missing[f"missing {column_of(spec, name)}"] = column.isna().to_numpy()
    known: dict[str, np.ndarray] = {}
    for name, parameter in spec.parameters.items():
        if parameter.column is not None:
            known[name] = _known(table, spec, name, parameter.column, (patient, selected), problems)
            missing[f"missing {parameter.column}"] = np.isnan(known[name])
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(patient.names)))
    return People(frame, known, missing)


def once_per_patient(
    table: Table,
    column: str,
    values: np.ndarray,
    patient: Labels,
    problems: list[Problem],
) -> np.ndarray:
    """The one value each patient has in a column.

    Parameters
    ----------
    table : Table
    column : str
    values : ndarray of float, shape [row]
        NaN where missing or not to be looked at.
    patient : Labels
    problems : list of Problem
        Grows by one if the value changes within a patient.

    Returns
    -------
    ndarray of float64, shape [patient]
        NaN for a patient without a value.
    """
    rows = np.flatnonzero(~np.isnan(values) & (patient.codes >= 0))
    first = np.full(len(patient.names), np.nan)
    # Assigned backwards, so that the first row of each patient is the one that stays.
    first[patient.codes[rows][::-1]] = values[rows][::-1]
    differs = rows[values[rows] != first[patient.codes[rows]]]
    if len(differs):
        row = differs[0]
        who = patient.codes[row]
        others = len(np.unique(patient.codes[differs])) - 1
        start = rows[patient.codes[rows] == who][0]
        more = f" (and in {others} more patients)" if others else ""
        cells = table.frame[column]
        problems.append(
            Problem(
                table.place(row, column),
                f"'{cells.iloc[row]}' for patient '{patient.names[who]}', who has '{cells.iloc[start]}' in "
                f"{table.row_name(start)}{more}",
                "one value for each patient",
            )
        )
    return first


def _covariate(
    table: Table,
    spec: Spec,
    name: str,
    is_group: bool,
    rows: tuple[Labels, np.ndarray],
    problems: list[Problem],
) -> pd.Series:
    patient, selected = rows
    declared = spec.covariates.get(name, Covariate())
    column = column_of(spec, name)
    labels = read_labels(table, column)
    used = sorted(set(labels.codes[selected & (patient.codes >= 0)].tolist()) - {-1})
    if (
        not is_group
        and not declared.levels
        and declared.values is None
        and _is_numeric(table, column, labels, used)
    ):
        numbers = read_numbers(table, column, problems, selected)
        return pd.Series(once_per_patient(table, column, numbers, patient, problems))
    codes = np.where(selected & (labels.codes >= 0), labels.codes, np.nan)
    code = once_per_patient(table, column, codes, patient, problems)
    words = pd.Series([None if np.isnan(item) else labels.names[int(item)] for item in code], dtype=object)
    where = f"{table.source} column '{column}'"
    if declared.values is not None:
        words = _recoded(words, declared.values, where, problems)
        if all(isinstance(word, int | float) for word in declared.values.values()) and not is_group:
            return words.astype(np.float64)
    if declared.levels:
        words = _in_levels(words, declared.levels, where, problems)
    elif declared.values is None and not is_group and not _is_bool(table, column):
        _refuse_mixture(words, name, where, problems)
    texts = [None if word is None else str(word) for word in words]
    present = tuple(dict.fromkeys(text for text in texts if text is not None))
    dtype = table.frame[column].dtype
    if isinstance(dtype, pd.CategoricalDtype) and declared.values is None:
        ordered = tuple(text for text in map(as_text, dtype.categories) if text in present)
    else:
        ordered = present if is_group else level_names(present)
    levels = declared.levels or ordered
    # Ordered, since formulae sorts the levels of any other categorical.
    return pd.Series(pd.Categorical(texts, categories=list(levels), ordered=True))


def _is_bool(table: Table, column: str) -> bool:
    return bool(pd.api.types.is_bool_dtype(table.frame[column].dtype))


def _is_numeric(table: Table, column: str, labels: Labels, used: list[int]) -> bool:
    """Whether a covariate is a number: every word of it spells one, and it is not declared categorical."""
    if isinstance(table.frame[column].dtype, pd.CategoricalDtype) or _is_bool(table, column):
        return False
    return all(as_number(labels.names[code]) is not None for code in used)


def _refuse_mixture(words: pd.Series, name: str, where: str, problems: list[Problem]) -> None:
    """A number column with a typing error must not turn into a categorical one with a level for each age."""
    found = [word for word in dict.fromkeys(words) if word is not None]
    texts = [word for word in found if as_number(word) is None]
    if texts and len(texts) < len(found):
        problems.append(
            Problem(
                where,
                f"numbers and words ({', '.join(repr(text) for text in texts[:5])})",
                "numbers, or words",
                f"if it is categorical, declare covariates: {name}: {{levels: [...]}}",
            )
        )


def _recoded(
    words: pd.Series, values: Mapping[str, str | int | float], where: str, problems: list[Problem]
) -> pd.Series:
    blank = next((value for key, value in values.items() if is_missing(key)), None)
    recode: dict[str | None, str | int | float | None] = {None: blank}
    for word in dict.fromkeys(words):
        if word is None:
            continue
        hits = [value for key, value in values.items() if not is_missing(key) and same_value(word, key)]
        if not hits:
            known = ", ".join(f"'{key}'" for key in values)
            problems.append(
                Problem(where, f"'{word}'", f"one of the recoded values {known}", nearest(word, values))
            )
        recode[word] = hits[0] if hits else None
    return pd.Series([recode[word] for word in words], dtype=object)


def _in_levels(words: pd.Series, levels: tuple[str, ...], where: str, problems: list[Problem]) -> pd.Series:
    level: dict[str | None, str | None] = {None: None}
    for word in dict.fromkeys(words):
        if word is None:
            continue
        found = [name for name in levels if same_value(str(word), name)]
        if not found:
            known = ", ".join(f"'{name}'" for name in levels)
            problems.append(
                Problem(where, f"'{word}'", f"one of the levels {known}", nearest(str(word), levels))
            )
        level[word] = found[0] if found else None
    return pd.Series([level[word] for word in words], dtype=object)


def _known(
    table: Table,
    spec: Spec,
    name: str,
    column: str,
    rows: tuple[Labels, np.ndarray],
    problems: list[Problem],
) -> np.ndarray:
    patient, selected = rows
    numbers = read_numbers(table, column, problems, selected)
    words = MECHANISMS[spec.mechanism.name].parameters[name]
    # As a `value` of the spec: a fraction may be 0 or 1, and so may 0 what is 0 by default.
    wrong, expected = np.zeros(len(numbers), dtype=bool), "a number"
    if words.support == "unit":
        wrong, expected = (numbers < 0) | (numbers > 1), "a number between 0 and 1"
    elif words.support == "positive" and words.default == 0:
        wrong, expected = numbers < 0, "a number of at least 0"
    elif words.support == "positive":
        wrong, expected = numbers <= 0, "a positive number"
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        got = f"{numbers[row]:g} ({int(wrong.sum())} rows in all)"
        problems.append(Problem(table.place(row, column), got, f"{expected}, as '{name}' needs"))
    return once_per_patient(table, column, numbers, patient, problems)
