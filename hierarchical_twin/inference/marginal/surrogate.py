"""A polynomial that stands in for the summed log integrals while NUTS finds its way.

The population has few coordinates, and summed over patients the log integrals are a smooth function of
them: in coordinates whitened by the pilot a polynomial of the third or fourth degree, fitted to values and
gradients at some dozens of points, errs by a few hundredths where the posterior is. Trajectories follow
it at next to no cost. Where it errs by more than that, `kernels.population_kernel` accepts or refuses where
they end by the density itself, and what the polynomial leaves out costs draws, not correctness.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

Array = Any

GOOD_SPREAD, MOST_SPREAD = 0.02, 1.0
"""SDs of what a polynomial leaves out: so small that it may be sampled itself, too large to be of use.

No posterior mean moves by more of its SDs than that."""
_DEGREES = (3, 4)
_MOST_TERMS = 800
_ROWS_PER_TERM = 2.0
_WIDTH = 1.2
_JUDGES = 32
_REACH = 3.0
_FALL = 0.25
_LOWEST = 60.0


@partial(jax.tree_util.register_dataclass, data_fields=["terms"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class Surrogate:
    """A polynomial of the whitened population, without its constant, which levels off far from the centre.

    Attributes
    ----------
    terms : tuple of Array
        The symmetric coefficients of the first degree ``[coordinate]``, of the second
        ``[coordinate, coordinate]``, and so on.
    """

    terms: tuple[Array, ...]

    def at(self, whitened: Array) -> Array:
        """Its value at ``[coordinate]``."""
        inside = _bounded(whitened)
        total = jnp.zeros(())
        for term in self.terms:
            for _ in range(term.ndim):
                term = term @ inside
            total = total + term
        # Beyond where it was fitted it falls slower than the posterior does: chains must not stick there.
        return total - _FALL * (jnp.sum(whitened**2) - jnp.sum(inside**2))


def fit_surrogate(
    gradients: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], size: int, *, seed: int = 0
) -> tuple[Surrogate | None, float]:
    """Least squares to values and gradients at points around the centre.

    Parameters
    ----------
    gradients : callable
        Whitened populations ``[point, coordinate]`` to log densities ``[point]`` and gradients
        ``[point, coordinate]``.
    size : int
        Coordinates of the population.
    seed : int

    Returns
    -------
    surrogate : Surrogate or None
        The polynomial of the lowest degree that errs little, else the best; None where none is of use.
    spread : float
        SD of what it leaves out, at points that it was not fitted to.
    """
    judges = np.random.default_rng([seed, 0x5A11]).standard_normal((_JUDGES, size))
    sobol = qmc.Sobol(size, rng=np.random.default_rng([seed, 0x50B0]))
    seen, values, slopes = judges, *gradients(judges)
    best: tuple[Surrogate | None, float] = (None, MOST_SPREAD)
    for degree in _DEGREES:
        powers = _powers(size, degree)
        if degree > _DEGREES[0] and len(powers) > _MOST_TERMS:
            break
        wanted = int(_ROWS_PER_TERM * len(powers) / (size + 1)) + size
        count = 2 ** int(np.ceil(np.log2(max(wanted - (len(seen) - _JUDGES), 1))))
        # Sobol's points begin at the corner, which no normal reaches.
        points = _WIDTH * ndtri(np.clip(sobol.random(count), 1e-6, 1 - 1e-6))
        more = gradients(points)
        seen = np.concatenate([seen, points])
        values, slopes = np.concatenate([values, more[0]]), np.concatenate([slopes, more[1]])
        is_judge = np.arange(len(seen)) < _JUDGES
        is_usable = np.isfinite(values) & np.isfinite(slopes).all(axis=1)
        is_usable &= values > np.max(values, where=is_usable, initial=-np.inf) - _LOWEST - size
        fitted = is_usable & ~is_judge
        if fitted.sum() * (size + 1) < len(powers):
            break
        found = _least_squares(seen[fitted], values[fitted], slopes[fitted], powers)
        judged = is_usable & is_judge
        left = values[judged] - np.asarray(jax.vmap(found.at)(jnp.asarray(seen[judged])))
        spread = float(np.std(left)) if len(left) > _JUDGES // 2 else np.inf
        best = (found, spread) if spread < best[1] else best
        if spread <= GOOD_SPREAD:
            break
    return best


def _powers(size: int, degree: int) -> list[tuple[int, ...]]:
    """All products of up to `degree` coordinates, as the places of their factors."""
    return [
        places
        for order in range(1, degree + 1)
        for places in itertools.combinations_with_replacement(range(size), order)
    ]


def _least_squares(
    points: np.ndarray, values: np.ndarray, slopes: np.ndarray, powers: list[tuple[int, ...]]
) -> Surrogate:
    count, size = points.shape
    rows = np.stack([np.prod(points[:, places], axis=1) for places in powers], axis=1)
    bent = np.zeros((count, size, len(powers)))
    for column, places in enumerate(powers):
        for place in set(places):
            rest = list(places)
            rest.remove(place)
            bent[:, place, column] = places.count(place) * np.prod(points[:, rest], axis=1)
    level = np.concatenate([np.ones(count), np.zeros(count * size)])[:, None]
    design = np.concatenate([level, np.concatenate([rows, bent.reshape(count * size, -1)])], axis=1)
    found = np.linalg.lstsq(design, np.concatenate([values, slopes.ravel()]), rcond=None)[0][1:]
    terms = [np.zeros((size,) * order) for order in range(1, len(powers[-1]) + 1)]
    for places, coefficient in zip(powers, found, strict=True):
        orders = set(itertools.permutations(places))
        for order in orders:
            terms[len(places) - 1][order] = coefficient / len(orders)
    return Surrogate(tuple(terms))


def _bounded(whitened: Array) -> Array:
    """Coordinates that never lie beyond some posterior SDs."""
    length = (whitened**2).sum(axis=-1, keepdims=True) / (_REACH**2 * whitened.shape[-1])
    # A high power leaves the bulk as it is: bent there, a polynomial would no longer be one.
    return whitened / (1.0 + length**4) ** 0.125
