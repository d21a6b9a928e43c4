"""Bands of every state: against closed forms, smoothed and filtered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from prediction.dosed import unit_response
from scipy.integrate import quad
from scipy.stats import norm

import hierarchical_twin as ht
from hierarchical_twin.twin.course import follow, lay_track
from twin.known import (
    OUT,
    TUMOR_SDS,
    at_time,
    dosed,
    glucose_rows,
    glucose_twin,
    killed,
    line_posterior,
    site_fit,
    sleeper,
    tumor_fit,
)

SEEN = (0.0, 2.0, 5.0), (270.0, 280.0, 330.0)
Z = norm.ppf(0.95)


@pytest.fixture(scope="module")
def twin() -> ht.Twin:
    return sleeper(*SEEN)


def check_band(row: pd.Series, mean: float, sd: float) -> None:
    """Within Monte Carlo error of 2,000 particles."""
    assert row["mean"] == pytest.approx(mean, abs=0.12 * sd)
    assert row["median"] == pytest.approx(mean, abs=0.15 * sd)
    assert row["lower"] == pytest.approx(mean - Z * sd, abs=0.25 * sd)
    assert row["upper"] == pytest.approx(mean + Z * sd, abs=0.25 * sd)


def test_a_smoothed_band_knows_all_records(twin):
    bands = ht.states(twin, [12.0, 1.0])
    assert list(bands.columns) == [
        "state",
        "unit",
        "time",
        "mean",
        "median",
        "lower",
        "upper",
        "prob",
        "kind",
    ]
    assert (
        list(bands["time"]) == [12.0, 1.0] and set(bands["state"]) == {"y"} and set(bands["unit"]) == {"ms"}
    )
    for _, row in bands.iterrows():
        check_band(row, *at_time(row["time"], line_posterior(*SEEN)))


def test_a_filtered_band_knows_what_was_measured_so_far(twin):
    """The exact posterior given each part of the records: what a Kalman filter would say."""
    times = [5.0, 0.0, 3.0, -1.0, 20.0]
    bands = ht.states(twin, times, is_filtered=True)
    for time, (_, row) in zip(times, bands.iterrows(), strict=True):
        seen = [place for place, at in enumerate(SEEN[0]) if at <= time]
        known = line_posterior([SEEN[0][place] for place in seen], [SEEN[1][place] for place in seen])
        check_band(row, *at_time(time, known))


def test_the_order_of_arrival_does_not_matter_to_a_filter():
    late = ht.update(sleeper((5.0, 2.0), (330.0, 280.0)), {"time_d": 0.0, "reaction_ms": 270.0})
    row = ht.states(late, [2.0], is_filtered=True).iloc[0]
    check_band(row, *at_time(2.0, line_posterior(SEEN[0][:2], SEEN[1][:2])))


def test_a_state_that_nobody_measures():
    """Remote insulin action is an integral over insulin, for each particle."""
    twin = glucose_twin()
    rows = glucose_rows()
    at = 47.0
    course = follow(lay_track(twin, np.array([at])), twin.particles)
    insulin = rows[["time_min", "insulin_uU_per_mL"]].dropna().to_numpy(float)
    for place in (0, 100):
        own = {name: values[place] for name, values in twin.parameters.items()}

        def inflow(time: float, own: dict[str, float] = own) -> float:
            above = np.interp(time, insulin[:, 0], insulin[:, 1]) - 10.0
            return own["p_2"] * own["S_I"] * above * np.exp(-own["p_2"] * (at - time))

        exact = quad(inflow, 0, at, points=insulin[insulin[:, 0] < at, 0], limit=200)[0]
        assert course.states["X"][place, 0] == pytest.approx(exact, rel=1e-6)
    bands = ht.states(twin, [20.0, at])
    units = bands.drop_duplicates("state").set_index("state")["unit"]
    assert dict(units) == {"G": "mg/dL", "X": "1/min"}
    own = ht.forecast(twin, [at], draws=300).individual
    assert bands[(bands["state"] == "G") & (bands["time"] == at)]["mean"].iloc[0] == pytest.approx(
        own.mean(), rel=0.01
    )
    assert (bands["lower"] < bands["upper"]).all()


def test_states_under_a_plan():
    twin = dosed()
    plan = {"hour": 8.0, "evid": 1, "amount": 50.0}
    course = follow(lay_track(twin, np.array([8.0, 14.0]), plan=plan), twin.particles)
    volume, k_el, k_act = (twin.parameters[name] for name in ("V", "k_el", "k_act"))
    exact = sum(
        amount * unit_response(since, volume, k_el, k_act, OUT) for amount, since in ((100, 14.0), (50, 6.0))
    )
    assert course.states["active"][:, 1] == pytest.approx(exact, rel=1e-6)
    assert np.array_equal(course.states["active"], course.predicted["active"])
    left = 100 / volume * np.exp(-8 * (k_el + k_act)) + 50 / volume
    assert course.states["prodrug"][:, 0] == pytest.approx(left, rel=1e-6), "the peak at the dose's own time"
    bands = ht.states(twin, [14.0], plan=plan).set_index("state")
    assert bands.loc["active", "mean"] == pytest.approx(twin.weights @ exact)
    assert bands.loc["prodrug", "unit"] == "mg/L"
    without = ht.states(twin, [14.0], scenario={"amount": 0.001}).set_index("state")
    assert without.loc["active", "mean"] < 1e-3


def test_a_site_known_and_a_site_not():
    known = ht.start_twin(site_fit(), patient="new", covariates={"age": 45, "site": "s1"}, particles=1000)
    row = ht.states(known, [10.0], is_filtered=True).iloc[0]
    check_band(row, 5 + 10 * 5, np.hypot(3, 5))
    other = ht.start_twin(site_fit(), patient="new", covariates={"age": 45, "site": "far"}, particles=1000)
    row = ht.states(other, [10.0], is_filtered=True).iloc[0]
    check_band(row, 5 + 10, np.sqrt(9 + 25 + 100))
    with pytest.raises(ht.DataError, match="the patient's own level"):
        ht.states(known, [10.0], scenario={"site": "s2"})


def test_a_mechanism_without_time():
    twin = killed()
    bands = ht.states(twin, [0.1, 10.0]).set_index(["state", "time"])
    total = bands.loc["survival", "mean"] + bands.loc["death", "mean"]
    assert total.to_numpy() == pytest.approx(1.0)
    assert bands.loc[("survival", 0.1), "mean"] > bands.loc[("survival", 10.0), "mean"]
    with pytest.raises(ht.SamplingError, match="a mechanism with time"):
        ht.states(twin, [0.1], is_filtered=True)
    with pytest.raises(ht.SamplingError, match="a mechanism with time"):
        ht.crossing(twin, "viability < 0.5", until=10.0)


def test_what_is_asked_for(twin):
    with pytest.raises(ht.DataError, match="at least one number, all finite"):
        ht.states(twin, [])
    with pytest.raises(ht.DataError, match="numbers, such as"):
        ht.states(twin, ["soon"])
    with pytest.raises(ht.SamplingError, match="between 0 and 1"):
        ht.states(twin, [1.0], prob=90)
    narrow, wide = (ht.states(twin, [1.0], prob=prob).iloc[0] for prob in (0.5, 0.95))
    assert wide["lower"] < narrow["lower"] < narrow["upper"] < wide["upper"]


@pytest.mark.slow
def test_bands_and_crossings_hold_the_truth_as_often_as_they_say():
    """200 simulated mice, three records each: coverage of 90 % bands, and probabilities as frequencies."""
    rng = np.random.default_rng(7)
    days, horizons = np.array([0.0, 6.0, 12.0]), np.array([24.0, 28.0, 35.0])
    truth = np.array([np.log(0.15), 0.09]) + TUMOR_SDS * rng.standard_normal((200, 2))
    labels = [f"m{number}" for number in range(200)]
    seen = np.exp(truth[:, :1] + truth[:, 1:] * days + 0.2 * rng.standard_normal((200, 3)))
    table = pd.DataFrame(
        {"id": np.repeat(labels, 3), "time_d": np.tile(days, 200), "volume_cm3": seen.ravel()}
    )
    twins = ht.start_twins(tumor_fit(), rows=pd.DataFrame({"id": labels}), particles=500)
    covered, said, happened = [], [], []
    for (first, rate), twin in zip(truth, ht.update_many(twins, table), strict=True):
        bands = pd.concat([ht.states(twin, [20.0, 40.0]), ht.states(twin, [6.0], is_filtered=True)])
        true = np.exp(first + rate * bands["time"])
        covered.append((bands["lower"] < true) & (true < bands["upper"]))
        found = ht.crossing(twin, "volume > 2", until=35.0).table()
        said.append(np.interp(horizons, found["time"], found["probability"]))
        happened.append((np.log(2) - first) / rate < horizons)
    assert np.mean(covered, axis=0) == pytest.approx(0.9, abs=0.06)
    spread = np.sqrt(np.sum(np.multiply(said, 1 - np.array(said)), axis=0)) / 200
    assert (np.abs(np.mean(said, axis=0) - np.mean(happened, axis=0)) < 3 * spread).all()
    assert (np.mean(happened, axis=0) > 0.05).all() and (np.mean(happened, axis=0) < 0.95).all()
    sure = np.array(said) > 0.8
    assert np.array(happened)[sure].mean() > 0.8 and np.array(happened)[np.array(said) < 0.2].mean() < 0.2
