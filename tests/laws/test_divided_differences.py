"""Divided differences of exp, and their gradients, against two hundred decimal digits."""

from __future__ import annotations

from decimal import Decimal, localcontext

import jax
import numpy as np

from hierarchical_twin.mechanisms.divided_differences import exp_difference, exp_second_difference, phi

GAPS = (0.0, 1e-300, 1e-14, 1e-9, 1e-5, 1e-2, 0.3, 0.499, 0.5, 0.501, 1.0, 5.0, 40.0, 300.0)


def _points(width: int) -> np.ndarray:
    """Arguments at and near coincidence and far from it, in every order."""
    rng = np.random.default_rng(0)
    return np.array(
        [rng.permutation(-2.0 - gap * rng.choice([0.0, 0.6, 1.0], width)) for gap in GAPS for _ in range(4)]
    )


def _exact(*arguments: Decimal) -> Decimal:
    """Divided difference of exp; equal arguments are held apart by far less than float64 can see."""
    if len(arguments) == 1:
        return arguments[0].exp()
    first, *middle, last = sorted(value + i * Decimal("1e-60") for i, value in enumerate(sorted(arguments)))
    return (_exact(first, *middle) - _exact(*middle, last)) / (first - last)


def _exact_slope(point: np.ndarray, which: int) -> Decimal:
    """The slope in one argument is the difference with that argument repeated."""
    return _exact(*map(Decimal, point), Decimal(point[which]))


def test_values_and_gradients_keep_their_digits_wherever_arguments_meet() -> None:
    for function, width in ((exp_difference, 2), (exp_second_difference, 3)):
        points = _points(width)
        values, slopes = jax.jit(jax.vmap(jax.value_and_grad(lambda point, f=function: f(*point))))(points)
        with localcontext(prec=200):
            exact = [float(_exact(*map(Decimal, point.tolist()))) for point in points]
            exact_slopes = [
                [float(_exact_slope(point.tolist(), i)) for i in range(width)] for point in points
            ]
        np.testing.assert_allclose(values, exact, rtol=1e-14)
        np.testing.assert_allclose(slopes, exact_slopes, rtol=1e-12)


def test_phi_at_zero_and_its_derivatives() -> None:
    # phi_1(x) = 1 - x/2 + x^2/6 - ..., phi_2(x) = 1/2 - x/6 + x^2/24 - ...
    for which, expected in ((0, (1.0, -1 / 2, 1 / 3)), (1, (1 / 2, -1 / 6, 1 / 12))):

        def function(x: float, which: int = which) -> jax.Array:
            return phi(2, x)[which]

        found = [function(0.0), jax.grad(function)(0.0), jax.grad(jax.grad(function))(0.0)]
        np.testing.assert_allclose(found, expected, rtol=1e-14)
