"""The density that is sampled: the backend's own, or the oracle's over buckets of patients of like length.

Arrays are padded to the patient with the most records. Where few patients have many, most of the
arithmetic would be padding: then patients are sorted by length and cut into buckets, each as wide as
its longest patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT, TIME
from hierarchical_twin.graph.blocks import join_blocks, patient_slots, split_blocks
from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.patients import take_patients

Array = Any
_BUCKET_COST = 20_000
"""Records that one more bucket may cost: what it takes to run a second, smaller program."""
_MOST_LENGTHS = 64


@dataclass(frozen=True, eq=False)
class Target:
    """What a kernel needs of a model.

    Attributes
    ----------
    model : Model
        Its patients in the order of `order`.
    density : callable
        Flat point ``[size]`` and arrays to the log density.
    patients : callable
        The same to what of it depends on each patient's effects ``[patient]``.
    numbers : pytree of ndarray
        The arrays.
    order : ndarray of int, shape [patient]
        Place in the caller's model of each patient of `model`.
    """

    model: Model
    density: Callable[[Array, Any], Array]
    patients: Callable[[Array, Any], Array]
    numbers: Any
    order: np.ndarray

    def restore(self, positions: np.ndarray) -> np.ndarray:
        """Draws ``[chain, draw, size]`` of this model as draws of the caller's, patients in their own order."""
        if np.array_equal(self.order, np.arange(len(self.order))):
            return positions
        restored = positions.copy()
        for slot in patient_slots(self.model):
            own = positions[..., slot.start : slot.stop].reshape(*positions.shape[:-1], *slot.shape)
            moved = np.empty_like(own)
            moved[:, :, self.order] = own
            restored[..., slot.start : slot.stop] = moved.reshape(*positions.shape[:-1], -1)
        return restored


def make_target(model: Model, backend_density: Callable[[Model], Callable[..., Array]]) -> Target:
    """The density to sample.

    Parameters
    ----------
    model : Model
    backend_density : callable
        A backend's `flat_log_density`.
    """
    lengths, ends = record_lengths(model), bucket_ends(model)
    if len(ends) > 1:
        return _bucketed(model, np.argsort(lengths, kind="stable"), ends)

    def patients(flat: Array, numbers: Any) -> Array:
        return score(model.with_arrays(numbers), flat).patient_log_density

    everyone = np.arange(model.size(PATIENT))
    return Target(model, backend_density(model), patients, model.numbers, everyone)


def record_lengths(model: Model) -> np.ndarray:
    """Records of each patient up to their last measurement ``[patient]``."""
    measured = np.any([model.cohort.arrays[node.mask] for node in model.graph.observes], axis=0)
    return measured.shape[1] - np.argmax(measured[:, ::-1], axis=1)


def bucket_ends(model: Model) -> list[int]:
    """Where each bucket of the patients sorted by length ends; one bucket is the model as it is."""
    return find_buckets(np.sort(record_lengths(model)))


def find_buckets(lengths: np.ndarray) -> list[int]:
    """Where each bucket of the sorted lengths ends: the cuts with the fewest padded records.

    Parameters
    ----------
    lengths : ndarray of int, shape [patient]
        In ascending order.
    """
    ends = np.flatnonzero(np.diff(lengths, append=lengths[-1] + 1)) + 1
    if len(ends) > _MOST_LENGTHS:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, _MOST_LENGTHS).astype(int))]
    starts = np.concatenate([[0], ends])
    best, cut = [0.0], [0]
    for last, end in enumerate(ends):
        costs = [
            best[first] + (end - starts[first]) * lengths[end - 1] + _BUCKET_COST for first in range(last + 1)
        ]
        cut.append(int(np.argmin(costs)))
        best.append(min(costs))
    found, place = [], len(ends)
    while place > 0:
        found.append(int(starts[place]))
        place = cut[place]
    return found[::-1]


def _bucketed(model: Model, order: np.ndarray, ends: list[int]) -> Target:
    """The oracle's density, bucket by bucket."""
    ordered = take_patients(model, order)
    lengths = record_lengths(ordered)
    bounds = list(zip([0, *ends[:-1]], ends, strict=True))
    parts = [
        _cut(take_patients(ordered, np.arange(start, end)), int(lengths[end - 1])) for start, end in bounds
    ]

    def scores(flat: Array, numbers: Any) -> list[Any]:
        population, effects = split_blocks(ordered, flat)
        return [
            score(part.with_arrays(own), join_blocks(part, population, effects[:, start:end]))
            for part, own, (start, end) in zip(parts, numbers, bounds, strict=True)
        ]

    def patients(flat: Array, numbers: Any) -> Array:
        return jnp.concatenate([scored.patient_log_density for scored in scores(flat, numbers)])

    def density(flat: Array, numbers: Any) -> Array:
        found = scores(flat, numbers)
        return found[0].log_prior + sum(jnp.sum(scored.patient_log_density) for scored in found)

    return Target(ordered, density, patients, [part.numbers for part in parts], order)


def _cut(model: Model, width: int) -> Model:
    """The model with its time axis cut to the longest patient's."""
    cohort = model.cohort
    arrays = {
        name: value[:, :width] if cohort.dims.get(name, ())[:2] == (PATIENT, TIME) else value
        for name, value in cohort.arrays.items()
    }
    return replace(model, cohort=replace(cohort, arrays=arrays))
