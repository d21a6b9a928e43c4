"""What the priors expect, at measured rows and at planned ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from hierarchical_twin.prediction.prior import prior_table
from prediction.models import LINE, line_rows

SPEC = ht.parse_spec(LINE)


def test_bands_are_those_of_the_prior_predictive():
    rows = line_rows()
    table = prior_table(SPEC, rows, draws=300, seed=2, prob=0.8)
    replicates = ht.prior_predictive(ht.build(SPEC, ht.read_cohort(rows, SPEC)), draws=300, seed=2)["y"]
    assert table["lower_new"].to_numpy() == pytest.approx(np.quantile(replicates, 0.1, axis=0))
    assert table["EPRED"].to_numpy() == pytest.approx(replicates.mean(axis=0))
    assert list(table["patient"]) == list(rows["id"]) and table["DV"].to_numpy() == pytest.approx(rows["y"])
    assert (
        set(table["unit"]) == {"m"} and set(table["prob"]) == {0.8} and set(table["kind"]) == {"equal-tailed"}
    )


@pytest.mark.parametrize("plan", [lambda rows: rows.drop(columns="y"), lambda rows: rows.assign(y=None)])
def test_a_plan_without_measurements(plan):
    rows = line_rows(4)
    table = prior_table(SPEC, plan(rows), draws=50)
    assert len(table) == len(rows) and table["DV"].isna().all()
    measured = prior_table(SPEC, rows, draws=50)
    assert table["median"].to_numpy() == pytest.approx(measured["median"].to_numpy())


def test_two_outcomes_in_one_column():
    spec = ht.read_spec(ht.shipped_specs()["prodrug_activation"])
    plan = pd.DataFrame(
        {
            "id": "a",
            "time_h": [1.0, 2.0],
            "analyte": ["losartan", "e3174"],
            "genotype": "*1/*1",
            "dose_umol": 100.0,
        }
    ).assign(sd_nM=3.0, n=4)
    table = prior_table(spec, plan, draws=50)
    assert list(table["outcome"]) == ["losartan", "e3174"] and table["DV"].isna().all()
    assert (table["upper_new"] > table["lower_new"]).all()


def test_problems_are_told():
    with pytest.raises(ht.DataError, match="did you mean 'tt'"):
        prior_table(SPEC, line_rows().rename(columns={"t": "tt"}))
    with pytest.raises(ht.SamplingError, match="prob"):
        prior_table(SPEC, line_rows(), prob=90)
