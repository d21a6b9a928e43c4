"""Which rows are observations of an outcome, with what value, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hierarchical_twin.cohort.columns import (
    Labels,
    accepted_values,
    match_rows,
    read_labels,
    read_numbers,
    same_value,
)
from hierarchical_twin.cohort.events import DoseRows
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.errors import Problem, nearest
from hierarchical_twin.mechanisms.table import MECHANISMS, Mechanism
from hierarchical_twin.spec.schema import Observation, Spec
from hierarchical_twin.spec.units import working_units
from hierarchical_twin.spec.vocabulary import ERRORS

MISSING_VALUE = "missing value"


@dataclass(frozen=True)
class Rows:
    """Every row of the table: whose it is, when, and whether it can be an observation.

    Parameters
    ----------
    patient : Labels
    time : ndarray of float, shape [row]
        Declared unit; NaN where missing, or where the mechanism has no time.
    eligible : ndarray of bool, shape [row]
        Selected by the spec's `where`, and no dose or other event.
    inputs : mapping
        Input name to its value on each row, NaN where missing.
    doses : DoseRows, optional
        Where the spec declares doses.
    """

    patient: Labels
    time: np.ndarray
    eligible: np.ndarray
    inputs: Mapping[str, np.ndarray]
    doses: DoseRows | None = None


@dataclass(frozen=True)
class Measured:
    """One outcome over all rows of the table.

    Parameters
    ----------
    outcome : str
    offered : ndarray of bool, shape [row]
        Rows that are this outcome's.
    fate : ndarray of int, shape [row]
        0 where the value is used, else the place in `reasons` (from 1).
    reasons : tuple of str
    value : ndarray of float, shape [row]
        Declared unit; the limit where censored.
    censored : ndarray of int8, shape [row]
    standard_error, trials : ndarray of float, shape [row], or None
    notes : tuple of str
    """

    outcome: str
    offered: np.ndarray
    fate: np.ndarray
    reasons: tuple[str, ...]
    value: np.ndarray
    censored: np.ndarray
    standard_error: np.ndarray | None
    trials: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def used(self) -> np.ndarray:
        """Rows whose value is used."""
        return self.offered & (self.fate == 0)


def is_censorable(observation: Observation) -> bool:
    """Whether the spec says how values beyond a limit are marked."""
    return any(
        limit is not None
        for limit in (observation.lower_limit, observation.upper_limit, observation.censored)
    )


def measure(table: Table, spec: Spec, outcome: str, rows: Rows, problems: list[Problem]) -> Measured:
    """Read one outcome.

    Parameters
    ----------
    table : Table
    spec : Spec
    outcome : str
        A key of the spec's observations.
    rows : Rows
    problems : list of Problem
        Grows by what is wrong.
    """
    observation = spec.observations[outcome]
    offered = rows.eligible & match_rows(table, observation.where)
    value = read_numbers(table, observation.column, problems, offered)
    value, censored = apply_limits(table, observation, value, offered, problems)
    measured = offered & ~np.isnan(value)
    standard_error = _standard_error(table, observation, measured, problems)
    trials = _trials(table, observation, measured, value, problems)
    checks = [
        *_time_checks(spec, observation, rows),
        (MISSING_VALUE, np.isnan(value)),
        *_value_checks(observation, value),
        *_coordinate_checks(spec, rows),
        *_dose_checks(spec, observation, rows, (censored, standard_error)),
    ]
    notes: list[str] = []
    if standard_error is not None:
        if observation.sigma is None:
            checks.append(("standard error missing or 0, and no sigma", ~(standard_error > 0)))
        standard_error = np.nan_to_num(standard_error)
    if trials is not None:
        checks.append(("number of trials missing or 0", ~(trials > 0)))
    fate = np.select([check for _, check in checks], list(range(1, len(checks) + 1)), default=0)
    used = offered & (fate == 0)
    if standard_error is not None and (lacking := int((used & (standard_error == 0)).sum())):
        notes.append(
            f"{outcome}: observations without a standard error: {lacking}; sigma alone is their error"
        )
    reasons = tuple(reason for reason, _ in checks)
    return Measured(outcome, offered, fate, reasons, value, censored, standard_error, trials, tuple(notes))


def refuse_absent_words(table: Table, observation: Observation, where: str, problems: list[Problem]) -> None:
    """Refuse a `where` with a word that no row has: a misspelt one would quietly leave an outcome without rows.

    Parameters
    ----------
    table : Table
    observation : Observation
    where : str
        Where the spec says so.
    problems : list of Problem
        Grows by what is wrong.
    """
    for column, wanted in observation.where.items():
        names = read_labels(table, column).names
        for value in accepted_values(wanted):
            if value is not None and not any(same_value(name, value) for name in names):
                shown = ", ".join(f"'{name}'" for name in names[:10]) + (", ..." if len(names) > 10 else "")
                problems.append(
                    Problem(
                        f"{where}.{column}",
                        f"'{value}', which column '{column}' of {table.source} does not hold",
                        f"one of {shown}",
                        nearest(str(value), names),
                    )
                )


def _time_checks(spec: Spec, observation: Observation, rows: Rows) -> list[tuple[str, np.ndarray]]:
    mechanism = MECHANISMS[spec.mechanism.name]
    if not mechanism.has_time or spec.time is None:
        return []
    unit = spec.time.unit
    checks = [("missing time", np.isnan(rows.time))]
    if mechanism.starts_at_zero:
        checks.append(("before time 0, where the model starts", rows.time < 0))
    if observation.from_time is not None:
        checks.append(
            (f"before from_time ({observation.from_time:g} {unit})", rows.time < observation.from_time)
        )
    if observation.until_time is not None:
        checks.append(
            (f"after until_time ({observation.until_time:g} {unit})", rows.time > observation.until_time)
        )
    return checks


def _value_checks(observation: Observation, value: np.ndarray) -> list[tuple[str, np.ndarray]]:
    match ERRORS[observation.error].observed:
        case "positive":
            return [(f"not positive, under {observation.error} error", value <= 0)]
        case "unit":
            return [
                (
                    f"not strictly between 0 and 1, under {observation.error} error",
                    (value <= 0) | (value >= 1),
                )
            ]
        case _:
            return []


def _dose_checks(
    spec: Spec, observation: Observation, rows: Rows, known: tuple[np.ndarray, np.ndarray | None]
) -> list[tuple[str, np.ndarray]]:
    """Where the prediction is 0, an error that scales with it leaves no room for any measured value."""
    if rows.doses is None or observation.error not in ("lognormal", "proportional"):
        return []
    censored, standard_error = known
    mechanism = MECHANISMS[spec.mechanism.name]
    chosen = mechanism.chosen(spec.mechanism.options)
    jumps = mechanism.outputs[observation.predicts].jumps_under
    acted = rows.doses.has_acted(
        rows.patient.codes,
        rows.time - _known_lag(spec, mechanism),
        jumps=bool(jumps) and all(chosen[option] in words for option, words in jumps.items()),
    )
    unexplained = ~acted & (censored == 0)
    if standard_error is not None:
        unexplained &= ~(standard_error > 0)
    return [(f"before a dose has acted (prediction 0), under {observation.error} error", unexplained)]


def _known_lag(spec: Spec, mechanism: Mechanism) -> float:
    """Delay of every dose in the unit of time, where the spec gives it as a number."""
    declared = spec.parameters.get(mechanism.lag)
    if declared is None or declared.value is None:
        return 0.0
    return float(declared.value) * working_units(spec).parameter[mechanism.lag]


def _coordinate_checks(spec: Spec, rows: Rows) -> list[tuple[str, np.ndarray]]:
    checks = []
    for name, words in MECHANISMS[spec.mechanism.name].inputs.items():
        if words.kind == "coordinate" and name in rows.inputs:
            column = spec.inputs[name].column
            checks.append((f"missing {column}", np.isnan(rows.inputs[name])))
            checks.append((f"negative {column}", rows.inputs[name] < 0))
    return checks


def apply_limits(
    table: Table,
    observation: Observation,
    value: np.ndarray,
    offered: np.ndarray,
    problems: list[Problem],
) -> tuple[np.ndarray, np.ndarray]:
    """Values with those beyond a limit replaced by it, and the code of each: 0, 1 (below), -1 (above)."""
    code = np.zeros(len(value))
    if observation.censored is not None:
        code = np.nan_to_num(read_numbers(table, observation.censored, problems, offered))
        wrong = np.flatnonzero(~np.isin(code, (-1.0, 0.0, 1.0)))
        if len(wrong):
            problems.append(
                Problem(
                    table.place(int(wrong[0]), observation.censored),
                    f"{code[wrong[0]]:g} ({len(wrong)} rows in all)",
                    "0 (measured), 1 (below the value given) or -1 (above it)",
                )
            )
    for limit, sign in ((observation.lower_limit, 1.0), (observation.upper_limit, -1.0)):
        if limit is None:
            continue
        if isinstance(limit, str):
            bound = read_numbers(table, limit, problems, offered)
        else:
            bound = np.full(len(value), float(limit))
        beyond = (code == 0) & (value <= bound if sign > 0 else value >= bound)
        value, code = np.where(beyond, bound, value), np.where(beyond, sign, code)
    return value, code.astype(np.int8)


def _standard_error(
    table: Table, observation: Observation, rows: np.ndarray, problems: list[Problem]
) -> np.ndarray | None:
    declared = observation.standard_error
    if declared is None:
        return None
    if declared.column is not None:
        error = read_numbers(table, declared.column, problems, rows)
        _refuse_rows(table, declared.column, error < 0, error, "a standard error of 0 or more", problems)
        return error
    spread = read_numbers(table, str(declared.sd), problems, rows)
    count = read_numbers(table, str(declared.n), problems, rows)
    _refuse_rows(table, str(declared.sd), spread < 0, spread, "a standard deviation of 0 or more", problems)
    _refuse_rows(table, str(declared.n), count <= 0, count, "a number of patients greater than 0", problems)
    return spread / np.sqrt(np.where(count > 0, count, np.nan))


def _trials(
    table: Table,
    observation: Observation,
    rows: np.ndarray,
    value: np.ndarray,
    problems: list[Problem],
) -> np.ndarray | None:
    if observation.trials is None:
        return None
    if isinstance(observation.trials, str):
        trials = read_numbers(table, observation.trials, problems, rows)
        odd = (trials < 0) | (trials != np.floor(trials))
        whole = "a whole number of trials"
        _refuse_rows(table, observation.trials, odd & ~np.isnan(trials), trials, whole, problems)
    else:
        trials = np.full(len(value), float(observation.trials))
    counts = np.where(rows, value, np.nan)
    odd = (counts < 0) | (counts != np.floor(counts)) | (counts > trials)
    expected = "a whole number from 0 to the number of trials"
    _refuse_rows(table, observation.column, odd & ~np.isnan(counts), counts, expected, problems)
    return trials


def _refuse_rows(
    table: Table,
    column: str,
    bad: np.ndarray,
    values: np.ndarray,
    expected: str,
    problems: list[Problem],
) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        many = f" ({len(rows)} rows in all)" if len(rows) > 1 else ""
        problems.append(Problem(table.place(int(rows[0]), column), f"{values[rows[0]]:g}{many}", expected))
