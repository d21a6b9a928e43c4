"""Scores of forecasts: closed forms, weights, censoring, and means with patients as units."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from hierarchical_twin.analysis.scoring import (
    ALL,
    NO_POOLING,
    POPULATION,
    TWIN,
    Scores,
    horizon_names,
    score_rows,
    weighted_crps,
)


def normal_crps(value: np.ndarray | float, sd: float = 1.0) -> np.ndarray:
    """Of a normal forecast around 0 (Gneiting and Raftery 2007, section 4.2)."""
    z = np.asarray(value) / sd
    return sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


def test_crps_is_the_closed_form_of_a_normal_forecast():
    draws = np.random.default_rng(1).normal(size=(40_000, 1))
    observed = np.array([-2.0, 0.0, 0.7])
    found = weighted_crps(np.repeat(draws, 3, axis=1), np.ones(40_000), observed)
    np.testing.assert_allclose(found, normal_crps(observed), atol=0.012)


def test_weights_turn_draws_of_one_forecast_into_another():
    draws = 2.0 * np.random.default_rng(2).normal(size=(60_000, 1))
    weights = norm.pdf(draws[:, 0]) / norm.pdf(draws[:, 0], scale=2.0)
    found = weighted_crps(draws, weights, np.array([2.5]))
    np.testing.assert_allclose(found, normal_crps(2.5), atol=0.012)
    assert abs(float(weighted_crps(draws, np.ones(len(draws)), np.array([2.5]))[0]) - normal_crps(2.5)) > 0.05


def test_crps_is_the_mean_distance_less_half_of_that_between_draws():
    rng = np.random.default_rng(3)
    draws, weights, observed = rng.normal(size=(7, 3)), rng.random(7), np.array([-3.0, 0.2, 9.0])
    share = weights / weights.sum()
    among = np.abs(draws[:, None] - draws[None])
    exact = share @ np.abs(draws - observed) - 0.5 * np.einsum("i,j,ijr->r", share, share, among)
    np.testing.assert_allclose(weighted_crps(draws, weights, observed), exact, rtol=1e-12)


def test_crps_is_not_negative_where_a_few_draws_are_far_away():
    draws = np.exp(np.random.default_rng(4).normal(0, 20, size=(300, 50)))
    assert (weighted_crps(draws, np.ones(300), np.ones(50)) >= 0).all()


def test_crps_of_a_certain_forecast_is_the_absolute_error_far_from_zero():
    draws = np.full((50, 1), 1e9 + 1.0)
    np.testing.assert_allclose(weighted_crps(draws, np.ones(50), np.array([1e9])), 1.0)


def test_draws_that_are_not_finite_are_left_out():
    draws = np.random.default_rng(4).normal(size=(400, 1))
    spoiled = np.concatenate([draws, [[np.inf], [np.nan]]])
    observed = np.array([0.3])
    np.testing.assert_allclose(
        weighted_crps(spoiled, np.ones(402), observed), weighted_crps(draws, np.ones(400), observed)
    )
    assert np.isnan(weighted_crps(np.full((5, 1), np.inf), np.ones(5), observed)).all()


def rows(values: np.ndarray, censored: object = 0) -> pd.DataFrame:
    return pd.DataFrame({"patient": "a", "outcome": "y", "value": values, "censored": censored})


def test_right_forecasts_are_covered_and_uniform():
    rng = np.random.default_rng(5)
    values = rng.normal(size=2_000)
    draws = 1.5 * rng.normal(size=(500, 2_000))
    weights = np.ones(500)
    found = score_rows(rows(values * 1.5), draws, weights, 0.8)
    assert abs(found["is_covered"].mean() - 0.8) < 0.03
    counts = np.histogram(found["pit"], 10, (0, 1))[0]
    assert np.sum((counts - 200) ** 2 / 200) < 27.9  # chi-square of 9 degrees of freedom, p = 0.001
    narrow = score_rows(rows(values * 1.5), draws / 2, weights, 0.8)
    assert narrow["is_covered"].mean() < 0.6
    assert narrow["crps"].mean() > found["crps"].mean()


def test_a_censored_value_has_a_pit_on_its_side_and_no_crps():
    draws = np.random.default_rng(6).normal(size=(1_000, 600))
    found = score_rows(rows(np.full(600, -0.5), [1] * 300 + [-1] * 300), draws, np.ones(1_000), 0.9)
    assert found["crps"].isna().all() and found["is_covered"].isna().all()
    below, above = found["pit"][:300], found["pit"][300:]
    limit = norm.cdf(-0.5)
    assert below.max() < limit + 0.05 < above.min() + 0.1
    assert abs(below.mean() - limit / 2) < 0.03 and abs(above.mean() - (1 + limit) / 2) < 0.05


def test_crps_of_a_lognormal_outcome_is_that_of_logarithms():
    logs = np.random.default_rng(7).normal(size=(2_000, 2))
    far = np.concatenate([logs, [[700.0, 700.0]]])  # one draw that would be all that counts
    found = score_rows(rows(np.exp([0.5, 2.0])), np.exp(far), np.ones(2_001), 0.9, ("y",))
    np.testing.assert_allclose(found["crps"], normal_crps(np.array([0.5, 2.0])), atol=0.08)
    plain = score_rows(rows(np.exp([0.5, 2.0])), np.exp(logs), np.ones(2_000), 0.9)
    np.testing.assert_allclose(plain["lower"], found["lower"], rtol=0.02)
    assert (plain["crps"] > 1.4 * found["crps"]).any()


def scores(**words: object) -> Scores:
    """Two patients, two methods; patient b has two records."""
    lines = []
    for method, crps in ((TWIN, (1.0, 2.0, 3.0)), (POPULATION, (2.0, 2.0, 8.0))):
        for (patient, record, ahead), own in zip(
            (("a", "r1", 5.0), ("b", "r2", 10.0), ("b", "r3", 40.0)), crps, strict=True
        ):
            lines.append(
                {
                    "patient": patient,
                    "record": record,
                    "method": method,
                    "k": 1,
                    "outcome": "y",
                    "ahead": ahead,
                }
                | {"value": 0.0, "censored": 0, "lower": -own, "upper": own, "crps": own, "pit": 0.25 * own}
                | {"is_covered": float(own < 3), "is_trustworthy": own != 3.0}
            )
    return Scores(pd.DataFrame(lines), 0.9, units={"y": "mg"}, **words)


def test_the_table_has_means_ratios_and_errors_over_patients():
    table = scores().table().set_index("method")
    twin = table.loc[TWIN]
    assert list(table.index) == [TWIN, POPULATION] and (table["horizon"] == ALL).all()
    assert (twin["records"], twin["patients"], twin["unit"], twin["prob"]) == (3, 2, "mg", 0.9)
    assert twin["crps"] == 2.0 and twin["crps_median"] == 2.0 and twin["crps_ratio"] == 0.5
    # Residuals' sums: a: 1 - 2 = -1; b: (2 - 2) + (3 - 2) = 1.
    np.testing.assert_allclose(twin["crps_se"], np.sqrt(2 * 2) / 3)
    # a: 1 - 0.5 * 2 = 0; b: (2 - 0.5 * 2) + (3 - 0.5 * 8) = 0.
    np.testing.assert_allclose(twin["crps_ratio_se"], 0, atol=1e-12)
    np.testing.assert_allclose(twin["coverage"], 2 / 3)
    assert twin["crps_unit"] == "mg" and set(scores(logged=("y",)).table()["crps_unit"]) == {"log"}
    assert twin["width"] == 4.0 and twin["doubted"] == pytest.approx(1 / 3)
    assert table.loc[POPULATION, "crps_ratio"] == 1.0 and table.loc[POPULATION, "doubted"] == 0
    assert NO_POOLING not in table.index


def test_horizons_part_the_rows_by_the_time_since_the_last_record():
    table = scores(horizons=(10.0, 30.0)).table()
    twin = table[table["method"] == TWIN].set_index("horizon")
    assert list(twin.index) == [ALL, "up to 10", "beyond 30"]
    assert list(twin["records"]) == [3, 2, 1] and twin.loc["beyond 30", "crps"] == 3.0
    assert np.isnan(twin.loc["beyond 30", "crps_se"])
    assert horizon_names((10.0, 30.0)) == ("up to 10", "10 to 30", "beyond 30")
