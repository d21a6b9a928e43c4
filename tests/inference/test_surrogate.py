"""The polynomial that NUTS follows: exact where it can be, and of no harm where it cannot."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.inference.delayed import Walks, delayed_kernel
from hierarchical_twin.inference.device import choose_place
from hierarchical_twin.inference.geometry import Geometry
from hierarchical_twin.inference.kernels import Adaptation, Numbers, population_kernel
from hierarchical_twin.inference.marginal.surrogate import GOOD_SPREAD, Region, fit_surrogate
from hierarchical_twin.inference.nuts import run_chains
from hierarchical_twin.inference.settings import Schedule


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def gradients_of(density):
    both = jax.jit(jax.vmap(jax.value_and_grad(density)))
    return lambda points: tuple(np.asarray(part) for part in both(jnp.asarray(points)))


def flat_prior(point):
    return 0.0 * jnp.sum(point)


def region(size: int, *, is_scale=None) -> Region:
    return Region(np.zeros(size), np.eye(size), np.zeros(size, bool) if is_scale is None else is_scale)


def test_a_cubic_is_found_exactly():
    rng = np.random.default_rng(0)
    third = 0.02 * rng.standard_normal((3, 3, 3))

    def density(u):
        return -0.5 * jnp.sum(u**2) + 0.3 * u[0] * u[1] + jnp.einsum("ijk,i,j,k", third, u, u, u)

    fitted = fit_surrogate(gradients_of(density), flat_prior, region(3))
    assert fitted.spread < 0.01
    points = rng.standard_normal((20, 3))
    left = [float(density(point) - fitted.surrogate.at(point)) for point in points]
    np.testing.assert_allclose(left, left[0], atol=0.01)


def test_it_follows_the_posterior_away_from_the_pilot():
    """The pilot is off by two SDs and half as wide: later rounds fit where the posterior is."""
    center, wide = np.array([2.0, -2.0]), 2.0

    def density(u):
        step = (u - center) / wide
        return -0.5 * jnp.sum(step**2) - 0.05 * jnp.sum(step**4)

    fitted = fit_surrogate(gradients_of(density), flat_prior, region(2))
    assert fitted.spread <= GOOD_SPREAD
    np.testing.assert_allclose(fitted.region.center, center, atol=0.3)


def test_a_scale_that_may_vanish_is_followed():
    """An SD whose likelihood is flat towards 0: no polynomial of its logarithm is."""

    def density(u):
        return -0.5 * ((jnp.exp(2 * u[0]) - 0.5) / 0.5) ** 2 - 0.5 * u[1] ** 2

    def prior(u):
        return u[0] - 0.5 * jnp.exp(2 * u[0])

    given = Region(np.array([-0.5, 0.0]), 0.6 * np.eye(2), np.array([True, False]))
    fitted = fit_surrogate(gradients_of(density), prior, given)
    assert fitted.spread <= 2 * GOOD_SPREAD
    low = np.array([-4.0, 0.0])
    far = float(density(low) - fitted.surrogate.at(low)) - float(
        density(given.center) - fitted.surrogate.at(given.center)
    )
    assert abs(far) < 0.5


def test_no_polynomial_stands_in_for_noise():
    rng = np.random.default_rng(1)

    def noise(points):
        return 50 * rng.standard_normal(len(points)), 50 * rng.standard_normal(points.shape)

    assert fit_surrogate(noise, flat_prior, region(2)).surrogate is None


def cut_off_exact(u, numbers):
    return -0.5 * jnp.sum(u**2)


def cut_off(u, numbers):
    """A stand-in that sees next to nothing beyond 1.5."""
    return cut_off_exact(u, numbers) - 4.0 * jax.nn.softplus(5.0 * (u[0] - 1.5))


def cut_off_potential(numbers):
    return lambda z: -cut_off(z["population"], numbers)


CUT_OFF_WALKS = Walks(
    "population", 1, lambda u, numbers: cut_off_exact(u, numbers)[None], cut_off_potential, every=2
)
PLAIN = Numbers(Geometry(np.zeros(2), np.eye(2), np.zeros((1, 1)), np.ones((1, 1))), ())


def cut_off_kernel(warmup: int, walks: Walks | None):
    adaptation = Adaptation(warmup, 0.8, 10)
    return delayed_kernel(population_kernel(cut_off, adaptation), cut_off_exact, adaptation, walks=walks)


def test_a_tail_that_a_stand_in_cuts_off_is_visited_by_walking():
    """NUTS does not go there; the population walks there, and back."""

    def drawn(walks):
        return run_chains(
            cut_off_kernel(200, walks),
            np.zeros((4, 2)),
            PLAIN,
            Schedule(4, 200, 5000, seed=3),
            place=choose_place("cpu", 4),
            watch=lambda progress: None,
        )

    walking = drawn(CUT_OFF_WALKS)
    first = walking.positions[..., 0]
    assert np.mean(first > 1.8) == pytest.approx(0.0359, abs=0.008)
    np.testing.assert_allclose(first.std(), 1.0, atol=0.05)
    np.testing.assert_allclose(walking.stats["lp"], -0.5 * np.sum(walking.positions**2, axis=2), atol=1e-8)
    assert np.mean(drawn(None).positions[..., 0] > 1.8) < 0.02, "without steps it is hardly ever seen"


def test_nuts_goes_on_from_where_a_walk_ended():
    """Its potential, slope and excess are of that place; steps adapt in warm-up and not after it."""
    kernel = cut_off_kernel(6, CUT_OFF_WALKS)
    state, step = kernel.init(jax.random.PRNGKey(1), jnp.zeros(2), PLAIN), jax.jit(kernel.step)
    sizes, walked = [], 0
    for _ in range(12):
        before, state = state, step(state, PLAIN)
        value, slope = jax.value_and_grad(cut_off_potential(PLAIN))(state.nuts.z)
        np.testing.assert_allclose(state.nuts.potential_energy, value, atol=1e-9)
        np.testing.assert_allclose(state.nuts.z_grad["population"], slope["population"], atol=1e-9)
        if state.nuts.i >= 6:
            np.testing.assert_allclose(state.excess, cut_off_exact(state.nuts.z["population"], PLAIN) + value)
        sizes.append(float(state.moves[0]))
        walked += sizes[-1] != float(before.moves[0])
    assert walked >= 2 and len(set(sizes[6:])) == 1


@pytest.mark.parametrize("transitions", [1, 3])
def test_refusals_make_up_for_a_wrong_stand_in(transitions):
    """NUTS follows a normal that is shifted and too wide; the draws are those of the exact density."""

    def exact(u, numbers):
        return -0.5 * jnp.sum(u**2)

    def quick(u, numbers):
        return -0.5 * jnp.sum((u - 0.4) ** 2) / 1.3**2

    geometry = Geometry(np.zeros(2), np.eye(2), np.zeros((1, 1)), np.ones((1, 1)))
    adaptation = Adaptation(200, 0.8, 10)
    inner = population_kernel(quick, adaptation)
    kernel = delayed_kernel(inner, exact, adaptation, transitions=transitions)
    drawn = run_chains(
        kernel,
        np.zeros((4, 2)),
        Numbers(geometry, ()),
        Schedule(4, 200, 4000, seed=3),
        place=choose_place("cpu", 4),
        watch=lambda progress: None,
    )
    draws = drawn.positions.reshape(-1, 2)
    np.testing.assert_allclose(draws.mean(axis=0), 0.0, atol=0.06)
    np.testing.assert_allclose(draws.std(axis=0), 1.0, atol=0.05)
    assert 0.3 < drawn.stats["exact_acceptance"].mean() < 0.95
    # Of the longest trajectory of a draw, not of all its steps.
    together = np.floor(np.log2(drawn.stats["n_steps"] + 1))
    assert (drawn.stats["tree_depth"].mean() < together.mean() - 0.5) == (transitions > 1)
    assert 0.6 < drawn.stats["acceptance_rate"].mean() < 1.0 and "longest" not in drawn.stats
    np.testing.assert_allclose(drawn.stats["lp"].ravel(), -0.5 * np.sum(draws**2, axis=1), atol=1e-8)
