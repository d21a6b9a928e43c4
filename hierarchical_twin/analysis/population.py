"""What the fit says about the population: typical values, coefficients, omegas, residual errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from hierarchical_twin.analysis.intervals import (
    DEFAULT_PROB,
    Summary,
    check_interval,
    summarise,
    summary_columns,
)
from hierarchical_twin.analysis.variables import (
    covariate_units_of,
    effect_groups,
    elements_of,
    labels_of,
    links_of,
    population_variables,
    posterior_of,
    unit_of,
    units_of,
)


def population_intervals(
    tree: xr.DataTree, *, prob: float = DEFAULT_PROB, kind: str = "equal-tailed"
) -> pd.DataFrame:
    """Every quantity that belongs to the population, with its interval.

    Parameters
    ----------
    tree : xr.DataTree
        A fit.
    prob, kind
        As in `intervals.patient_intervals`.

    Returns
    -------
    pd.DataFrame
        Columns ``parameter, unit, mean, median, sd, lower, upper, rhat, ess_bulk, ess_tail,
        cv_percent, cv_lower, cv_upper, prob, kind``. Omegas are standard deviations on the link
        scale; for an intercept under a log link `cv_percent` is the posterior median of
        ``100 sqrt(exp(omega^2) - 1)``, the coefficient of variation between patients, with its
        interval. It is NaN elsewhere.

    Raises
    ------
    SamplingError
        Unknown kind or probability, or a tree that is not a fit.
    """
    check_interval(prob, kind)
    posterior, links, units = posterior_of(tree), links_of(tree), units_of(tree)
    covariate_units = covariate_units_of(tree)
    is_log = {
        # A slope's label, such as `r:age`, is no key of `links`: its CV would depend on the covariate.
        group.omega: np.array([links.get(label) == "log" for label in labels_of(posterior, group.effect_dim)])
        for group in effect_groups(tree)
    }
    frames = []
    for name in population_variables(posterior):
        elements = elements_of(posterior, name)
        if not elements.labels:
            continue
        head = pd.DataFrame(
            {
                "parameter": elements.labels,
                "unit": [unit_of(label, units, links, covariate_units) for label in elements.labels],
            }
        )
        spread = _coefficient_of_variation(elements.draws, is_log.get(name), prob=prob, kind=kind)
        numbers = summary_columns(elements.draws, prob=prob, kind=kind)
        tail = pd.DataFrame(
            {"cv_percent": spread.median, "cv_lower": spread.lower, "cv_upper": spread.upper},
            index=head.index,
        )
        frames.append(pd.concat([head, numbers, tail], axis=1))
    if not frames:
        return _empty_table()
    return pd.concat(frames, ignore_index=True).assign(prob=float(prob), kind=kind)


def _coefficient_of_variation(
    draws: np.ndarray, is_log: np.ndarray | None, *, prob: float, kind: str
) -> Summary:
    if is_log is None:
        return Summary(*np.full((5, draws.shape[2]), np.nan))
    with np.errstate(over="ignore"):
        percent = 100 * np.sqrt(np.expm1(draws.astype(np.float64) ** 2))
    return summarise(np.where(is_log, percent, np.nan), prob=prob, kind=kind)


def _empty_table() -> pd.DataFrame:
    numbers = "mean median sd lower upper rhat ess_bulk ess_tail cv_percent cv_lower cv_upper"
    return pd.DataFrame(columns=["parameter", "unit", *numbers.split(), "prob", "kind"])
