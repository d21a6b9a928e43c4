"""How accurately each patient must be integrated: rules compared at populations of the posterior's region.

Only how an integral *changes* with the population matters to its posterior. By Cauchy and Schwarz no
posterior mean moves by more of its SDs than the SD, over the posterior, of the summed errors; so all is
judged by that one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hierarchical_twin.inference.marginal.rules import Frames
from hierarchical_twin.inference.patients import Densities, take_patients

REFERENCE_LEVELS: Mapping[int, tuple[int, ...]] = {
    0: (1,),
    1: (1, 3, 5, 9, 19, 31),
    2: (1, 3, 5, 9, 19, 31),
    3: (1, 3, 5, 7),
    4: (1, 3, 5),
}
"""Nodes in each effect of the products that are raised until the answer stops moving, by effects."""
_WORTH_LEAVING_OUT = 0.7
_LOST = 10.0


@dataclass(frozen=True, eq=False)
class Trial:
    """Log integrals at some populations: with one node for each patient, and as exactly as they can be had.

    Attributes
    ----------
    one : ndarray, shape [point, patient]
    exact : ndarray, shape [point, patient]
    unsettled : ndarray of int
        Patients whose integral still moved when the most nodes were reached.
    moved : ndarray, shape [point, unsettled patient]
        By how much.
    """

    one: np.ndarray
    exact: np.ndarray
    unsettled: np.ndarray
    moved: np.ndarray


def run_trial(densities: Densities, frames: Frames, points: np.ndarray, allowed: float) -> Trial:
    """Raise each patient's nodes until the sum over patients stops moving by `allowed`."""
    effects, patients = frames.mean.shape
    levels = REFERENCE_LEVELS[effects]
    active, own = np.arange(patients), densities
    one = own.integrals(points, frames.mean, frames.root, (levels[0],) * effects)
    exact, moved = one.copy(), np.zeros((len(points), 0))
    active = active if len(levels) > 1 else active[:0]
    for level in levels[1:]:
        if len(active) < _WORTH_LEAVING_OUT * own.patients:
            own = Densities(take_patients(densities.model, active))
            held = active
        elif own is densities:
            held = np.arange(patients)
        near = frames.take(held)
        found = own.integrals(points, near.mean, near.root, (level,) * effects)
        moved = (found - exact[:, held])[:, np.isin(held, active)]
        exact[:, held] = found
        is_settled = mark_harmless(moved, allowed)
        active, moved = active[~is_settled], moved[:, ~is_settled]
        if not len(active):
            break
    is_lost = ~mark_harmless(moved, _LOST * allowed)
    return Trial(one, exact, active[is_lost], moved[:, is_lost])


def mark_harmless(errors: np.ndarray, allowed: float) -> np.ndarray:
    """The most patients ``[patient]`` whose summed errors ``[point, patient]`` stay below an SD of `allowed`."""
    centered = errors - errors.mean(axis=0)
    order = np.argsort(centered.std(axis=0), kind="stable")
    sums = np.cumsum(centered[:, order], axis=1).std(axis=0)
    beyond = np.flatnonzero(~(sums <= allowed))
    marked = np.zeros(errors.shape[1], dtype=bool)
    marked[order[: beyond[0] if len(beyond) else len(order)]] = True
    return marked
