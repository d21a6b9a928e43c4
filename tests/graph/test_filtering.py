"""The filter against exact Gaussian answers on a linear system, and against quadrature where it is approximate."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from prediction.dosed import BOLUS
from scipy.integrate import quad
from scipy.special import erfcx
from scipy.stats import multivariate_normal, norm

import hierarchical_twin as ht
from hierarchical_twin.backends.numpyro import model_function
from hierarchical_twin.graph.evaluate import central_point, draw_outcomes, score, wander
from hierarchical_twin.graph.filtering import Belief, _below, _given_next, _Stage
from hierarchical_twin.graph.model import Model

SPEC = """\
spec: 1
name: tumor
title: Growth that wanders
mechanism: exponential_growth
time: {column: day, unit: day}
patient: {column: id}
parameters:
  V_0: {unit: cm^3, typical: "LogNormal(median=2, sd=1)", formula: "1 + (1 | patient)"}
  r: {unit: 1/day, link: identity, typical: "Normal(0.02, 0.02)", formula: "1 + (1 | patient)"}
random_effects:
  patient: {sd: {V_0: "HalfNormal(1)", r: "HalfNormal(0.02)"}}
process_noise: {V: "HalfNormal(0.2)"}
observations:
  volume: {column: volume, unit: mm^3, predicts: V, error: lognormal, sigma: "HalfNormal(0.3)"LIMIT}
  caliper: {column: caliper, unit: cm^3, predicts: V, error: lognormal, sigma: "HalfNormal(0.5)"}
"""
TABLE = pd.DataFrame(
    {
        "id": ["a"] * 5 + ["b"] * 3,
        "day": [3.0, 5.0, 10.0, 10.0, 21.0, 0.0, 8.0, 30.0],
        "volume": [2100.0, 2300.0, 2250.0, np.nan, 3900.0, 1500.0, np.nan, 2700.0],
        "caliper": [np.nan, 2.6, np.nan, 2.0, 3.5, np.nan, 2.2, np.nan],
    }
)


@cache
def model(limit: str = "") -> Model:
    spec = ht.parse_spec(SPEC.replace("LIMIT", limit))
    return ht.build(spec, ht.read_cohort(TABLE, spec), parameterization="noncentered")


def point() -> jax.Array:
    """A point whose effects are not 0."""
    size = central_point(model()).size
    return central_point(model()) + 0.4 * np.random.default_rng(2).standard_normal(size)


def measured(patient: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, log measurements in cm3 and which outcome they are of, of one patient."""
    arrays, found = model().arrays, []
    for number, (outcome, unit) in enumerate((("volume", 1e-3), ("caliper", 1.0))):
        for place in np.flatnonzero(arrays[f"mask_{outcome}"][patient]):
            value = np.log(unit * arrays[f"observed_{outcome}"][patient, place])
            found.append((arrays["time"][patient, place], value, number))
    times, values, numbers = np.array(found).T
    return times, values, numbers.astype(int)


def moments(values: dict, patient: int, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the log size at some times."""
    mean = np.log(values["V_0"][patient]) + values["r"][patient] * times
    return np.asarray(mean), float(values["diffusion_V"]) ** 2 * np.minimum.outer(times, times)


def test_the_likelihood_is_that_of_the_joint_normal() -> None:
    scored = score(model(), point())
    sigmas = np.array([float(scored.values[f"sigma_{name}"]) for name in ("volume", "caliper")])
    own = sum(jnp.sum(term, axis=1) for term in scored.log_likelihood.values())
    for patient in range(2):
        times, values, numbers = measured(patient)
        mean, covariance = moments(scored.values, patient, times)
        density = multivariate_normal(mean, covariance + np.diag(sigmas[numbers] ** 2)).logpdf(values)
        # The density is of the measurements, not of their logarithms.
        jacobian = np.sum(values + np.where(numbers == 0, np.log(1000.0), 0.0))
        assert float(own[patient]) == pytest.approx(density - jacobian, abs=1e-9)


def test_without_diffusion_the_likelihood_is_the_usual_one() -> None:
    plain = ht.parse_spec(SPEC.replace("LIMIT", "").replace('process_noise: {V: "HalfNormal(0.2)"}\n', ""))
    usual = ht.build(plain, ht.read_cohort(TABLE, plain), parameterization="noncentered")
    names = [slot.name for slot in model().graph.samples]
    at = names.index("diffusion_V")
    flat = point().at[at].set(-40.0)
    one, other = score(model(), flat), score(usual, jnp.delete(flat, at))
    for outcome, term in other.log_likelihood.items():
        np.testing.assert_allclose(one.log_likelihood[outcome], term, atol=1e-9)


@pytest.mark.parametrize("is_free", [False, True])
def test_paths_are_drawn_from_the_exact_smoother(is_free: bool) -> None:
    values = score(model(), point()).values
    keys = jax.random.split(jax.random.key(3), 20_000)
    drawn = jax.vmap(lambda key: wander(model(), values, key, is_free=is_free)["caliper_log_predicted"])(keys)
    for patient in range(2):
        times = model().arrays["time"][patient][:3]
        seen, measurements, numbers = measured(patient)
        mean, covariance = moments(values, patient, np.concatenate([times, seen]))
        if not is_free:
            sigmas = np.array([float(values["sigma_volume"]), float(values["sigma_caliper"])])[numbers]
            gain = np.linalg.solve(covariance[3:, 3:] + np.diag(sigmas**2), covariance[3:]).T
            mean = mean + gain @ (measurements - mean[3:])
            covariance = covariance - gain @ covariance[3:]
        found = np.asarray(drawn)[:, patient, :3]
        sd = np.sqrt(np.diag(covariance)[:3])
        assert (np.abs(found.mean(axis=0) - mean[:3]) <= 0.04 * sd + 1e-9).all()
        scale = np.outer(sd, sd) + 1e-12
        assert (np.abs(np.cov(found.T) - covariance[:3, :3]) / scale < 0.05).all()


def test_a_limit_moves_the_state_as_the_truncated_normal_does() -> None:
    """Of a first value below a limit and a second one measured, the joint density is an integral."""
    limited = model(", lower_limit: 2200")
    values = score(limited, point()).values
    own = score(limited, point()).log_likelihood["volume"]
    arrays = limited.arrays
    assert arrays["censored_volume"][0, 0] == 1
    sigma = float(values["sigma_volume"])
    times = arrays["time"][0][:2]
    mean, covariance = moments(values, 0, times)
    assert arrays["mask_caliper"][0, 1]
    # The first two volumes alone: the second's density given the first is below its limit.
    limit, second = np.log(2.2), np.log(arrays["observed_volume"][0, 1] / 1000.0)
    spread = covariance + sigma**2 * np.eye(2)
    below = norm.cdf(limit, mean[0], np.sqrt(spread[0, 0]))
    assert float(own[0, 0]) == pytest.approx(np.log(below), abs=1e-9)
    joint = multivariate_normal(mean, spread)
    exact = (
        quad(lambda first: joint.pdf([first, second]), mean[0] - 12 * np.sqrt(spread[0, 0]), limit)[0] / below
    )
    # A normal stands for the truncated one.
    assert float(own[0, 1]) == pytest.approx(np.log(exact) - np.log(1000.0) - second, abs=0.02)


def test_replicates_wander_and_know_nothing_of_the_measurements() -> None:
    values = score(model(), point()).values
    drawn = jax.vmap(lambda key: draw_outcomes(model(), values, key)["caliper"])(
        jax.random.split(jax.random.key(1), 20_000)
    )
    time = model().arrays["time"][0]
    last = np.log(np.asarray(drawn)[:, 0, np.argmax(time)])
    mean, covariance = moments(values, 0, time.max()[None])
    sd = np.sqrt(covariance[0, 0] + float(values["sigma_caliper"]) ** 2)
    assert last.mean() == pytest.approx(mean[0], abs=0.03 * sd)
    assert last.std() == pytest.approx(sd, rel=0.03)


def test_the_numpyro_program_draws_measurements_along_a_path() -> None:
    from numpyro.infer import Predictive

    drawn = Predictive(model_function(model()), num_samples=50)(jax.random.key(0), is_observed=False)
    assert drawn["volume"].shape == (50, 2, model().size("time"))
    assert np.isfinite(np.asarray(drawn["volume"])).all()
    assert np.ptp(np.asarray(drawn["volume"])[:, 0, 0]) > 0


def test_gradients_are_finite_where_nothing_wanders_yet() -> None:
    flat = point().at[[slot.name for slot in model().graph.samples].index("diffusion_V")].set(-60.0)
    slope = jax.grad(lambda at: score(model(), at).log_density)(flat)
    assert np.isfinite(np.asarray(slope)).all()


@pytest.mark.parametrize("limit", [-2e5, -60.0, -49.0, -5.0, 0.0, 4.0])
def test_what_a_limit_takes_from_mean_and_variance(limit: float) -> None:
    ratio, less = _below(jnp.asarray(limit))
    exact = np.sqrt(2 / np.pi) / erfcx(-limit / np.sqrt(2))
    assert float(ratio) == pytest.approx(exact, rel=1e-9)
    # Far out the variance that is left is 1/limit^2 - 6/limit^4.
    left = 1 / limit**2 - 6 / limit**4 if limit < -40 else 1 - exact * (exact + limit)
    assert 1.0 - float(less) == pytest.approx(left, rel=1e-2, abs=1e-15)
    assert np.isfinite(jax.grad(lambda at: sum(_below(at)))(jnp.asarray(limit)))


DOSED = (
    BOLUS.replace(" + slow", "")
    + """\
  parent: {column: parent, unit: mg/L, predicts: prodrug, error: proportional, sigma: "HalfNormal(0.3)"}
process_noise: {prodrug: "HalfNormal(0.1)", active: "HalfNormal(0.05)"}
"""
)


def test_a_record_of_one_outcome_at_the_dose_leaves_the_gradient_finite() -> None:
    """The other outcome is 0 there, and was not measured."""
    table = pd.DataFrame(
        {
            "id": ["a"] * 4,
            "hour": [0.0, 0.0, 2.0, 6.0],
            "evid": [1, 0, 0, 0],
            "amount": [100.0, np.nan, np.nan, np.nan],
            "parent": [np.nan, np.nan, 3.0, 1.2],
            "y": [np.nan, 0.05, 0.5, 0.9],
        }
    )
    spec = ht.parse_spec(DOSED)
    dosed = ht.build(spec, ht.read_cohort(table, spec), parameterization="noncentered")
    flat = central_point(dosed)
    value, slope = jax.value_and_grad(lambda at: score(dosed, at).log_density)(flat)
    assert np.isfinite(value)
    assert np.isfinite(np.asarray(slope)).all()


def test_a_smoothed_path_does_not_depend_on_the_units_of_a_state() -> None:
    """Covariances of 400 and 1e-9 tie two states as those of 1 and 1 do."""
    scale = jnp.array([20.0, 3e-5])
    unit = jnp.array([[[1.0, -0.3], [-0.3, 0.9]]])

    def tied(scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        outer = scale[:, None] * scale[None, :]
        after = Belief(jnp.zeros((1, 2)), unit * outer)
        step = jnp.array([[[0.8, 0.1], [0.0, 0.7]]]) * scale[:, None] / scale[None, :]
        ahead = step @ after.covariance @ jnp.swapaxes(step, 1, 2) + 0.1 * jnp.diag(scale**2)
        onward = _Stage(Belief(jnp.zeros((1, 2)), ahead), after, step)
        mean, covariance = _given_next(after, onward, jnp.array([[1.0, -2.0]]) * scale)
        return mean / scale, covariance / outer

    for one, other in zip(tied(scale), tied(jnp.ones(2)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:Numba will use object mode")
def test_a_pymc_program_refuses_to_draw_measurements() -> None:
    import pymc as pm

    from hierarchical_twin.backends.pymc import pymc_model

    with pymc_model(model()), pytest.raises(Exception, match="process noise"):
        pm.sample_prior_predictive(5, random_seed=1)
