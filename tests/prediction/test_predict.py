"""Predictions equal what the draws say by hand, for fitted and for new patients."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from hierarchical_twin.prediction.source import model_of
from prediction.models import LINE, line_rows


def stacked(fit: ht.Fit, name: str) -> np.ndarray:
    """All draws of a variable, ``[draw, ...]``."""
    values = fit.tree["posterior"][name].transpose("chain", "draw", ...).values
    return values.reshape(-1, *values.shape[2:])


def test_a_saved_fit_gives_its_model_back(line_fit):
    model = model_of(line_fit)
    assert model.cohort.data_hash == line_fit.attributes["data_hash"]
    assert model.cohort.patients == tuple(f"p{number}" for number in range(16))


def test_fitted_rows_are_each_draws_own_line(line_fit):
    found = ht.predict(line_fit, draws=None)
    rows = line_rows()
    assert list(found.rows["patient"]) == list(rows["id"])
    np.testing.assert_allclose(found.rows["DV"], rows["y"])
    place = rows["id"].str[1:].astype(int).to_numpy()
    own = (
        stacked(line_fit, "intercept")[:, place] + stacked(line_fit, "slope")[:, place] * rows["t"].to_numpy()
    )
    np.testing.assert_allclose(found.individual, own, rtol=1e-10)
    np.testing.assert_allclose(found.parameters["slope"], stacked(line_fit, "slope"), rtol=1e-10)
    assert not found.rows["is_new"].any()


def test_the_population_prediction_has_no_effects(line_fit):
    found = ht.predict(line_fit, draws=None)
    rows = line_rows()
    mean_age = rows.groupby("id")["age"].first().mean()
    slope = stacked(line_fit, "slope_typical")[:, None]
    slope = slope + stacked(line_fit, "beta_slope") * (rows["age"].to_numpy() - mean_age)
    typical = stacked(line_fit, "intercept_typical")[:, None] + slope * rows["t"].to_numpy()
    np.testing.assert_allclose(found.population, typical, rtol=1e-9)


def test_noise_has_the_residual_sd(line_fit):
    found = ht.predict(line_fit, draws=None)
    sigma = stacked(line_fit, "sigma_y")[:, None]
    np.testing.assert_allclose(found.residual_sd, np.broadcast_to(sigma, found.residual_sd.shape))
    standard = (found.replicates - found.individual) / sigma
    assert np.abs(standard.mean()) < 0.02
    assert standard.std() == pytest.approx(1.0, abs=0.02)


def test_other_times_need_only_the_times(line_fit):
    found = ht.predict(line_fit, times=[0.0, 4.0, 20.0], patients=["p3", "p1"], draws=50)
    assert list(found.rows["patient"].unique()) == ["p1", "p3"]
    assert list(found.rows["time"]) == [0.0, 4.0, 20.0] * 2
    assert found.rows["DV"].isna().all()
    chosen = np.linspace(0, 399, 50).round().astype(int)
    own = stacked(line_fit, "intercept")[chosen, 1] + 20 * stacked(line_fit, "slope")[chosen, 1]
    np.testing.assert_allclose(found.individual[:, 2], own, rtol=1e-10)


def test_a_new_patient_comes_from_the_population(line_fit):
    rows = pd.DataFrame({"id": [f"n{number}" for number in range(400)], "t": 0.0, "age": 55.0, "site": "s1"})
    found = ht.predict(line_fit, rows=rows, draws=None, seed=4)
    assert found.rows["is_new"].all()
    omega, correlation = stacked(line_fit, "omega"), stacked(line_fit, "omega_correlation")[:, 0, 1]
    intercept = found.parameters["intercept"] - stacked(line_fit, "intercept_typical")[:, None]
    # The known site's own effect is in the slope; within a draw it is the same for all of them.
    slope = found.parameters["slope"]
    np.testing.assert_allclose(np.mean(intercept.std(axis=1) / omega[:, 0]), 1.0, atol=0.02)
    np.testing.assert_allclose(np.mean(slope.std(axis=1) / omega[:, 1]), 1.0, atol=0.02)
    drawn = [np.corrcoef(a, b)[0, 1] for a, b in zip(intercept, slope, strict=True)]
    np.testing.assert_allclose(np.mean(drawn), correlation.mean(), atol=0.02)
    mean_age = line_rows().groupby("id")["age"].first().mean()
    middle = stacked(line_fit, "slope_typical") + stacked(line_fit, "beta_slope")[:, 0] * (55.0 - mean_age)
    middle = middle + stacked(line_fit, "eta_site")[:, 1, 0]
    np.testing.assert_allclose(slope.mean(axis=1).mean(), middle.mean(), atol=0.02)


def test_a_patient_of_an_unknown_site_gets_a_drawn_site(line_fit):
    rows = pd.DataFrame({"id": ["a", "b", "c"], "t": 1.0, "age": 55.0, "site": ["new", "new", "s1"]})
    found = ht.predict(line_fit, rows=rows, draws=None)
    known = pd.DataFrame({"id": ["a"], "t": [1.0], "age": [55.0], "site": ["s1"]})
    narrow = ht.predict(line_fit, rows=known, draws=None)
    assert found.parameters["slope"][:, 0].var() > narrow.parameters["slope"][:, 0].var()
    # Two patients of one new site share it.
    together = np.corrcoef(found.parameters["slope"][:, 0], found.parameters["slope"][:, 1])[0, 1]
    apart = np.corrcoef(found.parameters["slope"][:, 0], found.parameters["slope"][:, 2])[0, 1]
    assert together > apart - 0.15


def test_a_fitted_patient_in_a_table_keeps_covariates(line_fit):
    found = ht.predict(line_fit, rows=pd.DataFrame({"id": ["p2"], "t": [3.0], "y": [7.5]}), draws=20)
    assert found.rows["DV"].tolist() == [7.5]
    np.testing.assert_allclose(
        found.parameters["slope"][:, 0],
        stacked(line_fit, "slope")[np.linspace(0, 399, 20).round().astype(int), 2],
        rtol=1e-10,
    )


def test_a_scenario_changes_a_covariate(line_fit):
    usual = ht.predict(line_fit, times=[10.0], patients=["p0"], draws=None)
    older = ht.predict(line_fit, times=[10.0], patients=["p0"], scenario={"age": 50.0}, draws=None)
    step = 10.0 * stacked(line_fit, "beta_slope")[:, 0] * (50.0 - 40.0)
    np.testing.assert_allclose((older.individual - usual.individual)[:, 0], step, rtol=1e-8)


def test_the_same_seed_gives_the_same_draws(line_fit):
    first, again, other = (ht.predict(line_fit, draws=30, seed=seed).replicates for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_twice_the_dose_is_twice_the_concentration(losartan_fit):
    once = ht.predict(losartan_fit, draws=40)
    twice = ht.predict(losartan_fit, scenario={"dose_umol": 216.92}, draws=40)
    assert len(once.rows) == len(twice.rows)
    same = [column for column in ("patient", "outcome", "time") if column in once.rows]
    pd.testing.assert_frame_equal(once.rows[same], twice.rows[same])
    doses = line_of(losartan_fit)
    factor = 216.92 / once.rows["patient"].map(doses).to_numpy()
    np.testing.assert_allclose(twice.individual, factor * once.individual, rtol=1e-8)


def line_of(fit: ht.Fit) -> dict[str, float]:
    """Dose of each arm."""
    table = model_of(fit).cohort.table
    return {label: float(own["dose_umol"].iloc[0]) for label, own in table.groupby("id")}


def test_both_outcomes_are_predicted_at_a_time(losartan_fit):
    found = ht.predict(losartan_fit, times=[2.0], draws=20)
    assert set(found.rows["outcome"]) == {"losartan", "e3174"}
    assert (found.rows.groupby("patient").size() == 2).all()
    measured = ht.predict(losartan_fit, draws=20)
    at = measured.rows[(measured.rows["time"] == 2.0) & (measured.rows["outcome"] == "e3174")]
    label, place = at["patient"].iloc[0], at.index[0]
    own = found.rows[(found.rows["patient"] == label) & (found.rows["outcome"] == "e3174")].index[0]
    np.testing.assert_allclose(found.individual[:, own], measured.individual[:, place], rtol=1e-8)


def test_a_new_patient_needs_a_dose(losartan_fit):
    rows = pd.DataFrame({"id": ["x"], "time_h": [2.0], "genotype": ["*1/*1"]})
    with pytest.raises(ht.DataError, match="missing dose"):
        ht.predict(losartan_fit, rows=rows)
    given = ht.predict(losartan_fit, rows=rows.assign(dose_umol=100.0), draws=20)
    assert (given.individual > 0).all()


def test_asking_for_everybody_changes_nothing(losartan_fit):
    plain = ht.predict(losartan_fit, draws=20)
    again = ht.predict(losartan_fit, patients=sorted(set(plain.rows["patient"])), draws=20)
    assert (plain.rows["censored"] != 0).any()
    pd.testing.assert_frame_equal(again.rows, plain.rows)
    np.testing.assert_allclose(again.individual, plain.individual, rtol=1e-9)


def test_no_dose_is_a_scenario(losartan_fit):
    found = ht.predict(losartan_fit, times=[1.0, 4.0], scenario={"dose_umol": 0.0}, draws=10)
    np.testing.assert_array_equal(found.individual, 0.0)
    rows = pd.DataFrame({"id": ["x"], "time_h": [2.0], "genotype": ["*1/*1"], "dose_umol": [0.0]})
    np.testing.assert_array_equal(ht.predict(losartan_fit, rows=rows, draws=10).individual, 0.0)


def test_a_dose_in_the_rows_is_the_dose(losartan_fit):
    label = next(iter(line_of(losartan_fit)))
    rows = pd.DataFrame({"id": [label, label], "time_h": [2.0, 4.0], "dose_umol": [0.0, 0.0]})
    np.testing.assert_array_equal(ht.predict(losartan_fit, rows=rows, draws=10).individual, 0.0)
    with pytest.raises(ht.DataError, match="one value for each patient"):
        ht.predict(losartan_fit, rows=rows.assign(dose_umol=[50.0, 60.0]))


def test_limits_hold_for_measurements_in_rows(losartan_fit):
    words = losartan_fit.spec_text
    assert "lower_limit" in words or "censored" in words
    plain = ht.predict(losartan_fit, draws=5)
    source = model_of(losartan_fit).cohort
    again = ht.predict(losartan_fit, rows=source.table, draws=5)
    merged = again.rows.merge(
        plain.rows, on=["table_row", "outcome"], suffixes=("", "_plain"), validate="one_to_one"
    )
    assert len(merged) == len(plain.rows)
    np.testing.assert_array_equal(merged["censored"], merged["censored_plain"])
    np.testing.assert_allclose(merged["DV"], merged["DV_plain"])


def test_a_measured_input_goes_on_where_nothing_is_said(glucose_fit):
    measured = ht.predict(glucose_fit, draws=20)
    times = measured.rows["time"].to_numpy()
    again = ht.predict(glucose_fit, times=times, draws=20)
    np.testing.assert_allclose(again.individual, measured.individual, rtol=1e-6)


def test_a_fit_of_summaries_predicts_new_patients_only(tmp_path):
    spec = ht.parse_spec(LINE)
    model = ht.build(spec, ht.read_cohort(line_rows(6), spec))
    fit = ht.sample(model, chains=2, warmup=100, draws=50, progress=False, patients="summary", device="cpu")
    rows = pd.DataFrame({"id": ["n"], "t": [1.0], "age": [50.0], "site": ["s9"]})
    assert ht.predict(fit, rows=rows).individual.shape == (100, 1)
    with pytest.raises(ht.SamplingError, match="statistics of them only"):
        ht.predict(fit)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"times": ["soon"]}, "expected numbers"),
        ({"times": []}, "at least one number"),
        ({"patients": ["p99"]}, "a patient of the fit"),
        ({"times": [1.0], "rows": "x.csv"}, "both times and rows"),
        (
            {"rows": pd.DataFrame({"idd": ["p1"], "t": [1.0]})},
            "got the columns idd, t; expected 'id' among them",
        ),
        ({"rows": pd.DataFrame({"id": ["p1"], "t": ["x"]})}, "row 1, column 't'"),
        ({"rows": pd.DataFrame({"id": ["p1", "p1"], "t": [1.0, None]})}, "row 2, column 't': got nothing"),
        ({"rows": pd.DataFrame({"id": ["p1"]})}, "'t': got nothing; expected a time"),
        ({"rows": pd.DataFrame({"id": ["new"], "t": [1.0], "site": ["s1"]})}, "missing age"),
        ({"scenario": {"agee": 3.0}}, "did you mean 'age'"),
        ({"scenario": {"y": 3.0}}, "doses, inputs or covariates"),
        ({"scenario": {"t": 3.0}}, "doses, inputs or covariates"),
        ({"draws": 0}, "a whole number from 1"),
        ({"rows": "nowhere.csv"}, "no file at this path"),
    ],
)
def test_bad_requests_are_told(line_fit, words, said):
    with pytest.raises(ht.TwinError, match=said):
        ht.predict(line_fit, **words)


def test_a_fit_without_its_table_says_so(line_fit):
    tree = line_fit.tree.copy()
    del tree["table"]
    with pytest.raises(ht.SamplingError, match="no group 'table'"):
        ht.predict(type(line_fit)(tree))
    tree = line_fit.tree.copy()
    tree.attrs = {**tree.attrs, "data_hash": json.dumps("another")}
    with pytest.raises(ht.SamplingError, match="same data hash"):
        ht.predict(type(line_fit)(tree))
