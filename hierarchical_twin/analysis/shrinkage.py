"""How far patients are drawn to the population: shrinkage of random effects, in both definitions.

`eta_hat` is the posterior mean of an effect; omega is taken draw by draw, so that the shrinkage
itself has an interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from hierarchical_twin.analysis.convergence import over_elements
from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval, summarise
from hierarchical_twin.analysis.patient_summary import statistics_of
from hierarchical_twin.analysis.variables import (
    EffectGroup,
    effect_groups,
    labels_of,
    patients_of,
    posterior_of,
    summary_of,
)
from hierarchical_twin.dims import CHAIN, DRAW, PATIENT, STATISTIC

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
    frames = [_group_table(tree, group, prob, kind) for group in effect_groups(tree)]
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
    for group in effect_groups(tree):
        if group.group != PATIENT:
            continue
        omega = posterior[group.omega].transpose(CHAIN, DRAW, group.effect_dim).values
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_square = np.mean(omega**2, axis=(0, 1)) if omega.size else np.nan
            ratio = _effect_moments(tree, group).variance / mean_square
        patients = labels_of(patients_of(tree), PATIENT)
        frames.extend(
            pd.DataFrame({"patient": patients, "effect": effect, "shrinkage": ratio[:, at]})
            for at, effect in enumerate(labels_of(posterior, group.effect_dim))
        )
    if not frames:
        return pd.DataFrame(columns=["patient", "effect", "shrinkage"])
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class _Moments:
    """Mean and variance of effects over the draws, ``[level, effect]``."""

    mean: np.ndarray
    variance: np.ndarray


def _effect_moments(tree: xr.DataTree, group: EffectGroup) -> _Moments:
    summary = summary_of(tree)
    if summary is not None and group.group == PATIENT:
        order = summary[group.eta].transpose(STATISTIC, PATIENT, group.effect_dim)
        found = statistics_of(order.to_dataset(name=group.eta), group.eta)
        shape = order.shape[1:]
        return _Moments(found["mean"].reshape(shape), found["sd"].reshape(shape) ** 2)
    eta = posterior_of(tree)[group.eta].transpose(CHAIN, DRAW, ..., group.effect_dim).values
    draws = eta.reshape(*eta.shape[:2], int(np.prod(eta.shape[2:])))
    # Block by block: the squares of all draws at once would double a large fit's memory.
    moments = over_elements(_moments_of, draws, rows=2).reshape(2, *eta.shape[2:])
    return _Moments(*moments)


def _moments_of(block: np.ndarray) -> np.ndarray:
    """Rows mean and sample variance of ``[element, chain, draw]``; NaN where there are too few draws."""
    flat = block.reshape(len(block), block.shape[1] * block.shape[2])
    nothing = np.full(len(flat), np.nan)
    mean = flat.mean(axis=1) if flat.shape[1] else nothing
    return np.stack([mean, flat.var(axis=1, ddof=1) if flat.shape[1] > 1 else nothing])


def _group_table(tree: xr.DataTree, group: EffectGroup, prob: float, kind: str) -> pd.DataFrame:
    posterior = posterior_of(tree)
    omega = posterior[group.omega].transpose(CHAIN, DRAW, group.effect_dim).values.astype(np.float64)
    # An interrupted run may hold no draw at all: NaN then, not a warning.
    variance = _variance(_effect_moments(tree, group).mean)
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
