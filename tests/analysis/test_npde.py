"""NPDE: standard normal and uncorrelated where the model is right, and not where it is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, norm

from analysis.linear_cohort import Truth, predicted_cohort
from hierarchical_twin.analysis.npde import decorrelated_errors


def rows_of(patients: int, size: int) -> pd.DataFrame:
    labels = np.repeat([f"p{number}" for number in range(patients)], size)
    return pd.DataFrame({"patient": labels, "outcome": "y"})


def by_hand(observed: np.ndarray, simulated: np.ndarray) -> np.ndarray:
    """Brendel et al. 2006 word for word, with loops, for one patient."""
    draws, size = simulated.shape
    mean = [sum(simulated[:, j]) / draws for j in range(size)]
    covariance = np.empty((size, size))
    for j in range(size):
        for k in range(size):
            covariance[j, k] = sum((simulated[:, j] - mean[j]) * (simulated[:, k] - mean[k])) / (draws - 1)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    free = whiten @ (observed - mean)
    found = []
    for j in range(size):
        others = [(whiten @ (series - mean))[j] for series in simulated]
        share = sum(other < free[j] for other in others) / draws
        found.append(norm.ppf(min(max(share, 1 / (2 * draws)), 1 - 1 / (2 * draws))))
    return np.array(found)


def test_agrees_with_the_definition_where_draws_are_many():
    prediction = predicted_cohort(Truth(patients=12, draws=2_000), seed=3)
    ours = prediction.decorrelated_errors()
    for patient in range(12):
        at = slice(4 * patient, 4 * patient + 4)
        expected = by_hand(prediction.rows["DV"].to_numpy()[at], prediction.new_patients[:, at])
        inner = np.abs(expected) < 2  # beyond, steps of single draws are wide
        np.testing.assert_allclose(ours[at][inner], expected[inner], atol=0.06)


@pytest.mark.parametrize("draws", [12, 40])
def test_is_standard_normal_for_few_draws(draws: int):
    """Also with hardly more draws than rows, where the covariance cannot be known."""
    patients, size = 1_500, 8
    rng = np.random.default_rng(draws)
    root = np.linalg.cholesky(0.9 * np.ones((size, size)) + 0.1 * np.eye(size))
    series = rng.normal(size=(draws + 1, patients, size)) @ root.T
    flat = series.reshape(draws + 1, -1)
    found = decorrelated_errors(rows_of(patients, size), flat[0], flat[1:], np.zeros(flat.shape[1], bool))
    each = found.reshape(patients, size)
    for row in (0, 3, size - 1):
        assert kstest(each[:, row], "norm").pvalue > 0.001
    assert abs(np.mean(each**2) - 1) < 0.05


def test_counts_with_many_ties_are_standard_normal():
    rng = np.random.default_rng(8)
    flat = rng.binomial(3, 0.3, (61, 4_000)).astype(float)
    found = decorrelated_errors(rows_of(2_000, 2), flat[0], flat[1:], np.zeros(4_000, bool))
    assert kstest(found, "norm").pvalue > 0.001


def test_rows_that_do_not_vary_say_nothing_and_do_no_harm():
    rng = np.random.default_rng(2)
    simulated = np.stack([np.full(50, 7.0), rng.normal(size=50)], axis=1)
    found = decorrelated_errors(rows_of(1, 2), np.array([7.0, 0.1]), simulated, np.zeros(2, bool))
    assert np.isfinite(found).all()


def test_a_missing_measurement_is_left_out_and_changes_no_other_draws():
    prediction = predicted_cohort(Truth(patients=3, draws=100), seed=1)
    whole = prediction.decorrelated_errors()
    rows = prediction.rows.copy()
    rows.loc[7, "DV"] = np.nan
    found = replace(prediction, rows=rows).decorrelated_errors()
    assert np.isnan(found[7]) and np.isfinite(found[[4, 5, 6]]).all()
    np.testing.assert_allclose(found[:4], whole[:4])
    np.testing.assert_allclose(found[8:], whole[8:])


def test_draws_that_are_not_finite_are_left_out():
    prediction = predicted_cohort(Truth(patients=2, draws=60), seed=1)
    broken = prediction.new_patients.copy()
    broken[5:20, 1] = np.inf
    found = replace(prediction, new_patients=broken).decorrelated_errors()
    assert np.isfinite(found).all()
    broken[:55, 1] = np.nan
    assert np.isnan(replace(prediction, new_patients=broken).decorrelated_errors()[:4]).all()


def test_too_much_noise_in_the_data_shows():
    prediction = predicted_cohort(Truth(patients=150, noise=2.5, draws=200), seed=5)
    assert np.var(prediction.decorrelated_errors()) > 1.8


@pytest.mark.slow
@pytest.mark.parametrize(
    "truth",
    [
        Truth(patients=800),
        Truth(patients=800, error="lognormal"),
        Truth(patients=800, lower_limit=2.2),
        Truth(patients=800, error="lognormal", lower_limit=float(np.exp(2.2)), draws=150),
    ],
    ids=["normal", "lognormal", "censored", "censored lognormal with few draws"],
)
def test_npde_of_data_from_the_model_are_standard_normal(truth: Truth):
    prediction = predicted_cohort(truth, seed=11)
    errors = prediction.decorrelated_errors().reshape(truth.patients, -1)
    count = errors.size
    assert abs(errors.mean()) < 4 / np.sqrt(count)
    assert abs(errors.var() - 1) < 4 * np.sqrt(2 / count)
    assert kstest(errors.ravel(), "norm").pvalue > 0.001
    correlation = np.corrcoef(errors.T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 4 / np.sqrt(truth.patients)
    if np.isfinite(truth.lower_limit):
        assert 0.2 < np.mean(prediction.rows["censored"]) < 0.6
