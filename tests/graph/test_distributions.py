"""Prior words and the framed normal: normalized, SciPy's density, draws that follow it, a support that maps back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement.densities import QUICKLY
from scipy import integrate, special, stats

from hierarchical_twin.graph.distributions import DISTRIBUTIONS, constrain, unconstrain
from hierarchical_twin.spec.vocabulary import PRIORS


@dataclass(frozen=True)
class Row:
    """A word's arguments, and the same law in SciPy."""

    arguments: dict[str, float]
    law: Any


@dataclass(frozen=True)
class LogitNormal:
    """SciPy has no logit-normal: its density from the normal one."""

    median: float
    sd: float

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Log density."""
        inside = stats.norm(special.logit(self.median), self.sd).logpdf(special.logit(x))
        return inside - np.log(x * (1 - x))

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Distribution function."""
        return stats.norm(special.logit(self.median), self.sd).cdf(special.logit(x))

    def ppf(self, share: np.ndarray) -> np.ndarray:
        """Quantile."""
        return special.expit(stats.norm(special.logit(self.median), self.sd).ppf(share))


@dataclass(frozen=True)
class HalfStudentT:
    """SciPy has no folded Student t."""

    df: float
    sd: float

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Log density."""
        return np.log(2.0) + stats.t(self.df, scale=self.sd).logpdf(x)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Distribution function."""
        return 2 * stats.t(self.df, scale=self.sd).cdf(x) - 1

    def ppf(self, share: np.ndarray) -> np.ndarray:
        """Quantile."""
        return stats.t(self.df, scale=self.sd).ppf((1 + share) / 2)


ROWS = {
    "Normal": Row({"mean": -1.0, "sd": 2.0}, stats.norm(-1.0, 2.0)),
    "StudentT": Row({"df": 3.5, "mean": 0.5, "sd": 1.5}, stats.t(3.5, 0.5, 1.5)),
    "LogNormal": Row({"median": 3.0, "sd": 0.7}, stats.lognorm(0.7, scale=3.0)),
    "HalfNormal": Row({"sd": 2.5}, stats.halfnorm(scale=2.5)),
    "HalfStudentT": Row({"df": 4.0, "sd": 0.6}, HalfStudentT(4.0, 0.6)),
    "HalfCauchy": Row({"scale": 1.4}, stats.halfcauchy(scale=1.4)),
    "Exponential": Row({"mean": 3.0}, stats.expon(scale=3.0)),
    "Gamma": Row({"shape": 2.5, "rate": 4.0}, stats.gamma(2.5, scale=1 / 4.0)),
    "InverseGamma": Row({"shape": 3.5, "scale": 2.0}, stats.invgamma(3.5, scale=2.0)),
    # 8 and 2: where jax.scipy.special.betaln is wrong in the seventh digit.
    "Beta": Row({"a": 8.0, "b": 2.0}, stats.beta(8.0, 2.0)),
    "LogitNormal": Row({"median": 0.3, "sd": 0.8}, LogitNormal(0.3, 0.8)),
    "Uniform": Row({"lower": -2.0, "upper": 3.0}, stats.uniform(-2.0, 5.0)),
    "FramedNormal": Row({"mean": -1.0, "sd": 2.0, "center": 0.5, "scale": 0.3}, stats.norm(-1.0, 2.0)),
}
NOT_PRIORS = {"FramedNormal"}
"""What a spec cannot name: the effects of an informed parameterization."""
EVERY_WORD = pytest.mark.parametrize("word", ROWS)
SHARES = np.array([1e-4, 0.05, 0.3, 0.5, 0.8, 0.99, 0.9999])


def test_every_scalar_prior_word_has_a_row() -> None:
    scalar = {word for word, words in PRIORS.items() if words.support != "correlation"}
    assert set(ROWS) == set(DISTRIBUTIONS) == scalar | NOT_PRIORS


@pytest.mark.parametrize("word", [word for word in ROWS if word not in NOT_PRIORS])
def test_arguments_and_supports_are_the_vocabulary_s(word: str) -> None:
    assert tuple(ROWS[word].arguments) == PRIORS[word].arguments
    assert DISTRIBUTIONS[word].support == PRIORS[word].support


@EVERY_WORD
def test_density_is_scipy_s(word: str) -> None:
    row = ROWS[word]
    x = row.law.ppf(SHARES)
    found = DISTRIBUTIONS[word].log_density(jnp.asarray(x), **row.arguments)
    np.testing.assert_allclose(found, row.law.logpdf(x), rtol=1e-12, atol=1e-12)


@EVERY_WORD
def test_density_is_normalized_on_the_unconstrained_scale(word: str) -> None:
    row, distribution = ROWS[word], DISTRIBUTIONS[word]
    u = (
        np.linspace(-300.0, 300.0, 600_001)
        if distribution.support in ("real", "frame")
        else np.linspace(-36, 36, 72_001)
    )
    value, log_slope = constrain(distribution.support, jnp.asarray(u), row.arguments)
    density = np.exp(np.asarray(distribution.log_density(value, **row.arguments) + log_slope))
    # Student's t on (-300, 300) leaves out 4e-8 of its mass.
    assert integrate.trapezoid(density, u) == pytest.approx(1.0, abs=1e-7)


@EVERY_WORD
def test_draws_follow_the_density(word: str) -> None:
    row = ROWS[word]
    draw = jax.jit(
        lambda key: DISTRIBUTIONS[word].draw(key, (4000,), **row.arguments), compiler_options=QUICKLY
    )
    draws = draw(jax.random.PRNGKey(7))
    assert stats.kstest(np.asarray(draws), row.law.cdf).pvalue > 0.01


@EVERY_WORD
def test_draws_broadcast_one_argument_for_each_element(word: str) -> None:
    arguments = {name: jnp.full(3, value) for name, value in ROWS[word].arguments.items()}
    drawn = jax.eval_shape(
        lambda key: DISTRIBUTIONS[word].draw(key, (3,), **arguments), jax.random.PRNGKey(0)
    )
    assert drawn.shape == (3,)
    assert DISTRIBUTIONS[word].log_density(jnp.full(3, 0.4), **arguments).shape == (3,)


@EVERY_WORD
def test_support_maps_there_and_back(word: str) -> None:
    row, support = ROWS[word], DISTRIBUTIONS[word].support
    u = jnp.linspace(-6.0, 6.0, 25)
    value, log_slope = constrain(support, u, row.arguments)
    np.testing.assert_allclose(unconstrain(support, value, row.arguments), u, rtol=1e-10, atol=1e-10)
    slope = jax.vmap(jax.grad(lambda one: constrain(support, one, row.arguments)[0]))(u)
    np.testing.assert_allclose(log_slope, jnp.log(slope), rtol=1e-9, atol=1e-10)
    bounds = {"positive": (0, np.inf), "unit": (0, 1), "interval": (-2, 3)}
    inside = bounds.get(support, (-np.inf, np.inf))
    assert np.all((value > inside[0]) & (value < inside[1]))


@EVERY_WORD
def test_center_lies_in_the_middle(word: str) -> None:
    row = ROWS[word]
    assert 0.2 < row.law.cdf(DISTRIBUTIONS[word].center(**row.arguments)) < 0.8
