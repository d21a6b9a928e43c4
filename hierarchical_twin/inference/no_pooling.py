"""Each patient on their own: the estimates a shrinkage picture starts from.

The patient's likelihood is maximised over their effects with the population's other parameters at
their posterior means and the effects' SDs ten times wider, so that the population hardly pulls. A
patient whose data do not determine a parameter still gets a finite value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT, group_suffix
from hierarchical_twin.graph.blocks import mark_population, patient_slots, population_slots
from hierarchical_twin.graph.evaluate import layout, parameters_at
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.pilot import Pilot, mark_slots

WIDENED = 10.0
"""How many times wider the population is made."""
_TURNS = 200
_STEP = 1e-4
_LEAST_CURVATURE = 1e-3
_FIRST, _LONGEST = 2.0, 50.0
_SHORTEST = 1e-6
_ENOUGH = 1e-6


def no_pooling_estimates(
    pilot: Pilot, model: Model, population: np.ndarray, posterior: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Per-patient estimates without the population's pull.

    Parameters
    ----------
    pilot : Pilot
    model : Model
        The model that was sampled.
    population : ndarray, shape [chain, draw, coordinate]
        Draws of its population's block.
    posterior : mapping to ndarray, shape [chain, draw, ...]
        The same draws by name.

    Returns
    -------
    dict
        Parameter with patient effects to ``[patient]``, natural scale, declared unit; empty without
        patient effects.
    """
    effects = model.cohort.effects.get(PATIENT, ())
    if not effects:
        return {}
    point = _population_means(pilot, model, population)
    slots = layout(pilot.model)
    scales = {"omega", *(f"omega_{effect.label}" for effect in effects)}
    point[mark_slots(slots, point.size, scales.__contains__)] += np.log(WIDENED)
    point[mark_slots(slots, point.size, "omega_partial".__eq__)] = 0.0
    for group in model.cohort.effects:
        if group != PATIENT:
            _hold_effects(pilot.model, point, group_suffix(group), posterior)
    found = _newton(pilot, point)
    names = tuple(dict.fromkeys(effect.parameter for effect in effects))

    @jax.jit
    def parameters(flat: jax.Array) -> dict[str, jax.Array]:
        values = parameters_at(pilot.model, flat)
        return {name: values[name] for name in names}

    return {name: np.asarray(value) for name, value in parameters(jnp.asarray(found)).items()}


def _newton(pilot: Pilot, point: np.ndarray) -> np.ndarray:
    """The point with every patient's effects at their own maximum, the population held.

    Newton's method for all patients at once, each with a step length of their own. Patients are
    independent, so a difference of the pilot's compiled gradients gives one row of every patient's
    curvature, and nothing is compiled anew. Effects live in informed frames: 0 is near the maximum and
    1 about the curvature.
    """
    numbers = {name: jnp.asarray(value) for name, value in pilot.model.numbers.items()}
    places = _effect_places(pilot.model)
    count, patients = places.shape
    at = point.copy()

    def slope(effects: np.ndarray) -> np.ndarray:
        at[places] = effects
        return np.asarray(pilot.repeated(at, 1, numbers)[1])[places]

    now = np.zeros((count, patients))
    gradient = slope(now)
    longest = np.full(patients, _FIRST)
    for _ in range(_TURNS):
        size = np.where(np.isfinite(gradient), np.abs(gradient), 0.0).max(axis=0)
        is_moving = (size > _ENOUGH) & (longest > _SHORTEST)
        if not is_moving.any():
            break
        step = _newton_step(gradient, _curvature(slope, now, gradient), longest) * is_moving
        then = now + step
        ahead = slope(then)
        # Along a step that goes down, a slope that points back as steeply says it went too far.
        along = np.sum(gradient * step, axis=0), np.sum(ahead * step, axis=0)
        is_taken = np.isfinite(ahead).all(axis=0) & (along[1] <= -0.5 * along[0])
        longest = np.where(is_taken, np.minimum(2 * longest, _LONGEST), _norm(step) / 3)
        longest = np.where(is_moving, longest, 0.0)
        now, gradient = np.where(is_taken, then, now), np.where(is_taken, ahead, gradient)
    at[places] = now
    return at


def _curvature(
    slope: Callable[[np.ndarray], np.ndarray], now: np.ndarray, gradient: np.ndarray
) -> np.ndarray:
    """Second derivatives ``[patient, effect, effect]`` of minus log density."""
    rows = []
    for effect in range(len(now)):
        moved = now.copy()
        moved[effect] += _STEP
        rows.append((slope(moved) - gradient) / _STEP)
    matrix = np.nan_to_num(np.moveaxis(np.array(rows), 2, 0), posinf=0.0, neginf=0.0)
    return (matrix + np.swapaxes(matrix, 1, 2)) / 2


def _newton_step(gradient: np.ndarray, curvature: np.ndarray, longest: np.ndarray) -> np.ndarray:
    """Steps ``[effect, patient]`` downwards, no longer than each patient's longest."""
    size, vectors = np.linalg.eigh(curvature)
    # Where the density bends the other way, its size still tells how far the bend goes on.
    size = np.maximum(np.abs(size), _LEAST_CURVATURE)
    step = -np.einsum("pij,pj,pkj,kp->ip", vectors, 1.0 / size, vectors, np.nan_to_num(gradient))
    return step * np.minimum(1.0, longest / np.maximum(_norm(step), 1e-300))


def _norm(step: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(step * step, axis=0))


def _effect_places(model: Model) -> np.ndarray:
    """Where each patient's effects stand in the flat vector, ``[effect, patient]``."""
    slots = patient_slots(model)
    return np.concatenate([np.arange(s.start, s.stop).reshape(s.shape[0], -1).T for s in slots])


def _hold_effects(model: Model, point: np.ndarray, suffix: str, posterior: Mapping[str, np.ndarray]) -> None:
    """Put an outer level's effects (a site's) at their posterior means, in place."""
    omega = np.asarray(parameters_at(model, jnp.asarray(point))[f"omega{suffix}"])
    for slot in layout(model):
        if slot.name == f"omega_partial{suffix}":
            point[slot.start : slot.stop] = 0.0
        elif slot.name == f"z{suffix}":
            mean = posterior[f"eta{suffix}"].mean(axis=(0, 1))
            point[slot.start : slot.stop] = (mean / omega).ravel()


def _population_means(pilot: Pilot, model: Model, population: np.ndarray) -> np.ndarray:
    """Posterior means of the unconstrained population parameters, effects at zero."""
    point = np.where(mark_population(pilot.model), pilot.position, 0.0)
    means, place, sampled = population.mean(axis=(0, 1)), 0, {}
    for slot in population_slots(model):
        width = slot.stop - slot.start
        sampled[slot.name] = means[place : place + width]
        place += width
    for slot in population_slots(pilot.model):
        if slot.name in sampled:
            point[slot.start : slot.stop] = sampled[slot.name]
    return point
