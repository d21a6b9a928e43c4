"""The two blocks of a flat point: the population's coordinates, and one row of effects for each patient.

Given the population, patients are independent; whoever uses that (moves patient by patient, integrals
over one patient's effects) reads and writes points through here.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.evaluate import Slot, layout
from hierarchical_twin.graph.model import Model

Array = Any


def patient_slots(model: Model) -> tuple[Slot, ...]:
    """Slots of the patients' effects, ``[patient]`` or ``[patient, effect]``."""
    own = {node.name for node in model.graph.samples if node.dims[:1] == (PATIENT,)}
    return tuple(slot for slot in layout(model) if slot.name in own)


def population_slots(model: Model) -> tuple[Slot, ...]:
    """Slots of everything else: typical values, spreads, residuals, effects of outer levels."""
    own = {slot.name for slot in patient_slots(model)}
    return tuple(slot for slot in layout(model) if slot.name not in own)


def mark_population(model: Model) -> np.ndarray:
    """Boolean ``[size]``: which coordinates of a flat point are the population's."""
    marked = np.ones(layout(model)[-1].stop, dtype=bool)
    for slot in patient_slots(model):
        marked[slot.start : slot.stop] = False
    return marked


def count_effects(model: Model) -> int:
    """Random effects of each patient."""
    return sum(math.prod(slot.shape[1:]) for slot in patient_slots(model))


def join_blocks(model: Model, population: Array, effects: Array) -> Array:
    """A flat point ``[size]`` from the population ``[coordinate]`` and effects ``[effect, patient]``.

    Of NumPy where both are, as in `split_blocks`.
    """
    own = {slot.name for slot in patient_slots(model)}
    parts, place, row = [], 0, 0
    for slot in layout(model):
        width = math.prod(slot.shape)
        if slot.name not in own:
            parts.append(population[place : place + width])
            place += width
        elif len(slot.shape) == 1:
            parts.append(effects[row])
            row += 1
        else:
            parts.append(effects[row : row + slot.shape[1]].T.reshape(-1))
            row += slot.shape[1]
    return _library(population, effects).concatenate(parts)


def split_blocks(model: Model, flat: Array) -> tuple[Array, Array]:
    """Inverse of `join_blocks`: the population ``[coordinate]`` and effects ``[effect, patient]``.

    Of a point of NumPy they are NumPy's too: to compile each of these slices takes longer than the slice.
    """
    xp = _library(flat)
    population = [flat[slot.start : slot.stop] for slot in population_slots(model)]
    effects = [flat[slot.start : slot.stop].reshape(slot.shape[0], -1).T for slot in patient_slots(model)]
    patients = model.size(PATIENT)
    rows = xp.concatenate(effects) if effects else xp.zeros((0, patients))
    return xp.concatenate(population), rows


def _library(*arrays: Array) -> Any:
    return np if all(isinstance(array, np.ndarray) for array in arrays) else jnp
