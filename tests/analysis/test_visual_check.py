"""Visual predictive checks against plain loops, and what they say of bins, limits, strata."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.linear_cohort import Truth, predicted_cohort
from hierarchical_twin.analysis.bins import bin_edges, place_in_bins
from hierarchical_twin.analysis.limits import is_beyond, row_limits, within_limits
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.visual_check import PERCENTILES, visual_check
from hierarchical_twin.errors import SamplingError

TIMES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return predicted_cohort(Truth(patients=30, draws=60, times=TIMES), seed=6)


def percentile(values: list[float], percent: float) -> float:
    """Linear between order statistics, by hand."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def expected_lines(
    prediction: Prediction, edges: list[float], factor: np.ndarray, prob: float
) -> list[list[float]]:
    """Observed, simulated median, lower, upper of each bin and percentile, with plain loops."""
    times, observed = prediction.rows["time"], prediction.rows["DV"]
    lines = []
    for low, high in itertools.pairwise(edges):
        is_last = high == edges[-1]
        inside = [n for n, time in enumerate(times) if low <= time < high or (is_last and time == high)]
        for percent in PERCENTILES:
            seen = percentile([observed[n] * factor[n] for n in inside], percent)
            trials = [
                percentile([series[n] * factor[n] for n in inside], percent)
                for series in prediction.new_patients
            ]
            tail = 50 * (1 - prob)
            band = [percentile(trials, 50), percentile(trials, tail), percentile(trials, 100 - tail)]
            lines.append([seen, *band])
    return lines


def test_is_that_of_plain_loops(prediction: Prediction):
    edges = [0.0, 1.2, 2.5, 5.0]
    check = visual_check(prediction, "y", bins=edges, prob=0.8)
    found = check.percentiles[["observed", "simulated", "lower", "upper"]].to_numpy()
    np.testing.assert_allclose(found, expected_lines(prediction, edges, np.ones(240), 0.8), rtol=1e-12)
    assert list(check.percentiles["percentile"]) == [*PERCENTILES] * 3
    assert list(check.bins["rows"]) == [90, 60, 90] and list(check.bins["patients"]) == [30, 30, 30]
    assert list(check.bins["lower_edge"]) == edges[:-1] and list(check.bins["upper_edge"]) == edges[1:]
    assert check.censored.empty and not check.is_corrected and check.draws == 60


def test_corrected_is_that_of_plain_loops(prediction: Prediction):
    """Bergstrand et al. 2011: y times the bin's median PRED over its own."""
    edges = [0.0, 1.2, 2.5, 5.0]
    pred = [sum(prediction.population[:, n]) / 60 for n in range(240)]
    factor = np.empty(240)
    for low, high in itertools.pairwise(edges):
        inside = [
            n for n, time in enumerate(prediction.rows["time"]) if low <= time < high or time == high == 5.0
        ]
        middle = percentile([pred[n] for n in inside], 50)
        for n in inside:
            factor[n] = middle / pred[n]
    check = visual_check(prediction, bins=edges, corrected=True, prob=0.9)
    found = check.percentiles[["observed", "simulated", "lower", "upper"]].to_numpy()
    np.testing.assert_allclose(found, expected_lines(prediction, edges, factor, 0.9), rtol=1e-12)
    np.testing.assert_allclose(check.points["value"], prediction.rows["DV"] * factor)
    assert "multiplied" in check.correction


def test_correction_takes_out_what_a_bin_mixes(prediction: Prediction):
    """Within one bin, corrected percentiles are much closer, since time no longer spreads them."""
    widths = []
    for corrected in (False, True):
        table = visual_check(prediction, bins=1, corrected=corrected).percentiles
        widths.append(float(np.ptp(table["observed"])))
    assert widths[1] < 0.9 * widths[0]


def test_predictions_at_or_below_zero_are_corrected_by_a_difference(prediction: Prediction):
    shifted = replace(prediction, population=prediction.population - 4.0)
    check = visual_check(shifted, bins=[0.0, 2.5, 5.0], corrected=True)
    pred = shifted.population.mean(axis=0)
    early = prediction.rows["time"] < 2.5
    moved = np.median(pred[early]) - pred[early]
    np.testing.assert_allclose(check.points["value"][early], prediction.rows["DV"][early] + moved)
    assert "added" in check.correction


def test_a_model_that_is_right_is_mostly_inside_and_a_wrong_one_is_not(prediction: Prediction):
    assert visual_check(prediction).percentiles["is_outside"].mean() < 0.35
    wrong = replace(prediction, new_patients=prediction.new_patients * 1.4)
    check = visual_check(wrong)
    assert check.percentiles["is_outside"].mean() > 0.6
    assert check.verdict.startswith(
        f"{int(check.percentiles['is_outside'].sum())} of 24 observed percentiles"
    )


def test_tail_probability_is_the_share_of_trials_with_as_many_outside(prediction: Prediction):
    """Each trial is held against the bands as the measurements are, with a plain loop."""
    edges = [0.0, 1.2, 2.5, 5.0]
    check = visual_check(prediction, bins=edges, prob=0.8)
    table, counts = check.percentiles, []
    for series in prediction.new_patients:
        as_data = replace(prediction, rows=prediction.rows.assign(DV=series))
        seen = visual_check(as_data, bins=edges, prob=0.8).percentiles["observed"]
        counts.append(int(((seen < table["lower"]) | (seen > table["upper"])).sum()))
    assert check.tail_probability == pytest.approx(np.mean(np.array(counts) >= check.outside))
    assert "of the simulated trials" in check.verdict
    wrong = replace(prediction, new_patients=prediction.new_patients * 1.4)
    assert visual_check(wrong).tail_probability < 0.02 < visual_check(prediction).tail_probability


def test_a_trial_with_an_infinite_value_still_counts(prediction: Prediction):
    simulated = prediction.new_patients.copy()
    simulated[:, 0] = np.inf  # one row explodes in every trial
    check = visual_check(replace(prediction, new_patients=simulated), bins=1, prob=0.8)
    plain = visual_check(prediction, bins=1, prob=0.8)
    assert check.without_band == 0 and np.isfinite(check.percentiles[["lower", "upper"]]).all(axis=None)
    np.testing.assert_allclose(check.percentiles["simulated"], plain.percentiles["simulated"], rtol=0.05)
    assert (check.percentiles["simulated"] >= plain.percentiles["simulated"]).all()
    simulated[:, 0], simulated[:30, 0] = (
        prediction.new_patients[:, 0],
        np.nan,
    )  # in half of them it is no number
    half = visual_check(replace(prediction, new_patients=simulated), bins=1, prob=0.8)
    rest = visual_check(_draws(prediction, slice(30, None)), bins=1, prob=0.8)
    np.testing.assert_allclose(half.percentiles["lower"], rest.percentiles["lower"])
    assert half.tail_probability == rest.tail_probability


def test_bands_may_be_infinite(prediction: Prediction):
    simulated = prediction.new_patients.copy()
    simulated[:20] = np.inf
    table = visual_check(replace(prediction, new_patients=simulated), bins=1, prob=0.8).percentiles
    assert (table["upper"] == np.inf).all() and np.isfinite(table["lower"]).all()
    simulated[:] = np.inf
    assert visual_check(replace(prediction, new_patients=simulated), bins=1).percentiles["is_outside"].all()


def test_a_bin_of_nan_is_not_passed(prediction: Prediction):
    simulated = prediction.new_patients.copy()
    simulated[:, (prediction.rows["time"] < 1.2).to_numpy()] = np.nan
    check = visual_check(replace(prediction, new_patients=simulated), bins=[0.0, 1.2, 2.5, 5.0])
    assert check.percentiles["is_outside"][:3].all() and check.without_band == 3
    rest = visual_check(prediction, bins=[0.0, 1.2, 2.5, 5.0])
    assert check.outside == 3 + int(rest.percentiles["is_outside"][3:].sum())
    assert "3 of them because" in check.verdict and 0 < check.tail_probability <= 1
    nothing = visual_check(replace(prediction, new_patients=simulated * np.nan))
    assert nothing.percentiles["is_outside"].all() and np.isnan(nothing.tail_probability)


def _draws(prediction: Prediction, some: slice) -> Prediction:
    names = ("individual", "population", "replicates", "new_patients", "residual_sd")
    return replace(prediction, **{name: getattr(prediction, name)[some] for name in names})


def test_censored_values_are_treated_alike(prediction: Prediction):
    limit = 2.2
    below = (prediction.rows["DV"] < limit).to_numpy()
    rows = prediction.rows.assign(DV=np.maximum(prediction.rows["DV"], limit), censored=below.astype(int))
    censored = replace(prediction, rows=rows)
    check = visual_check(censored, bins=[0.0, 2.5, 5.0], prob=0.9)
    plain = visual_check(prediction, bins=[0.0, 2.5, 5.0], prob=0.9)
    for word in ("observed", "simulated", "lower", "upper"):
        np.testing.assert_allclose(check.percentiles[word], np.maximum(plain.percentiles[word], limit))
    early = (rows["time"] < 2.5).to_numpy()
    line = check.censored.iloc[0]
    assert line["observed"] == pytest.approx(below[early].mean())
    shares = [(series[early] < limit).mean() for series in prediction.new_patients]
    assert line["simulated"] == pytest.approx(np.median(shares))
    assert [line["lower"], line["upper"]] == pytest.approx(list(np.quantile(shares, [0.05, 0.95])))


def test_strata_are_checked_apart(prediction: Prediction):
    arm = {f"p{n}": "high" if n % 2 else "low" for n in range(30)}
    check = visual_check(prediction, bins=2, stratify=arm)
    assert list(check.bins["stratum"]) == ["high", "high", "low", "low"]
    odd = np.flatnonzero([int(label[1:]) % 2 == 1 for label in prediction.rows["patient"]])
    alone = visual_check(prediction.take(odd), bins=[*list(check.bins["lower_edge"][:2]), 5.0])
    np.testing.assert_allclose(
        check.percentiles["observed"][:6], alone.percentiles["observed"], err_msg="stratum 'high'"
    )


def test_a_number_makes_two_strata(prediction: Prediction):
    age = {f"p{n}": 20.0 + n for n in range(30)}
    check = visual_check(prediction, stratify=age)
    assert set(check.bins["stratum"]) == {"<= 34.5", "> 34.5"}
    rows = prediction.rows.assign(dose=[10 * (int(label[1:]) % 3) for label in prediction.rows["patient"]])
    assert set(visual_check(replace(prediction, rows=rows), stratify="dose").bins["stratum"]) == {
        "dose 0",
        "dose 10",
        "dose 20",
    }


def test_without_time_bins_run_along_an_input(prediction: Prediction):
    rows = prediction.rows.assign(concentration=prediction.rows["time"] * 10, time=np.nan, table_row=1)
    check = visual_check(replace(prediction, rows=rows))
    assert check.coordinate == "concentration" and check.bins["upper_edge"].max() == 50


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"outcome": "z"}, "expected one of y"),
        ({"bins": [1, 1]}, "edges that increase"),
        ({"bins": 0}, "whole number from 1"),
        ({"bins": [90, 100]}, "no measured row of 'y' inside"),
        ({"stratify": "patien"}, "did you mean 'patient'"),
        ({"stratify": {"p1": "a"}}, "no stratum for p0, p10"),
        ({"prob": 95}, "did you mean 0.95"),
    ],
)
def test_what_cannot_be_checked_is_said(prediction: Prediction, words: dict, message: str):
    with pytest.raises(SamplingError, match=message):
        visual_check(prediction, **words)


def test_a_prediction_of_other_times_has_nothing_to_check(prediction: Prediction):
    with pytest.raises(SamplingError, match="no measured row"):
        visual_check(replace(prediction, rows=prediction.rows.assign(DV=np.nan)))


def test_bins_hold_every_value_once():
    rng = np.random.default_rng(0)
    for values in (
        rng.normal(size=500),
        rng.integers(0, 5, 300).astype(float),
        np.array([3.0]),
        np.repeat(2.0, 40),
    ):
        for bins in (None, 1, 4, 7):
            edges = bin_edges(values, bins)
            places = place_in_bins(values, edges)
            assert (places >= 0).all() and places.max() < max(len(edges) - 1, 1)
            for value in np.unique(values):
                assert len(set(places[values == value])) == 1


def test_automatic_bins_are_the_planned_times_or_equally_full():
    planned = np.repeat([0.0, 7.0, 14.0], 20)
    np.testing.assert_allclose(bin_edges(planned, None), [0.0, 3.5, 10.5, 14.0])
    scattered = np.random.default_rng(1).uniform(0, 10, 200)
    counts = np.bincount(place_in_bins(scattered, bin_edges(scattered, None)))
    assert len(counts) == 10 and counts.min() >= 19


def test_limits_are_those_stated_or_the_commonest(prediction: Prediction):
    rows = prediction.rows.iloc[:6].assign(DV=[1.0, 5.0, 1.0, 2.0, 0.5, 9.0], censored=[1, 0, 1, 1, 0, -1])
    np.testing.assert_array_equal(row_limits(rows, 1), [1.0, 1.0, 1.0, 2.0, -np.inf, 1.0])
    np.testing.assert_array_equal(row_limits(rows, -1), [9.0, 9.0, 9.0, 9.0, 9.0, 9.0])
    values = np.array([[0.2, 0.2, 3.0, 1.5, 0.2, 11.0]])
    np.testing.assert_array_equal(within_limits(rows, values), [[1.0, 1.0, 3.0, 2.0, 0.2, 9.0]])
    np.testing.assert_array_equal(is_beyond(rows, values), [[True, True, False, True, False, True]])
