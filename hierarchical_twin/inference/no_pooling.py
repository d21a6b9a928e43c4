"""Each patient on their own: the estimates a shrinkage picture starts from.

The patient's likelihood is maximised over their effects with the population's other parameters at
their posterior means and the effects' SDs ten times wider, so that the population hardly pulls. A
patient whose data do not determine a parameter still gets a finite value.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT, group_suffix
from hierarchical_twin.graph.build import Model
from hierarchical_twin.graph.evaluate import layout, parameters_at
from hierarchical_twin.inference.pilot import Pilot, is_effect, mark_slots, optimise

WIDENED = 10.0
"""How many times wider the population is made."""


def no_pooling_estimates(pilot: Pilot, model: Model, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Per-patient estimates without the population's pull.

    Parameters
    ----------
    pilot : Pilot
    model : Model
        The model that was sampled.
    positions : ndarray, shape [chain, draw, size]
        Its draws.

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
    scale = f"omega{group_suffix(PATIENT)}"
    point[mark_slots(slots, point.size, lambda name: name == scale or name.startswith(f"{scale}_"))] += (
        np.log(WIDENED)
    )
    point[mark_slots(slots, point.size, lambda name: name == f"omega_partial{group_suffix(PATIENT)}")] = 0.0
    is_free = mark_slots(slots, point.size, lambda name: name == f"z{group_suffix(PATIENT)}")
    found = optimise(pilot.objective, point, is_free, iterations=500)
    values = jax.jit(lambda flat: parameters_at(pilot.model, flat))(jnp.asarray(found))
    return {name: np.asarray(values[name]) for name in dict.fromkeys(effect.parameter for effect in effects)}


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
