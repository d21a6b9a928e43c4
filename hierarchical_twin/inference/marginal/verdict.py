"""Whether a fit with the effects integrated out may be trusted, and what to do where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.inference.marginal.density import TOLERANCE, Plan, sum_integrals
from hierarchical_twin.inference.marginal.trials import run_trial
from hierarchical_twin.inference.patients import Densities

WORST_K_HAT = 0.7
WORST_SHIFT, WORST_CHANGE = 0.1, 0.1
LEAST_LARGE = 5.0
LEAST_EFFICIENCY = 0.15
"""Of proposals: at less, the twelve that a draw then gets may all be refused (0.85^12 = 0.14)."""
_LEAST_POINTS, _MOST_POINTS = 40, 100
_WORK = 4e6
_NAMED = 10


@dataclass(frozen=True, eq=False)
class Shifts:
    """What integration errors do to the posterior of the population, estimated at its own draws.

    Attributes
    ----------
    mean : ndarray, shape [coordinate]
        Shift of each posterior mean, in posterior SDs.
    sd : ndarray, shape [coordinate]
        Relative change of each posterior SD.
    spread : float
        SD over the posterior of the summed errors, the bound on every shift of a mean.
    patients : ndarray, shape [patient]
        SD over the posterior of each patient's share in what is not settled; 0 for the settled.
    """

    mean: np.ndarray
    sd: np.ndarray
    spread: float
    patients: np.ndarray


def estimate_shifts(plan: Plan, population: np.ndarray) -> Shifts:
    """Compare the plan's density with exact integrals at draws of the population ``[chain, draw, coordinate]``."""
    draws = population.reshape(-1, population.shape[-1])
    patients = plan.frames.mean.shape[1]
    count = int(np.clip(_WORK / patients, _LEAST_POINTS, _MOST_POINTS))
    points = draws[np.linspace(0, len(draws) - 1, min(count, len(draws))).astype(int)]
    trial = run_trial(Densities(plan.model), plan.frames, points, TOLERANCE / 5)
    sampled = jax.jit(lambda xs, numbers: jax.lax.map(lambda x: _sampled(plan, x, numbers), xs))
    missing = trial.exact.sum(axis=1) - np.asarray(sampled(jnp.asarray(points), plan.numbers))
    missing = missing - missing.mean()
    scaled = (points - draws.mean(axis=0)) / draws.std(axis=0)
    scaled = scaled - scaled.mean(axis=0)
    square = scaled**2 - np.mean(scaled**2, axis=0)
    own = np.zeros(patients)
    own[trial.unsettled] = np.std(trial.moved, axis=0)
    size = len(points)
    return Shifts(missing @ scaled / size, missing @ square / size / 2, float(missing.std()), own)


def _sampled(plan: Plan, population: Any, numbers: Any) -> Any:
    """What stood for the patients' log integrals in the density that was sampled, up to a constant."""
    if plan.surrogate is not None:
        return plan.surrogate.at(population)
    return sum_integrals(plan, population, numbers)[1]


@dataclass(frozen=True, eq=False)
class Weights:
    """What `PatientDraws` says of each patient's proposals ``[patient]``."""

    k_hat: np.ndarray
    largest: np.ndarray
    efficiency: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """`is_trusted`, and in plain words why not."""

    is_trusted: bool
    lines: tuple[str, ...]


def judge(plan: Plan, names: tuple[str, ...], shifts: Shifts, weights: Weights) -> Verdict:
    """Say whether the fit may be trusted.

    Parameters
    ----------
    plan : Plan
    names : tuple of str
        Of the population's coordinates.
    shifts : Shifts
    weights : Weights
    """
    lines = []
    k_hat, largest = weights.k_hat, weights.largest
    # The tail of weights that hardly differ is scale-free noise: it needs weights that stand out.
    bad = np.flatnonzero(~((k_hat <= WORST_K_HAT) | (largest <= LEAST_LARGE)))
    if len(bad):
        worst = bad[np.argsort(-k_hat[bad])]
        listed = [f"{plan.model.cohort.patients[place]} ({k_hat[place]:.1f})" for place in worst]
        lines.append(f"Unreliable draws of effects (k-hat above {WORST_K_HAT}): {_listed(listed)}.")
    stuck = np.flatnonzero(~(weights.efficiency >= LEAST_EFFICIENCY))
    if len(stuck):
        labels = [plan.model.cohort.patients[place] for place in stuck]
        lines.append(f"Draws of effects that hardly move (poor proposals): {_listed(labels)}.")
    moved = [
        f"{name} ({shift:+.2f} SD)"
        for name, shift in zip(names, shifts.mean, strict=True)
        if not abs(shift) <= WORST_SHIFT
    ]
    if moved:
        lines.append(f"Posterior means that integration errors may have moved: {_listed(moved)}.")
    widened = [
        f"{name} ({100 * change:+.0f} %)"
        for name, change in zip(names, shifts.sd, strict=True)
        if not abs(change) <= WORST_CHANGE
    ]
    if widened:
        lines.append(f"Posterior SDs that integration errors may have changed: {_listed(widened)}.")
    lost = np.flatnonzero(shifts.patients > 0)
    if len(lost):
        labels = [plan.model.cohort.patients[place] for place in lost]
        lines.append(f"Patients whose integral did not settle at the most nodes: {_listed(labels)}.")
    return Verdict(not lines, tuple(lines))


def _listed(words: list[str]) -> str:
    rest = len(words) - _NAMED
    return ", ".join(words[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
