"""Divided differences of the exponential: what linear compartments are made of.

Textbook solutions divide by a difference of two rates and lose every digit where the rates
meet. The forms here keep full accuracy, and so do their derivatives, wherever they meet.
"""

from __future__ import annotations

from functools import partial
from math import factorial

import jax
import jax.numpy as jnp
from jax import Array

# Below this distance a Taylor series, above it the quotient. At 0.5 the quotient, and its first
# two derivatives, have lost fewer than two digits, and fifteen terms of the series reach 1e-16.
_SERIES_BELOW = 0.5
_TERMS = 15


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def phi(count: int, x: Array) -> tuple[Array, ...]:
    """The first `count` phi functions at ``-x``: what first-order decay leaves, averaged over time.

    ``phi_1 = (1 - exp(-x)) / x`` and ``phi_k = (1/(k-1)! - phi_(k-1)) / x``; ``phi_k(0) = 1/k!``.

    Parameters
    ----------
    count : int
        How many; 1 or more.
    x : array
        Rate times duration, any shape and sign; below -700 they overflow as ``exp(-x)`` does.

    Returns
    -------
    tuple of array
        ``phi_1`` to ``phi_count``, each of the shape of `x`. Derivatives of every order keep their
        digits where `x` is small, because ``phi_k' = k phi_(k+1) - phi_k``.

    References
    ----------
    Hochbruck M, Ostermann A (2010). Exponential integrators. Acta Numerica 19:209-286.
    doi:10.1017/S0962492910000048
    """
    is_small = jnp.abs(x) < _SERIES_BELOW
    small = jnp.where(is_small, x, 0.0)
    # The series serves the last one only; going down from it to the others loses nothing.
    near = [jnp.full_like(small, 1.0 / factorial(_TERMS - 1 + count))]
    for power in reversed(range(_TERMS - 1)):
        near[0] = 1.0 / factorial(power + count) - small * near[0]
    for order in reversed(range(1, count)):
        near.insert(0, 1.0 / factorial(order) - small * near[0])
    over_x = 1.0 / jnp.where(is_small, 1.0, x)
    far = [(1.0 - jnp.exp(-jnp.where(is_small, 1.0, x))) * over_x]
    for order in range(1, count):
        far.append((1.0 / factorial(order) - far[-1]) * over_x)
    return tuple(jnp.where(is_small, *pair) for pair in zip(near, far, strict=True))


@phi.defjvp
def _phi_jvp(
    count: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    (x,), (dx,) = primals, tangents
    *values, following = phi(count + 1, x)
    slopes = zip(range(1, count + 1), values, [*values[1:], following], strict=True)
    return tuple(values), tuple((order * above - value) * dx for order, value, above in slopes)


def exp_difference(x: Array, y: Array) -> Array:
    """First divided difference of exp, ``(exp(x) - exp(y)) / (x - y)``.

    Parameters
    ----------
    x, y : array
        Broadcastable; any order, equal or apart.

    Returns
    -------
    array
        The mean of ``exp`` between `x` and `y`: ``exp(x)`` where they are equal.
    """
    x, y = _descending(x, y)
    return jnp.exp(x) * phi(1, x - y)[0]


def exp_second_difference(x: Array, y: Array, z: Array) -> Array:
    """Second divided difference of exp, ``(exp[x, y] - exp[y, z]) / (x - z)``.

    Parameters
    ----------
    x, y, z : array
        Broadcastable; any order, any of them equal or apart.

    Returns
    -------
    array
        Symmetric in its arguments; ``exp(x) / 2`` where all three are equal.

    References
    ----------
    McCurdy A, Ng KC, Parlett BN (1984). Accurate computation of divided differences of the
    exponential function. Mathematics of Computation 43:501-528.
    """
    x, y = _descending(x, y)
    y, z = _descending(y, z)
    x, y = _descending(x, y)
    middle, low = y - x, z - x
    is_near = low > -_SERIES_BELOW
    far_low = jnp.where(is_near, -1.0, low)
    far = phi(1, -middle)[0] - jnp.exp(middle) * phi(1, middle - far_low)[0]
    near = _near_second_difference(jnp.where(is_near, middle, 0.0), jnp.where(is_near, low, 0.0))
    return jnp.exp(x) * jnp.where(is_near, near, far / -far_low)


def _near_second_difference(middle: Array, low: Array) -> Array:
    """``exp[0, middle, low]`` from complete homogeneous polynomials; both in ``[-0.5, 0]``."""
    power = homogeneous = jnp.ones_like(low)
    total = homogeneous / 2.0
    for order in range(1, _TERMS):
        power = power * middle
        homogeneous = homogeneous * low + power
        total = total + homogeneous / float(factorial(order + 2))
    return total


def _descending(x: Array, y: Array) -> tuple[Array, Array]:
    # Not maximum and minimum: at a tie those average two one-sided derivatives and so spoil the
    # second derivative, where a swap leaves one smooth function of its two arguments.
    is_ordered = x >= y
    return jnp.where(is_ordered, x, y), jnp.where(is_ordered, y, x)
