"""Intervals against independent NumPy and known distributions; what is refused, and how."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats

from hierarchical_twin.analysis.intervals import interval_words, summarise
from hierarchical_twin.errors import SamplingError

COLUMNS = ["patient", "parameter", "unit", "mean", "median", "sd", "lower", "upper"]
COLUMNS += ["rhat", "ess_bulk", "ess_tail", "prob", "kind"]


def test_tidy_columns_and_rows(fit):
    frame = fit.intervals()
    assert list(frame.columns) == COLUMNS
    assert list(dict.fromkeys(frame["parameter"])) == ["V_0", "r", "doubling_time"]
    assert len(frame) == 3 * 12
    assert frame["prob"].eq(0.9).all() and frame["kind"].eq("equal-tailed").all()
    assert frame.groupby("parameter")["unit"].first().to_dict() == {
        "V_0": "cm^3",
        "r": "1/day",
        "doubling_time": "day",
    }


def test_equal_tails_are_quantiles(fit):
    frame = fit.intervals("r", prob=0.8).set_index("patient")
    draws = fit.tree["posterior"]["r"].sel(patient="p7").values.ravel()
    row = frame.loc["p7"]
    assert row["lower"] == pytest.approx(np.quantile(draws, 0.1), rel=1e-12)
    assert row["upper"] == pytest.approx(np.quantile(draws, 0.9), rel=1e-12)
    assert row["median"] == pytest.approx(np.median(draws), rel=1e-12)
    assert row["mean"] == pytest.approx(draws.mean(), rel=1e-12)
    assert row["sd"] == pytest.approx(draws.std(ddof=1), rel=1e-12)


def test_hdi_of_an_exponential_starts_at_zero():
    draws = np.random.default_rng(0).exponential(size=(4, 50_000, 1))
    summary = summarise(draws, prob=0.9, kind="hdi")
    assert summary.lower[0] == pytest.approx(0.0, abs=0.01)
    assert summary.upper[0] == pytest.approx(-np.log(0.1), rel=0.03)


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.9, 0.999])
def test_hdi_equals_arviz(prob):
    draws = np.random.default_rng(0).gamma(2.0, size=(4, 101, 5))
    summary = summarise(draws, prob=prob, kind="hdi")
    expected = array_stats.hdi(np.moveaxis(draws, 2, 0), prob, axis=[-2, -1])
    np.testing.assert_array_equal(np.stack([summary.lower, summary.upper], axis=1), expected)


def test_nan_draw_spoils_only_its_patient(fit):
    posterior = fit.tree["posterior"].to_dataset().copy(deep=True)
    posterior["r"][0, 0, 3] = np.nan
    fit.tree["posterior"].dataset = posterior
    frame = fit.intervals("r")
    assert frame.loc[frame[["mean", "lower", "rhat"]].isna().all(axis=1), "patient"].tolist() == ["p3"]


def test_asked_order_is_kept(fit):
    assert list(dict.fromkeys(fit.intervals(["doubling_time", "V_0"])["parameter"])) == [
        "doubling_time",
        "V_0",
    ]


def test_unknown_parameter_names_the_nearest(fit):
    with pytest.raises(SamplingError, match="did you mean 'doubling_time'") as caught:
        fit.intervals(["doubling_tim", "sigma_volume"])
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("prob", [0, 1, -0.1, 1.5, float("nan"), "0.9", True, None])
def test_impossible_probability(fit, prob):
    with pytest.raises(SamplingError, match="a number between 0 and 1"):
        fit.intervals(prob=prob)


def test_percent_is_understood_and_refused(fit):
    with pytest.raises(SamplingError, match=r"did you mean 0\.9\?"):
        fit.intervals(prob=90)


def test_unknown_kind(fit):
    with pytest.raises(SamplingError, match="did you mean 'equal-tailed'"):
        fit.population(kind="equal_tailed")


def test_words():
    assert interval_words(0.9, "equal-tailed") == "90% equal-tailed interval"
    assert interval_words(0.945, "hdi") == "94.5% HDI"


def test_opening_and_intervals_import_no_engine(fit, tmp_path):
    path = fit.save(tmp_path / "fit.nc")
    code = (
        "import sys; from hierarchical_twin.inference.fit import open_fit; "
        f"open_fit({str(path)!r}).intervals(); "
        "heavy = ('jax', 'pymc', 'numpyro', 'matplotlib', 'arviz_stats'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_values_are_plain_columns(fit):
    assert isinstance(fit.intervals(), pd.DataFrame)
    assert fit.intervals()["patient"].map(type).eq(str).all()
