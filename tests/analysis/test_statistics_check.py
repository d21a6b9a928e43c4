"""Posterior-predictive checks of statistics, words and functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.linear_cohort import Truth, predicted_cohort
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.statistics_check import WORDS, check_statistics
from hierarchical_twin.errors import SamplingError


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return predicted_cohort(Truth(patients=20, draws=100), seed=4)


def test_words_are_what_they_say(prediction: Prediction):
    table = check_statistics(prediction).set_index(["statistic", "replicated"])
    data, values = prediction.rows["DV"].to_numpy(), prediction.new_patients
    functions = {"mean": np.mean, "min": np.min, "max": np.max, "median": np.median}
    for word, function in functions.items():
        line = table.loc[(word, "new patients")]
        drawn = np.array([function(series) for series in values])
        assert line["observed"] == pytest.approx(function(data))
        assert line["p_value"] == pytest.approx(np.mean(drawn > function(data)))
        assert [line["median"], line["lower"], line["upper"]] == pytest.approx(
            list(np.quantile(drawn, [0.5, 0.05, 0.95]))
        )
    assert table.loc[("sd", "same patients"), "observed"] == pytest.approx(np.std(data, ddof=1))
    assert table.loc[("last", "same patients"), "observed"] == pytest.approx(data[3::4].mean())
    assert set(table.index.get_level_values(0)) == set(WORDS)


def test_a_function_sees_the_rows(prediction: Prediction):
    def typical_range(rows):
        return rows.groupby("patient")["DV"].agg(np.ptp).median()

    table = check_statistics(prediction, {"range": typical_range, "highest": "max"}, prob=0.8)
    assert list(table["statistic"]) == ["range", "range", "highest", "highest"]
    ranges = np.ptp(prediction.rows["DV"].to_numpy().reshape(20, 4), axis=1)
    assert table["observed"][0] == pytest.approx(np.median(ranges))
    drawn = np.median(np.ptp(prediction.replicates.reshape(100, 20, 4), axis=2), axis=1)
    assert table["p_value"][0] == pytest.approx(np.mean(drawn > np.median(ranges)))


def test_a_wrong_model_shows(prediction: Prediction):
    wrong = replace(prediction, new_patients=prediction.new_patients + 3.0)
    table = check_statistics(wrong, {"mean": "mean"}).set_index("replicated")
    assert table.loc["new patients", "p_value"] == 1.0 and table.loc["new patients", "two_sided"] == 0.0
    assert 0.05 < table.loc["same patients", "p_value"] < 0.95


def test_ties_count_half(prediction: Prediction):
    table = check_statistics(prediction, {"rows": lambda rows: float(len(rows))})
    assert set(table["p_value"]) == {0.5} and set(table["two_sided"]) == {1.0}


def test_replicates_are_censored_like_the_data(prediction: Prediction):
    below = prediction.rows["DV"] < 2.2
    rows = prediction.rows.assign(DV=np.maximum(prediction.rows["DV"], 2.2), censored=below.astype(int))
    table = check_statistics(replace(prediction, rows=rows), {"least": "min"})
    assert set(table["observed"]) == set(table["median"]) == {2.2}


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        ({"a": "maximum"}, "statistic 'a': got 'maximum'.*did you mean 'max'"),
        ({}, "statistics: got none"),
        ({"a": lambda rows: rows["volume"].max()}, "statistic 'a': got KeyError"),
        ({"a": lambda rows: "many"}, "statistic 'a': got ValueError"),
    ],
)
def test_what_is_no_statistic_is_said(prediction: Prediction, statistics: dict, message: str):
    with pytest.raises(SamplingError, match=message):
        check_statistics(prediction, statistics)
