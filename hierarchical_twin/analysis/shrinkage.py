"""How far patients are drawn to the population: shrinkage of random effects, in both definitions.

`eta_hat` is the posterior mean of an effect; omega is taken draw by draw, so that the shrinkage
itself has an interval.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval, summarise
from hierarchical_twin.analysis.variables import EffectGroup, effect_groups, labels_of, posterior_of
from hierarchical_twin.dims import CHAIN, DRAW, PATIENT

DEFINITIONS = ("sd", "variance")
"""``sd``: 1 - sd(eta_hat)/omega, as NONMEM. ``variance``: 1 - var(eta_hat)/omega^2, as Monolix."""


def effect_shrinkage(
    tree: xr.DataTree, *, prob: float = DEFAULT_PROB, kind: str = "equal-tailed"
) -> pd.DataFrame:
    """Shrinkage of every random effect of every grouping level.

    Parameters
    ----------
    tree : xr.DataTree
        A fit.
    prob, kind
        As in `intervals.patient_intervals`.

    Returns
    -------
    pd.DataFrame
        Columns ``group, effect, definition, formula, median, lower, upper, prob, kind``; two rows
        for each effect, none for a fit without effects. 0: everyone keeps their own estimate; near
        1: nobody's data speak. Standard deviations over levels use n - 1. Negative values are
        possible and kept. No mean: a few draws of omega near 0 would decide it.

    Raises
    ------
    SamplingError
        Unknown kind or probability, or a tree that is not a fit.

    References
    ----------
    Savic and Karlsson (2009), AAPS J 11:558, doi:10.1208/s12248-009-9133-0; Monolix documentation,
    "Shrinkage".
    """
    check_interval(prob, kind)
    posterior = posterior_of(tree)
    frames = [_group_table(posterior, group, prob, kind) for group in effect_groups(posterior)]
    if not frames:
        columns = "group effect definition formula median lower upper prob kind"
        return pd.DataFrame(columns=columns.split())
    return pd.concat(frames, ignore_index=True).assign(prob=float(prob), kind=kind)


def patient_shrinkage(tree: xr.DataTree) -> pd.DataFrame:
    """Each patient's own shrinkage: ``var(eta_i | y) / omega^2``.

    The variance is over the draws, and omega^2 is its posterior mean. 1: the patient's data say
    nothing about the effect. It does not go to 0 for the best measured patient: an effect is a
    distance from the typical value, and keeps the uncertainty of that, which shrinks with the number
    of patients.

    Returns
    -------
    pd.DataFrame
        Columns ``patient, effect, shrinkage``.
    """
    posterior = posterior_of(tree)
    frames = []
    for group in effect_groups(posterior):
        if group.group != PATIENT:
            continue
        eta = posterior[group.eta].transpose(CHAIN, DRAW, PATIENT, group.effect_dim).values
        omega = posterior[group.omega].transpose(CHAIN, DRAW, group.effect_dim).values
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_square = np.mean(omega**2, axis=(0, 1)) if omega.size else np.nan
            ratio = _variance(eta.reshape(eta.shape[0] * eta.shape[1], *eta.shape[2:])) / mean_square
        patients = labels_of(posterior, PATIENT)
        frames.extend(
            pd.DataFrame({"patient": patients, "effect": effect, "shrinkage": ratio[:, at]})
            for at, effect in enumerate(labels_of(posterior, group.effect_dim))
        )
    if not frames:
        return pd.DataFrame(columns=["patient", "effect", "shrinkage"])
    return pd.concat(frames, ignore_index=True)


def _group_table(posterior: xr.Dataset, group: EffectGroup, prob: float, kind: str) -> pd.DataFrame:
    omega = posterior[group.omega].transpose(CHAIN, DRAW, group.effect_dim).values.astype(np.float64)
    eta = posterior[group.eta].transpose(CHAIN, DRAW, ..., group.effect_dim).values
    # An interrupted run may hold no draw at all: NaN then, not a warning.
    eta_hat = eta.mean(axis=(0, 1)) if eta.size else np.full(eta.shape[2:], np.nan)
    variance = _variance(eta_hat)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_definition = {"sd": 1 - np.sqrt(variance) / omega, "variance": 1 - variance / omega**2}
    formulas = {"sd": "1 - sd(eta_hat)/omega", "variance": "1 - var(eta_hat)/omega^2"}
    frames = []
    for definition in DEFINITIONS:
        summary = summarise(by_definition[definition], prob=prob, kind=kind)
        frames.append(
            pd.DataFrame(
                {
                    "group": group.group,
                    "effect": labels_of(posterior, group.effect_dim),
                    "definition": definition,
                    "formula": formulas[definition],
                    "median": summary.median,
                    "lower": summary.lower,
                    "upper": summary.upper,
                }
            )
        )
    return pd.concat(frames, ignore_index=True).sort_values("effect", kind="stable", key=_as_stored)


def _as_stored(effects: pd.Series) -> pd.Series:
    """Sort key that keeps effects in the fit's order, so that the two definitions stand together."""
    places = {effect: place for place, effect in enumerate(dict.fromkeys(effects))}
    return effects.map(places)


def _variance(values: np.ndarray) -> np.ndarray:
    """Sample variance over the first axis; NaN where there is only one."""
    return values.var(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)
