"""The verb `dose_for`: the least dose or concentration that reaches a target with a stated probability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.least import Curve, Found, least_value
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.same_data import listed
from hierarchical_twin.analysis.statements import Chance, Statement, read_statement
from hierarchical_twin.analysis.variables import posterior_of
from hierarchical_twin.cohort.inputs import coordinate_of
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.dims import CHAIN, PATIENT
from hierarchical_twin.errors import DataError, Problem, SamplingError, nearest
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.prediction.dial import Bodies, make_dial, response
from hierarchical_twin.prediction.given import draw_places, population_of
from hierarchical_twin.prediction.predict import DRAWS, predict
from hierarchical_twin.prediction.questions import ask
from hierarchical_twin.prediction.source import model_of, own_patients
from hierarchical_twin.prediction.statements import NEW_PATIENT, chance_of, settle_statements
from hierarchical_twin.prediction.wandering import refuse_wandering
from hierarchical_twin.spec.schema import Spec


def dose_for(
    fit: Fit,
    statement: str,
    *,
    by: str,
    between: tuple[float, float],
    probability: float = 0.9,
    patients: Sequence[str] | None = None,
    draws: int | None = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """The least value of a dose or an input for which a statement is true with a stated probability.

    Parameters
    ----------
    fit : Fit
    statement : str
        About an outcome, as in `probability`: ``volume < 5 at 90``, ``measured viability <= 0.1``. Without
        ``at`` where `by` is the coordinate itself, such as a concentration.
    by : str
        The table's column of dose amounts, or of an input, or that input's name. Every dose of a patient
        has the value, or the whole input is held there.
    between : (float, float)
        Where to look, in the column's unit.
    probability : float
        Probability with which the statement is to be true.
    patients : sequence of str, optional
        Only these patients of the fit.
    draws, seed
        As in `predict`.

    Returns
    -------
    pandas.DataFrame
        For each patient, and last for a new patient of the population: ``patient, is_new, statement, target``
        (the probability asked for), ``by, unit, value`` (NaN where it is not reached), ``lower, upper``
        (limits of its Monte Carlo error with probability 0.9), ``probability`` there, and ``note``: that it
        is reached at the low end already, not reached at all, that the probability rises and falls, or that
        the patient is given no dose whose amount could be another.

    Raises
    ------
    SamplingError
        The statement cannot be read, or is not about an outcome; or the fit has process noise.
    DataError
        `by` is no column of doses or inputs, or one of covariates too; `between` or `probability` is out
        of range; or nobody asked for is given a dose.

    Notes
    -----
    The probability is computed on a grid between the ends and then bisected where it first reaches the
    target, with the same draws, effects and noise at every value. A new patient is as in `probability`, but
    like the patients who are given a dose.
    """
    model = model_of(fit)
    refuse_wandering(model.spec, "dose_for", "ask a twin: `next_dose` is about doses to come")
    column, unit = _column(model.spec, by)
    low, high = check_ends(between, probability)
    asked = _settled(fit, model, statement, high if column == _coordinate_column(model.spec) else None)
    place = high if asked.place is None else asked.place
    own = own_patients(model.cohort, patients)
    given = _given_any(model, own, column)
    question = ask(model, own, [place], like=given)
    found = predict(fit, rows=question.frame, scenario={column: high}, draws=draws, seed=seed)
    is_new = found.patients["is_new"].to_numpy()
    labels = [*found.patients["patient"][~is_new], NEW_PATIENT]
    with compilation_cache(), float64_on(choose_place("cpu", 1)):
        dial = make_dial(model, question, column, high)
        bodies = _bodies(fit, dial.model, found, draws)
        answer = response(dial, bodies, asked, question.at(found, asked.name, place), seed=seed)
        curve = _curve(asked, answer, is_new, posterior_of(fit.tree).sizes[CHAIN])
        reached = least_value(curve, len(labels), (low, high), probability)
    told = {"statement": asked.text, "target": probability, "by": column, "unit": unit}
    is_given = np.array([*(label in given for label in labels[:-1]), True])
    return _table(labels, told, reached, is_given, between=(low, high))


def _curve(
    statement: Statement, answer: Callable[[np.ndarray], np.ndarray], is_new: np.ndarray, chains: int
) -> Curve:
    """Chances of the fit's patients and, last, of a new one, at a value for each of them."""

    def curve(values: np.ndarray) -> Chance:
        each = np.empty(len(is_new))
        each[~is_new], each[is_new] = values[:-1], values[-1]
        return chance_of(statement.holds(answer(each)), is_new, chains)

    return curve


def _bodies(fit: Fit, model: Model, found: Prediction, draws: int | None) -> Bodies:
    own = {node.name for node in model.graph.reported if node.dims == (PATIENT,)}
    parameters = {name: values for name, values in found.parameters.items() if name in own}
    return Bodies(population_of(fit, model, draw_places(fit, draws)), parameters)


def _settled(fit: Fit, model: Model, text: str, coordinate: float | None) -> Statement:
    """The statement in declared units, with the place that `by` gives where that is the coordinate."""
    read = read_statement(text)
    where = f"statement '{read.text}'"
    if read.name in model.spec.parameters or read.name in model.spec.derived:
        expected = f"an outcome ({', '.join(model.spec.observations)})"
        raise SamplingError(Problem(where, f"'{read.name}', which no dose changes", expected))
    if coordinate is not None:
        if read.place is not None:
            expected = "no 'at': the values looked at are its places"
            raise SamplingError(Problem(where, "'at'", expected))
        read = replace(read, place=coordinate)
    (settled,) = settle_statements(fit, model, [read])
    if settled.place is None:
        raise SamplingError(Problem(where, f"'{read.name}'", "an outcome"))
    return settled


def _column(spec: Spec, by: str) -> tuple[str, str]:
    """The table's column of doses or of an input, and its unit."""
    known = {words.column: words.unit for words in spec.inputs.values()}
    names = {name: words.column for name, words in spec.inputs.items()}
    hint = ""
    if spec.doses is not None and isinstance(spec.doses.amount, str):
        known[spec.doses.amount] = spec.doses.unit
    elif spec.doses is not None:
        hint = f"the spec gives everybody {spec.doses.amount:g}: name a column in doses.amount"
    column = names.get(by, by)
    if column not in known:
        expected = f"a column of doses or of an input: {', '.join(known) or 'this spec has none'}"
        raise DataError(Problem("by", f"'{by}'", expected, hint or nearest(by, [*known, *names])))
    also = [
        need.key
        for need in needs_of(spec)
        if need.column == column and need.key.startswith(("covariates.", "parameters."))
    ]
    if also:
        # Each patient's parameters are drawn once, and must not depend on the value that is looked for.
        got = f"'{by}', a column that {also[0]} reads too"
        raise DataError(Problem("by", got, "a column of doses or of an input alone"))
    return column, known[column]


def _given_any(model: Model, patients: Sequence[str], column: str) -> tuple[str, ...]:
    """The patients whom a column of doses or of an input gives anything: those without a dose have none to change."""
    doses, cohort = model.spec.doses, model.cohort
    if doses is None or doses.amount != column:
        return tuple(patients)
    is_dosed = (cohort.arrays["dose_amount"] > 0).any(axis=1)
    dosed = {str(label) for label, is_own in zip(cohort.patients, is_dosed, strict=True) if is_own}
    given = tuple(label for label in patients if label in dosed)
    if not given:
        got = f"no dose for {listed(patients)}"
        raise DataError(Problem("dose_for patients", got, "at least one patient who is given a dose"))
    return given


def _coordinate_column(spec: Spec) -> str | None:
    coordinate = coordinate_of(spec)
    return None if coordinate is None else spec.inputs[coordinate].column


def check_ends(
    between: tuple[float, float], probability: float, others: Sequence[Problem] = ()
) -> tuple[float, float]:
    """The ends to look between, as numbers.

    Raises
    ------
    DataError
        They or `probability` are out of range, or there are `others` to tell with them.
    """
    problems = list(others)
    if not 0 < probability < 1:
        problems.append(Problem("probability", repr(probability), "a number between 0 and 1, such as 0.9"))
    try:
        low, high = (float(end) for end in between)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not 0 <= low < high < np.inf:
        expected = "two numbers from 0, the lower first, such as (0.1, 40)"
        problems.append(Problem("between", repr(between), expected))
    if problems:
        raise DataError(problems)
    return low, high


def _table(
    labels: list[str],
    told: dict[str, str | float],
    found: Found,
    is_given: np.ndarray,
    *,
    between: tuple[float, float],
) -> pd.DataFrame:
    """One row for each label; of those without a dose only the probability, which no amount changes."""
    table = pd.DataFrame({"patient": labels, "is_new": np.arange(len(labels)) == len(labels) - 1})
    return table.assign(
        **told,
        value=np.where(is_given, found.value, np.nan),
        lower=np.where(is_given, found.lower, np.nan),
        upper=np.where(is_given, found.upper, np.nan),
        probability=found.probability,
        note=[
            _note(found, number, between) if given else "is given no dose"
            for number, given in enumerate(is_given)
        ],
    )


def _note(found: Found, number: int, between: tuple[float, float]) -> str:
    low, high = between
    falls = "" if found.is_monotone[number] else "the probability rises and falls between the ends"
    if np.isnan(found.value[number]):
        best = f"not reached in [{low:g}, {high:g}]: at most {found.probability[number]:.3g}"
        return f"{best}; {falls}".removesuffix("; ")
    if found.value[number] == low:
        return f"reached at {low:g} already; {falls}".removesuffix("; ")
    return falls
