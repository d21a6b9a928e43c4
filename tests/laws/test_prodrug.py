"""Prodrug: steady state, mass balance, superposition, and rates that coincide."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.errors import SpecError
from hierarchical_twin.mechanisms.prodrug import activated_fraction, prodrug_activation, steady_state_active

from .cases import CASES

ONCE = {
    "dose_time": np.zeros((1, 1)),
    "dose_amount": np.full((1, 1), 100.0),
    "dose_duration": np.zeros((1, 1)),
}
RATES = {"V": 20.0, "k_el": 0.4, "k_act": 0.1, "k_out": 0.2}


def test_a_long_infusion_ends_at_the_steady_state() -> None:
    constant = ONCE | {"dose_amount": np.full((1, 1), 5.0 * 1e4), "dose_duration": np.full((1, 1), 1e4)}
    late = prodrug_activation(np.array([[900.0]]), **constant, **RATES, input="infusion")
    assert float(late["active"][0, 0]) == pytest.approx(
        float(steady_state_active(**RATES, rate=5.0)), rel=1e-12
    )
    assert float(late["prodrug"][0, 0]) == pytest.approx(5.0 / (0.5 * 20.0), rel=1e-12)


def test_steady_state_is_proportional_to_the_activated_fraction() -> None:
    k_act = jnp.array([0.02, 0.1, 1.0])
    active = steady_state_active(20.0, 0.4, k_act, 0.2)
    np.testing.assert_allclose(
        active / active[0], activated_fraction(0.4, k_act) / activated_fraction(0.4, k_act[0])
    )


def test_a_poor_metabolizer_reaches_about_a_fifth_of_a_normal_one() -> None:
    # Not 21 % of its activation rate: the fraction activated, k_act/(k_act + k_el), is what falls to 21 %.
    fraction = 0.21 * 0.6 / (0.6 + 0.4)
    k_act = 0.4 * fraction / (1.0 - fraction)
    normal, poor = (steady_state_active(20.0, 0.4, rate, 0.2) for rate in (0.6, k_act))
    assert float(poor / normal) == pytest.approx(0.21, rel=1e-12)


@pytest.mark.parametrize("way", ["bolus", "infusion", "oral"])
def test_nothing_is_there_before_the_first_dose(way: str) -> None:
    case = CASES[f"prodrug_activation {way}"]
    exposure, parameters = case.draw(5)
    exposure["dose_time"] = exposure["dose_time"] + exposure["time"][:, -1:] + 1.0
    assert all((output == 0.0).all() for output in case.solve(exposure, parameters).values())
    assert all((slope == 0.0).all() for slope in case.gradient(exposure, parameters).values())


@pytest.mark.parametrize("way", ["bolus", "infusion", "oral"])
def test_doses_superpose_and_scale(way: str) -> None:
    case = CASES[f"prodrug_activation {way}"]
    exposure, parameters = case.draw(6)
    together, parts = case.solve(exposure, parameters), []
    for only in range(exposure["dose_amount"].shape[1]):
        kept = np.where(
            np.arange(exposure["dose_amount"].shape[1]) == only, 2.0 * exposure["dose_amount"], 0.0
        )
        parts.append(case.solve(exposure | {"dose_amount": kept}, parameters))
    for name, output in together.items():
        np.testing.assert_allclose(sum(part[name] for part in parts), 2.0 * output, rtol=1e-13)


@pytest.mark.parametrize("way", ["bolus", "infusion", "oral"])
def test_all_of_the_dose_is_accounted_for(way: str) -> None:
    """With nothing eliminated and nothing lost, prodrug and active drug hold what was absorbed."""
    time = np.linspace(0.0, 40.0, 9)[None, :]
    doses = ONCE | {"dose_duration": np.full((1, 1), 8.0)}
    kept = {"V": 20.0, "k_el": 0.0, "k_act": 0.3, "k_out": 0.0}
    if way == "oral":
        kept |= {"k_a": 0.7}
    found = prodrug_activation(time, **doses, **kept, input=way)
    given = {
        "bolus": np.ones_like(time),
        "infusion": np.minimum(time / 8.0, 1.0),
        "oral": -np.expm1(-0.7 * time),
    }
    np.testing.assert_allclose((found["prodrug"] + found["active"]) * 20.0, 100.0 * given[way], rtol=1e-13)


def test_an_infusion_of_no_duration_is_a_bolus_and_a_short_one_nearly() -> None:
    time = np.array([[0.0, 0.5, 3.0]])
    bolus = prodrug_activation(time, **ONCE, **RATES, input="bolus")
    instant = prodrug_activation(time, **ONCE, **RATES, input="infusion")
    short = prodrug_activation(
        time, **(ONCE | {"dose_duration": np.full((1, 1), 1e-9)}), **RATES, input="infusion"
    )
    for name, output in bolus.items():
        np.testing.assert_array_equal(instant[name], output)
        np.testing.assert_allclose(short[name][:, 1:], output[:, 1:], rtol=1e-8)


@pytest.mark.parametrize("gap", [0.0, 1e-14, 1e-9, 1e-5, 1e-2])
def test_rates_may_meet(gap: float) -> None:
    """Absorption, loss and elimination within `gap` of each other: value and gradient of the limit."""
    k, time = 0.3, 5.0

    def active(k_a: float, k_act: float, k_out: float) -> jax.Array:
        rates = {"V": 1.0, "k_el": k - 0.1, "k_act": k_act, "k_out": k_out, "k_a": k_a}
        return prodrug_activation(np.array([[time]]), **ONCE, **rates, input="oral")["active"][0, 0]

    value, (by_k_a, by_k_act, by_k_out) = jax.value_and_grad(active, (0, 1, 2))(k + gap, 0.1, k - gap)
    # Where all three are k: active = 100 k_a k_act t^2/2 e^(-kt), and each further rate lowers it by t/3.
    limit = 100.0 * k * 0.1 * time**2 / 2.0 * np.exp(-k * time)
    slopes = [limit * (1 / k - time / 3), limit * (1 / 0.1 - time / 3), -limit * time / 3]
    np.testing.assert_allclose([value, by_k_a, by_k_act, by_k_out], [limit, *slopes], rtol=1e-12 + 20.0 * gap)


def test_the_lag_has_a_finite_slope_everywhere() -> None:
    def total(t_lag: float) -> jax.Array:
        found = prodrug_activation(
            np.array([[0.0, 1.0, 4.0]]), **ONCE, **RATES, k_a=1.0, t_lag=t_lag, input="oral"
        )
        return found["prodrug"].sum() + found["active"].sum()

    slope = jax.jit(jax.grad(total))
    assert np.isfinite([slope(lag) for lag in (0.0, 0.5, 1.0, 4.0, 9.0)]).all()


def test_a_word_it_does_not_know_is_refused() -> None:
    with pytest.raises(SpecError, match="bolus, infusion or oral"):
        prodrug_activation(np.zeros((1, 1)), **ONCE, **RATES, input="orally")
    with pytest.raises(SpecError, match="absorption rate"):
        prodrug_activation(np.zeros((1, 1)), **ONCE, **RATES, input="oral")
