"""Error models of one observation: densities, censored mass, binomial counts and replicates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from hierarchical_twin.graph.likelihood import Errors, draw_observation, log_likelihood
from hierarchical_twin.spec.vocabulary import ERRORS

PREDICTED = 1.7
ROWS: dict[str, list[Errors]] = {
    "normal": [
        Errors("normal", {"sigma": 0.4}),
        Errors("normal", {}, standard_error=0.3),
        Errors("normal", {"sigma": 0.4}, standard_error=0.3),
    ],
    "lognormal": [Errors("lognormal", {"sigma": 0.5})],
    "proportional": [
        Errors("proportional", {"sigma": 0.2}),
        Errors("proportional", {"sigma": 0.2}, standard_error=0.3),
    ],
    "combined": [
        Errors("combined", {"sigma": 0.4, "sigma_proportional": 0.2}),
        Errors("combined", {"sigma": 0.4, "sigma_proportional": 0.2}, standard_error=0.3),
    ],
}
CASES = [
    pytest.param(errors, id=f"{name}{place}")
    for name, rows in ROWS.items()
    for place, errors in enumerate(rows)
]


def density(errors: Errors, y: Any, predicted: float = PREDICTED) -> np.ndarray:
    """Density of measured values."""
    return np.exp(np.asarray(log_likelihood(errors, jnp.asarray(y), jnp.asarray(predicted), None)))


def mass(errors: Errors, limit: float, side: int) -> float:
    """Contribution of a value censored at a limit."""
    return float(
        jnp.exp(log_likelihood(errors, jnp.asarray(limit), jnp.asarray(PREDICTED), jnp.asarray(side)))
    )


def support(errors: Errors) -> tuple[float, float]:
    """Where the density has its mass."""
    return (0.0, 40.0) if errors.error == "lognormal" else (-8.0, 12.0)


def test_every_error_model_that_allows_censoring_has_a_row() -> None:
    assert set(ROWS) == {name for name, words in ERRORS.items() if "censored" in words.allows}


@pytest.mark.parametrize("errors", CASES)
def test_censored_mass_is_the_integral_of_the_density(errors: Errors) -> None:
    low, high = support(errors)
    whole = integrate.quad(lambda y: density(errors, y), low, high, points=[PREDICTED], limit=200)[0]
    assert whole == pytest.approx(1.0, abs=1e-9)
    for limit in (0.6, 1.7, 2.9):
        below = integrate.quad(lambda y: density(errors, y), low, limit, limit=200)[0]
        above = integrate.quad(lambda y: density(errors, y), limit, high, limit=200)[0]
        assert mass(errors, limit, 1) == pytest.approx(below, abs=1e-9)
        assert mass(errors, limit, -1) == pytest.approx(above, abs=1e-9)


@pytest.mark.parametrize("errors", CASES)
def test_a_value_marked_measured_keeps_its_density(errors: Errors) -> None:
    y = jnp.asarray([0.8, 1.7, 3.0])
    marked = log_likelihood(errors, y, jnp.asarray(PREDICTED), jnp.zeros(3, dtype=jnp.int8))
    np.testing.assert_array_equal(marked, log_likelihood(errors, y, jnp.asarray(PREDICTED), None))


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("errors", CASES)
def test_a_far_tail_has_a_finite_gradient(errors: Errors, side: int) -> None:
    limits = jnp.asarray([1e-4, 1e3])

    def total(predicted: Any) -> Any:
        return jnp.sum(log_likelihood(errors, limits, predicted, jnp.full(2, side)))

    value, slope = jax.value_and_grad(total)(jnp.asarray(PREDICTED))
    assert np.isfinite(value) and np.isfinite(slope)
    # A prediction moved up leaves less below a limit and more above it.
    assert np.sign(slope) == -side


def test_the_normal_family_adds_variances() -> None:
    sd = {name: [float(errors.sd(jnp.asarray(PREDICTED))) for errors in rows] for name, rows in ROWS.items()}
    assert sd["normal"] == pytest.approx([0.4, 0.3, 0.5])
    assert sd["proportional"] == pytest.approx([0.2 * PREDICTED, np.hypot(0.2 * PREDICTED, 0.3)])
    both = np.hypot(0.4, 0.2 * PREDICTED)
    assert sd["combined"] == pytest.approx([both, np.hypot(both, 0.3)])


def test_lognormal_is_scipy_s() -> None:
    y = np.array([0.2, 1.0, 5.0])
    np.testing.assert_allclose(density(ROWS["lognormal"][0], y), stats.lognorm(0.5, scale=PREDICTED).pdf(y))


def test_student_t_is_scipy_s() -> None:
    errors = Errors("student_t", {"sigma": 0.4, "degrees_of_freedom": 3.0})
    y = np.array([-1.0, 1.7, 6.0])
    np.testing.assert_allclose(density(errors, y), stats.t(3.0, PREDICTED, 0.4).pdf(y))


def test_beta_has_the_predicted_mean() -> None:
    errors = Errors("beta", {"concentration": 12.0})
    y = np.array([0.05, 0.7, 0.99])
    np.testing.assert_allclose(density(errors, y, 0.7), stats.beta(8.4, 3.6).pdf(y), rtol=1e-12)


def test_binomial_is_scipy_s_to_its_edges() -> None:
    trials = np.array([1.0, 10.0, 10.0, 1000.0, 20.0])
    counts = np.array([0.0, 10.0, 3.0, 700.0, 0.0])
    errors = Errors("binomial", {}, trials=jnp.asarray(trials))
    expected = stats.binom(trials, 0.7).logpmf(counts)
    found = log_likelihood(errors, jnp.asarray(counts), jnp.full(5, 0.7), None)
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    sure = log_likelihood(
        Errors("binomial", {}, trials=jnp.asarray(10.0)), jnp.asarray(10.0), jnp.asarray(1.0), None
    )
    assert abs(float(sure)) < 1e-9


MORE = {
    "student_t": Errors("student_t", {"sigma": 0.4, "degrees_of_freedom": 3.0}),
    "beta": Errors("beta", {"concentration": 12.0}),
}
DRAWN = [*CASES, *(pytest.param(errors, id=name) for name, errors in MORE.items())]


@pytest.mark.parametrize("errors", DRAWN)
def test_replicates_follow_the_density(errors: Errors) -> None:
    predicted = 0.7 if errors.error == "beta" else PREDICTED
    draws = np.asarray(
        draw_observation(errors, jax.random.PRNGKey(3), jnp.full((40, 100), predicted))
    ).ravel()
    low, high = (1e-9, 1 - 1e-9) if errors.error == "beta" else support(errors)
    grid = np.linspace(low, high, 40_001)
    heights = density(errors, np.maximum(grid, 1e-9) if errors.error == "lognormal" else grid, predicted)
    below = integrate.cumulative_trapezoid(heights, grid, initial=0.0)
    assert stats.kstest(draws, lambda y: np.interp(y, grid, below)).pvalue > 0.01


def test_binomial_replicates_follow_the_mass() -> None:
    errors = Errors("binomial", {}, trials=jnp.asarray(6.0))
    draws = np.asarray(draw_observation(errors, jax.random.PRNGKey(3), jnp.full((4000,), 0.3)))
    seen = np.bincount(draws.astype(int), minlength=7)
    expected = 4000 * stats.binom(6, 0.3).pmf(np.arange(7))
    assert stats.chisquare(seen, expected).pvalue > 0.01
