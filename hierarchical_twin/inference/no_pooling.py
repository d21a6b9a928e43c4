"""Each patient on their own: the estimates a shrinkage picture starts from.

The patient's likelihood is maximised over their effects with the population's other parameters at
their posterior means and the effects' SDs ten times wider, so that the population hardly pulls. A
patient whose data do not determine a parameter still gets a finite value.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT, group_suffix
from hierarchical_twin.graph.build import Model
from hierarchical_twin.graph.evaluate import layout, parameters_at
from hierarchical_twin.inference.pilot import Pilot, is_effect, mark_slots, optimise

WIDENED = 10.0
"""How many times wider the population is made."""


def no_pooling_estimates(
    pilot: Pilot, model: Model, positions: np.ndarray, posterior: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Per-patient estimates without the population's pull.

    Parameters
    ----------
    pilot : Pilot
    model : Model
        The model that was sampled.
    positions : ndarray, shape [chain, draw, size]
        Its draws.
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
    point = _population_means(pilot, model, positions)
    slots = layout(pilot.model)
    scales = {"omega", *(f"omega_{effect.label}" for effect in effects)}
    point[mark_slots(slots, point.size, scales.__contains__)] += np.log(WIDENED)
    point[mark_slots(slots, point.size, "omega_partial".__eq__)] = 0.0
    for group in model.cohort.effects:
        if group != PATIENT:
            _hold_effects(pilot.model, point, group_suffix(group), posterior)
    found = optimise(pilot.objective, point, mark_slots(slots, point.size, "z".__eq__), iterations=500)
    values = jax.jit(lambda flat: parameters_at(pilot.model, flat))(jnp.asarray(found))
    return {name: np.asarray(values[name]) for name in dict.fromkeys(effect.parameter for effect in effects)}


def _hold_effects(model: Model, point: np.ndarray, suffix: str, posterior: Mapping[str, np.ndarray]) -> None:
    """Put an outer level's effects (a site's) at their posterior means, in place."""
    omega = np.asarray(parameters_at(model, jnp.asarray(point))[f"omega{suffix}"])
    for slot in layout(model):
        if slot.name == f"omega_partial{suffix}":
            point[slot.start : slot.stop] = 0.0
        elif slot.name == f"z{suffix}":
            mean = posterior[f"eta{suffix}"].mean(axis=(0, 1))
            point[slot.start : slot.stop] = (mean / omega).ravel()


def _population_means(pilot: Pilot, model: Model, positions: np.ndarray) -> np.ndarray:
    """Posterior means of the unconstrained population parameters, effects at zero."""
    point = pilot.position.copy()
    means = positions.mean(axis=(0, 1))
    sampled = {slot.name: slot for slot in layout(model)}
    for slot in layout(pilot.model):
        if is_effect(slot.name):
            point[slot.start : slot.stop] = 0.0
        elif slot.name in sampled:
            point[slot.start : slot.stop] = means[sampled[slot.name].start : sampled[slot.name].stop]
    return point
