"""Comparison by patient equals the closed form and brute-force refits; what cannot be compared is refused."""

from __future__ import annotations

from dataclasses import replace

import arviz_stats
import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from hierarchical_twin.analysis.left_out import leave_one_out
from hierarchical_twin.analysis.variables import posterior_of
from hierarchical_twin.prediction import left_out, refits
from hierarchical_twin.prediction.comparison import compare
from hierarchical_twin.prediction.marginals import frame_patients, integrate_effects
from hierarchical_twin.prediction.refits import deal_folds, leave_out, refit_without
from hierarchical_twin.prediction.source import model_of
from prediction.conftest import sampled
from prediction.models import LINE, line_rows
from prediction.test_marginals import line_log_likelihood

PLAIN = LINE.replace(' + (1 | site)"', '"').replace('  site: {sd: "HalfNormal(1)"}\n', "")
COMMON = PLAIN.replace('formula: "1 + center(age) + (1 | patient)"', 'formula: "1 + center(age)"').replace(
    'patient: {sd: "HalfNormal(5)", correlation: "LKJ(2)"}', 'patient: {sd: "HalfNormal(5)"}'
)

COEFFICIENTS = '    coefficients: "Normal(mean=0, sd=1)"\n'


@pytest.fixture(scope="module")
def common_fit() -> ht.Fit:
    """The line with one slope for everybody of an age, and no sites."""
    return sampled(ht.parse_spec(COMMON), line_rows())


@pytest.fixture(scope="module")
def by_patient(line_fit, common_fit):
    return compare({"own": line_fit, "common": common_fit}, refit=False)


def test_leaving_patients_out_is_psis_on_the_closed_form(line_fit, by_patient):
    exact = leave_one_out(line_log_likelihood(line_fit))
    own = by_patient.pointwise[by_patient.pointwise["model"] == "own"]
    assert tuple(own["patient"]) == model_of(line_fit).cohort.patients
    np.testing.assert_allclose(own["elpd"], exact.elpd, atol=1e-4)
    np.testing.assert_allclose(own["lpd"], exact.lpd, atol=1e-4)
    np.testing.assert_allclose(own["k_hat"], exact.k_hat, atol=1e-3)


def test_own_slopes_predict_better(by_patient):
    table = by_patient.table().set_index("model")
    assert table.index[0] == "own"
    assert table.loc["common", "difference"] < -2 * table.loc["common", "se_difference"]
    assert by_patient.verdict.endswith("own predicts better")
    assert (
        by_patient.pointwise["measurements"] == [3 + int(p[1:]) % 5 for p in by_patient.pointwise["patient"]]
    ).all()


def test_short_chains_are_said_to_be_short(by_patient):
    assert "draws are not to be trusted" in by_patient.cautions["own"]


def test_by_observation_is_arviz_loo(line_fit, common_fit):
    found = compare({"own": line_fit, "common": common_fit}, by="observation")
    assert found.method == "leave-one-observation-out" and "nothing about new patients" in found.meaning
    with pytest.warns(UserWarning, match="Pareto"):
        reference = arviz_stats.loo(line_fit.tree, pointwise=True, reff=1.0)
    table = found.table().set_index("model")
    assert table.loc["own", "elpd"] == pytest.approx(reference.elpd, abs=0.2)
    assert table.loc["own", "se"] == pytest.approx(reference.se, rel=0.05)
    assert len(found.pointwise) == 2 * len(line_rows())
    assert {"outcome", "time", "row"} <= set(found.pointwise.columns)


def test_other_data_and_other_words_are_refused(line_fit, common_fit):
    fewer = line_rows()
    other = sampled(ht.parse_spec(COMMON), fewer[fewer["id"] != "p3"])
    with pytest.raises(ht.DataError, match="p3 only in own"):
        compare({"own": line_fit, "other": other})
    for words, said in (
        ({"by": "patients"}, "did you mean 'patient'"),
        ({"folds": 1}, "a whole number from 2"),
        ({"folds": 17}, "at most 16"),
        ({"folds": 3, "by": "observation"}, "folds of patients"),
        ({"draws": 0}, "a whole number from 1"),
    ):
        with pytest.raises(ht.SamplingError, match=said):
            compare({"own": line_fit}, **words)
    with pytest.raises(ht.SamplingError, match="a mapping of name to fit"):
        compare({})
    with pytest.raises(ht.SamplingError, match="a str"):
        compare({"own": "fit.nc"})


def test_a_summary_has_patients_but_no_observations():
    spec = ht.parse_spec(COMMON)
    fit = sampled(spec, line_rows(), patients="summary")
    assert np.isfinite(compare({"a": fit}, refit=False).table()["elpd"][0])
    with pytest.raises(ht.SamplingError, match="without log likelihoods"):
        compare({"a": fit}, by="observation")


def test_leaving_out_keeps_rows_and_arrays_together(line_fit):
    model = model_of(line_fit)
    rest = leave_out(model, np.array([0, 7])).cohort
    assert rest.patients == tuple(label for label in model.cohort.patients if label not in ("p0", "p7"))
    values = rest.arrays["observed_y"][rest.arrays["mask_y"]]
    np.testing.assert_array_equal(values, rest.rows["value"])
    labels = np.array(rest.patients, dtype=object)[rest.rows["patient_index"]]
    assert (labels == rest.rows["patient"]).all()
    assert rest.coords["site"] == model.cohort.coords["site"]


def test_folds_are_even_and_stratified():
    counts = np.repeat([2, 9, 30], [10, 10, 10])
    dealt = deal_folds(counts, 5, seed=1)
    np.testing.assert_array_equal(dealt, deal_folds(counts, 5, seed=1))
    assert (deal_folds(counts, 5, seed=2) != dealt).any()
    for size in (2, 9, 30):
        assert np.bincount(dealt[counts == size], minlength=5).tolist() == [2] * 5
    assert np.bincount(deal_folds(np.arange(7), 3, seed=0)).tolist() in ([3, 2, 2], [2, 3, 2], [2, 2, 3])


def test_two_folds_refit_every_model(common_fit):
    said: list[str] = []
    found = compare({"common": common_fit}, folds=2, seed=4, announce=said.append)
    assert found.method == "2-fold cross-validation by patient"
    assert [line for line in said if "fitting without" in line] == said[-2:]
    own = found.pointwise
    assert own["is_refit"].all() and own["k_hat"].isna().all() and np.isfinite(own["elpd"]).all()
    assert found.table()["refits"][0] == 16
    # What was not seen is predicted worse than what was.
    assert own["elpd"].sum() < own["lpd"].sum()


@pytest.mark.slow
def test_psis_agrees_with_brute_force():
    """Eight lines: leave each out by importance sampling, and by eight refits."""
    rows = line_rows(8)
    spec = ht.parse_spec(PLAIN)
    model = ht.build(spec, ht.read_cohort(rows, spec))
    fit = ht.sample(model, seed=5, progress=False)
    psis = compare({"line": fit}, draws=4000)
    exact = compare({"line": fit}, folds=8, draws=4000)
    pair = [found.pointwise.set_index("patient") for found in (psis, exact)]
    good = pair[0]["k_hat"] < 0.5
    apart = (pair[0]["elpd"] - pair[1]["elpd"])[list(pair[1].index)]
    assert good.sum() >= 3
    assert np.abs(apart[good]).max() < 0.15
    assert np.abs(apart).max() < 0.5
    assert psis.table()["elpd"][0] == pytest.approx(exact.table()["elpd"][0], abs=0.6)


@pytest.mark.slow
def test_a_bad_k_hat_is_refitted():
    """One patient with nearly all the data: without them the population is another."""
    rng, rows = np.random.default_rng(6), []
    for name, count in (("big", 60), ("a", 2), ("b", 2), ("c", 2)):
        shift = 8.0 if name == "big" else 0.0
        rows += [(name, t, shift + t + rng.standard_normal(), 50.0) for t in np.linspace(0, 9, count)]
    table = pd.DataFrame(rows, columns=["id", "t", "y", "age"])
    spec = ht.parse_spec(COMMON.replace("1 + center(age)", "1").replace(COEFFICIENTS, ""))
    model = ht.build(spec, ht.read_cohort(table, spec))
    fit = ht.sample(model, seed=7, progress=False)
    raw = compare({"line": fit}, refit=False)
    assert raw.pointwise.set_index("patient").loc["big", "is_doubtful"]
    assert "big" in raw.cautions["line"]
    found = compare({"line": fit}).pointwise.set_index("patient")
    assert found.loc["big", "is_refit"] and found.loc["big", "k_hat"] > 0.7
    # Importance sampling from a posterior that has seen the patient flatters.
    assert found.loc["big", "elpd"] < raw.pointwise.set_index("patient").loc["big", "elpd"]


def test_a_rough_integral_of_a_refit_is_named(common_fit, monkeypatch):
    """The integral that is judged is the one that was used: after refits, theirs."""

    def rough(framed, points, *, seed=0):
        found = integrate_effects(framed, points, seed=seed)
        labels = np.array(framed.model.cohort.patients)
        named = "p3" if len(labels) < 16 else "p5"
        return replace(found, is_rough=labels == named)

    monkeypatch.setattr(left_out, "integrate_effects", rough)
    found = compare({"common": common_fit}, folds=2, seed=4)
    assert "the integral over the effects of p3 is rough" in found.cautions["common"]
    assert "effects of p5" in compare({"common": common_fit}, refit=False).cautions["common"]


def test_a_refit_is_thinned_as_the_fit_was(common_fit, monkeypatch):
    asked = {}
    monkeypatch.setattr(refits, "sample", lambda model, **words: asked.update(words))
    tree = common_fit.tree.copy()
    tree.attrs = {**tree.attrs, "thin": 5, "warmup": 2_000}
    refit_without(ht.Fit(tree), model_of(common_fit), np.array([3]), seed=1)
    assert (asked["draws"], asked["thin"], asked["warmup"]) == (1_000, 5, 400)
    assert asked["start_from"] is not None


def test_a_refit_knows_the_others_only(common_fit):
    model = model_of(common_fit)
    again = refit_without(common_fit, model, np.array([3]), seed=1)
    assert posterior_of(again.tree).sizes["draw"] == 200
    labels = [str(label) for label in again.tree["patient_summary"]["patient"].values]
    assert labels == [label for label in model.cohort.patients if label != "p3"]
    assert frame_patients(leave_out(model, np.array([3])), again.tree).effects == 1
