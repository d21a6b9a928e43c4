"""Estimates without the population: at each patient's own maximum, and with what an outer level says."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement.declared import DECLARED

from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import central_point, parameters_at
from hierarchical_twin.inference import no_pooling
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.inference.no_pooling import _hold_effects, _newton


def test_a_site_s_effects_stay_at_their_posterior_mean() -> None:
    declared = DECLARED["sites"]
    model = build(declared.spec, declared.cohort, parameterization="noncentered")
    point = np.asarray(central_point(model)).copy()
    shape = parameters_at(model, jnp.asarray(point))["eta_site"].shape
    draws = np.random.default_rng(1).normal(size=(2, 5, *shape))
    _hold_effects(model, point, "_site", {"eta_site": draws})
    held = np.asarray(parameters_at(model, jnp.asarray(point))["eta_site"])
    np.testing.assert_allclose(held, draws.mean(axis=(0, 1)), rtol=1e-12)


HARD = {
    "quadratic": lambda x, y: 0.5 * x**2 + (y - 3) ** 2 + 0.5 * x * y,
    "far away": lambda x, y: 0.05 * (x - 40) ** 2 + 1e-3 * (y + 200) ** 2,
    "banana": lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    "bent the other way at the start": lambda x, y: jnp.sqrt(1 + (x - 20) ** 2) - jnp.exp(-((y - 2) ** 2)),
    "a wall": lambda x, y: jnp.where(x < 1.5, -jnp.log(1.5 - x) + (x - 1.45) ** 2 + y**2, jnp.nan),
}
MINIMA = {"far away": (40, -200), "banana": (1, 1), "bent the other way at the start": (20, 2)}


@pytest.fixture
def pilot(monkeypatch):
    """A stand-in whose patients are the functions of `HARD`, two effects each."""
    monkeypatch.setattr(no_pooling, "_effect_places", lambda model: np.arange(2 * len(HARD)).reshape(2, -1))

    @jax.jit
    def gradient(flat, times, numbers):
        def total(flat):
            return sum(f(x, y) for f, x, y in zip(HARD.values(), *flat.reshape(2, -1), strict=True))

        return jax.value_and_grad(total)(flat)

    return SimpleNamespace(model=SimpleNamespace(numbers={}), repeated=gradient)


def test_every_patient_ends_at_their_own_minimum(pilot) -> None:
    """However far, curved or walled in; one that fails does not hold up the others."""
    with float64_on(choose_place("cpu", 1)):
        found = _newton(pilot, np.zeros(2 * len(HARD)))
        slope = np.asarray(pilot.repeated(jnp.asarray(found), 1, {})[1]).reshape(2, -1)
    assert np.abs(slope).max() < 1e-5
    ends = dict(zip(HARD, found.reshape(2, -1).T, strict=True))
    for name, minimum in MINIMA.items():
        assert ends[name] == pytest.approx(minimum, abs=1e-2), name
    assert ends["a wall"][0] < 1.5
