"""The row table: PRED, IPRED, EPRED, residuals, PIT, intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from analysis.linear_cohort import SIGMA, Truth, predicted_cohort
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.residuals import complete_censored, integral_transform, row_uniforms
from hierarchical_twin.errors import SamplingError

COLUMNS = (
    "PRED",
    "IPRED",
    "lower",
    "upper",
    "lower_new",
    "upper_new",
    "EPRED",
    "RES",
    "IRES",
    "IWRES",
    "NPDE",
    "PIT",
    "prob",
    "kind",
)


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return predicted_cohort(Truth(patients=10, draws=150), seed=2)


def test_columns_and_order(prediction: Prediction):
    table = prediction.table()
    assert list(table.columns) == [*prediction.rows.columns, *COLUMNS]
    assert len(table) == len(prediction.rows)


def test_values_are_those_of_plain_loops(prediction: Prediction):
    table = prediction.table(prob=0.8)
    for row in (0, 5, 39):
        own = sorted(prediction.individual[:, row])
        mean = sum(own) / len(own)
        measured = prediction.rows["DV"][row]
        assert table["IPRED"][row] == pytest.approx(mean)
        assert table["IRES"][row] == pytest.approx(measured - mean)
        assert table["IWRES"][row] == pytest.approx((measured - mean) / SIGMA)
        assert table["PRED"][row] == pytest.approx(sum(prediction.population[:, row]) / 150)
        assert table["RES"][row] == pytest.approx(measured - table["PRED"][row])
        assert table["EPRED"][row] == pytest.approx(sum(prediction.new_patients[:, row]) / 150)
        assert table["lower"][row] == pytest.approx(np.quantile(own, 0.1))
        assert table["upper_new"][row] == pytest.approx(np.quantile(prediction.replicates[:, row], 0.9))
        share = sum(prediction.replicates[:, row] < measured) / 150
        assert abs(table["PIT"][row] - share) <= 1 / 150


def test_weighted_residuals_of_lognormal_error_are_on_the_log_scale():
    prediction = predicted_cohort(Truth(patients=3, draws=80, error="lognormal"), seed=2)
    table = prediction.table()
    expected = (np.log(table["DV"]) - np.log(prediction.individual).mean(axis=0)) / SIGMA
    np.testing.assert_allclose(table["IWRES"], expected)


def test_an_error_model_without_sd_has_no_weighted_residual(prediction: Prediction):
    without = replace(prediction, residual_sd=np.full_like(prediction.residual_sd, np.nan))
    table = without.table()
    assert table["IWRES"].isna().all() and table["IRES"].notna().all() and table["NPDE"].notna().all()


def test_rows_without_measurement_have_predictions_and_no_residuals(prediction: Prediction):
    table = replace(prediction, rows=prediction.rows.assign(DV=np.nan)).table()
    assert table[["RES", "IRES", "IWRES", "NPDE", "PIT"]].isna().all().all()
    assert table[["PRED", "IPRED", "EPRED", "lower", "upper_new"]].notna().all().all()


def test_selecting_an_outcome_changes_no_number(prediction: Prediction):
    both = replace(
        prediction,
        rows=prediction.rows.assign(outcome=np.where(np.arange(40) % 2, "y", "z")),
        errors={"y": "normal", "z": "lognormal"},
        residual_sd=prediction.residual_sd,
    )
    table = both.table()
    for outcome in ("y", "z"):
        own = table[table["outcome"] == outcome].reset_index(drop=True)
        pd.testing.assert_frame_equal(both.select(outcome).table(), own)


def test_an_unknown_outcome_is_named(prediction: Prediction):
    with pytest.raises(SamplingError, match="got 'x'; expected one of y"):
        prediction.select("x")


def test_the_table_is_the_same_each_time(prediction: Prediction):
    pd.testing.assert_frame_equal(prediction.table(), prediction.table())


def test_narrowest_intervals_are_named(prediction: Prediction):
    table = prediction.table(prob=0.5, kind="hdi")
    assert set(table["kind"]) == {"hdi"} and set(table["prob"]) == {0.5}
    with pytest.raises(SamplingError, match="prob"):
        prediction.table(prob=90)


def counts(draws: int, rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(4)
    series = rng.binomial(4, 0.4, (draws + 1, rows)).astype(float)
    frame = pd.DataFrame(
        {"patient": [f"p{n}" for n in range(rows)], "outcome": "y", "DV": series[0], "censored": 0}
    )
    return frame, series[1:]


def test_pit_of_counts_is_uniform_for_few_draws():
    rows, drawn = counts(draws=9, rows=4_000)
    assert kstest(integral_transform(rows, drawn), "uniform").pvalue > 0.001


def test_pit_of_censored_values_is_uniform_and_beyond_the_limit():
    """Half of the values are censored below, some above; what is known of each is all that PIT uses."""
    rng = np.random.default_rng(9)
    series = rng.normal(size=(60, 4_000))
    latent = series[0]
    censored = np.where(latent < -0.2, 1, np.where(latent > 1.0, -1, 0))
    shown = np.clip(latent, -0.2, 1.0)
    rows = pd.DataFrame(
        {"patient": [f"p{n}" for n in range(4_000)], "outcome": "y", "DV": shown, "censored": censored}
    )
    found = integral_transform(rows, series[1:])
    assert kstest(found, "uniform").pvalue > 0.001
    assert found[censored == 1].max() < 0.75 and found[censored == -1].min() > 0.6


def test_completed_values_lie_beyond_their_limits():
    prediction = predicted_cohort(Truth(patients=60, draws=100, lower_limit=2.2, error="lognormal"), seed=3)
    rows = prediction.rows.assign(DV=np.where(prediction.rows["censored"] == 1, 9.0, prediction.rows["DV"]))
    above = rows.assign(censored=-rows["censored"])
    for frame, sign in ((rows, 1), (above, -1)):
        full = complete_censored(
            frame, prediction.individual, prediction.residual_sd, np.ones(len(rows), bool)
        )
        at = frame["censored"].to_numpy() != 0
        assert at.any() and np.isfinite(full).all()
        assert (sign * (9.0 - full[at]) >= 0).all()
        np.testing.assert_array_equal(full[~at], frame["DV"].to_numpy()[~at])


def test_uniform_numbers_belong_to_patient_and_outcome():
    rows = pd.DataFrame({"patient": list("aabbcc"), "outcome": "y"})
    whole, part = row_uniforms(rows, "PIT"), row_uniforms(rows.iloc[2:4], "PIT")
    np.testing.assert_array_equal(whole[2:4], part)
    assert len(set(whole)) == 6 and not set(whole) & set(row_uniforms(rows, "NPDE"))
