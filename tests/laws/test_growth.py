"""Growth: the brief's patient, limits, and what the derived quantities mean."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.mechanisms.growth import (
    doubling_time,
    exponential_growth,
    gompertz_growth,
    logistic_growth,
    plateau_ratio,
)

TIME = jnp.linspace(0.0, 200.0, 41)[None, :]


def test_the_patient_of_the_brief() -> None:
    rate = np.log(3.95 / 2.75) / 60.0
    assert rate == pytest.approx(0.00604, abs=5e-6)
    assert float(exponential_growth(jnp.array([[60.0]]), V_0=2.75, r=rate)["V"][0, 0]) == pytest.approx(3.95)


def test_a_tumor_doubles_in_its_doubling_time() -> None:
    span = doubling_time(jnp.array([[0.02]]))
    assert float(exponential_growth(span, V_0=1.5, r=0.02)["V"][0, 0]) == pytest.approx(3.0)


def test_logistic_is_exponential_far_below_capacity_and_stays_at_it() -> None:
    free = exponential_growth(TIME, V_0=1e-6, r=0.03)["V"]
    np.testing.assert_allclose(logistic_growth(TIME, V_0=1e-6, r=0.03, K=1e9)["V"], free, rtol=1e-11)
    np.testing.assert_allclose(logistic_growth(TIME, V_0=20.0, r=0.03, K=20.0)["V"], 20.0, rtol=1e-14)


def test_logistic_rises_to_capacity_and_falls_to_it_from_above() -> None:
    below = np.asarray(logistic_growth(TIME, V_0=1.0, r=0.1, K=20.0)["V"][0])
    above = np.asarray(logistic_growth(TIME, V_0=60.0, r=0.1, K=20.0)["V"][0])
    assert (np.diff(below) > 0).all() and (np.diff(above) < 0).all()
    np.testing.assert_allclose([below[-1], above[-1]], 20.0, rtol=1e-6)


@pytest.mark.parametrize("r", [-1e3, -1.0, 0.0, 1.0, 1e3])
def test_logistic_holds_at_any_exponent(r: float) -> None:
    def final(r: float) -> jax.Array:
        return logistic_growth(jnp.array([[10.0]]), V_0=2.0, r=r, K=20.0)["V"][0, 0]

    value, slope = jax.value_and_grad(final)(r)
    exact = {-1e3: (0.0, 0.0), 0.0: (2.0, 2.0 * 10.0 * (1.0 - 2.0 / 20.0)), 1e3: (20.0, 0.0)}.get(r)
    assert np.isfinite([value, slope]).all()
    if exact is not None:
        np.testing.assert_allclose([value, slope], exact, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("a", [0.0, 1e-300, 1e-16, 1e-12])
def test_gompertz_becomes_exponential(a: float) -> None:
    free = exponential_growth(TIME, V_0=2.0, r=0.02)["V"]
    np.testing.assert_allclose(gompertz_growth(TIME, V_0=2.0, r=0.02, a=a)["V"], free, rtol=1e-9)
    slope = jax.grad(lambda a: gompertz_growth(TIME, V_0=2.0, r=0.02, a=a)["V"][0, -1])(a)
    assert float(slope) == pytest.approx(-float(free[0, -1]) * 0.02 * 200.0**2 / 2.0, rel=1e-9)


def test_gompertz_ends_at_its_plateau() -> None:
    late = gompertz_growth(jnp.array([[1e4]]), V_0=2.0, r=0.08, a=0.02)["V"][0, 0]
    assert float(late) == pytest.approx(2.0 * float(plateau_ratio(jnp.array(0.08), jnp.array(0.02))))
