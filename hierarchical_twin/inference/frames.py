"""Whether the pilot's frames hold: is each patient's likelihood about Gaussian where their effects may lie?

A frame made from the curvature at one point misleads where the curvature changes within it: a parameter
that the data do not determine below some value, a curved ridge between two. There the population pulls
at effects that are far out in their frames, and chains stick. Such patients are better non-centred.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.blocks import join_blocks, split_blocks
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.model import Model

_REACH = 1.5
_MOST_STRAY = 0.75


def mark_failing(
    model: Model, position: np.ndarray, expand: Callable[[np.ndarray, Model], tuple]
) -> np.ndarray:
    """Patients whose frames do not hold ``[patient]``.

    In a frame that holds, moving one effect by so many SDs changes the slope of the log likelihood by what
    the curvature at the centre says. Patients for whom it is off by half of that, in units of the frame,
    are marked.

    Parameters
    ----------
    model : Model
        With all effects informed.
    position : ndarray, shape [size]
        Effects at the centres of their frames.
    expand : callable
        Flat point and model to node values and what `curvature.quadratic_at` returns.
    """
    population, effects = (np.asarray(part) for part in split_blocks(model, jnp.asarray(position)))
    marked = np.zeros(model.size(PATIENT), dtype=bool)

    def slope(shifted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predictors, and the slope and curvature of the log likelihood in them, all outcomes together."""
        flat = np.asarray(join_blocks(model, jnp.asarray(population), jnp.asarray(shifted)))
        _, (curvature, score, predictors) = expand(flat, model)
        total = [np.sum([np.asarray(own) for own in found.values()], axis=0) for found in (score, curvature)]
        return np.asarray(predictors), *total

    if not len(effects):
        return marked
    center = np.zeros_like(effects)
    start, first, curvature = slope(center)
    moved = []
    for effect in range(len(effects)):
        for sign in (_REACH, -_REACH):
            shifted = center.copy()
            shifted[effect] = sign
            moved.append((effect, slope(shifted)))
    with np.errstate(invalid="ignore", over="ignore"):  # what is not a number is no frame either
        axes = [(found[0] - start) / _REACH for effect, found in moved[::2]]
        for _, (predictors, then, _) in moved:
            expected = first - np.einsum("ijp,jp->ip", curvature, predictors - start)
            stray = [np.abs(np.sum(axis * (then - expected), axis=0)) for axis in axes]
            marked |= ~(np.max(stray, axis=0) <= _MOST_STRAY)
    return marked


def without_frames(known: Information, failing: np.ndarray) -> Information:
    """The information without some patients, whose effects are then non-centred."""
    kept = ~failing
    return replace(
        known,
        curvature={name: np.where(kept, value, 0.0) for name, value in known.curvature.items()},
        score={name: np.where(kept, value, 0.0) for name, value in known.score.items()},
        fallbacks=max(known.fallbacks, int(failing.sum())),
    )
