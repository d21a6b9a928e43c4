"""Polynomials of a few coordinates: how coordinates enter, the products they are made of, where they level off.

What they stand in for lives elsewhere: `emulator` for a mechanism, `marginal.surrogate` for a density. Functions
that both fits (NumPy) and chains (JAX) need take the namespace `xp`.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = Any
Namespace = Any


def enter(values: Array, floors: Array, xp: Namespace = jnp) -> Array:
    """Coordinates as a polynomial's variables: ``log(s^2 + f^2) / 2`` where a floor `f` of a ``log s`` is given.

    A scale that the data do not tell from 0 moves nothing below its floor, and no polynomial of its logarithm
    is flat there. A floor of 0 leaves a coordinate as it is.
    """
    held = xp.where(floors > 0, floors, 1.0)
    return xp.where(floors > 0, 0.5 * xp.logaddexp(2 * values, 2 * xp.log(held)), values)


def enter_rate(rates: Array, floors: Array, xp: Namespace = jnp) -> Array:
    """Rates as a polynomial's variables: ``log(s + f)``. What a rate predicts is as smooth in it at 0 as elsewhere."""
    return xp.log(rates + floors)


def bound(variables: Array, reach: float, *, axis: int, power: int = 4, xp: Namespace = jnp) -> Array:
    """Variables that never lie farther from 0 than `reach`, along an axis; near 0 they are as they were.

    The higher the power, the nearer to `reach` they are still so: bent in the bulk, a polynomial would no longer
    be one.
    """
    length = xp.sum(variables**2, axis=axis, keepdims=True) / reach**2
    return variables / (1.0 + length**power) ** (0.5 / power)


def count_products(size: int, degree: int) -> int:
    """How many products of up to `degree` of `size` variables there are."""
    return math.comb(size + degree, degree) - 1


def list_products(size: int, degree: int) -> list[tuple[int, ...]]:
    """All of them, as the places of their factors, lower degrees first."""
    return [
        places
        for order in range(1, degree + 1)
        for places in itertools.combinations_with_replacement(range(size), order)
    ]


def products(variables: Array, degree: int, xp: Namespace = jnp) -> Array:
    """Their values ``[product, ...]`` at variables ``[variable, ...]``, in the order of `list_products`.

    Each degree is made from the one before: a variable times the products whose factors come no earlier.
    """
    size, block = len(variables), variables
    parts = [block]
    for order in range(2, degree + 1):
        starts = [len(block) - math.comb(size - place + order - 2, order - 1) for place in range(size)]
        block = xp.concatenate([variables[place] * block[start:] for place, start in enumerate(starts)])
        if xp is jnp:
            # Left to itself, XLA makes every product from its factors anew, slowly compiled and slowly run.
            block = jax.lax.optimization_barrier(block)
        parts.append(block)
    return xp.concatenate(parts)


def whitening(variables: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Center ``[variable]`` and the matrix that makes weighted points ``[point, variable]`` uncorrelated of SD 1."""
    center = weights @ variables / weights.sum()
    covariance = np.cov(variables.T, aweights=weights).reshape(variables.shape[1], -1)
    shift = 1e-12 * (1.0 + np.trace(covariance)) * np.eye(len(covariance))
    return center, np.linalg.inv(np.linalg.cholesky(covariance + shift))
