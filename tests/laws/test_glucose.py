"""The minimal model: rest, direction, clipping, and the accuracy over long gaps."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from hierarchical_twin.errors import SpecError
from hierarchical_twin.mechanisms.glucose import glucose_minimal_model

from .cases import CASES

SIGNED, CLIPPED = CASES["glucose_minimal_model signed"], CASES["glucose_minimal_model clipped"]


@pytest.mark.parametrize("case", [SIGNED, CLIPPED])
def test_at_basal_it_stays_there(case) -> None:
    exposure, parameters = case.draw(7)
    resting = exposure | {"insulin": parameters["I_b"] + np.zeros_like(exposure["insulin"])}
    found = case.solve(resting, parameters | {"G_0": parameters["G_b"]})
    np.testing.assert_allclose(found["G"], np.broadcast_to(parameters["G_b"], found["G"].shape), rtol=1e-13)
    np.testing.assert_array_equal(found["X"], 0.0)


def test_it_starts_at_its_initial_state_and_insulin_lowers_glucose() -> None:
    exposure, parameters = SIGNED.draw(8)
    found = SIGNED.solve(exposure, parameters)
    more = SIGNED.solve(exposure | {"insulin": exposure["insulin"] + 10.0}, parameters)
    np.testing.assert_array_equal(found["G"][:, :1], parameters["G_0"])
    np.testing.assert_array_equal(found["X"][:, 0], 0.0)
    assert (more["G"][:, 1:] < found["G"][:, 1:]).all() and (more["X"][:, 1:] > found["X"][:, 1:]).all()


def test_without_sensitivity_glucose_decays_to_basal() -> None:
    exposure, parameters = SIGNED.draw(9)
    found = SIGNED.solve(exposure, parameters | {"S_I": np.zeros_like(parameters["S_I"])})
    above = (parameters["G_0"] - parameters["G_b"]) * np.exp(-parameters["S_G"] * exposure["time"])
    np.testing.assert_allclose(found["G"], parameters["G_b"] + above, rtol=1e-12)


def test_clipping_changes_nothing_above_basal_and_only_lowers_glucose_below() -> None:
    exposure, parameters = SIGNED.draw(10)
    signed, clipped = SIGNED.solve(exposure, parameters), CLIPPED.solve(exposure, parameters)
    assert (clipped["G"] <= signed["G"] + 1e-9).all() and (clipped["X"] >= 0.0).all()
    above = exposure | {"insulin": exposure["insulin"] + parameters["I_b"]}
    for name, output in SIGNED.solve(above, parameters).items():
        np.testing.assert_allclose(CLIPPED.solve(above, parameters)[name], output, rtol=1e-10, atol=1e-15)


def test_more_records_of_the_same_insulin_change_nothing() -> None:
    """Splitting an hour's gap into five minutes: what the quadrature still errs by, in mg/dL."""
    fine = np.arange(0.0, 241.0, 5.0)[None, :]
    coarse = fine[:, ::12]
    insulin = np.array([[120.0, 35.0, 4.0, 12.0, 9.0]])
    rates = {"G_0": 300.0, "S_G": 0.03, "S_I": 1e-3, "p_2": 0.06, "G_b": 90.0, "I_b": 10.0}
    solve = jax.jit(lambda time, insulin: glucose_minimal_model(time, insulin, **rates)["G"])
    long, short = solve(coarse, insulin), solve(fine, np.interp(fine, coarse[0], insulin[0]))
    np.testing.assert_allclose(long, short[:, ::12], rtol=0.0, atol=1e-8)


@pytest.mark.parametrize(("S_I", "p_2", "bound"), [(1e-3, 0.06, 3e-6), (3e-3, 0.2, 8e-3)])
def test_the_error_under_wild_hourly_insulin_is_what_the_docstring_says(S_I, p_2, bound) -> None:
    """Insulin at random in every hourly sample, held against the same insulin on records of five minutes."""
    generator = np.random.default_rng(0)
    fine = np.broadcast_to(np.arange(0.0, 301.0, 5.0), (300, 61))
    coarse = fine[:, ::12]
    insulin = generator.uniform(2.0, 170.0, coarse.shape)
    along = np.stack([np.interp(*pair) for pair in zip(fine, coarse, insulin, strict=True)])
    rates = {"G_0": 300.0, "S_G": 0.03, "S_I": S_I, "p_2": p_2, "G_b": 90.0, "I_b": 10.0}
    solve = jax.jit(lambda time, insulin: glucose_minimal_model(time, insulin, **rates)["G"])
    error = np.abs(solve(coarse, insulin) - solve(fine, along)[:, ::12]).max()
    assert bound / 100 < error <= bound


@pytest.mark.parametrize("case", [SIGNED, CLIPPED])
def test_stays_within_a_millionth_of_a_mg_per_dl_far_outside_the_usual_range(case) -> None:
    exposure, parameters = case.draw(11)
    parameters |= {"p_2": np.full_like(parameters["p_2"], 0.2), "S_I": np.full_like(parameters["S_I"], 2e-3)}
    found = case.solve(exposure, parameters)["G"]
    for i, glucose in enumerate(found):
        row = {name: array[i] for name, array in exposure.items()}
        expected = case.reference(row, {name: float(array[i, 0]) for name, array in parameters.items()})
        np.testing.assert_allclose(glucose, expected["G"], rtol=0.0, atol=1e-6)


def test_a_patient_with_one_record_has_only_the_initial_state() -> None:
    rates = {"S_G": 0.02, "S_I": 1e-4, "p_2": 0.03, "G_b": 90.0, "I_b": 10.0}

    def only(G_0: float, word: str) -> jax.Array:
        return glucose_minimal_model(np.zeros((1, 1)), np.ones((1, 1)), G_0=G_0, **rates, below_basal=word)[
            "G"
        ][0, 0]

    for word in ("signed", "clipped"):
        value, slope = jax.value_and_grad(only)(250.0, word)
        assert (float(value), float(slope)) == (250.0, 1.0)


def test_a_word_it_does_not_know_is_refused() -> None:
    with pytest.raises(SpecError, match="signed or clipped"):
        only = dict.fromkeys(("G_0", "S_G", "S_I", "p_2", "G_b", "I_b"), 1.0)
        glucose_minimal_model(np.zeros((1, 2)), np.zeros((1, 2)), **only, below_basal="none")
