"""Whether the pilot's frames hold: is each patient's likelihood about Gaussian where their effects may lie?

A frame made from the curvature at one point misleads where the curvature changes within it: a parameter
that the data do not determine below some value, a curved ridge between two. There the population pulls
at effects that are far out in their frames, and chains stick. Such patients are better non-centred, or in
frames made from their effects' own mean and covariance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.blocks import join_blocks, split_blocks
from hierarchical_twin.graph.evaluate import parameters_at
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.curvature import linked_parameters, precision_of, predictors_of
from hierarchical_twin.inference.marginal.rules import Frames

_REACH = 1.5
_MOST_STRAY = 0.75
_LEAST_TOLD = 0.1
"""Information of the data about a direction, in units of the population's, below which frames leave it out."""


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


def has_moment_frames(model: Model) -> bool:
    """Whether `moment_frames` knows this model's effects: an intercept for each estimated parameter."""
    effects = model.cohort.effects.get(PATIENT, ())
    names = sorted(effect.parameter for effect in effects)
    is_whole = names == sorted(model.information.parameters)
    return is_whole and all(effect.term == "1" for effect in effects)


def moment_frames(model: Model, population: np.ndarray, effects: Frames) -> Information:
    """Information whose frames are where each patient's effects are, and as wide, at one population.

    A likelihood far from a Gaussian has another curvature at every point; the Gaussian that with the
    population's spread gives the effects' own mean and covariance is its average. Directions about which
    the data say little beside the population are left out: effects are non-centred there.

    Parameters
    ----------
    model : Model
        With all effects informed; it `has_moment_frames`.
    population : ndarray, shape [coordinate]
    effects : Frames
        Mean and root of the covariance, at that population, in the model's coordinates.
    """

    def at(rows: np.ndarray) -> dict:
        return parameters_at(model, join_blocks(model, jnp.asarray(population), jnp.asarray(rows)))

    values = at(effects.mean)
    eta = np.asarray(values["eta"])
    axes = [
        np.asarray(at(effects.mean + effects.root[:, place])["eta"]) - eta for place in range(eta.shape[1])
    ]
    spread = np.diag(np.asarray(values["omega"]))
    if "omega_cholesky" in values:
        spread = spread @ np.asarray(values["omega_cholesky"])
    told, slope = _likelihood_from(eta, np.stack(axes, axis=2), np.linalg.inv(spread))
    own = [model.information.parameters.index(effect.parameter) for effect in model.cohort.effects[PATIENT]]
    predictors = np.asarray(predictors_of(values, linked_parameters(model), len(eta)))[own].T
    linear = slope + np.einsum("pij,pj->pi", told, predictors - eta)
    return _shared_out(
        model, values, told[:, np.argsort(own)][:, :, np.argsort(own)], linear[:, np.argsort(own)]
    )


def _likelihood_from(
    eta: np.ndarray, axes: np.ndarray, unspread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Curvature ``[patient, effect, effect]`` and slope at 0 ``[patient, effect]`` of the Gaussian likelihoods
    that make posteriors of mean `eta` and covariance ``axes axes'`` from a prior that `unspread` makes standard.
    """
    standard = np.einsum("ij,pjk->pik", unspread, axes)
    with np.errstate(invalid="ignore"):
        covariance = standard @ np.swapaxes(standard, 1, 2)
    is_usable = np.isfinite(covariance).all(axis=(1, 2)) & np.isfinite(eta).all(axis=1)
    covariance[~is_usable] = np.eye(eta.shape[1])
    size, vectors = np.linalg.eigh(np.linalg.inv(covariance) - np.eye(eta.shape[1]))
    size = np.where(size > _LEAST_TOLD, size, 0.0)
    along = np.einsum("pji,jk,pk->pi", vectors, unspread, np.where(is_usable[:, None], eta, 0.0))
    back = np.einsum("ji,pjk->pik", unspread, vectors)
    curvature = np.einsum("pik,pk,pjk->pij", back, size, back)
    return curvature, np.einsum("pik,pk->pi", back, np.where(size > 0, (size + 1.0) * along, 0.0))


def _shared_out(model: Model, values: dict, curvature: np.ndarray, score: np.ndarray) -> Information:
    """Information of likelihoods over all parameters ``[patient, ...]``, outcomes taking as much as they had."""
    known = model.information
    precisions = {name: float(precision_of(model, name, values)) for name in known.curvature}
    shares = {name: precisions[name] * np.einsum("iip->p", value) for name, value in known.curvature.items()}
    total = sum(shares.values())
    weights = {
        name: np.where(total > 0, share / np.where(total > 0, total, 1.0), 1.0 / len(shares))
        / precisions[name]
        for name, share in shares.items()
    }
    return replace(
        known,
        curvature={name: weight * np.moveaxis(curvature, 0, 2) for name, weight in weights.items()},
        score={name: weight * score.T for name, weight in weights.items()},
        fallbacks=int((np.einsum("pii->pi", curvature) <= 0.0).any(axis=1).sum()),
    )


def without_frames(known: Information, failing: np.ndarray) -> Information:
    """The information without some patients, whose effects are then non-centred."""
    kept = ~failing
    return replace(
        known,
        curvature={name: np.where(kept, value, 0.0) for name, value in known.curvature.items()},
        score={name: np.where(kept, value, 0.0) for name, value in known.score.items()},
        fallbacks=max(known.fallbacks, int(failing.sum())),
    )
