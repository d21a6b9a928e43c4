"""Polynomials: every product once, in order; bounded far out, and as they are near 0."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.inference.polynomials import (
    bound,
    count_products,
    enter,
    list_products,
    products,
    whitening,
)


@pytest.mark.parametrize(("size", "degree"), [(1, 4), (2, 1), (3, 3), (5, 4)])
@pytest.mark.parametrize("xp", [np, jnp])
def test_products_are_those_listed(size, degree, xp):
    variables = np.random.default_rng(size).standard_normal((size, 6)).astype(np.float32)
    found = np.asarray(products(xp.asarray(variables), degree, xp))
    listed = list_products(size, degree)
    assert len(found) == len(listed) == count_products(size, degree) == len(set(listed))
    expected = [np.prod(variables[list(places)], axis=0) for places in listed]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_their_slopes_are_right():
    with jax.enable_x64(True):
        at = jnp.asarray([0.7, -1.2, 0.3])
        slopes = jax.jacobian(lambda v: products(v[:, None], 3)[:, 0])(at)
        place = list_products(3, 3).index((0, 1, 1))
        np.testing.assert_allclose(slopes[place], [1.44, 2 * 0.7 * -1.2, 0.0], rtol=1e-12)


def test_a_bound_leaves_the_bulk_and_holds_the_rest():
    rows = np.array([[1.0, 0.0, 3e3], [1.0, 0.0, -4e3]])
    found = bound(rows, 10.0, axis=0, xp=np)
    np.testing.assert_allclose(found[:, :2], rows[:, :2], rtol=1e-6)
    np.testing.assert_allclose(np.hypot(*found[:, 2]), 10.0, rtol=1e-3)
    np.testing.assert_allclose(found[1, 2] / found[0, 2], -4 / 3)


def test_a_floor_levels_a_log_scale_off():
    values, floors = np.array([-20.0, -21.0, 3.0, -20.0]), np.array([0.5, 0.5, 0.5, 0.0])
    found = enter(values, floors, np)
    assert found[0] == pytest.approx(np.log(0.5)) and found[0] == pytest.approx(found[1])
    assert found[2] == pytest.approx(3.0, abs=1e-3) and found[3] == -20.0


def test_whitened_points_are_uncorrelated():
    generator = np.random.default_rng(0)
    points = generator.standard_normal((4_000, 3)) @ generator.standard_normal((3, 3)) + 5.0
    weights = generator.uniform(0.5, 1.5, 4_000)
    center, whiten = whitening(points, weights)
    np.testing.assert_allclose(
        np.cov(((points - center) @ whiten.T).T, aweights=weights), np.eye(3), atol=1e-6
    )
