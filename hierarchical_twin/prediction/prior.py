"""What the priors alone expect at every row of a table, measured or only planned."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval, summarise
from hierarchical_twin.cohort.asked import without_limits
from hierarchical_twin.cohort.cohort import require_spec
from hierarchical_twin.cohort.columns import as_text
from hierarchical_twin.cohort.read import read_opened
from hierarchical_twin.cohort.table import Table, open_table
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.prior_predictive import prior_predictive
from hierarchical_twin.spec.check import check_spec
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.vocabulary import FILLERS


def prior_table(
    spec: Spec,
    table: str | os.PathLike[str] | pd.DataFrame,
    *,
    prob: float = DEFAULT_PROB,
    draws: int = 400,
    seed: int = 0,
) -> pd.DataFrame:
    """Bands of a measurement at every row of a table, from a spec alone: the prior predictive.

    Parameters
    ----------
    spec : Spec
    table : path or pandas.DataFrame
        As for `read_cohort`. The column of an outcome may be blank throughout, or absent: then every row
        that is no dose is planned for it.
    prob : float
        Probability inside the bands; they are equal-tailed.
    draws, seed : int

    Returns
    -------
    pandas.DataFrame
        ``patient, outcome, time``, the inputs, ``unit, DV`` (NaN where nothing was measured), the mean
        and median of a measurement (``EPRED, median``), its limits (``lower_new, upper_new``), ``prob``
        and ``kind``.

    Raises
    ------
    SpecError
        `spec` is no Spec, or is not sound.
    DataError
        The table cannot be read under it.
    """
    check_interval(prob, "equal-tailed")
    require_spec(spec, "prior_table spec")
    check_spec(spec)
    model, planned = _plan(open_table(table), spec)
    cohort = model.cohort
    replicates = prior_predictive(model, draws=draws, seed=seed)
    told = ["patient", "outcome", "time", *spec.inputs]
    rows = cohort.rows[[column for column in told if column in cohort.rows]]
    tables = []
    for outcome, values in replicates.items():
        own = (cohort.rows["outcome"] == outcome).to_numpy()
        band = summarise(values[None], prob=prob)
        tables.append(
            rows[own].assign(
                unit=spec.observations[outcome].unit,
                DV=np.nan if outcome in planned else cohort.rows["value"][own],
                EPRED=band.mean,
                median=band.median,
                lower_new=band.lower,
                upper_new=band.upper,
                prob=prob,
                kind="equal-tailed",
            )
        )
    return pd.concat(tables, ignore_index=True)


def _plan(table: Table, spec: Spec) -> tuple[Model, tuple[str, ...]]:
    """The model over a table's rows, and the outcomes that nobody has measured."""
    planned = [
        name
        for name, words in spec.observations.items()
        if all(as_text(cell) is None for cell in table.frame.get(words.column, ()))
    ]
    if not planned:
        return build(spec, read_opened(table, spec)), ()
    columns = {spec.observations[name].column: FILLERS[spec.observations[name].error] for name in planned}
    plan = Table(table.frame.assign(**columns), table.source, table.lines)
    free = without_limits(spec)
    return build(free, read_opened(plan, free)), tuple(planned)
