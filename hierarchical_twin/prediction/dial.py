"""A column of doses, or of an input, as a number that can be turned for each patient without a new compile.

Amounts, infusions of a given rate, coordinates and inputs that are held all enter a cohort's arrays in
proportion to their column, so that two readings of the table say what any other would be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.analysis.statements import Statement
from hierarchical_twin.cohort import Cohort
from hierarchical_twin.cohort.asked import read_asked, without_limits
from hierarchical_twin.cohort.table import open_table
from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import draw_measurements, path_and_measurement_keys, wander
from hierarchical_twin.graph.given import predictions, values_given
from hierarchical_twin.graph.model import Model
from hierarchical_twin.prediction.questions import Question
from hierarchical_twin.spec.schema import Spec

Array = Any
_NUMBERS_AT_ONCE = 2_000_000


@dataclass(frozen=True, eq=False)
class Dial:
    """A model of asked rows in which one column may have any value.

    Attributes
    ----------
    model : Model
        Non-centred.
    start, slope : mapping to ndarray, shape [patient, ...]
        Arrays that depend on the column: where it is 0, and their change with each unit of it.
    """

    model: Model
    start: Mapping[str, np.ndarray]
    slope: Mapping[str, np.ndarray]

    def at(self, value: Array) -> Model:
        """The model with the column at a value for each patient, ``[patient]``."""
        turned = {
            name: start + self.slope[name] * value.reshape(-1, *([1] * (start.ndim - 1)))
            for name, start in self.start.items()
        }
        return self.model.with_arrays(turned)


@dataclass(frozen=True, eq=False)
class Bodies:
    """What is known of patients in each draw, whatever they are given.

    Attributes
    ----------
    population : mapping to ndarray, shape [draw, ...]
        Typical values, residual parameters.
    parameters : mapping to ndarray, shape [draw, patient]
    """

    population: Mapping[str, np.ndarray]
    parameters: Mapping[str, np.ndarray]


def make_dial(source: Model, question: Question, column: str, highest: float) -> Dial:
    """Read the rows of a question at two values of a column.

    Parameters
    ----------
    source : Model
        The fit's own.
    question : Question
    column : str
        Of doses, or of an input.
    highest : float
        A positive value to read at; its half is the other.
    """
    table = open_table(question.frame)
    high, low = (
        read_asked(table, source.spec, source.cohort, {column: value})[0] for value in (highest, highest / 2)
    )
    return dial_between(source.spec, high, low, highest)


def dial_between(spec: Spec, high: Cohort, low: Cohort, highest: float) -> Dial:
    """The dial that goes through two readings of a table.

    Parameters
    ----------
    spec : Spec
    high, low : Cohort
        Where the column is at `highest`, and at half of it.
    highest : float
    """
    start, slope = {}, {}
    for name, values in high.arrays.items():
        if PATIENT in high.dims.get(name, ()) and not np.array_equal(values, low.arrays[name]):
            slope[name] = (values - low.arrays[name]) / (highest / 2)
            start[name] = values - slope[name] * highest
    # The asked places are where they are for every value: masks and positions are those of one reading.
    return Dial(build(without_limits(spec), high, parameterization="noncentered"), start, slope)


def response(
    dial: Dial, bodies: Bodies, statement: Statement, at: np.ndarray, *, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """What a statement is about, ``[draw, patient]``, as a function of the column ``[patient]``.

    Draws, effects and noise are the same at every value (common random numbers).

    Parameters
    ----------
    dial : Dial
    bodies : Bodies
    statement : Statement
        About an outcome: its true value, or a new measurement.
    at : ndarray of int, shape [patient]
        The row that each patient is asked at.
    seed : int
    """
    rows = dial.model.cohort.rows.iloc[at]
    place, position = rows["patient_index"].to_numpy(), rows["position"].to_numpy()
    draws = len(next(iter(bodies.parameters.values())))
    size = dial.model.cohort.size(PATIENT) * dial.model.cohort.size("time") * 6
    batch = int(np.clip(_NUMBERS_AT_ONCE // max(size, 1), 1, min(draws, 100)))

    @jax.jit
    def evaluate(value: Array, known: Any) -> Array:
        model = dial.at(value)

        def one(given: tuple[Any, Any, Array]) -> Array:
            population, parameters, key = given
            path_key, key = path_and_measurement_keys(model, key)
            values = wander(model, values_given(model, {**population, **parameters}), path_key, is_free=False)
            if statement.is_measured:
                return draw_measurements(model, values, key)[statement.name][place, position]
            return predictions(model, values)[statement.name][place, position]

        return jax.lax.map(one, known, batch_size=batch)

    keys = jax.random.split(jax.random.key(seed), draws)
    known = (dict(bodies.population), dict(bodies.parameters), keys)
    return lambda value: np.asarray(evaluate(jnp.asarray(value, dtype=float), known))
