"""From a fit's draws to what is given when a model of other rows is evaluated: population and effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hierarchical_twin.analysis.variables import posterior_of
from hierarchical_twin.cohort import Cohort
from hierarchical_twin.dims import PATIENT, group_suffix
from hierarchical_twin.errors import DataError, Problem, SamplingError
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.fit import Fit


@dataclass(frozen=True, eq=False)
class Level:
    """Effects of one grouping level.

    Attributes
    ----------
    name : str
        Of the node, such as ``eta`` or ``eta_site``.
    known : ndarray, shape [draw, member, effect]
        Draws of the members the fit has, anything for the others.
    is_known : ndarray of bool, shape [member]
    root : ndarray, shape [draw, effect, effect]
        Lower Cholesky factor of the effects' covariance.
    """

    name: str
    known: np.ndarray
    is_known: np.ndarray
    root: np.ndarray


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of every grouping level; `is_new` ``[patient]`` says who is not in the fit."""

    levels: tuple[Level, ...]
    is_new: np.ndarray


def draw_places(fit: Fit, draws: int | None) -> np.ndarray:
    """Which of the fit's draws are used, chain after chain: at most `draws`, evenly spaced.

    Raises
    ------
    DataError
        `draws` is not a number from 1.
    """
    posterior = fit.tree["posterior"]
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    if draws is not None and (not isinstance(draws, int) or draws < 1):
        raise DataError(Problem("predict draws", repr(draws), "a whole number from 1, or None for all"))
    count = total if draws is None else min(draws, total)
    return np.linspace(0, total - 1, count).round().astype(int)


def population_of(fit: Fit, model: Model, chosen: np.ndarray) -> Mapping[str, np.ndarray]:
    """Draws ``[draw, ...]`` of every population node of a model, at the chosen draws."""
    return {
        node.name: _draws(fit, node.name, chosen)
        for node in model.graph.reported
        if PATIENT not in node.dims and not node.name.startswith("eta_")
    }


def effects_for(fit: Fit, learned: Cohort, model: Model, chosen: np.ndarray) -> Effects:
    """Effects of a model's patients and outer levels, at the chosen draws of a fit to `learned`.

    Raises
    ------
    SamplingError
        A patient of the fit is asked for, and it keeps statistics of patients only.
    """
    cohort = model.cohort
    place = {label: number for number, label in enumerate(learned.patients)}
    is_new = np.array([label not in place for label in cohort.patients])
    levels = []
    for group, words in cohort.effects.items():
        suffix = group_suffix(group)
        members = cohort.patients if group == PATIENT else cohort.coords[group]
        fitted = learned.patients if group == PATIENT else learned.coords[group]
        where = {label: number for number, label in enumerate(fitted)}
        at = np.array([where.get(label, -1) for label in members])
        known = np.zeros((len(chosen), len(members), len(words)))
        if (at >= 0).any():
            _require_draws(fit, f"eta{suffix}")
            known[:, at >= 0] = _draws(fit, f"eta{suffix}", chosen)[:, at[at >= 0]]
        levels.append(Level(f"eta{suffix}", known, at >= 0, _roots(fit, suffix, chosen)))
    return Effects(tuple(levels), is_new)


def _require_draws(fit: Fit, name: str) -> None:
    if name not in posterior_of(fit.tree):
        raise SamplingError(
            Problem(
                "predict",
                "patients of a fit that keeps statistics of them only (patients='summary')",
                "new patients, or a fit with draws of each patient",
                "fit again with patients='draws', perhaps with thin",
            )
        )


def _roots(fit: Fit, suffix: str, chosen: np.ndarray) -> np.ndarray:
    """``L`` of ``L L' = covariance`` ``[draw, effect, effect]``."""
    omega = _draws(fit, f"omega{suffix}", chosen)
    if f"omega_correlation{suffix}" not in posterior_of(fit.tree):
        return omega[:, :, None] * np.eye(omega.shape[1])
    correlation = _draws(fit, f"omega_correlation{suffix}", chosen)
    # A correlation that rounds to 1 leaves no room for the factor; the ridge is far below any effect.
    root = np.linalg.cholesky(correlation + 1e-12 * np.eye(omega.shape[1]))
    return omega[:, :, None] * root


def _draws(fit: Fit, name: str, chosen: np.ndarray) -> np.ndarray:
    values = posterior_of(fit.tree)[name].transpose("chain", "draw", ...).values
    return values.reshape(-1, *values.shape[2:])[chosen]
