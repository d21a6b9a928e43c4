"""The verb `simulate`: patients and measurements a model might have produced, with the truth beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax
import numpy as np
import pandas as pd

from hierarchical_twin.cohort.arrays import hash_data
from hierarchical_twin.errors import Problem, SamplingError, nearest
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.distributions import DISTRIBUTIONS
from hierarchical_twin.graph.evaluate import draw_outcomes, draw_prior, reported_values
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.device import choose_place, float64_on


@dataclass(frozen=True, eq=False)
class Simulation:
    """One simulated cohort.

    Attributes
    ----------
    truth : mapping
        Parameter to the value the measurements came from: ``r [patient]``, ``r_typical []``,
        ``omega [effect]``, as a fit names them.
    rows : pandas.DataFrame
        The cohort's rows with simulated values: outcome, patient, time, value, table_row, ...
    model : Model
        The same model over the simulated measurements, ready to sample.
    """

    truth: Mapping[str, np.ndarray]
    rows: pd.DataFrame
    model: Model


def simulate(
    model: Model, *, seed: int = 0, population: Mapping[str, float | list[float]] | None = None
) -> Simulation:
    """Draw patients from the population and measurements from the patients.

    Parameters
    ----------
    model : Model
        Its cohort gives the design: patients, times, doses, inputs, covariates.
    seed : int
    population : mapping, optional
        Population parameters to hold, such as ``{"r_typical": 0.01, "omega": [0.3, 0.2]}``, in a
        fit's names; the others are drawn from their priors.

    Raises
    ------
    SamplingError
        A name in `population` is not a random variable of the model, its shape is wrong, or it is not
        positive where its prior is.

    Notes
    -----
    Limits of quantification are not applied: simulated values are the uncensored ones.
    """
    free = build(model.spec, model.cohort, parameterization="noncentered")
    held = _checked(free, dict(population or {}))
    with float64_on(choose_place("cpu", 1)):
        own, noise = jax.random.split(jax.random.PRNGKey(seed))
        values, _ = draw_prior(free, own, held)
        outcomes = {name: np.asarray(value) for name, value in draw_outcomes(free, values, noise).items()}
        truth = {name: np.asarray(value) for name, value in reported_values(free, values).items()}
    return _with_outcomes(model, truth, outcomes)


def _checked(model: Model, population: dict[str, float | list[float]]) -> dict[str, np.ndarray]:
    shapes = {node.name: model.shape(node.dims) for node in model.graph.samples}
    positive = {
        node.name for node in model.graph.samples if DISTRIBUTIONS[node.distribution].support == "positive"
    }
    problems, held = [], {}
    for name, value in population.items():
        array = np.asarray(value, dtype=float)
        if name not in shapes:
            expected = f"one of {', '.join(shapes)}"
            problems.append(Problem("simulate population", f"'{name}'", expected, nearest(name, shapes)))
        elif array.shape != shapes[name]:
            problems.append(
                Problem(f"simulate population {name}", f"shape {array.shape}", f"shape {shapes[name]}")
            )
        elif name in positive and not (array > 0).all():
            problems.append(Problem(f"simulate population {name}", f"{value}", "numbers above 0"))
        held[name] = array
    if problems:
        raise SamplingError(problems)
    return held


def _with_outcomes(
    model: Model, truth: Mapping[str, np.ndarray], outcomes: Mapping[str, np.ndarray]
) -> Simulation:
    arrays, rows = dict(model.cohort.arrays), model.cohort.rows.copy()
    for node in model.graph.observes:
        mask = arrays[node.mask]
        arrays[node.observed] = np.where(mask, outcomes[node.name], arrays[node.observed])
        if node.censored is not None:
            arrays[node.censored] = np.zeros_like(arrays[node.censored])
        rows.loc[rows["outcome"] == node.name, "value"] = outcomes[node.name][mask]
    if "censored" in rows:
        rows["censored"] = 0
    report = replace(model.cohort.report, source=f"simulated on the design of {model.cohort.report.source}")
    own_hash = hash_data(arrays, model.cohort.coords)
    cohort = replace(model.cohort, arrays=arrays, rows=rows, report=report, data_hash=own_hash)
    return Simulation(truth, rows, Model(model.spec, cohort, model.graph))
