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
from hierarchical_twin.graph.evaluate import parameters_at
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.curvature import linked_parameters, precision_of, predictors_of

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


def can_follow(model: Model) -> bool:
    """Whether `moment_frames` knows this model's effects: one a parameter, an intercept."""
    effects = model.cohort.effects.get(PATIENT, ())
    names = [effect.parameter for effect in effects]
    return len(set(names)) == len(names) > 0 and all(effect.term == "1" for effect in effects)


def moment_frames(model: Model, population: np.ndarray, mean: np.ndarray, root: np.ndarray) -> Information:
    """Information whose frames are where each patient's effects are, and as wide, at one population.

    A likelihood far from a Gaussian has another curvature at every point; the Gaussian that with the
    population's spread gives the effects' own mean and covariance is its average.

    Parameters
    ----------
    model : Model
        With all effects informed; `can_follow` it.
    population : ndarray, shape [coordinate]
    mean : ndarray, shape [effect, patient]
        Of the effects in the model's coordinates, at that population.
    root : ndarray, shape [effect, effect, patient]
        Of their covariance, ``root root'``.
    """
    known = model.information

    def at(rows: np.ndarray) -> dict:
        return parameters_at(model, join_blocks(model, jnp.asarray(population), jnp.asarray(rows)))

    values = at(mean)
    eta = np.asarray(values["eta"])
    axes = [np.asarray(at(mean + root[:, place])["eta"]) - eta for place in range(len(mean))]
    axes = np.stack(axes, axis=2)
    spread = np.diag(np.asarray(values["omega"]))
    if "omega_cholesky" in values:
        spread = spread @ np.asarray(values["omega_cholesky"])
    prior = np.linalg.inv(spread @ spread.T)
    size, vectors = np.linalg.eigh(np.linalg.inv(axes @ np.swapaxes(axes, 1, 2)) - prior)
    told = (vectors * np.maximum(size, 0.0)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    own = [known.parameters.index(effect.parameter) for effect in model.cohort.effects[PATIENT]]
    middle = np.asarray(predictors_of(values, linked_parameters(model), len(eta)))[own].T - eta
    linear = np.einsum("pij,pj->pi", told + prior, eta) + np.einsum("pij,pj->pi", told, middle)
    is_usable = np.isfinite(told).all(axis=(1, 2)) & np.isfinite(linear).all(axis=1)
    shares = {name: np.einsum("iip->p", value) for name, value in known.curvature.items()}
    total = sum(shares.values())
    curvature = {name: np.zeros_like(value) for name, value in known.curvature.items()}
    score = {name: np.zeros_like(value) for name, value in known.score.items()}
    for name, share in shares.items():
        weight = np.where(total > 0, share / np.where(total > 0, total, 1.0), 1.0 / len(shares))
        weight = np.where(is_usable, weight, 0.0) / float(precision_of(model, name, values))
        curvature[name][np.ix_(own, own)] = weight * np.moveaxis(
            np.where(is_usable[:, None, None], told, 0.0), 0, 2
        )
        score[name][own] = weight * np.where(is_usable[:, None], linear, 0.0).T
    return replace(known, curvature=curvature, score=score)


def without_frames(known: Information, failing: np.ndarray) -> Information:
    """The information without some patients, whose effects are then non-centred."""
    kept = ~failing
    return replace(
        known,
        curvature={name: np.where(kept, value, 0.0) for name, value in known.curvature.items()},
        score={name: np.where(kept, value, 0.0) for name, value in known.score.items()},
        fallbacks=max(known.fallbacks, int(failing.sum())),
    )
