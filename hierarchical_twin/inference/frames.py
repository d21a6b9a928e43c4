"""Whether the pilot's frames hold: is each patient's likelihood about Gaussian where their effects may lie?

A frame made from the curvature at one point misleads where the curvature changes within it: a parameter
that the data do not determine below some value, a curved ridge between two. There the population pulls
at effects that are far out in their frames, and chains stick. Such patients are better non-centred. Where
most are such patients, nobody's frame is to be relied on, and each effect is centred or not, for everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.blocks import join_blocks, split_blocks
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.model import Model

_REACH = 1.5
_MOST_STRAY = 0.75
_MOST_FAILING = 0.5
"""Share of patients beyond which all frames are given up."""
_MOST_LEFT, _NEARLY_ALL = 0.25, 0.9
"""An effect is centred where, for so many patients, the data leave at most this share of its variance."""


class FrameCheck(NamedTuple):
    """How the pilot's frames fared.

    Attributes
    ----------
    failing : ndarray of bool, shape [patient]
        Whose frames do not hold.
    left : ndarray, shape [effect, patient]
        The share of each effect's variance in the population that a patient's data leave, all other effects
        integrated out; not a number where that is not known, and for effects that are not their parameter's
        only one.
    """

    failing: np.ndarray
    left: np.ndarray


def check_frames(
    model: Model, position: np.ndarray, expand: Callable[[np.ndarray, Model], tuple]
) -> FrameCheck:
    """Whether each patient's frame holds, and how well their data determine each effect.

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
    population, effects = split_blocks(model, position)

    def at(shifted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, Mapping[str, Any]]:
        """Predictors, the slope and curvature of the log likelihood in them, all outcomes together, node values."""
        flat = join_blocks(model, population, shifted)
        values, (curvature, score, predictors) = expand(flat, model)
        total = [np.sum([np.asarray(own) for own in found.values()], axis=0) for found in (score, curvature)]
        return np.asarray(predictors), *total, values

    failing = np.zeros(model.size(PATIENT), dtype=bool)
    if not len(effects):
        return FrameCheck(failing, np.zeros(effects.shape))
    center = np.zeros_like(effects)
    start, first, curvature, values = at(center)
    moved = []
    for effect in range(len(effects)):
        for sign in (_REACH, -_REACH):
            shifted = center.copy()
            shifted[effect] = sign
            moved.append(at(shifted))
    with np.errstate(invalid="ignore", over="ignore"):  # what is not a number is no frame either
        axes = np.stack([there[0] - start for there in moved[::2]]) / _REACH
        for predictors, then, *_ in moved:
            expected = first - np.einsum("ijp,jp->ip", curvature, predictors - start)
            stray = np.abs(np.einsum("eip,ip->ep", axes, then - expected))
            failing |= ~(np.max(stray, axis=0) <= _MOST_STRAY)
        return FrameCheck(failing, _left(model, np.sum(axes**2, axis=0), np.asarray(values["omega"])))


def _left(model: Model, variances: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """`FrameCheck.left`, from the variances of predictors ``[parameter, patient]`` given the data."""
    effects = model.cohort.effects[PATIENT]
    parameters = [effect.parameter for effect in effects]
    left = np.full((len(effects), variances.shape[1]), np.nan)
    for row, effect in enumerate(effects):
        if effect.term == "1" and parameters.count(effect.parameter) == 1:
            left[row] = variances[model.information.parameters.index(effect.parameter)] / omega[row] ** 2
    return left


def centring(model: Model, check: FrameCheck) -> dict[str, str]:
    """How each patient effect is sampled where most frames fail; nothing where most hold.

    An effect which the data of nearly all patients determine is centred, so that the population does not
    pull at it; the others are non-centred.
    """
    if np.mean(check.failing) <= _MOST_FAILING:
        return {}
    is_determined = np.mean(check.left <= _MOST_LEFT, axis=1) >= _NEARLY_ALL
    labels = [effect.label for effect in model.cohort.effects.get(PATIENT, ())]
    return {
        label: "centered" if is_rich else "noncentered"
        for label, is_rich in zip(labels, is_determined, strict=True)
    }


def without_frames(known: Information, failing: np.ndarray) -> Information:
    """The information without some patients, whose effects are then non-centred."""
    kept = ~failing
    return replace(
        known,
        curvature={name: np.where(kept, value, 0.0) for name, value in known.curvature.items()},
        score={name: np.where(kept, value, 0.0) for name, value in known.score.items()},
        fallbacks=max(known.fallbacks, int(failing.sum())),
    )
