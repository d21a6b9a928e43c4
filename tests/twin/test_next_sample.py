"""What one more measurement is worth, against the closed form of a line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from twin.known import (
    CASES,
    SIGMA,
    TUMOR_SDS,
    at_time,
    glucose_twin,
    killed,
    line_posterior,
    sleeper,
    tumor_fit,
)
from twin.posited import known_fit

SEEN = (0.0, 2.0, 5.0), (270.0, 280.0, 330.0)
CANDIDATES = [0.0, 5.0, 10.0, 25.0]


@pytest.fixture(scope="module")
def twin() -> ht.Twin:
    return sleeper(*SEEN)


def exact_ratio(seen: tuple[tuple[float, ...], tuple[float, ...]], row: np.ndarray, time: float) -> float:
    """SD after a measurement over SD before: under a normal error it does not depend on the value."""
    _, before = line_posterior(*seen)
    _, after = line_posterior((*seen[0], time), (*seen[1], 0.0))
    return float(np.sqrt((row @ after @ row) / (row @ before @ row)))


@pytest.mark.parametrize(
    "of, row", [("slope", [0.0, 1.0]), ("reaction at 20", [1.0, 20.0]), ("y at 480 h", [1.0, 20.0])]
)
def test_the_ratio_in_closed_form(twin, of, row):
    table = ht.next_sample(twin, of, CANDIDATES)
    exact = [exact_ratio(SEEN, np.array(row), time) for time in CANDIDATES]
    assert table["ratio"].to_numpy() == pytest.approx(exact, abs=0.04)
    assert (np.diff(table["ratio"]) < 0).all(), "farther out says more of a slope"
    assert (table["expected"] / table["width"]).to_numpy() == pytest.approx(table["ratio"].to_numpy())
    assert (np.abs(table["ratio"] - exact) < 4 * table["error"]).all() and (table["error"] < 0.02).all()
    assert (table["lower"] < table["upper"]).all()
    assert (
        list(table["time"]) == CANDIDATES
        and set(table["outcome"]) == {"reaction"}
        and (table["note"] == "").all()
    )


def test_before_anything_was_measured():
    bare = sleeper()
    table = ht.next_sample(bare, "intercept", [0.0, 3.0])
    exact = [exact_ratio(((), ()), np.array([1.0, 0.0]), time) for time in (0.0, 3.0)]
    assert table["ratio"].to_numpy() == pytest.approx(exact, abs=0.04)
    assert table["width"].iloc[0] == pytest.approx(2 * 1.645 * 25, rel=0.08) and table["unit"].iloc[0] == "ms"


def test_weights_count(twin):
    """Particles of a wide prior under weights say the same as particles of the posterior."""
    bare = sleeper(particles=10_000)
    seen = np.zeros(len(bare.weights))
    for time, value in zip(*SEEN, strict=True):
        true = bare.parameters["intercept"] + bare.parameters["slope"] * time
        seen -= 0.5 * ((value - true) / SIGMA) ** 2
    weighted = replace(bare, particles=bare.particles._replace(log_weights=seen - np.logaddexp.reduce(seen)))
    table = ht.next_sample(weighted, "reaction at 20", [10.0])
    exact = exact_ratio(SEEN, np.array([1.0, 20.0]), 10.0)
    assert table["ratio"].iloc[0] == pytest.approx(exact, abs=0.04)
    _, sd = at_time(20.0, line_posterior(*SEEN))
    assert table["width"].iloc[0] == pytest.approx(2 * 1.645 * sd, rel=0.08)


def test_the_same_twice(twin):
    first, again = (ht.next_sample(twin, "slope", [10.0]) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    other = ht.next_sample(twin, "slope", [10.0], seed=5)
    assert other["ratio"].iloc[0] != first["ratio"].iloc[0]
    assert abs(other["ratio"].iloc[0] - first["ratio"].iloc[0]) < 5 * np.hypot(
        *(t["error"].iloc[0] for t in (first, other))
    )


def test_few_particles_are_told():
    few = sleeper(*SEEN, particles=60)
    table = ht.next_sample(few, "slope", [25.0])
    assert table["effective"].iloc[0] < 50 and "effective particles are left" in table["note"].iloc[0]


def test_an_input_and_a_time_that_is_left_out():
    twin = glucose_twin()
    table = ht.next_sample(twin, "S_G", [4.0, 25.0, 60.0], simulations=50)
    early = table.iloc[0]
    assert early["ratio"] == 1.0 and early["error"] == 0.0 and "before 8" in early["note"]
    assert (table["lower"].iloc[1:] < 1).all() and (table["ratio"].iloc[1:] > 0.3).all()
    state = ht.next_sample(twin, "X at 60", [25.0], simulations=50)
    assert state["unit"].iloc[0] == "1/min" and state["lower"].iloc[0] < 1


@pytest.mark.slow
def test_two_outcomes_of_known_precision():
    """A mean over n people, and a logarithm that the mechanism gives: other error models."""
    spec = ht.read_spec(ht.shipped_specs()["prodrug_activation"])
    table = pd.read_csv(CASES / "prodrug_activation" / "losartan_cyp2c9_arms.csv")
    population = {
        "V_typical": 400.0,
        "k_el_typical": 0.4,
        "k_act_typical": 0.08,
        "k_out_typical": 0.14,
        "k_a_typical": 2.0,
        "beta_k_act": -0.6,
        "omega": 0.4,
        "sigma_losartan": 5.0,
        "sigma_e3174": 5.0,
        "sigma_proportional_losartan": 0.15,
        "sigma_proportional_e3174": 0.15,
    }
    fit = known_fit(spec, table, population)
    twin = ht.start_twin(
        fit, patient="new", covariates={"genotype": "*1/*1", "dose_umol": 108.46}, particles=500
    )
    worth = ht.next_sample(twin, "k_out", [2.0, 24.0], simulations=100).set_index(["outcome", "time"])[
        "ratio"
    ]
    assert worth["e3174", 24.0] < worth["e3174", 2.0] < 1.02, "late samples tell how it leaves"
    assert worth["losartan", 24.0] > worth["e3174", 24.0], "the prodrug does not know it"
    only = ht.next_sample(twin, "k_out", [2.0], outcomes=["e3174"], simulations=100)
    assert list(only["outcome"]) == ["e3174"]


def test_a_lognormal_error():
    twin = ht.start_twin(tumor_fit(), patient="new", covariates={})
    found = ht.next_sample(twin, "r", [10.0, 30.0])
    before = np.diag(TUMOR_SDS**2)
    for time, ratio in zip(found["time"], found["ratio"], strict=True):
        row = np.array([1.0, time])
        after = np.linalg.inv(np.linalg.inv(before) + np.outer(row, row) / 0.2**2)
        assert ratio == pytest.approx(np.sqrt(after[1, 1] / before[1, 1]), abs=0.04)


def test_a_coordinate_instead_of_a_time():
    twin = killed()
    found = ht.next_sample(twin, "K_apo", [0.001, 3.0], simulations=50)
    assert found["ratio"].iloc[1] < found["ratio"].iloc[0], "no drug, no news"


@pytest.mark.slow
def test_what_updates_then_do():
    """A mechanism that bends: the mean width of real updates by simulated measurements."""
    twin = killed()
    told = ht.next_sample(twin, "K_apo", [3.0], simulations=400).iloc[0]
    shown = ht.forecast(twin, [3.0], draws=60, seed=9).replicates[:, 0]
    widths = []
    for value in shown:
        after = ht.update(twin, {"conc_uM": 3.0, "viability": float(value)}).intervals()
        row = after[after["parameter"] == "K_apo"].iloc[0]
        widths.append(row["upper"] - row["lower"])
    ratios = np.array(widths) / told["width"]
    error = np.hypot(told["error"], ratios.std() / np.sqrt(len(ratios)))
    assert told["ratio"] == pytest.approx(ratios.mean(), abs=4 * error) and error < 0.05


def test_what_is_asked_for(twin):
    with pytest.raises(ht.SamplingError, match="did you mean 'slope'"):
        ht.next_sample(twin, "slop", [1.0])
    with pytest.raises(ht.SamplingError, match="an outcome or a state: reaction, y"):
        ht.next_sample(twin, "volume at 9", [1.0])
    with pytest.raises(ht.SamplingError, match="one of reaction"):
        ht.next_sample(twin, "slope", [1.0], outcomes=["volume"])
    for place in ("1.2.3", "."):
        with pytest.raises(ht.SamplingError, match=r"such as 'volume at 90'"):
            ht.next_sample(twin, f"reaction at {place}", [1.0])
    for simulations in (0, 2.5, True):
        with pytest.raises(ht.DataError, match="next_sample simulations: got"):
            ht.next_sample(twin, "slope", [1.0], simulations=simulations)
    with pytest.raises(ht.DataError, match="at least one number"):
        ht.next_sample(twin, "slope", [])


def test_particles_without_weight_have_no_place_in_an_interval(twin):
    """Whatever they are: half of the particles hold all the weight, the others no number."""
    effects, log_weights = twin.particles.effects.copy(), twin.particles.log_weights.copy()
    parameters = {name: value.copy() for name, value in twin.parameters.items()}
    log_weights[1000:] = -np.inf
    few = replace(twin, particles=twin.particles._replace(log_weights=log_weights - np.log(0.5)))
    effects[1000:] = np.nan
    for value in parameters.values():
        value[1000:] = np.nan
    none = replace(few, particles=few.particles._replace(effects=effects), parameters=parameters)
    for of in ("slope", "reaction at 20"):
        told, plain = (ht.next_sample(one, of, [10.0], simulations=50) for one in (none, few))
        pd.testing.assert_frame_equal(told, plain, rtol=0.02)
