"""Apoptosis: the threshold, what no drug does, and the dose for a wanted kill."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.mechanisms.apoptosis import apoptosis_threshold, dose_for_kill

DOSE = jnp.append(0.0, jnp.logspace(-12, 12, 60))[None, :]


def test_half_die_at_the_threshold() -> None:
    assert float(apoptosis_threshold(jnp.array([[3.0]]), K_apo=3.0, n=2.5)["death"][0, 0]) == pytest.approx(
        0.5
    )


def test_more_drug_kills_more_down_to_the_floor() -> None:
    found = apoptosis_threshold(DOSE, K_apo=2.0, n=1.3, top=0.95, floor=0.1)
    assert (np.diff(found["death"][0]) >= 0).all() and (np.diff(found["survival"][0]) <= 0).all()
    np.testing.assert_allclose(found["survival"][0, [0, -1]], [0.95, 0.1], rtol=1e-12)


def test_without_drug_survival_is_top_and_every_gradient_is_finite() -> None:
    def survival(K_apo: float, n: float, potency: float, top: float) -> jax.Array:
        found = apoptosis_threshold(jnp.zeros((1, 1)), K_apo=K_apo, n=n, potency=potency, top=top)
        return found["survival"][0, 0]

    value, slopes = jax.value_and_grad(survival, (0, 1, 2, 3))(2.0, 0.5, 1.0, 0.9)
    assert float(value) == 0.9
    np.testing.assert_array_equal(slopes, [0.0, 0.0, 0.0, 1.0])


def test_survival_keeps_its_digits_where_hardly_any_cell_is_left() -> None:
    found = apoptosis_threshold(jnp.array([[1e6]]), K_apo=1.0, n=3.0)
    assert float(found["survival"][0, 0]) == pytest.approx(1e-18, rel=1e-12)


@pytest.mark.parametrize("target", [0.01, 0.5, 0.9, 0.999])
def test_the_dose_for_a_kill_kills_that_fraction(target: float) -> None:
    K_apo, n, potency = (jnp.array([[value]]) for value in (4.0, 1.7, 0.6))
    dose = dose_for_kill(K_apo, n, potency, target=target)
    death = apoptosis_threshold(dose, K_apo=K_apo, n=n, potency=potency)["death"]
    assert float(death[0, 0]) == pytest.approx(target, rel=1e-12)


def test_six_times_the_threshold_needs_six_times_the_dose() -> None:
    assert float(dose_for_kill(6.0 * 0.7, 1.7) / dose_for_kill(0.7, 1.7)) == pytest.approx(6.0, rel=1e-14)
