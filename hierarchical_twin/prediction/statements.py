"""The verb `probability`: how likely a statement is of each patient, and of a new one.

What a statement's name stands for is settled here, and its numbers are brought to the declared units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.statements import Chance, Statement, along_chains, count_true, read_statement
from hierarchical_twin.analysis.variables import population_variables, posterior_of
from hierarchical_twin.cohort.inputs import coordinate_of
from hierarchical_twin.dims import CHAIN, DRAW, PATIENT
from hierarchical_twin.errors import DataError, Problem, SamplingError, SpecError, nearest
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.inference.label import variable_units
from hierarchical_twin.prediction.predict import predict
from hierarchical_twin.prediction.questions import Question, ask
from hierarchical_twin.prediction.source import model_of, own_patients
from hierarchical_twin.spec.conversion import unit_factor
from hierarchical_twin.spec.schema import Spec

NEW_PATIENT = "new patient"
"""What the row of a new patient of the population is called."""
POPULATION = "population"
"""What the row of a statement about no patient is called."""


def probability(
    fit: Fit,
    statements: str | Sequence[str],
    *,
    patients: Sequence[str] | None = None,
    scenario: Mapping[str, Any] | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Probability that something is true of each patient, given all data.

    Parameters
    ----------
    fit : Fit
    statements : str or sequence of str
        ``NAME < NUMBER [unit] [at TIME [unit]]`` with one of ``<``, ``<=``, ``>``, ``>=``. A name is a
        parameter, a derived quantity, an outcome (its true value, at a time, or at a value of the
        coordinate for a mechanism without time), an outcome after the word ``measured`` (a new
        measurement of it), or a quantity of the population such as ``r_typical``. A number without unit
        is in the declared one.
    patients : sequence of str, optional
        Only these patients of the fit.
    scenario : mapping, optional
        Column to value, as in `predict`.
    draws : int, optional
        At most so many draws; all by default.
    seed : int

    Returns
    -------
    pandas.DataFrame
        Columns ``patient, is_new, statement, probability, lower, upper, ess, prob``. For each statement the
        patients, then a new patient of the population; one row for a statement about the population.
        ``lower`` and ``upper`` are the limits of the Monte Carlo error with probability ``prob``.

    Raises
    ------
    SamplingError
        A statement cannot be read, or names what the fit does not have.
    DataError
        A patient or a column is not known.

    Notes
    -----
    The new patient has the covariates, doses and inputs of one of the patients asked for, each as likely
    as another (of at most 200 of them), and effects drawn from the population.
    """
    model = model_of(fit)
    texts = (statements,) if isinstance(statements, str) else tuple(statements)
    settled = settle_statements(fit, model, read_statements(texts))
    own = own_patients(model.cohort, patients)
    _refuse_places(model.spec, scenario or {})
    tables = {one: _population_row(fit, one) for one in settled if _is_of_population(fit, one.name)}
    about = [one for one in settled if one not in tables]
    if about:
        question = ask(model, own, [one.place for one in about if one.place is not None])
        found = predict(fit, rows=question.frame, scenario=scenario, draws=draws, seed=seed)
        for one in about:
            tables[one] = _patient_rows(found, one, one.holds(values_of(found, question, one)), _chains(fit))
    return pd.concat([tables[one] for one in settled], ignore_index=True)


def _refuse_places(spec: Spec, scenario: Mapping[str, Any]) -> None:
    """A scenario must not move what a statement has put somewhere."""
    coordinate = coordinate_of(spec)
    column = spec.inputs[coordinate].column if coordinate else spec.time.column if spec.time else None
    if column in scenario:
        expected = "a column of doses, inputs or covariates"
        raise DataError(Problem("scenario", f"'{column}'", expected, "a statement says where with 'at'"))


def read_statements(texts: Sequence[str]) -> tuple[Statement, ...]:
    """Read statements.

    Raises
    ------
    SamplingError
        With every problem of every statement.
    """
    if not texts:
        raise SamplingError(Problem("statements", "none", "at least one, such as 'r < 0.01'"))
    return _all_or_problems(texts, read_statement)


def settle_statements(fit: Fit, model: Model, statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """Check the names of statements against a fit, and bring their numbers to the declared units.

    Raises
    ------
    SamplingError
        With every problem of every statement.
    """
    return _all_or_problems(statements, lambda statement: _settled(fit, model, statement))


def _all_or_problems[Given](
    given: Sequence[Given], settle: Callable[[Given], Statement]
) -> tuple[Statement, ...]:
    settled: list[Statement] = []
    problems: list[Problem] = []
    for one in given:
        try:
            settled.append(settle(one))
        except (SamplingError, SpecError) as error:
            problems += error.problems
    if problems:
        raise SamplingError(problems)
    return tuple(settled)


def values_of(prediction: Prediction, question: Question, statement: Statement) -> np.ndarray:
    """Draws ``[draw, patient]`` of what a statement is about."""
    if statement.place is None:
        return prediction.parameters[statement.name]
    at = question.at(prediction, statement.name, statement.place)
    return (prediction.replicates if statement.is_measured else prediction.individual)[:, at]


def chance_of(truths: np.ndarray, is_new: np.ndarray, chains: int) -> Chance:
    """Chances of the fit's patients and, last, of a new one, from truths ``[draw, patient]``.

    A new patient is any of the newcomers: in each draw the share for whom the statement is true.
    """
    shares = np.column_stack([truths[:, ~is_new], truths[:, is_new].mean(axis=1)])
    return count_true(along_chains(shares, chains), DEFAULT_PROB)


def _settled(fit: Fit, model: Model, statement: Statement) -> Statement:
    where, spec = f"statement '{statement.text}'", model.spec
    known = _names_of(fit, model)
    if statement.name not in known:
        hint = nearest(statement.name, known)
        raise SamplingError(Problem(where, f"'{statement.name}'", f"one of {', '.join(known)}", hint))
    is_outcome = statement.name in spec.observations
    if statement.is_measured and not is_outcome:
        expected = f"'measured' before an outcome ({', '.join(spec.observations)})"
        raise SamplingError(Problem(where, f"'measured {statement.name}'", expected))
    axis = _axis(spec)
    if is_outcome and statement.place is None:
        hint = f"{statement.text} at 10 {axis[1]}".removesuffix(" 1")
        raise SamplingError(
            Problem(where, f"no {axis[0]}", f"'at' and a {axis[0]} in {axis[1]}", f"try '{hint}'")
        )
    if not is_outcome and statement.place is not None:
        raise SamplingError(Problem(where, f"'at' after '{statement.name}'", "'at' for an outcome only"))
    number, place = statement.number, statement.place
    unit = variable_units(model).get(statement.name, "1")
    if statement.unit:
        number *= unit_factor(statement.unit, unit, where=where)
    if statement.place_unit and place is not None:
        place *= unit_factor(statement.place_unit, axis[1], where=where)
    return replace(statement, number=number, place=place)


def _names_of(fit: Fit, model: Model) -> tuple[str, ...]:
    own = [node.name for node in model.graph.reported if node.dims == (PATIENT,)]
    derived = [name for name, words in model.spec.derived.items() if words.at is None]
    nobodys = [name for name in population_variables(posterior_of(fit.tree)) if _is_of_population(fit, name)]
    return tuple(dict.fromkeys((*own, *derived, *model.spec.observations, *nobodys)))


def _axis(spec: Spec) -> tuple[str, str]:
    """What an outcome runs along, and its unit."""
    coordinate = coordinate_of(spec)
    if coordinate is not None:
        return coordinate, spec.inputs[coordinate].unit
    return "time", spec.time.unit if spec.time is not None else "1"


def _is_of_population(fit: Fit, name: str) -> bool:
    posterior = posterior_of(fit.tree)
    return name in posterior and set(posterior[name].dims) == {CHAIN, DRAW}


def _chains(fit: Fit) -> int:
    return posterior_of(fit.tree).sizes[CHAIN]


def _patient_rows(found: Prediction, statement: Statement, truths: np.ndarray, chains: int) -> pd.DataFrame:
    is_new = found.patients["is_new"].to_numpy()
    labels = [*found.patients["patient"][~is_new], NEW_PATIENT]
    return _table(labels, statement, chance_of(truths, is_new, chains), len(labels) - 1)


def _population_row(fit: Fit, statement: Statement) -> pd.DataFrame:
    values = posterior_of(fit.tree)[statement.name].transpose(CHAIN, DRAW).values
    chance = count_true(statement.holds(values)[:, :, None], DEFAULT_PROB)
    return _table([POPULATION], statement, chance, 1)


def _table(labels: list[str], statement: Statement, chance: Chance, patients: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "patient": labels,
            # A label may be anybody's: this says which row is the new patient's.
            "is_new": np.arange(len(labels)) >= patients,
            "statement": statement.text,
            "probability": chance.probability,
            "lower": chance.lower,
            "upper": chance.upper,
            "ess": chance.ess,
            "prob": DEFAULT_PROB,
        }
    )
