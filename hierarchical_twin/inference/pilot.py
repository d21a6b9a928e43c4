"""A start for the chains: a quick optimisation from the middle of the priors, and a jitter around it.

Random starts cost the first warm-up iterations hundreds of steps each and can land in another mode.
The effects' SDs are held while the rest is optimised, then set from the effects found, since the
joint mode of a hierarchical model is a poor place to start from. The residual scales are optimised in
their turn: with the rest they would run to zero, wherever the effects can fit every measurement.
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
Repeated = Callable[[jax.Array, int], tuple[jax.Array, jax.Array]]

NOT_FINITE = 1e300
"""What the objective returns where minus log density is not finite."""
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
    repeated = _repeated_gradient(noncentered)
    objective = _objective(repeated)
    slots = layout(noncentered)
    position = np.asarray(central_point(noncentered))
    residual = _residual_names(noncentered)
    is_residual = mark_slots(slots, position.size, lambda name: name in residual)
    is_held = is_residual | mark_slots(slots, position.size, lambda name: name.startswith("omega"))
    position = optimise(objective, position, ~is_held, iterations=60)
    position = _with_moment_scales(slots, position)
    position = optimise(objective, position, is_residual, iterations=30)
    position = optimise(objective, position, ~is_held, iterations=200)
    seconds = _gradient_seconds(repeated, position)
    return Pilot(noncentered, position, _spread(objective, slots, position), objective, seconds)


def jittered_starts(pilot: Pilot, model: Model, chains: int, seed: int) -> np.ndarray:
    """Overdispersed starting points ``[chain, size]`` in the model's own layout, each of finite density."""
    noise = np.random.default_rng([seed, 0x57A27]).standard_normal((chains, pilot.position.size))
    points = np.stack([_finite_point(pilot, step) for step in noise * pilot.spread])
    if layout(model) == layout(pilot.model):
        return points
    convert = jax.jit(jax.vmap(lambda point: convert_point(pilot.model, model, point)))
    return np.asarray(convert(jnp.asarray(points)))


def _finite_point(pilot: Pilot, step: np.ndarray) -> np.ndarray:
    """The pilot's position moved by `step`, or by as much of it as keeps the density finite."""
    for _ in range(20):
        if pilot.objective(pilot.position + step)[0] < NOT_FINITE:
            return pilot.position + step
        step = step / 2
    return pilot.position


def _repeated_gradient(model: Model) -> Repeated:
    """Minus log density and its gradient, computed `times` over in one compiled loop."""
    gradient = jax.value_and_grad(lambda flat: -log_density(model)(flat))

    def repeated(flat: jax.Array, times: int) -> tuple[jax.Array, jax.Array]:
        def again(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            # Each turn depends on the last, or the compiler would compute it once.
            return gradient(flat + 1e-300 * carry[1])

        return jax.lax.fori_loop(0, times, again, (jnp.zeros(()), jnp.zeros_like(flat)))

    return jax.jit(repeated)


def _objective(repeated: Repeated) -> Objective:
    def objective(position: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = repeated(jnp.asarray(position), 1)
        value = float(value)
        if not np.isfinite(value):  # L-BFGS steps back from a wall, but not from NaN.
            return NOT_FINITE, np.zeros_like(position)
        return value, np.nan_to_num(np.asarray(slope))

    return objective


def _gradient_seconds(repeated: Repeated, position: np.ndarray) -> float:
    """Wall time of one gradient inside a compiled loop, where dispatch from Python does not count."""
    point = jnp.asarray(position)

    def best(times: int) -> float:
        walls = []
        for _ in range(5):
            start = time.perf_counter()
            jax.block_until_ready(repeated(point, times))
            walls.append(time.perf_counter() - start)
        return min(walls)

    return max(best(21) - best(1), 1e-6) / 20


def _residual_names(model: Model) -> set[str]:
    """Random variables that say how measurements err."""
    return {given for node in model.graph.observes for _, given in node.parameters if isinstance(given, str)}


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
    if not is_free.any():
        return start

    def restricted(free: np.ndarray) -> tuple[float, np.ndarray]:
        position = start.copy()
        position[is_free] = free
        value, slope = objective(position)
        return value, slope[is_free]

    found = minimize(restricted, start[is_free], jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    end = start.copy()
    end[is_free] = found.x
    return end if np.isfinite(found.fun) and found.fun < NOT_FINITE else start


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
