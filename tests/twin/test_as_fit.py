"""A twin as a fit of one patient: the same answers from every verb that asks a fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from prediction.models import LINE, line_rows
from scipy.stats import norm

import hierarchical_twin as ht
from hierarchical_twin.prediction.source import ModelledFit, model_of
from hierarchical_twin.twin.as_fit import resampled
from hierarchical_twin.twin.course import lay_track
from twin.known import CASES, MEAN, SDS, at_time, dosed, line_posterior, site_fit, sleeper
from twin.posited import posited

LOSARTAN = CASES / "prodrug_activation" / "losartan_cyp2c9_arms.csv"
SEEN = (0.0, 2.0, 5.0), (270.0, 280.0, 330.0)


@pytest.fixture(scope="module")
def twin() -> ht.Twin:
    return sleeper(*SEEN)


def test_particles_are_drawn_by_their_weights(twin):
    weights = np.random.default_rng(0).exponential(size=len(twin.weights)) ** 3
    uneven = replace(twin, particles=twin.particles._replace(log_weights=np.log(weights / weights.sum())))
    chosen = resampled(uneven, 5000, seed=4)
    counts = np.bincount(chosen, minlength=len(weights))
    assert np.abs(counts - 5000 * weights / weights.sum()).max() < 1 + 1e-9, "systematic resampling"
    assert abs(np.corrcoef(chosen[:-1], chosen[1:])[0, 1]) < 0.1, "in random order"
    fit = ht.as_fit(uneven, 5000, seed=4)
    own = uneven.intervals().set_index("parameter")
    told = fit.intervals().set_index("parameter")
    assert told["mean"].to_numpy() == pytest.approx(own["mean"].to_numpy(), rel=2e-3)
    assert told["sd"].to_numpy() == pytest.approx(own["sd"].to_numpy(), rel=0.02)


def test_a_fit_of_one_patient_that_keeps_its_model(twin):
    fit = ht.as_fit(twin, 50)
    assert isinstance(fit, ModelledFit) and model_of(fit) is fit.model
    posterior = fit.tree["posterior"]
    assert posterior.sizes["draw"] == 50 and posterior.sizes["chain"] == 1
    assert list(posterior["patient"].values) == ["new"]
    assert {"intercept", "slope", "eta", "omega", "sigma_reaction"} <= set(posterior.data_vars)
    line = posterior["intercept_typical"] + posterior["eta"].sel(effect="intercept", drop=True)
    assert line.transpose("chain", "draw", "patient").values == pytest.approx(posterior["intercept"].values)
    assert fit.model.cohort.rows["value"].tolist() == list(SEEN[1])
    assert "table" not in fit.tree.children


def test_predictions_are_the_posterior_in_closed_form(twin):
    found = ht.predict(ht.as_fit(twin, 2000), times=[3.0, 12.0], draws=None)
    for place, time in enumerate((3.0, 12.0)):
        mean, sd = at_time(time, line_posterior(*SEEN))
        values = found.individual[:, place]
        assert values.mean() == pytest.approx(mean, abs=0.12 * sd)
        assert values.std() == pytest.approx(sd, rel=0.1)
    assert found.new_patients[:, 1].std() > 1.5 * found.replicates[:, 1].std()


def test_every_verb_of_a_fit_answers(twin):
    mean, covariance = line_posterior(*SEEN)
    fit = ht.as_fit(twin, 2000)
    table = ht.probability(fit, "slope > 12").set_index("patient")
    exact = norm.sf(12, mean[1], np.sqrt(covariance[1, 1]))
    assert table.loc["new", "probability"] == pytest.approx(exact, abs=0.05)
    assert table.loc["new patient", "probability"] == pytest.approx(norm.sf(12, 10, 6), abs=0.05)
    scenarios = ht.compare_scenarios(ht.as_fit(dosed(), 200), {"double": {"amount": 200.0}}, times=[6.0])
    double = scenarios[(scenarios["scenario"] == "double") & (scenarios["quantity"] == "active")].iloc[0]
    assert double["difference"] == pytest.approx(double["mean"] / 2), "linear in the dose"
    assert double["patient"] == "new"


def test_nothing_measured_is_the_population(twin):
    bare = sleeper()
    fit = ht.as_fit(bare, 2000)
    own = fit.intervals().set_index("parameter")
    assert own["mean"].to_numpy() == pytest.approx(MEAN, abs=0.1 * SDS.max())
    assert own["sd"].to_numpy() == pytest.approx(SDS, rel=0.1)
    found = ht.predict(fit, times=[10.0], draws=None)
    assert found.individual.mean() == pytest.approx(350, abs=5)
    chance = ht.probability(fit, "slope > 10").set_index("patient").loc["new", "probability"]
    assert chance == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("site, effect", [("s1", 4.0), ("elsewhere", 0.0)])
def test_levels_above_the_patient(site, effect):
    twin = ht.start_twin(site_fit(), patient="new", covariates={"age": 45, "site": site}, particles=1000)
    fit = ht.as_fit(twin, 1000)
    own = fit.tree["posterior"]["eta_site"].sel(site=site).values
    assert own.mean() == pytest.approx(effect, abs=0.15)
    assert own.std() == pytest.approx(0.0 if effect else 1.0, abs=0.1)
    rows = pd.DataFrame({"id": ["new", "other"], "t": 10.0, "age": 45, "site": [site, "s2"]})
    found = ht.predict(fit, rows=rows, draws=None)
    assert found.individual[:, 0].mean() == pytest.approx(5 + 10 * (1 + effect), abs=1.5)
    assert found.individual[:, 1].mean() == pytest.approx(5, abs=1.0), "the fit knows the other site too"


def test_a_patient_of_the_fit_is_predicted_as_the_fit_does():
    """Before any update the particles are the fit's own draws, in another order."""
    fit = posited(ht.parse_spec(LINE), line_rows(6))
    twin = ht.start_twin(fit, patient="p1", particles=60)
    own = ht.predict(ht.as_fit(twin, 60), times=[0.0, 20.0], draws=None)
    theirs = ht.predict(fit, times=[0.0, 20.0], patients=["p1"], draws=None)
    assert np.sort(own.individual, axis=0) == pytest.approx(np.sort(theirs.individual, axis=0))
    assert np.sort(own.population, axis=0) == pytest.approx(np.sort(theirs.population, axis=0))
    bands = ht.states(twin, [0.0, 20.0])
    assert bands["mean"].to_numpy() == pytest.approx(theirs.individual.mean(axis=0))


def test_a_new_mean_is_as_precise_as_the_cohorts():
    """A twin that nothing is known of has no measurement whose standard error a new one could have."""
    fit = posited(ht.read_spec(ht.shipped_specs()["prodrug_activation"]), pd.read_csv(LOSARTAN))
    facts = {"genotype": "*1/*1", "dose_umol": 108.46}
    twin = ht.start_twin(fit, patient="new", covariates=facts, particles=20)
    found = ht.forecast(twin, [2.0, 8.0], draws=20)
    assert np.isfinite(found.replicates).all()
    arrays, track = model_of(fit).cohort.arrays, lay_track(twin, np.array([2.0, 8.0]))
    for outcome in ("losartan", "e3174"):
        usual = np.median(arrays[f"standard_error_{outcome}"][arrays[f"mask_{outcome}"]])
        at = track.position[outcome]
        assert track.arrays[f"standard_error_{outcome}"][0, at] == pytest.approx([usual, usual])
        assert (found.residual_sd[:, found.rows["outcome"] == outcome] >= usual).all()


@pytest.mark.parametrize("draws", [0, -1, 2.5, True, None])
def test_a_number_of_draws(twin, draws):
    with pytest.raises(ht.DataError, match="a whole number from 1"):
        ht.as_fit(twin, draws)
