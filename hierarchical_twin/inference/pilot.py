"""A start for the chains: a quick optimisation from the middle of the priors, and a jitter around it.

Random starts cost the first warm-up iterations hundreds of steps each and can land in another mode.
The effects' SDs are held while the rest is optimised, then set from the effects found, since the
joint mode of a hierarchical model is a poor place to start from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from hierarchical_twin.graph.build import Model, build
from hierarchical_twin.graph.evaluate import Slot, central_point, convert_point, layout, log_density

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]

_EFFECT_JITTER = 0.3
_MOST_JITTER = 1.0
_LEAST_OMEGA, _MOST_OMEGA = 0.1, 3.0


@dataclass(frozen=True)
class Pilot:
    """What the optimisation found, in the non-centred layout.

    Attributes
    ----------
    model : Model
        The non-centred model it ran on.
    position : ndarray, shape [size]
    spread : ndarray, shape [size]
        Scale of a start around `position`: about one conditional posterior SD for population
        parameters, less for effects.
    objective : callable
        Flat point to minus log density and its gradient, compiled.
    gradient_seconds : float
        Wall time of one gradient of the log density.
    """

    model: Model
    position: np.ndarray
    spread: np.ndarray
    objective: Objective
    gradient_seconds: float


def find_pilot(model: Model) -> Pilot:
    """Optimise from the middle of the priors.

    Parameters
    ----------
    model : Model
        In any parameterization.
    """
    noncentered = build(model.spec, model.cohort, parameterization="noncentered")
    objective = _objective(noncentered)
    slots = layout(noncentered)
    position = np.asarray(central_point(noncentered))
    is_held = mark_slots(slots, position.size, lambda name: name.startswith("omega"))
    position = optimise(objective, position, ~is_held, iterations=60)
    position = _with_moment_scales(slots, position)
    position = optimise(objective, position, ~is_held, iterations=200)
    start = time.perf_counter()
    for _ in range(5):
        objective(position)
    seconds = (time.perf_counter() - start) / 5
    return Pilot(noncentered, position, _spread(objective, slots, position), objective, seconds)


def jittered_starts(pilot: Pilot, model: Model, chains: int, seed: int) -> np.ndarray:
    """Overdispersed starting points ``[chain, size]`` in the model's own layout."""
    noise = np.random.default_rng([seed, 0x57A27]).standard_normal((chains, pilot.position.size))
    points = pilot.position + noise * pilot.spread
    if layout(model) == layout(pilot.model):
        return points
    convert = jax.jit(jax.vmap(lambda point: convert_point(pilot.model, model, point)))
    return np.asarray(convert(jnp.asarray(points)))


def _objective(model: Model) -> Objective:
    negative = jax.jit(jax.value_and_grad(lambda flat: -log_density(model)(flat)))

    def objective(position: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = negative(jnp.asarray(position))
        value = float(value)
        if not np.isfinite(value):  # L-BFGS steps back from a wall, but not from NaN.
            return 1e300, np.zeros_like(position)
        return value, np.nan_to_num(np.asarray(slope))

    return objective


def mark_slots(slots: tuple[Slot, ...], size: int, is_marked: Callable[[str], bool]) -> np.ndarray:
    """Boolean ``[size]``: the coordinates of the slots whose names are marked."""
    marked = np.zeros(size, dtype=bool)
    for slot in slots:
        marked[slot.start : slot.stop] = is_marked(slot.name)
    return marked


def is_effect(name: str) -> bool:
    """Whether a slot of the non-centred layout holds standardized effects."""
    return name == "z" or name.startswith("z_")


def optimise(objective: Objective, start: np.ndarray, is_free: np.ndarray, *, iterations: int) -> np.ndarray:
    """Minimise over the free coordinates by L-BFGS; the start itself where that fails."""

    def restricted(free: np.ndarray) -> tuple[float, np.ndarray]:
        position = start.copy()
        position[is_free] = free
        value, slope = objective(position)
        return value, slope[is_free]

    found = minimize(
        restricted, start[is_free], jac=True, method="L-BFGS-B", options={"maxiter": iterations}
    )
    end = start.copy()
    end[is_free] = found.x
    return end if np.isfinite(found.fun) and found.fun < 1e300 else start


def _with_moment_scales(slots: tuple[Slot, ...], position: np.ndarray) -> np.ndarray:
    """Set each effect's SD from the spread of the effects found, keeping the effects themselves."""
    by_name = {slot.name: slot for slot in slots}
    moved = position.copy()
    for name, effects in by_name.items():
        omega = by_name.get(name.replace("z", "omega", 1))
        if not is_effect(name) or omega is None:
            continue
        standard = position[effects.start : effects.stop].reshape(effects.shape)
        ratio = np.clip(np.sqrt(np.mean(standard**2, axis=0)), _LEAST_OMEGA, _MOST_OMEGA)
        moved[omega.start : omega.stop] += np.log(ratio)
        moved[effects.start : effects.stop] = (standard / ratio).ravel()
    return moved


def _spread(objective: Objective, slots: tuple[Slot, ...], position: np.ndarray) -> np.ndarray:
    """Jitter of each coordinate, from the curvature along it by differences of gradients."""
    is_standard = mark_slots(slots, position.size, is_effect)
    spread = np.full(position.size, _EFFECT_JITTER)
    step = 1e-3
    for index in np.flatnonzero(~is_standard):
        moved = position.copy()
        moved[index] += step
        above = objective(moved)[1][index]
        moved[index] -= 2 * step
        below = objective(moved)[1][index]
        curvature = max((above - below) / (2 * step), 0.0)
        spread[index] = min(_MOST_JITTER, 1.0 / np.sqrt(curvature + 1e-12))
    return spread
