"""What a coarse integration leaves out of the population's log density, as a quadratic in the population.

The error of each patient's integral is a smooth, small function of the population; summed over patients
it is one scalar function, known exactly wherever it was computed. Its quadratic part costs nothing to
subtract, and the more patients, the narrower the posterior and the smaller what then is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any

_REACH = 2.5
_MOST_CROSSED = 20


@dataclass(frozen=True, eq=False)
class Correction:
    """``slope . u + u' curve u`` at whitened populations `u`, which level off far from the centre.

    Attributes
    ----------
    center : ndarray, shape [coordinate]
    whiten : ndarray, shape [coordinate, coordinate]
        Inverse of the root of the population's covariance.
    slope : ndarray, shape [coordinate]
    curve : ndarray, shape [coordinate, coordinate]
    """

    center: np.ndarray
    whiten: np.ndarray
    slope: np.ndarray
    curve: np.ndarray

    def at(self, population: Array) -> Array:
        """The correction at a population ``[coordinate]``, NumPy or traced, or at ``[point, coordinate]``."""
        u = _bounded((population - self.center) @ self.whiten.T)
        return u @ self.slope + ((u @ self.curve) * u).sum(axis=-1)


def no_correction(center: np.ndarray, root: np.ndarray) -> Correction:
    """Nothing to add."""
    return Correction(center, np.linalg.inv(root), np.zeros(len(center)), np.zeros_like(root))


def fit_correction(
    center: np.ndarray, root: np.ndarray, points: np.ndarray, missing: np.ndarray
) -> Correction:
    """Least squares over populations where what is missing is known.

    Parameters
    ----------
    center : ndarray, shape [coordinate]
    root : ndarray, shape [coordinate, coordinate]
        Of the population's approximate covariance.
    points : ndarray, shape [point, coordinate]
        At least `count_terms` of them.
    missing : ndarray, shape [point]
        What to add to the log density, up to a constant.
    """
    size, whiten = len(center), np.linalg.inv(root)
    u = _bounded((points - center) @ whiten.T)
    first, second = _pairs(size)
    terms = np.concatenate([np.ones((len(u), 1)), u, u[:, first] * u[:, second]], axis=1)
    found = np.linalg.lstsq(terms, missing, rcond=None)[0]
    curve = np.zeros((size, size))
    curve[first, second] = found[1 + size :]
    return Correction(center, whiten, found[1 : 1 + size], curve)


def count_terms(size: int) -> int:
    """Coefficients that `fit_correction` estimates for a population of `size` coordinates."""
    return 1 + size + len(_pairs(size)[0])


def _pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """All products of two coordinates; of many coordinates, squares alone."""
    if size > _MOST_CROSSED:
        return np.arange(size), np.arange(size)
    return np.triu_indices(size)


def _bounded(u: Array) -> Array:
    """Whitened coordinates that never lie beyond some posterior SDs."""
    length = (u**2).sum(axis=-1, keepdims=True) / (_REACH**2 * u.shape[-1])
    # A high power leaves the bulk as it is: bent there, a quadratic would no longer be one.
    return u / (1.0 + length**4) ** 0.125
