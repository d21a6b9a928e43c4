"""Forecasts that are scored: exact on lines, blind to what comes later, not to doses that are planned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from prediction.dosed import BOLUS, bolus_rows
from scipy.stats import norm

import hierarchical_twin as ht
from hierarchical_twin.analysis.scoring import ALL, NO_POOLING, POPULATION, TWIN, Scores
from hierarchical_twin.errors import DataError, SamplingError
from hierarchical_twin.report.figures import save_figure
from hierarchical_twin.report.scores import scores_figure
from hierarchical_twin.twin.score import score_forecasts
from twin.lines import exact_forecast, line_fit, line_rows
from twin.posited import made_fit

KEYS = ["method", "k", "patient", "record"]


@pytest.fixture(scope="module")
def fit() -> ht.Fit:
    return line_fit()


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return line_rows(6, seed=7)


@pytest.fixture(scope="module")
def scores(fit, records) -> Scores:
    return score_forecasts(fit, records, horizons=(3.0,), seed=2)


def own_rows(scores: Scores, **words: object) -> pd.DataFrame:
    rows = scores.rows
    for column, value in words.items():
        rows = rows[rows[column] == value]
    return rows.sort_values("time")


@pytest.mark.parametrize(("method", "wider"), [(TWIN, 1.0), (POPULATION, 1.0), (NO_POOLING, 10.0)])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_forecasts_and_scores_are_those_of_the_closed_form(scores, records, method, wider, k):
    if method == NO_POOLING and k == 0:
        assert own_rows(scores, method=method, k=0).empty
        return
    for patient, frame in records.groupby("id"):
        found = own_rows(scores, method=method, k=k, patient=patient)
        known = 0 if method == POPULATION else k
        t, y = frame["t"].to_numpy(), frame["y"].to_numpy()
        assert list(found["time"]) == list(t[k:])
        np.testing.assert_array_equal(found["value"], y[k:])
        mean, sd = exact_forecast(t[:known], y[:known], t[k:], wider)
        assert np.abs((found["median"] - mean) / sd).max() < 0.2
        np.testing.assert_allclose(found["upper"] - found["lower"], 2 * norm.ppf(0.95) * sd, rtol=0.12)
        z = (y[k:] - mean) / sd
        exact = sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
        np.testing.assert_allclose(found["crps"], exact, atol=0.12 * sd.max())
        np.testing.assert_allclose(found["pit"], norm.cdf(z), atol=0.09)


def test_what_is_known_and_how_far_ahead_is_counted_in_records_and_time(scores):
    rows = own_rows(scores, method=TWIN, patient="p0")
    assert list(rows.groupby("k").size()) == [6, 5, 4, 3]
    ahead = rows.set_index(["k", "time"])["ahead"]
    assert ahead[(0, 10.0)] == 10.0 and ahead[(1, 2.0)] == 2.0 and ahead[(3, 10.0)] == 6.0
    assert scores.units["time"] == "h" and scores.units["y"] == "m"


def test_without_records_the_twin_is_the_population(scores):
    both = [own_rows(scores, method=method, k=0).drop(columns="method") for method in (TWIN, POPULATION)]
    for column in ("median", "lower", "upper"):
        np.testing.assert_allclose(both[0][column], both[1][column], atol=0.9)
    alone = own_rows(scores, method=POPULATION, patient="p1", time=10.0)
    assert alone["median"].nunique() == 1 and len(alone) == 4


def test_records_make_forecasts_better_and_narrower(scores):
    table = scores.table()
    twin = table[(table["method"] == TWIN) & (table["horizon"] == ALL)].set_index("k")
    assert twin["width"].is_monotonic_decreasing
    assert twin.loc[3, "crps_ratio"] < 0.6 < 0.9 < twin.loc[0, "crps_ratio"] < 1.1
    own = table[(table["method"] == NO_POOLING) & (table["horizon"] == ALL)].set_index("k")
    assert own.loc[1, "width"] > 3 * twin.loc[1, "width"]
    assert set(table["horizon"]) == {ALL, "up to 3", "beyond 3"}
    assert (table["doubted"] == 0).all()


def test_what_comes_later_does_not_reach_a_forecast(fit, records, scores):
    later = records.copy()
    later.loc[later["t"] > 2.0, "y"] += 40.0
    found = score_forecasts(fit, later, ks=(2,), seed=2)
    before = scores.rows[scores.rows["k"] == 2].set_index(KEYS).sort_index()
    after = found.rows.set_index(KEYS).sort_index()
    # Particles have gone through other updates on the way, so they are not the same to the last bit.
    same = after.loc[(POPULATION,)].index
    np.testing.assert_array_equal(after.loc[POPULATION, "median"], before.loc[POPULATION].loc[same, "median"])
    moved = (after.loc[TWIN, "median"] - before.loc[TWIN, "median"]).abs()
    assert moved.max() < 0.5
    assert (after.loc[TWIN, "crps"] > 10).all()


def test_patients_in_any_order_and_rows_out_of_order(fit, records):
    shuffled = records.sample(frac=1.0, random_state=3)
    one = score_forecasts(fit, shuffled, ks=(2,), seed=2).rows
    assert (one.groupby(["method", "patient"]).size() == 4).all()
    assert (one["time"] >= 4).all()


@pytest.fixture(scope="module")
def bolus() -> tuple[ht.Fit, pd.DataFrame]:
    frame = bolus_rows()
    is_new = frame["id"].isin(["b4", "b5"])
    names = ("V_typical", "k_el_typical", "k_act_typical", "sigma_active")
    draws = {name: np.full(30, value) for name, value in zip(names, (20.0, 0.2, 0.1, 0.03), strict=True)}
    draws |= {"beta_k_act": np.full((30, 1), -0.5), "omega": np.full((30, 2), 0.25)}
    draws |= {"eta": np.zeros((30, 4, 2))}
    return made_fit(ht.parse_spec(BOLUS), frame[~is_new], draws), frame[is_new].reset_index(drop=True)


def test_doses_to_come_are_known_and_measurements_to_come_are_not(bolus):
    fit, frame = bolus
    found = score_forecasts(fit, frame, ks=(0, 2), particles=400)
    assert set(found.rows["outcome"]) == {"active"}
    assert (own_rows(found, method=TWIN, k=2).groupby("patient").size() == 3).all()
    more = frame.copy()
    is_second = (more["evid"] == 1) & (more["hour"] > 0)
    more.loc[is_second, "amount"] *= 10
    changed = score_forecasts(fit, more, ks=(0, 2), particles=400)
    for k in (0, 2):
        one, other = (
            own_rows(each, method=TWIN, k=k).set_index(["patient", "time"]) for each in (found, changed)
        )
        ratio = other["median"] / one["median"]
        late = ratio.index.get_level_values("time") >= 10
        assert (ratio[late] > 1.5).all() and (np.abs(ratio[~late] - 1) < 0.1).all()


def test_the_figure_says_what_it_shows(scores, tmp_path):
    figure = scores_figure(scores)
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    assert "records known" in labels and "mean CRPS (m)" in labels and "inside the interval" in labels
    caption = " ".join(figure.texts[1].get_text().split())
    assert "Interval: 90% equal-tailed interval of a measurement" in caption
    assert save_figure(figure, tmp_path / "scores.svg").stat().st_size > 10_000
    with pytest.raises(SamplingError, match="one of y"):
        scores_figure(scores, "volume")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"ks": (-1,)}, "whole numbers"),
        ({"ks": (1.5,)}, "whole numbers"),
        ({"ks": (9,)}, "more than 9 records"),
        ({"horizons": (5.0, 2.0)}, "times in order"),
        ({"horizons": ("soon",)}, "times in order"),
    ],
)
def test_words_that_make_no_sense_are_refused(fit, records, words, match):
    with pytest.raises(DataError, match=match):
        score_forecasts(fit, records, **words)


def test_patients_of_the_fit_and_tables_without_patients_are_refused(fit, records):
    with pytest.raises(DataError, match="that the fit does not have"):
        score_forecasts(fit, records.assign(id="fitted0"))
    with pytest.raises(DataError, match="'id' among them"):
        score_forecasts(fit, records.drop(columns="id"))
    blank = records.assign(id=records["id"].mask(np.arange(len(records)) % 3 == 1, " "))
    with pytest.raises(DataError, match="nobody in row 2, 5, 8"):
        score_forecasts(fit, blank)
    with pytest.raises(SamplingError, match="prob"):
        score_forecasts(fit, records, prob=1.2)


@pytest.mark.slow
def test_intervals_cover_and_transforms_are_uniform(fit):
    found = score_forecasts(fit, line_rows(150, records=5, seed=11), ks=(0, 1, 3), particles=1_000)
    table = found.table()
    twin = table[table["method"] == TWIN].set_index("k")
    assert (np.abs(twin["coverage"] - 0.9) < np.maximum(3 * twin["coverage_se"], 0.01)).all()
    assert (np.abs(twin["pit_mean"] - 0.5) < 0.05).all()
    assert (np.abs(twin["pit_sd"] - np.sqrt(1 / 12)) < 0.02).all()
    assert twin.loc[3, "crps_ratio"] + 3 * twin.loc[3, "crps_ratio_se"] < 1
