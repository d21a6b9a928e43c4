"""A polynomial that stands in for the summed log integrals while NUTS finds its way.

The population has few coordinates, and summed over patients the log integrals are a smooth function of
them: a polynomial of the third or fourth degree, fitted to values and gradients at some dozens of points,
errs by a few hundredths where the posterior is. Its variables are whitened, and an SD of effects, which may
go to 0 where the data cannot tell, enters by a logarithm that stops short of that. Trajectories follow
it at next to no cost. Where it errs by more than that, `delayed.delayed_kernel` accepts or refuses where
they end by the density itself, and what the polynomial leaves out costs draws, not correctness.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from hierarchical_twin.inference.polynomials import (
    bound,
    count_products,
    enter,
    list_products,
    products,
    whitening,
)

Array = Any

GOOD_SPREAD, MOST_SPREAD = 0.05, 1.0
"""SDs of what a polynomial leaves out: so small that it may be sampled itself, too large to be of use.

No posterior mean moves by more of its SDs than that."""
_LOW, _HIGH = 3, 4
"""Degrees: the second where the first is not good enough."""
_MOST_TERMS, _MOST_HIGH = 2_000, 800
"""Coefficients of either that are worth fitting: the first allows 20 coordinates."""
_ROWS_PER_TERM, _ROWS_PER_HIGH = 1.6, 3.0
"""Equations for each coefficient, of which there are one more than coordinates at each point."""
_WIDTH, _LOWEST = 1.2, 60.0
"""How far the first points reach, in SDs of the pilot; how far below the best one a value is still fitted."""
_ROUNDS, _POINTS = 6, 40
_PROPOSED, _PROPOSED_WIDTH, _SHOWN = 4_000, 1.4, 500
"""Of so many points proposed, so much wider than the region, some are fitted and some show the next region."""
_REACH, _FALL = 3.0, 0.25
"""SDs beyond the square root of the dimension where it levels off; how it falls from there."""
_FLOOR = 1.5
"""SDs of a log SD, in units of that SD, from where on down the data are taken not to tell it from 0."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["constant", "terms", "floors", "center", "whiten"],
    meta_fields=[],
)
@dataclass(frozen=True, eq=False)
class Surrogate:
    """A polynomial of the population, which levels off far from the centre.

    Attributes
    ----------
    constant : Array, shape []
    terms : tuple of Array
        The symmetric coefficients of the first degree ``[coordinate]``, of the second
        ``[coordinate, coordinate]``, and so on.
    floors : Array, shape [coordinate]
        ``f`` of coordinates ``log s`` that enter as ``log(s^2 + f^2) / 2``; 0 for others, which enter as
        they are.
    center : Array, shape [coordinate]
    whiten : Array, shape [coordinate, coordinate]
        To the polynomial's variables: ``whiten @ (entered - center)``.
    """

    constant: Array
    terms: tuple[Array, ...]
    floors: Array
    center: Array
    whiten: Array

    def at(self, population: Array) -> Array:
        """Its value at ``[coordinate]``."""
        variables = self.variables(population)
        # Coordinates that never lie beyond some posterior SDs.
        inside = bound(variables, _REACH + math.sqrt(len(variables)), axis=0)
        total = jnp.asarray(self.constant)
        for term in self.terms:
            for _ in range(term.ndim):
                term = term @ inside
            total = total + term
        # Beyond where it was fitted it falls slower than the posterior does: chains must not stick there.
        return total - _FALL * (jnp.sum(variables**2) - jnp.sum(inside**2))

    def variables(self, population: Array) -> Array:
        """What it is a polynomial of ``[coordinate]``."""
        return self.whiten @ (enter(population, self.floors) - self.center)


@dataclass(frozen=True, eq=False)
class Region:
    """Where a surrogate is fitted: populations ``center + root @ whitened`` about standard normal.

    `is_scale` marks coordinates that are logarithms of SDs ``[coordinate]``.
    """

    center: np.ndarray
    root: np.ndarray
    is_scale: np.ndarray

    @property
    def floors(self) -> np.ndarray:
        """Of the SDs: about where the data no longer tell them from 0."""
        spread = np.sqrt(np.sum(self.root**2, axis=1))
        return np.where(self.is_scale, np.exp(self.center) * np.minimum(_FLOOR * spread, 1.0), 0.0)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A surrogate and where it was fitted.

    Attributes
    ----------
    surrogate : Surrogate or None
        None where no polynomial is of use.
    spread : float
        SD, over its own posterior, of what it leaves out.
    region : Region
        Where that posterior is.
    """

    surrogate: Surrogate | None
    spread: float
    region: Region


def fit_surrogate(
    integrals: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    prior: Callable[[Array], Array],
    region: Region,
    *,
    seed: int = 0,
) -> Fitted:
    """Least squares to values and gradients, first around a centre, then where the posterior turns out to be.

    Parameters
    ----------
    integrals : callable
        Populations ``[point, coordinate]`` to what the polynomial is to stand in for ``[point]``, and its
        gradients ``[point, coordinate]``.
    prior : callable
        A population ``[coordinate]`` to what else the log density holds, traceable.
    region : Region
        About where the posterior is.
    seed : int
    """
    size, generator = len(region.center), np.random.default_rng([seed, 0x5A11])
    if count_products(size, _LOW) > _MOST_TERMS:
        return Fitted(None, np.inf, region)
    powers = list_products(size, _LOW)
    wanted = int(_ROWS_PER_TERM * len(powers) / (size + 1)) + size
    # Here: scipy.stats takes a third of a second to import, and joint runs do without.
    from scipy.stats import qmc

    uniform = qmc.Sobol(size, rng=generator).random(2 ** int(np.ceil(np.log2(wanted))))
    # Sobol's points begin at the corner, which no normal reaches.
    data = _Data.at(
        region.center + _WIDTH * ndtri(np.clip(uniform, 1e-6, 1 - 1e-6)) @ region.root.T, integrals
    )
    densities = jax.jit(lambda surrogate, points: jax.vmap(lambda at: (surrogate.at(at), prior(at)))(points))
    found, spread = data.fit(powers, region), np.inf
    for turn in range(_ROUNDS):
        shown = found and _posterior_points(partial(densities, found), region, generator)
        if shown is None:
            return Fitted(None, np.inf, region)
        points, region = shown
        more = _Data.at(points, integrals)
        spread = float(
            np.nan_to_num(np.std(more.values - np.asarray(densities(found, points)[0])), nan=np.inf)
        )
        if spread <= GOOD_SPREAD or turn == _ROUNDS - 1:
            break
        data = data.joined(more)
        if len(powers) < count_products(size, _HIGH) <= min(_MOST_HIGH, data.rows / _ROWS_PER_HIGH):
            powers = list_products(size, _HIGH)
        found = data.fit(powers, region)
    return Fitted(found if spread <= MOST_SPREAD else None, spread, region)


def _posterior_points(
    densities: Callable[[np.ndarray], tuple[Array, Array]], region: Region, generator: np.random.Generator
) -> tuple[np.ndarray, Region] | None:
    """Populations ``[point, coordinate]`` of the surrogate's posterior, and the region they show; None without any.

    By importance, from no farther than the region reaches: what lies beyond is not known yet.
    """
    steps = _PROPOSED_WIDTH * generator.standard_normal((_PROPOSED, len(region.center)))
    points = region.center + steps @ region.root.T
    weight = np.sum(densities(points), axis=0) + 0.5 * np.sum(steps**2, axis=1) / _PROPOSED_WIDTH**2
    weight = np.where(np.isfinite(weight), weight, -np.inf)
    if not np.isfinite(weight.max()):
        return None
    # The largest of perturbed log weights: a sample without replacement, its probabilities as the weights.
    order = np.argsort(-(weight + generator.gumbel(size=len(weight))))
    shown = points[order[:_SHOWN]]
    root = np.linalg.cholesky(np.cov(shown.T) + 1e-9 * region.root @ region.root.T)
    return points[order[:_POINTS]], replace(region, center=shown.mean(axis=0), root=root)


@dataclass(frozen=True, eq=False)
class _Data:
    """What a surrogate is fitted to: populations ``[point, coordinate]``, values, slopes."""

    points: np.ndarray
    values: np.ndarray
    slopes: np.ndarray

    @classmethod
    def at(
        cls, points: np.ndarray, integrals: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    ) -> _Data:
        """Evaluate."""
        return cls(points, *integrals(points))

    @property
    def rows(self) -> int:
        """Equations that it gives."""
        return self.points.size + len(self.points)

    def joined(self, more: _Data) -> _Data:
        """Both."""
        pairs = zip(vars(self).values(), vars(more).values(), strict=True)
        return _Data(*(np.concatenate(pair) for pair in pairs))

    def fit(self, powers: list[tuple[int, ...]], region: Region) -> Surrogate | None:
        """Least squares over the points that are not too unlikely to matter; None if they are too few."""
        is_usable = np.isfinite(self.values) & np.isfinite(self.slopes).all(axis=1)
        floor = np.max(self.values, where=is_usable, initial=-np.inf) - _LOWEST - 2 * self.points.shape[1]
        is_usable &= self.values > floor
        if is_usable.sum() * (self.points.shape[1] + 1) < len(powers):
            return None
        used = (array[is_usable] for array in (self.points, self.values, self.slopes))
        return _least_squares(*used, powers, region)


def _least_squares(
    seen: np.ndarray, values: np.ndarray, slopes: np.ndarray, powers: list[tuple[int, ...]], region: Region
) -> Surrogate:
    count, size = seen.shape
    floors = region.floors
    entered = enter(seen, floors, np)
    center, whiten = whitening(entered, np.ones(count))
    points = (entered - center) @ whiten.T
    rate = np.where(floors > 0, np.exp(2 * (seen - entered)), 1.0)
    rows = products(points.T, len(powers[-1]), np).T
    bent = np.zeros((count, size, len(powers)))
    for column, places in enumerate(powers):
        for place in set(places):
            rest = list(places)
            rest.remove(place)
            bent[:, place, column] = places.count(place) * np.prod(points[:, rest], axis=1)
    # Slopes along the region's own axes: alike in size, like the values.
    moved = np.einsum("wc,pc,cu->pwu", whiten, rate, region.root)
    bent = np.einsum("pwk,pwu->puk", bent, moved)
    level = np.concatenate([np.ones(count), np.zeros(count * size)])[:, None]
    design = np.concatenate([level, np.concatenate([rows, bent.reshape(count * size, -1)])], axis=1)
    target = np.concatenate([values, (slopes @ region.root).ravel()])
    constant, *found = np.linalg.lstsq(design, target, rcond=None)[0]
    terms = [np.zeros((size,) * order) for order in range(1, len(powers[-1]) + 1)]
    for places, coefficient in zip(powers, found, strict=True):
        orders = set(itertools.permutations(places))
        for order in orders:
            terms[len(places) - 1][order] = coefficient / len(orders)
    return Surrogate(np.asarray(constant), tuple(terms), floors, center, whiten)
