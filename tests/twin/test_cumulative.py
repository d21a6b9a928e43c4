"""Predictive probabilities of every error model, against SciPy's distribution functions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hierarchical_twin.graph.likelihood import Errors
from hierarchical_twin.spec.vocabulary import ERRORS
from hierarchical_twin.twin.cumulative import chance_below

SHARES = np.linspace(0.001, 0.999, 9)
EXACT = {
    "normal": (Errors("normal", {"sigma": 2.0}), [-7.0, 0.0, 0.4, 9.0], lambda y, f: stats.norm.cdf(y, f, 2)),
    "proportional": (
        Errors("proportional", {"sigma": 0.3}),
        [0.0, 0.2, 1.5],
        lambda y, f: stats.norm.cdf(y, f, 0.3 * f),
    ),
    "combined": (
        Errors("combined", {"sigma": 0.1, "sigma_proportional": 0.3}),
        [0.0, 0.2, 1.5],
        lambda y, f: stats.norm.cdf(y, f, np.hypot(0.1, 0.3 * f)),
    ),
    "lognormal": (
        Errors("lognormal", {"sigma": 0.4}),
        [0.01, 0.2, 1.5],
        lambda y, f: stats.norm.cdf(np.log(y), np.log(f), 0.4),
    ),
    "student_t": (
        Errors("student_t", {"sigma": 2.0, "degrees_of_freedom": 4.0}),
        [-1e3, -3.0, 0.4, 5.0, 1e6],
        lambda y, f: stats.t.cdf((y - f) / 2, 4),
    ),
    "beta": (
        Errors("beta", {"concentration": 12.0}),
        [1e-6, 0.2, 0.9, 1 - 1e-6],
        lambda y, f: stats.beta.cdf(y, 12 * f, 12 * (1 - f)),
    ),
    "binomial": (
        Errors("binomial", {}, trials=jnp.asarray(10.0)),
        [0.0, 1.0, 5.0, 9.0, 10.0],
        lambda y, f: stats.binom.cdf(y - 1, 10, f) + 0.5 * stats.binom.pmf(y, 10, f),
    ),
}


def test_every_error_model_has_a_row() -> None:
    assert set(EXACT) == set(ERRORS)


@pytest.mark.parametrize("error", EXACT)
def test_the_chance_of_a_lower_value(error) -> None:
    errors, values, exact = EXACT[error]
    value, predicted = np.meshgrid(values, SHARES)
    found = chance_below(errors, jnp.asarray(value), jnp.asarray(predicted), None)
    np.testing.assert_allclose(found, exact(value, predicted), rtol=1e-7, atol=1e-12)
    logs = jnp.log(jnp.asarray(predicted))
    if error == "lognormal":
        np.testing.assert_allclose(chance_below(errors, value, predicted, logs), found, rtol=1e-9)
