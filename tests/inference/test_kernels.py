"""Patients' own moves leave their posterior as it is, also where it is not where their frames say."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.backends.numpyro import flat_log_density
from hierarchical_twin.graph.blocks import split_blocks
from hierarchical_twin.inference.delayed import Walks, delayed_kernel
from hierarchical_twin.inference.device import choose_place
from hierarchical_twin.inference.geometry import find_geometry, starts_in
from hierarchical_twin.inference.kernels import (
    Adaptation,
    Numbers,
    joint_kernel,
    joint_potential,
    starts_along,
)
from hierarchical_twin.inference.moves import move_patients
from hierarchical_twin.inference.nuts import run_chains
from hierarchical_twin.inference.pilot import find_pilot
from hierarchical_twin.inference.settings import Schedule
from hierarchical_twin.inference.target import make_target
from inference.models import sleep_model

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


def stretches(values: np.ndarray) -> int:
    """The most draws in a row that a chain ``[chain, draw]`` stays where it is."""
    longest = 0
    for chain in values:
        ends = np.flatnonzero(np.diff(chain, append=np.inf))
        longest = max(longest, int(np.max(np.diff(ends, prepend=-1))))
    return longest


def test_steps_alone_make_up_for_a_stand_in_that_misjudges_a_patient():
    """One of six is held far too near the middle of their frame: joint moves hardly ever leave where they are out."""
    with jax.enable_x64(True):
        pilot = find_pilot(sleep_model())
        model, geometry = pilot.model, find_geometry(pilot, pilot.model)
        target = make_target(model, flat_log_density)

        def near_density(flat, numbers):
            return target.density(flat, numbers) - 8.0 * split_blocks(model, flat)[1][0, 0] ** 2

        def exact(flat, numbers):
            return target.density(flat, numbers.model)

        near = replace(target, density=near_density)
        numbers = Numbers(geometry, target.numbers)
        starts = starts_along(near, starts_in(geometry, pilot, model, 4, 4), numbers)
        adaptation = Adaptation(300, 0.9, 8)

        def patients(flat, numbers):
            return target.patients(flat, numbers.model)

        def drawn(walks):
            kernel = delayed_kernel(
                joint_kernel(near, adaptation), exact, adaptation, transitions=2, walks=walks
            )
            schedule, place = Schedule(4, 300, 2000, seed=4), choose_place("cpu", 4)
            found = run_chains(kernel, starts, numbers, schedule, place=place, watch=lambda progress: None)
            last = target.density(jnp.asarray(found.positions[0, -1]), target.numbers)
            np.testing.assert_allclose(found.stats["lp"][0, -1], last, rtol=1e-8)
            return np.asarray(
                jax.vmap(jax.vmap(lambda flat: split_blocks(model, flat)[1][0, 0]))(found.positions)
            )

        joint, alone = drawn(None), drawn(Walks("effects", 4, patients, partial(joint_potential, near)))
    assert stretches(joint) > 5 * stretches(alone)
    assert alone.mean() == pytest.approx(0.0, abs=0.25) and alone.std() == pytest.approx(1.0, abs=0.15)
    assert joint.std() < 0.8
