"""The verb `next_dose`: the least amount of the doses to come that reaches a target for a twin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB
from hierarchical_twin.analysis.least import Found, least_value
from hierarchical_twin.analysis.statements import Chance, Statement, count_true, read_statement
from hierarchical_twin.cohort import Cohort
from hierarchical_twin.cohort.asked import asked_at, read_asked
from hierarchical_twin.cohort.columns import is_filled
from hierarchical_twin.cohort.inputs import coordinate_of
from hierarchical_twin.errors import DataError, Problem, SamplingError, nearest
from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.prediction.dial import Bodies, dial_between, response
from hierarchical_twin.prediction.statements import settle_statements
from hierarchical_twin.prediction.target import check_ends, dose_for
from hierarchical_twin.prediction.wandering import with_history
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.twin.as_fit import DRAWS, as_fit, resampled
from hierarchical_twin.twin.chances import limited
from hierarchical_twin.twin.course import Plan, known_cohort, planned_cohort, with_plan
from hierarchical_twin.twin.records import as_frame, static_columns
from hierarchical_twin.twin.twin import Twin


def next_dose(
    twin: Twin,
    statement: str,
    *,
    by: str,
    between: tuple[float, float],
    plan: Plan | None = None,
    probability: float = 0.9,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """The least amount, in all doses of a plan, with which a statement is true with a stated probability.

    What the patient has been given stays as it was.

    Parameters
    ----------
    twin : Twin
    statement : str
        About an outcome, as in `probability`: ``active > 1 at 48``, ``measured active > 1 at 48``.
    by : str
        The table's column of dose amounts, or of an input.
    between : (float, float)
        Where to look, in the column's unit; from 0.
    plan : DataFrame, mapping or sequence of mappings
        Doses or inputs to come: rows in the spec's columns. Cells that are filled in in the column `by` are
        the ones that are looked for, whatever they hold; all have the same value. Without a plan where
        the patient has one dose or one value in all, which is then looked for, as `dose_for` does.
    probability : float
        Probability with which the statement is to be true.
    draws, seed
        As in `forecast`.

    Returns
    -------
    pandas.DataFrame
        One row: ``patient, statement, target`` (the probability asked for), ``by, unit, value`` (NaN where it
        is not reached), ``lower, upper`` (limits of its Monte Carlo error with probability 0.9),
        ``probability`` there, and ``note``.

    Raises
    ------
    SamplingError
        The statement cannot be read, or is not about an outcome.
    DataError
        `by` is no column of doses or inputs, no row of the plan fills it in, or a number is out of range.
    """
    spec = twin.population.model.spec
    fit = as_fit(twin, draws, plan=plan, seed=seed)
    column = _inputs(spec).get(by, by)
    if column == _coordinate(spec) or (column in static_columns(spec) and plan is None):
        words = {"by": by, "between": between, "probability": probability, "draws": None, "seed": seed}
        table = dose_for(fit, statement, **words)
        return table[~table["is_new"]].drop(columns="is_new").reset_index(drop=True)
    unit, (low, high) = _checked(spec, by, column, (between, probability))
    (asked,) = settle_statements(fit, fit.model, [read_statement(statement)])
    if asked.place is None:
        expected = f"an outcome ({', '.join(spec.observations)})"
        raise SamplingError(Problem(f"statement '{asked.text}'", f"'{asked.name}'", expected))
    with compilation_cache(), float64_on(choose_place("cpu", 1)):
        curve = _curve(twin, asked, _rows(spec, column, plan), (column, high), (draws, seed))
        found = least_value(curve, 1, (low, high), probability)
    told = {
        "patient": twin.patient,
        "statement": asked.text,
        "target": probability,
        "by": column,
        "unit": unit,
    }
    numbers = {name: getattr(found, name)[0] for name in ("value", "lower", "upper", "probability")}
    return pd.DataFrame([{**told, **numbers, "note": _note(found, (low, high))}])


def _inputs(spec: Spec) -> dict[str, str]:
    return {name: words.column for name, words in spec.inputs.items()}


def _coordinate(spec: Spec) -> str | None:
    name = coordinate_of(spec)
    return None if name is None else spec.inputs[name].column


def _checked(
    spec: Spec, by: str, column: str, numbers: tuple[tuple[float, float], float]
) -> tuple[str, tuple[float, float]]:
    """The unit of a column of doses or inputs, and the ends to look between."""
    between, probability = numbers
    units = {words.column: words.unit for words in spec.inputs.values()}
    if spec.doses is not None and isinstance(spec.doses.amount, str):
        units[spec.doses.amount] = spec.doses.unit
    problems = []
    if column not in units:
        expected = f"a column of doses or of an input: {', '.join(units) or 'this spec has none'}"
        problems.append(Problem("by", f"'{by}'", expected, nearest(by, [*units, *_inputs(spec)])))
    ends = check_ends(between, probability, problems)
    return units[column], ends


def _rows(spec: Spec, column: str, plan: Plan | None) -> pd.DataFrame:
    """The plan's rows; some of them fill in the column."""
    hint = "plan=[{...}], rows in the spec's columns, with any amount"
    if plan is None:
        got = "no plan"
        raise DataError(Problem("next_dose", got, f"the doses or inputs to come, '{column}' filled in", hint))
    rows = as_frame(plan, spec)
    if column not in rows or not is_filled(rows[column]).any():
        raise DataError(Problem("next_dose plan", f"no '{column}'", "a row that fills it in", hint))
    return rows


def _curve(
    twin: Twin,
    asked: Statement,
    rows: pd.DataFrame,
    dial: tuple[str, float],
    drawn: tuple[int, int],
) -> Callable[[np.ndarray], Chance]:
    """Chance that a statement is true, at a value of the planned cells of a column."""
    (column, high), (draws, seed) = dial, drawn
    spec = twin.population.model.spec
    question = asked_at(spec, np.array([asked.place]), (twin.patient,))

    def read(value: float) -> Cohort:
        planned = rows.astype(object)
        planned[column] = planned[column].where(~is_filled(planned[column]), value)
        known = known_cohort(twin, with_plan(twin, planned))
        asked_for = read_asked(question, spec, known)[0]
        return with_history(asked_for, planned_cohort(twin, planned)) if spec.process_noise else asked_for

    turned = dial_between(spec, read(high), read(high / 2), high)
    own = turned.model.cohort.rows
    at = np.flatnonzero(own["outcome"] == asked.name)[:1]
    chosen = resampled(twin, draws, seed)
    bodies = Bodies(
        {name: value[twin.particles.draw[chosen]] for name, value in twin.population.draws.items()},
        {
            node.name: twin.parameters[node.name][chosen][:, None]
            for node in turned.model.graph.reported
            if node.name in twin.parameters
        },
    )
    answer = response(turned, bodies, asked, at, seed=seed)
    return lambda value: limited(count_true(asked.holds(answer(value))[None], DEFAULT_PROB), twin)


def _note(found: Found, between: tuple[float, float]) -> str:
    low, high = between
    falls = "" if found.is_monotone[0] else "the probability rises and falls between the ends"
    if np.isnan(found.value[0]):
        best = f"not reached in [{low:g}, {high:g}]: at most {found.probability[0]:.3g}"
        return f"{best}; {falls}".removesuffix("; ")
    if found.value[0] == low:
        return f"reached at {low:g} already; {falls}".removesuffix("; ")
    return falls
