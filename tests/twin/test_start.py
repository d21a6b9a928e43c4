"""Promises of `start_twin`: where a twin begins, and who may have one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from prediction.models import LINE, line_rows

import hierarchical_twin as ht
from twin.lines import differences, sleep_rows
from twin.posited import made_fit

DRAWS = 400
SITES = (2.0, -1.0, 0.5)


def line_fit(seed: int = 4) -> ht.Fit:
    """Lines at three sites whose slopes are known to differ: every draw's population is nearly the same."""
    rng = np.random.default_rng(seed)

    def near(value, scale: float = 0.01) -> np.ndarray:
        value = np.asarray(value, dtype=float)
        return value + scale * rng.standard_normal((DRAWS, *value.shape))

    draws = {
        "intercept_typical": near(5.0),
        "slope_typical": near(1.0),
        "beta_slope": near([0.05], 0.001),
        "omega": near([3.0, 0.8]),
        "omega_correlation": np.broadcast_to([[1.0, 0.6], [0.6, 1.0]], (DRAWS, 2, 2)).copy(),
        "omega_site": near([1.5]),
        "eta_site": near(np.array(SITES)[:, None], 0.1),
        "sigma_y": near(1.0),
        "eta": 0.5 * rng.standard_normal((DRAWS, 16, 2)),
    }
    return made_fit(ht.parse_spec(LINE), line_rows(), draws)


@pytest.fixture(scope="module")
def lines_at_sites() -> ht.Fit:
    return line_fit()


MEAN_AGE = line_rows().groupby("id")["age"].first().mean()


@pytest.mark.parametrize(("site", "effect", "sd"), [("s0", 2.0, 0.8), ("elsewhere", 0.0, 1.7)])
def test_a_new_patient_starts_from_the_population_given_covariates(lines_at_sites, site, effect, sd) -> None:
    """sqrt(0.8^2 + 1.5^2) = 1.7: nobody knows a new site's effect."""
    twin = ht.start_twin(lines_at_sites, covariates={"age": 70, "site": site}, particles=4000)
    own = twin.intervals().set_index("parameter").loc["slope"]
    assert own["mean"] == pytest.approx(1.0 + 0.05 * (70 - MEAN_AGE) + effect, abs=0.08 * sd)
    assert own["sd"] == pytest.approx(sd, rel=0.05)
    assert own["unit"] == "m/h"
    effects = twin.particles.effects
    assert np.corrcoef(effects.T)[0, 1] == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("site", ["s1", "elsewhere"])
def test_the_level_above_is_learned_with_the_patient(lines_at_sites, site) -> None:
    """Exact: a line whose slope has the variance of patient and site."""
    twin = ht.start_twin(lines_at_sites, covariates={"age": 50, "site": site}, particles=4000)
    days, values = np.array([1.0, 4.0, 8.0]), np.array([8.0, 19.0, 30.0])
    for day, value in zip(days, values, strict=True):
        twin = ht.update(twin, {"t": day, "y": value})
    covariance = np.array([[9.0, 0.6 * 3 * 0.8], [0.6 * 3 * 0.8, 0.64 + (0.01 if site == "s1" else 2.25)]])
    mean = np.array([5.0, 1.0 + 0.05 * (50 - MEAN_AGE) + (SITES[1] if site == "s1" else 0.0)])
    design = np.stack([np.ones(3), days], axis=1)
    gain = covariance @ design.T @ np.linalg.inv(design @ covariance @ design.T + np.eye(3))
    exact_mean = mean + gain @ (values - design @ mean)
    exact_sd = np.sqrt(np.diag(covariance - gain @ design @ covariance))
    own = twin.intervals().set_index("parameter")
    for place, name in enumerate(("intercept", "slope")):
        assert own.loc[name, "mean"] == pytest.approx(exact_mean[place], abs=0.12 * exact_sd[place])
        assert own.loc[name, "sd"] == pytest.approx(exact_sd[place], rel=0.1)


def test_a_patient_of_the_fit_starts_from_their_own_draws_and_records(sleepers, population) -> None:
    rows = sleep_rows().query("id == 's1'")
    twin = ht.start_twin(sleepers, patient="s1", particles=len(population.sigma))
    drawn = sleepers.tree["posterior"]["eta"].values[0, :, 1]
    assert np.array_equal(twin.particles.effects, drawn)
    assert len(twin.records) == len(rows)
    assert np.array_equal(twin.arrays["observed_reaction"][0, :10], rows["reaction_ms"])
    off = differences(
        twin, population.posterior(rows["time_d"].to_numpy(), rows["reaction_ms"].to_numpy(), 10)
    )
    assert off.abs().max().max() < 0.3


def test_twins_started_together_are_those_started_alone(sleepers) -> None:
    together = ht.start_twins(sleepers, rows=pd.DataFrame({"id": ["x", "y"]}), particles=100, seed=3)
    alone = ht.start_twin(sleepers, patient="y", covariates={}, particles=100, seed=3)
    assert np.array_equal(together[1].particles.effects, alone.particles.effects)
    assert not np.array_equal(together[0].particles.effects, alone.particles.effects)
    assert together[1].population is alone.population


def test_every_patient_of_the_fit_has_a_twin(sleepers) -> None:
    twins = ht.start_twins(sleepers, particles=50)
    assert [twin.patient for twin in twins] == [f"s{number}" for number in range(6)]


NO_EFFECTS = """\
spec: 1
name: common
title: One level for all
mechanism: linear
time: {column: t, unit: h}
patient: {column: id}
parameters:
  intercept: {unit: m, link: identity, typical: "Normal(mean=0, sd=5)"}
  slope: {unit: m/h, value: 0}
observations:
  y: {column: y, unit: m, predicts: y, error: normal, sigma: "HalfNormal(2)"}
"""


def test_without_effects_a_twin_learns_which_draws_hold() -> None:
    rng = np.random.default_rng(0)
    level = rng.standard_normal(3000)
    table = pd.DataFrame({"id": ["a", "b"], "t": [0.0, 1.0], "y": [0.2, -0.3]})
    fit = made_fit(ht.parse_spec(NO_EFFECTS), table, {"intercept_typical": level, "sigma_y": np.ones(3000)})
    twin = ht.update(ht.start_twin(fit, covariates={}, particles=3000), {"t": 3, "y": 2.0})
    own = twin.intervals().set_index("parameter").loc["intercept"]
    assert own["mean"] == pytest.approx(1.0, abs=0.08)
    assert own["sd"] == pytest.approx(np.sqrt(0.5), rel=0.08)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "neither patient nor covariates"),
        ({"patient": "nobody"}, "'nobody'; expected a patient of the fit"),
        ({"covariates": {"age": 50}}, "no site of 'new'"),
        ({"covariates": {"age": 50, "site": "s0", "sex": "f"}}, "a column 'sex'"),
        ({"covariates": {"age": "old", "site": "s0"}}, "'old'"),
        ({"patient": "p3", "covariates": {"age": 50, "site": "s0"}}, "'p3'; expected a label of its own"),
        ({"patient": "p3", "particles": 3}, "3; expected a whole number from 10"),
        ({"patient": "p3", "particles": 2.5}, "2.5; expected a whole number from 10"),
    ],
)
def test_what_cannot_be_started_is_refused(lines_at_sites, words, message) -> None:
    with pytest.raises(ht.DataError, match=message):
        ht.start_twin(lines_at_sites, **words)


def test_patients_of_the_fit_and_new_ones_are_not_started_together(lines_at_sites) -> None:
    """Neither would be ignored in silence."""
    rows = pd.DataFrame({"id": ["x"], "age": [50], "site": ["s0"]})
    with pytest.raises(ht.DataError, match="patients beside rows; expected one of them"):
        ht.start_twins(lines_at_sites, patients=["p3"], rows=rows)


@pytest.mark.parametrize("column", ["record", "first_cells"])
def test_a_column_that_twins_use_themselves_is_refused(column) -> None:
    spec = ht.parse_spec(NO_EFFECTS.replace("column: y", f"column: {column}"))
    table = pd.DataFrame({"id": ["a", "b"], "t": [0.0, 1.0], column: [0.2, -0.3]})
    fit = made_fit(spec, table, {"intercept_typical": np.zeros(20), "sigma_y": np.ones(20)})
    with pytest.raises(ht.DataError, match=f"a column '{column}'"):
        ht.start_twins(fit)
