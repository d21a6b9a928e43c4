"""Patients' own moves leave their posterior as it is, also where it is not where their frames say."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.inference.moves import move_patients

PATIENTS, ITERATIONS = 4000, 60


def settled(density, start):
    """Effects after many moves, adapted in the first half."""

    def turn(carry, number):
        effects, step = carry
        rate = jnp.where(number < ITERATIONS // 2, 2.0 / (number + 6.0) ** 0.6, 0.0)
        moved = move_patients(jax.random.fold_in(jax.random.PRNGKey(5), number), effects, step, density, rate)
        return (moved.effects, moved.log_step), jnp.mean(moved.chance)

    first = (jnp.asarray(start), jnp.zeros(PATIENTS))
    (effects, _), chances = jax.jit(lambda at: jax.lax.scan(turn, at, jnp.arange(ITERATIONS)))(first)
    return np.asarray(effects), np.asarray(chances)


def test_standard_normal_effects_stay_so_and_are_nearly_always_accepted():
    effects, chances = settled(lambda e: -0.5 * jnp.sum(e * e, axis=0), np.full((2, PATIENTS), 3.0))
    assert effects.mean(axis=1) == pytest.approx([0, 0], abs=5 / np.sqrt(PATIENTS))
    assert np.cov(effects) == pytest.approx(np.eye(2), abs=0.1)
    assert chances[-1] > 0.8


def test_effects_far_from_their_frames_are_found():
    """Shifted, narrow and correlated: what a pilot that was wrong leaves behind."""
    covariance = np.array([[0.5, 0.3], [0.3, 0.4]])
    precision = jnp.asarray(np.linalg.inv(covariance))
    middle = jnp.asarray([[1.5], [-1.0]])

    def density(effects):
        away = effects - middle
        return -0.5 * jnp.einsum("ip,ij,jp->p", away, precision, away)

    effects, _ = settled(density, np.zeros((2, PATIENTS)))
    assert effects.mean(axis=1) == pytest.approx([1.5, -1.0], abs=0.05)
    assert np.cov(effects) == pytest.approx(covariance, abs=0.05)


def test_a_density_that_is_not_a_number_is_never_entered():
    def density(effects):
        return jnp.where(effects[0] > 0.0, jnp.nan, -0.5 * jnp.sum(effects * effects, axis=0))

    effects, _ = settled(density, np.full((1, PATIENTS), -1.0))
    assert (effects <= 0.0).all()
    assert effects.mean() == pytest.approx(-np.sqrt(2 / np.pi), abs=0.05)
