"""Twins of patients who drift away from their line, against the exact Gaussian answer.

The population is known for certain, so a patient's line, their Brownian motion and their measurements are
jointly normal: everything a twin says has a closed form (Rasmussen and Williams 2006, chapter 2).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from prediction.dosed import BOLUS
from scipy.stats import norm

import hierarchical_twin as ht
from twin.posited import known_fit

MEAN, SDS, SIGMA, DIFFUSION = np.array([10.0, 0.5]), np.array([2.0, 0.3]), 0.5, 0.8
TIMES = np.array([0.0, 1.0, 2.0, 4.0, 5.0, 8.0])
VALUES = np.array([11.0, 12.5, 12.0, 15.5, 17.0, 15.0])
SPEC = """\
spec: 1
name: drift
title: A line from which a patient drifts
mechanism: linear
time: {column: day, unit: day}
patient: {column: id}
parameters:
  intercept: {unit: kg, typical: "Normal(10, 5)", formula: "1 + (1 | patient)"}
  slope: {unit: kg/day, typical: "Normal(0, 1)", formula: "1 + (1 | patient)"}
random_effects:
  patient: {sd: {intercept: "HalfNormal(3)", slope: "HalfNormal(0.5)"}}
process_noise: {y: "HalfNormal(1)"}
observations:
  weight: {column: weight, unit: kg, predicts: y, error: normal, sigma: "HalfNormal(2)"}
"""


@cache
def fit() -> ht.Fit:
    rng = np.random.default_rng(5)
    days = np.tile(np.arange(6.0), 3)
    table = pd.DataFrame(
        {"id": np.repeat(["a", "b", "c"], 6), "day": days, "weight": 10 + rng.normal(size=18)}
    )
    population = {
        "intercept_typical": MEAN[0],
        "slope_typical": MEAN[1],
        "omega": SDS,
        "sigma_weight": SIGMA,
        "diffusion_y": DIFFUSION,
    }
    return known_fit(ht.parse_spec(SPEC), table, population)


def records(count: int = len(TIMES)) -> pd.DataFrame:
    return pd.DataFrame({"day": TIMES[:count], "weight": VALUES[:count]})


@cache
def drifter(count: int = len(TIMES)) -> ht.Twin:
    """Updated one record at a time."""
    twin = ht.start_twin(fit(), patient="new", covariates={}, particles=4000, seed=1)
    for place in range(count):
        twin = ht.update(twin, records().iloc[place : place + 1])
    return twin


def _prior(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of intercept, slope, and the true value at some times."""
    design = np.vstack([np.eye(2), np.column_stack([np.ones(len(times)), times])])
    covariance = design @ np.diag(SDS**2) @ design.T
    covariance[2:, 2:] += DIFFUSION**2 * np.minimum.outer(times, times)
    return design @ MEAN, covariance


def exact(asked: np.ndarray, count: int = len(TIMES)) -> tuple[np.ndarray, np.ndarray]:
    """The same given the first `count` measurements: intercept, slope, then the values asked for."""
    mean, covariance = _prior(np.concatenate([asked, TIMES[:count]]))
    known = np.arange(2 + len(asked), 2 + len(asked) + count)
    gain = np.linalg.solve(covariance[np.ix_(known, known)] + SIGMA**2 * np.eye(count), covariance[known]).T
    mean = mean + gain @ (VALUES[:count] - mean[known])
    covariance = covariance - gain @ covariance[known]
    kept = slice(2 + len(asked))
    return mean[kept], covariance[kept, kept]


def test_parameters_are_those_of_the_exact_filter() -> None:
    mean, covariance = exact(np.array([]))
    table = drifter().intervals(prob=0.9).set_index("parameter")
    for place, name in enumerate(("intercept", "slope")):
        sd = np.sqrt(covariance[place, place])
        assert abs(table.loc[name, "mean"] - mean[place]) < 0.1 * sd
        assert abs(table.loc[name, "lower"] - (mean[place] - 1.645 * sd)) < 0.2 * sd
        assert abs(table.loc[name, "upper"] - (mean[place] + 1.645 * sd)) < 0.2 * sd


def test_one_at_a_time_is_all_at_once() -> None:
    at_once = ht.update(ht.start_twin(fit(), patient="new", covariates={}, particles=4000, seed=1), records())
    own, other = (twin.intervals(prob=0.9).set_index("parameter") for twin in (drifter(), at_once))
    assert (abs(own["mean"] - other["mean"]) < 0.1 * own["sd"]).all()


@pytest.mark.parametrize("is_filtered", [False, True])
def test_states_are_those_of_the_exact_smoother_and_filter(is_filtered: bool) -> None:
    asked = np.array([1.5, 4.0, 7.0, 12.0])
    table = ht.states(drifter(), asked, prob=0.9, is_filtered=is_filtered)
    for place, time in enumerate(asked):
        known = int(np.sum(time >= TIMES)) if is_filtered else len(TIMES)
        mean, covariance = exact(asked, known)
        sd = np.sqrt(covariance[2 + place, 2 + place])
        row = table.iloc[place]
        assert abs(row["mean"] - mean[2 + place]) < 0.12 * sd
        assert abs(row["upper"] - row["lower"] - 2 * 1.645 * sd) < 0.35 * sd


def test_forecasts_and_probabilities_start_from_where_the_patient_is() -> None:
    asked = np.array([9.0, 15.0])
    mean, covariance = exact(asked)
    sd = np.sqrt(np.diag(covariance)[2:])
    found = ht.forecast(drifter(), asked, draws=4000)
    np.testing.assert_allclose(found.individual.mean(axis=0), mean[2:], atol=0.12 * sd.max())
    np.testing.assert_allclose(found.individual.std(axis=0), sd, rtol=0.08)
    np.testing.assert_allclose(found.replicates.std(axis=0), np.hypot(sd, SIGMA), rtol=0.08)
    # A path is one: its values at two times hang together.
    expected = covariance[2, 3] / sd.prod()
    assert np.corrcoef(found.individual.T)[0, 1] == pytest.approx(expected, abs=0.05)
    told = ht.probability_of(drifter(), "weight > 18 at 15", draws=4000)
    assert told["probability"][0] == pytest.approx(norm.sf(18, mean[3], sd[1]), abs=0.04)


def test_a_filtered_twin_follows_a_drift_that_a_line_calls_a_surprise() -> None:
    """The p-value of a record is that of the exact prediction one step ahead."""
    for count in range(1, len(TIMES)):
        mean, covariance = exact(TIMES[count : count + 1], count)
        z = (VALUES[count] - mean[2]) / np.sqrt(covariance[2, 2] + SIGMA**2)
        (surprise,) = drifter(count + 1).steps[-1].surprises
        assert surprise.p_value == pytest.approx(2 * norm.sf(abs(z)), abs=0.05)


def test_crossing_is_that_of_a_wandering_path() -> None:
    """A path crosses more often than its value at the end does: it may come back."""
    found = ht.crossing(drifter(), "weight > 18", until=15.0)
    end = ht.probability_of(drifter(), "weight > 18 at 15", draws=4000)["probability"][0]
    mean, covariance = exact(np.linspace(8.0, 15.0, 57))
    paths = np.random.default_rng(1).multivariate_normal(mean[2:], covariance[2:, 2:], 4000)
    assert found.probability == pytest.approx((paths > 18).any(axis=1).mean(), abs=0.05)
    assert found.probability > end + 0.02


def test_a_scenario_is_refused() -> None:
    with pytest.raises(ht.SamplingError, match="process noise"):
        ht.states(drifter(), [9.0], scenario={"weight": 3})


def test_a_fit_and_its_twin_refuse_another_past() -> None:
    rows = pd.DataFrame({"id": ["a"], "day": [-1.0]})
    with pytest.raises(ht.SamplingError, match="patient 'a': got a time before process noise begins"):
        ht.predict(fit(), rows=rows)


DOSED = BOLUS.replace(" + slow", "") + 'process_noise: {active: "HalfNormal(0.05)"}\n'


@cache
def dosed_fit() -> ht.Fit:
    table = pd.DataFrame(
        {
            "id": ["a"] * 4,
            "hour": [0.0, 1.0, 4.0, 9.0],
            "evid": [1, 0, 0, 0],
            "amount": [100.0, np.nan, np.nan, np.nan],
            "y": [np.nan, 0.3, 0.9, 0.8],
        }
    )
    population = {
        "V_typical": 20.0,
        "k_el_typical": 0.2,
        "k_act_typical": 0.1,
        "omega": 1e-6,
        "sigma_active": 0.05,
        "diffusion_active": 0.15,
    }
    return known_fit(ht.parse_spec(DOSED), table, population)


def test_the_next_dose_starts_from_where_the_patient_is() -> None:
    """Two patients of the same parameters, one far above the course: she needs less."""
    plan = [{"hour": 12.0, "evid": 1, "amount": 50.0}]
    found = {}
    for label, level in (("low", 0.4), ("high", 1.3)):
        twin = ht.start_twin(dosed_fit(), patient=label, covariates={}, particles=1500, seed=1)
        given = {"hour": 0.0, "evid": 1, "amount": 100.0}
        twin = ht.update(twin, [given, {"hour": 10.0, "evid": 0, "y": level}])
        words = {"by": "amount", "between": (0.0, 800.0), "plan": plan, "draws": 1500}
        found[label] = ht.next_dose(twin, "active > 0.9 at 16", probability=0.5, **words)["value"][0]
        # At the dose found, the same plan reaches the target with the probability asked for.
        told = ht.probability_of(
            twin, "active > 0.9 at 16", plan=[{**plan[0], "amount": found[label]}], draws=1500
        )
        assert told["probability"][0] == pytest.approx(0.5, abs=0.05)
    assert found["high"] < 0.8 * found["low"]


def test_rows_that_change_the_doses_of_the_past_are_refused() -> None:
    rows = pd.DataFrame({"id": ["a", "a"], "hour": [0.0, 12.0], "evid": [1, 0], "amount": [300.0, np.nan]})
    with pytest.raises(ht.SamplingError, match="patient 'a': got doses other than those"):
        ht.predict(dosed_fit(), rows=rows)


def test_a_dose_is_planned_at_the_time_of_the_last_record() -> None:
    """A trough now, which dose now? The record stands before the dose."""
    twin = ht.start_twin(dosed_fit(), patient="now", covariates={}, particles=1000, seed=1)
    given = {"hour": 0.0, "evid": 1, "amount": 100.0}
    twin = ht.update(twin, [given, {"hour": 10.0, "evid": 0, "y": 0.5}])
    found = {}
    for hour in (10.0, 10.001):
        plan = [{"hour": hour, "evid": 1, "amount": 50.0}]
        words = {"by": "amount", "between": (0.0, 800.0), "plan": plan, "draws": 1000, "probability": 0.5}
        found[hour] = ht.next_dose(twin, "active > 0.9 at 14", **words)["value"][0]
    assert found[10.0] == pytest.approx(found[10.001], rel=0.05)


def test_a_plan_of_the_past_is_refused() -> None:
    twin = ht.start_twin(dosed_fit(), patient="past", covariates={}, particles=200, seed=1)
    twin = ht.update(twin, [{"hour": 0.0, "evid": 1, "amount": 100.0}, {"hour": 10.0, "evid": 0, "y": 0.5}])
    plan = [{"hour": 2.0, "evid": 1, "amount": 500.0}]
    for ask in (
        lambda: ht.forecast(twin, [12.0], plan=plan),
        lambda: ht.states(twin, [12.0], plan=plan),
        lambda: ht.probability_of(twin, "active > 1 at 12", plan=plan),
    ):
        with pytest.raises(ht.SamplingError, match="patient 'past': got doses other than those"):
            ask()


def test_a_new_patient_does_not_depend_on_what_else_is_asked() -> None:
    rows = pd.DataFrame({"id": ["q", "q", "r"], "day": [-5.0, 9.0, 9.0]})
    with pytest.raises(ht.SamplingError, match="patient 'q': got a time before process noise begins"):
        ht.predict(fit(), rows=rows)
