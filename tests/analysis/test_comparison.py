"""The comparison table is arithmetic on pointwise scores; fits of other data are refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import hierarchical_twin as ht
from hierarchical_twin.analysis.comparison import Comparison
from hierarchical_twin.analysis.same_data import check_same_data


def pointwise(elpd: dict[str, np.ndarray]) -> pd.DataFrame:
    """Scores of a few models on the same patients."""
    parts = []
    for name, values in elpd.items():
        own = {"model": name, "patient": [f"p{at}" for at in range(len(values))], "measurements": 3}
        told = {"elpd": values, "lpd": values + 0.5, "mcse": 0.1, "k_hat": np.linspace(0, 0.8, len(values))}
        frame = pd.DataFrame({**own, **told})
        is_high = frame["k_hat"] > 0.7
        parts.append(frame.assign(is_doubtful=is_high, is_refit=is_high & (name == "b")))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def three() -> Comparison:
    rng = np.random.default_rng(1)
    base = rng.normal(-5, 2, 30)
    scores = {"a": base - 1 + 0.1 * rng.normal(size=30), "b": base, "c": base - 0.02}
    return Comparison("patient", "leave-one-patient-out", pointwise(scores), {"a": "", "b": "", "c": "k-hat"})


def test_table_is_the_arithmetic_it_says(three):
    table = three.table().set_index("model")
    assert list(table.index) == ["b", "c", "a"]
    own = {name: rows["elpd"].to_numpy() for name, rows in three.pointwise.groupby("model")}
    for name, row in table.iterrows():
        assert row["elpd"] == pytest.approx(own[name].sum())
        assert row["se"] == pytest.approx(np.sqrt(30) * own[name].std(ddof=1))
        apart = own[name] - own["b"]
        assert row["difference"] == pytest.approx(apart.sum())
        assert row["se_difference"] == pytest.approx(np.sqrt(30) * apart.std(ddof=1))
        assert row["p_patients"] == pytest.approx(15.0)
        assert row["mcse"] == pytest.approx(np.sqrt(30 * 0.01))
        assert row["k_hat_max"] == pytest.approx(0.8)
        assert row["k_hat_high"] == 4 and row["refits"] == (4 if name == "b" else 0)
    assert table.loc["c", "warning"] == "k-hat"


def test_patients_are_set_against_the_best(three):
    patients = three.patients
    assert list(patients.columns) == [
        "model",
        "patient",
        "measurements",
        "elpd",
        "difference",
        "k_hat",
        "is_refit",
    ]
    sums = patients.groupby("model")["difference"].sum()
    table = three.table().set_index("model")
    for name in "abc":
        assert sums[name] == pytest.approx(table.loc[name, "difference"])


def test_verdict_has_three_answers(three):
    said = three.verdict.splitlines()
    assert "b against c: elpd higher by 0.6" in said[0] and "hardly a difference" in said[0]
    assert said[1].endswith("b predicts better")
    rng = np.random.default_rng(2)
    noisy = Comparison("patient", "x", pointwise({"a": np.zeros(30) - 5, "b": -5.3 + rng.normal(0, 2, 30)}))
    assert "do not tell them apart" in noisy.verdict or "hardly" in noisy.verdict


def test_words_say_what_it_is_and_what_not(three):
    text = str(three)
    assert "leave-one-patient-out" in text and "new patient" in text and "WARNING c: k-hat" in text
    assert "standard errors from 30 patients are rough" in text
    pointwise_loo = Comparison("observation", "leave-one-observation-out", three.pointwise)
    assert "nothing about new patients" in str(pointwise_loo)
    assert "p_loo" in pointwise_loo.table() and "p_patients" not in pointwise_loo.table()


def test_one_model_has_a_table_and_no_verdict():
    alone = Comparison("patient", "x", pointwise({"only": np.full(4, -2.0)}))
    assert alone.table()["difference"].tolist() == [0.0] and alone.verdict == ""


def tree(
    values: list[float],
    patients: list[str],
    unit: str = "m",
    outcome: str = "y",
    times: tuple[float, ...] | None = (0.0, 1.0, 2.0),
) -> xr.DataTree:
    """Only the measurements of a fit."""
    dim = f"observation_{outcome}"
    coords = {
        f"patient_{outcome}": (dim, np.array(patients)),
        f"row_{outcome}": (dim, np.arange(1, len(values) + 1)),
        f"censored_{outcome}": (dim, np.zeros(len(values), dtype=np.int8)),
    }
    if times is not None:
        coords[f"time_{outcome}"] = (dim, np.array(times[: len(values)]))
    found = xr.DataTree.from_dict({"observed_data": xr.Dataset({outcome: (dim, values)}, coords)})
    found.attrs = {"unit": json.dumps({outcome: unit})}
    return found


def test_the_order_of_the_table_does_not_matter():
    first = tree([1.0, 2.0, 3.0], ["p", "p", "q"])
    other = tree([3.0, 2.0, 1.0], ["q", "p", "p"], times=(2.0, 1.0, 0.0))
    found = check_same_data({"a": first, "b": other})
    assert found["a"]["value"].tolist() == found["b"]["value"].tolist() == [1.0, 2.0, 3.0]
    assert found["b"]["place"].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (tree([1.0, 2.0, 3.0], ["p", "p", "r"]), "q only in a; r only in b; expected the same patients"),
        (tree([1.0, 2.0, 3.5], ["p", "p", "q"]), "other values for q, such as 3 and 3.5"),
        (tree([1.0, 2.0, 3.0], ["p", "p", "q"], times=(0, 1.5, 2)), "other times for p, such as 1 and 1.5"),
        (tree([1.0, 3.0], ["p", "q"]), "2 and 1 measurements of y for patient p"),
        (tree([1.0, 2.0, 3.0], ["p", "p", "q"], unit="cm"), "y in m and in cm"),
        (tree([1.0, 2.0, 3.0], ["p", "p", "q"], outcome="z"), "y only in a; z only in b"),
        (xr.DataTree(), "no measurements"),
    ],
)
def test_other_data_are_refused(other, said):
    with pytest.raises(ht.TwinError, match=r"compare a with b|fit") as error:
        check_same_data({"a": tree([1.0, 2.0, 3.0], ["p", "p", "q"]), "b": other})
    assert said in str(error.value)


@pytest.mark.parametrize("times", [None, (np.nan, np.nan, np.nan)])
def test_times_that_are_not_known_are_not_compared(times):
    known = tree([1.0, 2.0, 3.0], ["p", "p", "q"])
    assert len(check_same_data({"a": known, "b": tree([1.0, 2.0, 3.0], ["p", "p", "q"], times=times)})) == 2


def test_equal_values_are_told_apart_by_their_times():
    """Rounding, as after a change of unit, puts no measurement beside another."""
    first = tree([0.3, 0.3, 3.0], ["p", "p", "q"])
    other = tree([0.1 + 0.2, 0.3, 3.0], ["p", "p", "q"])
    found = check_same_data({"a": first, "b": other})
    assert found["a"]["time"].tolist() == found["b"]["time"].tolist() == [0.0, 1.0, 2.0]
