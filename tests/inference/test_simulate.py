"""Simulated cohorts and the prior's expectations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from agreement.declared import SITES

import hierarchical_twin as ht
from hierarchical_twin.inference.prior_predictive import prior_predictive, prior_sanity
from inference.models import LINEAR, linear_model, sleep_model

HELD = {
    "intercept_typical": 250.0,
    "slope_typical": 10.0,
    "omega": [25.0, 6.0],
    "sigma_reaction": 20.0,
}


@pytest.fixture(scope="module")
def everybody() -> ht.Model:
    return sleep_model(18)


@pytest.fixture(scope="module")
def simulated(everybody) -> ht.Simulation:
    return ht.simulate(everybody, seed=3, population=HELD)


def test_the_population_is_held(simulated):
    for name, value in HELD.items():
        assert simulated.truth[name] == pytest.approx(np.asarray(value))
    drawn = simulated.truth["eta"] / simulated.truth["omega"]
    assert drawn.shape == (18, 2)
    assert abs(drawn.mean()) < 0.7 and 0.6 < drawn.std() < 1.4
    expected = simulated.truth["intercept_typical"] + simulated.truth["eta"][:, 0]
    assert simulated.truth["intercept"] == pytest.approx(expected)


def test_measurements_come_from_the_truth(simulated):
    rows, truth = simulated.rows, simulated.truth
    at = rows["patient_index"].to_numpy()
    line = truth["intercept"][at] + truth["slope"][at] * rows["time"].to_numpy()
    noise = (rows["value"].to_numpy() - line) / HELD["sigma_reaction"]
    assert abs(noise.mean()) < 0.3 and noise.std() == pytest.approx(1, abs=0.2)


def test_the_design_is_that_of_the_cohort(simulated, everybody):
    before, after = everybody.cohort, simulated.model.cohort
    assert after.patients == before.patients
    for name, values in before.arrays.items():
        assert after.arrays[name].shape == values.shape
        if name != "observed_reaction":
            assert np.array_equal(after.arrays[name], values)
    mask = before.arrays["mask_reaction"]
    assert np.array_equal(after.arrays["observed_reaction"][mask], simulated.rows["value"].to_numpy())
    assert after.data_hash != before.data_hash
    assert (simulated.rows["time"].to_numpy() == before.rows["time"].to_numpy()).all()
    assert not np.array_equal(simulated.rows["value"], before.rows["value"]), (
        "the cohort itself is not changed"
    )


def test_the_seed_decides(everybody, simulated):
    again, other = (ht.simulate(everybody, seed=seed, population=HELD) for seed in (3, 4))
    assert again.rows.equals(simulated.rows) and not other.rows.equals(simulated.rows)
    free = [ht.simulate(everybody, seed=seed).truth["slope_typical"] for seed in (1, 2)]
    assert free[0] != free[1]


def test_covariates_and_other_levels_are_in_the_truth():
    model = ht.build(SITES.spec, SITES.cohort)
    found = ht.simulate(model, seed=1)
    for name, shape in (("V_0", (4,)), ("eta", (4, 3)), ("eta_site", (3, 3)), ("beta_V_0", (3,))):
        assert found.truth[name].shape == shape, name
    assert (found.model.cohort.arrays["censored_volume"] == 0).all(), "uncensored, and said so"


def test_what_cannot_be_held(everybody):
    with pytest.raises(ht.SamplingError) as caught:
        ht.simulate(everybody, population={"slop_typical": 1.0, "omega": [1.0], "slope": 3.0})
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "did you mean 'slope_typical'" in text and "shape (1,)" in text and "shape (2,)" in text


def sanity(text: str):
    rng = np.random.default_rng(0)
    rows = [(f"p{n}", t, 10 + 2 * t + rng.standard_normal()) for n in range(4) for t in (0.0, 1.0, 2.0)]
    (found,) = prior_sanity(linear_model(text, rows), draws=200)
    return found


def test_priors_that_allow_the_data():
    found = sanity(LINEAR)
    assert found.verdict == "the priors allow the data"
    assert found.inside > 0.9 and found.not_finite == 0
    assert found.expected[0] < found.observed[0] < found.observed[2] < found.expected[2]
    assert "y (m): observed min/median/max" in str(found)


def test_priors_in_another_unit():
    text = LINEAR.replace("Normal(mean=0, sd=20)", "Normal(mean=10000, sd=20)")
    assert "check units" in sanity(text).verdict


def test_priors_that_expect_everything():
    text = LINEAR.replace("Normal(mean=0, sd=20)", "Normal(mean=0, sd=1e7)")
    assert "tightened" in sanity(text).verdict


def test_priors_that_reach_where_the_mechanism_fails():
    spec = ht.read_spec(ht.shipped_specs()["tumor_growth"])
    text = ht.write_spec(spec).replace("Normal(mean=0, sd=0.2)", "Normal(mean=0, sd=1000)")
    spec = ht.parse_spec(text)
    rows = [("a", 0, 0.2), ("a", 20, 0.4), ("b", 0, 0.3), ("b", 30, 0.5)]
    frame = pd.DataFrame(rows, columns=["id", "time_d", "volume_cm3"])
    (found,) = prior_sanity(ht.build(spec, ht.read_cohort(frame, spec)), draws=200)
    assert "not finite" in found.verdict and found.not_finite > 0.1


def test_replicates_have_the_rows_of_the_cohort(everybody):
    drawn = prior_predictive(everybody, draws=50)["reaction"]
    assert drawn.shape == (50, 180) and np.isfinite(drawn).all()
