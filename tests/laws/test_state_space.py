"""Mechanisms under process noise: means and covariances against the moment equations, solved in small steps.

Between records the linearized moments follow ``m' = f(m, t)`` and ``P' = J P + P J' + G G'`` with `J` the
drift's derivative along the mean; where the drift is linear they are exact.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.mechanisms import MECHANISMS

TIME = np.array([[0.0, 4.0, 10.0, 12.0, 30.0, 30.0], [0.0, 2.5, 5.0, 9.0, 14.0, 25.0]])
INSULIN = np.array([[10.0, 80.0, 40.0, 25.0, 6.0, 6.0], [10.0, 60.0, 90.0, 12.0, 8.0, 11.0]])
DOSES = {
    "dose_time": np.array([[0.0, 10.0], [2.0, 2.0]]),
    "dose_amount": np.array([[100.0, 50.0], [80.0, 0.0]]),
    "dose_duration": np.array([[3.0, 0.0], [6.0, 0.0]]),
}
PRODRUG = {"V": 10.0, "k_el": 0.2, "k_act": 0.05, "k_out": 0.1}
GLUCOSE = {"G_0": 280.0, "S_G": 0.02, "S_I": 7e-4, "p_2": 0.03, "G_b": 90.0, "I_b": 9.0}
_STEPS = 400


def _glucose(theta, excess, t, x):
    change = -(theta["S_G"] + x[1]) * x[0] + theta["S_G"] * theta["G_b"]
    return jnp.stack([change, theta["p_2"] * (theta["S_I"] * excess - x[1])])


# Mechanism to parameters, diffusions, options, and the drift of its states.
CASES = {
    "linear": ({"intercept": 2.0, "slope": -0.3}, {"y": 0.4}, {}, lambda p, u, t, x: p["slope"] + 0.0 * x),
    "exponential_growth": ({"V_0": 2.0, "r": 0.05}, {"V": 0.1}, {}, lambda p, u, t, x: p["r"] + 0.0 * x),
    "gompertz_growth": (
        {"V_0": 2.0, "r": 0.3, "a": 0.1},
        {"V": 0.1},
        {},
        lambda p, u, t, x: p["r"] * jnp.exp(-p["a"] * t) + 0.0 * x,
    ),
    "logistic_growth": (
        {"V_0": 2.0, "r": 0.2, "K": 20.0},
        {"V": 0.1},
        {},
        lambda p, u, t, x: p["r"] * (1.0 - jnp.exp(x) / p["K"]),
    ),
    "glucose_minimal_model": (GLUCOSE, {"G": 2.0, "X": 0.002}, {}, _glucose),
    "glucose_minimal_model clipped": (GLUCOSE, {"G": 2.0, "X": 0.002}, {"below_basal": "clipped"}, _glucose),
}


def _exposure(mechanism):
    known = {"time": TIME, "insulin": INSULIN, **DOSES}
    return [jnp.asarray(known[name]) for name in mechanism.exposure]


def _space(name, theta, diffusions, options):
    mechanism = MECHANISMS[name.split()[0]]
    given = {state: jnp.asarray(value) for state, value in diffusions.items()}
    return mechanism.space()(*_exposure(mechanism), **theta, diffusions=given, **options)


@partial(jax.jit, static_argnums=(0, 1))
def _over(drift, is_clipped, theta, given, squares, moments):
    """Moments at the end of one interval, by Runge and Kutta's fourth order in small steps."""
    begin, end, first, last = given
    h = (end - begin) / _STEPS

    def slope(t, mean, covariance):
        excess = first + (last - first) * (t - begin) / jnp.where(end > begin, end - begin, 1.0)
        excess = jnp.maximum(excess, 0.0) if is_clipped else excess
        jacobian = jax.jacfwd(lambda x: drift(theta, excess, t, x))(mean)
        spread = jacobian @ covariance + covariance @ jacobian.T + jnp.diag(squares)
        return drift(theta, excess, t, mean), spread

    def step(place, moments):
        at = begin + place * h
        one = slope(at, *moments)
        two = slope(at + h / 2, *jax.tree.map(lambda m, s: m + h / 2 * s, moments, one))
        three = slope(at + h / 2, *jax.tree.map(lambda m, s: m + h / 2 * s, moments, two))
        four = slope(at + h, *jax.tree.map(lambda m, s: m + h * s, moments, three))
        return jax.tree.map(
            lambda m, a, b, c, d: m + h / 6 * (a + 2 * b + 2 * c + d), moments, one, two, three, four
        )

    return jax.lax.fori_loop(0, _STEPS, step, moments)


def _traced(space):
    """Mean and covariance along a space's records."""
    mean = space.start
    covariance = jnp.zeros((*mean.shape, mean.shape[1]))
    for record in range(TIME.shape[1]):
        step = space.step(jax.tree.map(lambda value, at=record: value[at], space.intervals), mean)
        covariance = step.transition @ covariance @ jnp.swapaxes(step.transition, 1, 2) + step.noise
        mean = step.state
        yield mean, covariance


def _carried(space):
    return [(np.asarray(mean), np.asarray(covariance)) for mean, covariance in _traced(space)]


def test_every_mechanism_with_states_has_a_row():
    having = {name for name, mechanism in MECHANISMS.items() if mechanism.states}
    assert having == {name.split()[0] for name in CASES} | {"prodrug_activation"}


@pytest.mark.parametrize("name", CASES)
def test_moments_follow_the_moment_equations(name):
    theta, diffusions, options, drift = CASES[name]
    space = _space(name, theta, diffusions, options)
    carried = _carried(space)
    squares = jnp.asarray([diffusions[state] for state in MECHANISMS[name.split()[0]].states]) ** 2
    for patient in range(len(TIME)):
        excess = INSULIN[patient] - GLUCOSE["I_b"]
        moments = (space.start[patient], jnp.zeros((len(squares), len(squares))))
        for record in range(TIME.shape[1]):
            if record:
                way = (*TIME[patient, record - 1 : record + 1], *excess[record - 1 : record + 1])
                moments = _over(drift, "clipped" in name, theta, way, squares, moments)
            mean, covariance = (value[patient] for value in carried[record])
            np.testing.assert_allclose(mean, moments[0], rtol=1e-4, atol=1e-7)
            scale = np.sqrt(np.outer(np.diag(moments[1]), np.diag(moments[1]))) + 1e-12
            # Simpson's rule, over the glucose model's longest interval.
            assert np.abs((covariance - moments[1]) / scale).max() < (5e-3 if len(squares) > 1 else 1e-7)


@pytest.mark.parametrize("name", [*CASES, "prodrug_activation"])
def test_without_noise_a_space_is_the_mechanism(name):
    theta, _, options, _ = CASES.get(name, (PRODRUG, {}, {"input": "infusion"}, None))
    mechanism = MECHANISMS[name.split()[0]]
    space = _space(name, theta, dict.fromkeys(mechanism.states, 0.0), options)
    solution = mechanism.solve()(*_exposure(mechanism), **theta, **options)
    for record, (mean, covariance) in enumerate(_carried(space)):
        read = space.read(jnp.asarray(mean))
        assert not covariance.any()
        for output, value in solution.items():
            np.testing.assert_allclose(read[output], value[:, record], rtol=1e-6, atol=1e-9)


def test_prodrug_noise_is_that_of_a_linear_system_from_the_first_dose():
    diffusion = {"prodrug": 0.3, "active": 0.1}
    drift = np.array([[-0.25, 0.0], [0.05, -0.1]])
    carried = _carried(_space("prodrug_activation", PRODRUG, diffusion, {}))
    for patient, first in enumerate((0.0, 2.0)):
        for (_, covariance), time in zip(carried, TIME[patient], strict=True):
            # Van Loan 1978, doi:10.1109/TAC.1978.1101743.
            squares = np.diag([0.09, 0.01])
            block = np.block([[-drift, squares], [np.zeros((2, 2)), drift.T]]) * max(time - first, 0.0)
            whole = np.asarray(jax.scipy.linalg.expm(jnp.asarray(block)))
            np.testing.assert_allclose(
                covariance[patient], whole[2:, 2:].T @ whole[:2, 2:], rtol=1e-8, atol=1e-13
            )


@pytest.mark.parametrize(
    ("k_el", "k_act", "k_out"),
    [
        (0.2, 0.05, 0.25),
        (0.2, 0.05, 1e-9),
        (1e-9, 1e-9, 1e-9),
        (0.0, 0.3, 0.0),
        (40.0, 3.0, 0.01),
        (0.01, 0.001, 30.0),
    ],
)
def test_prodrug_noise_holds_for_rates_that_meet_vanish_or_differ_widely(k_el, k_act, k_out):
    theta = {"V": 10.0, "k_el": k_el, "k_act": k_act, "k_out": k_out}
    (_, before), (_, covariance) = _carried(_space("prodrug_activation", theta, {"prodrug": 0.3}, {}))[:2]
    assert not before.any()
    # Gauss's rule over so many pieces that each is nearly straight.
    roots, weights = np.polynomial.legendre.leggauss(20)
    ends = np.concatenate([[0.0], np.geomspace(1e-6, 4.0, 60)])
    s = np.concatenate([a + (b - a) * (roots + 1) / 2 for a, b in pairwise(ends)])
    w = np.concatenate([(b - a) * weights / 2 for a, b in pairwise(ends)])
    loss = k_el + k_act
    kept = np.exp(-loss * s)
    apart = (k_out - loss) * s
    # A difference quotient that does not cancel where the rates meet.
    passed = (
        k_act
        * s
        * np.where(np.abs(apart) < 1e-6, kept, kept * -np.expm1(-apart) / np.where(apart == 0.0, 1.0, apart))
    )
    expected = 0.09 * np.array([[w @ kept**2, w @ (kept * passed)], [w @ (kept * passed), w @ passed**2]])
    np.testing.assert_allclose(covariance[0], expected, rtol=1e-8, atol=1e-16)


def test_size_below_or_above_a_capacity_and_still_growth_are_nothing_special():
    for theta in (
        {"V_0": 40.0, "r": 0.2, "K": 20.0},
        {"V_0": 2.0, "r": 0.0, "K": 20.0},
        {"V_0": 2.0, "r": -0.1, "K": 20.0},
        {"V_0": 1e-12, "r": 3.0, "K": 20.0},
    ):

        def total(r, theta=theta):
            mechanism = MECHANISMS["logistic_growth"]
            space = mechanism.space()(
                jnp.asarray(TIME), V_0=theta["V_0"], r=r, K=theta["K"], diffusions={"V": jnp.asarray(0.1)}
            )
            return sum(jnp.sum(covariance) + jnp.sum(mean) for mean, covariance in _traced(space))

        value, slope = jax.value_and_grad(total)(theta["r"])
        assert np.isfinite(value)
        ahead, back = (total(theta["r"] + step) for step in (1e-6, -1e-6))
        assert float(slope) == pytest.approx(float(ahead - back) / 2e-6, rel=1e-4)


def test_noise_begins_at_an_earlier_first_record():
    mechanism = MECHANISMS["linear"]
    given = {"y": jnp.asarray(0.5)}
    time = jnp.array([[-4.0, 0.0, 5.0], [3.0, 4.0, 5.0]])
    space = mechanism.space()(time, intercept=1.0, slope=2.0, diffusions=given)
    np.testing.assert_allclose(space.start[:, 0], [-7.0, 1.0])
    ways = zip(*space.intervals, strict=True)
    spread = np.cumsum([space.step((a, b), space.start).noise[:, 0, 0] for a, b in ways], 0)
    np.testing.assert_allclose(spread.T, [[0.0, 1.0, 2.25], [0.75, 1.0, 1.25]])
