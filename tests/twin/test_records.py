"""Promises about records: doses, inputs and outcomes in any order, and what is known of a patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prediction.dosed import BOLUS, bolus_rows

import hierarchical_twin as ht
from twin.posited import posited

CASES = Path(__file__).parents[2] / "case_studies"
SMALL = {"particles": 60, "seed": 2}


def assert_same_arrays(one: ht.Twin, two: ht.Twin) -> None:
    assert set(one.arrays) == set(two.arrays)
    for name, value in one.arrays.items():
        np.testing.assert_array_equal(value, two.arrays[name], err_msg=name)


@pytest.fixture(scope="module")
def boluses() -> ht.Fit:
    return posited(ht.parse_spec(BOLUS), bolus_rows())


DOSES = [{"hour": 0, "evid": 1, "amount": 100}, {"hour": 4, "evid": 1, "amount": 50}]
LEVELS = [{"hour": 2, "evid": 0, "y": 0.4}, {"hour": 6, "evid": 0, "y": 0.6}]


def test_records_in_any_order_make_the_same_arrays(boluses) -> None:
    """A late dose is before the measurements that it changes."""
    start = ht.start_twin(boluses, covariates={"slow": 1}, **SMALL)
    at_once = ht.update(start, DOSES + LEVELS)
    late = start
    for row in (LEVELS[1], DOSES[0], LEVELS[0], DOSES[1]):
        late = ht.update(late, row)
    assert late.revision == 4
    assert_same_arrays(late, at_once)
    assert at_once.arrays["dose_amount"][0].tolist() == [100, 50, 0, 0]
    assert at_once.arrays["mask_active"].sum() == 2


def test_a_dose_alone_leaves_the_posterior_and_has_no_surprise(boluses) -> None:
    start = ht.start_twin(boluses, covariates={"slow": 0}, **SMALL)
    twin = ht.update(start, DOSES[0])
    assert not twin.steps[0].surprises
    assert twin.steps[0].log_evidence == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(twin.intervals()["mean"], start.intervals()["mean"])


def test_a_record_known_by_its_cells_is_found_whatever_their_type(boluses) -> None:
    own = bolus_rows().query("id == 'b1'")
    twin = ht.start_twin(boluses, patient="b1", **SMALL)
    assert len(twin.records) == len(own)
    assert ht.update(twin, own) is twin
    assert ht.update(twin, own.astype(str).replace("nan", "")) is twin


def test_two_outcomes_need_not_both_be_measured() -> None:
    spec = ht.read_spec(ht.shipped_specs()["prodrug_activation"])
    fit = posited(spec, pd.read_csv(CASES / "prodrug_activation" / "losartan_cyp2c9_arms.csv"))
    twin = ht.start_twin(fit, covariates={"genotype": "*1/*3", "dose_umol": 100}, **SMALL)
    row = {"time_h": 2, "mean_nM": 300, "sd_nM": 100, "n": 9}
    twin = ht.update(twin, {**row, "analyte": "e3174"})
    assert [surprise.outcome for surprise in twin.steps[0].surprises] == ["e3174"]
    assert twin.arrays["dose_amount"][0, 0] == 100.0
    twin = ht.update(twin, {**row, "analyte": "losartan"})
    assert twin.arrays["mask_losartan"].sum() == twin.arrays["mask_e3174"].sum() == 1
    odd = ht.update(twin, {"record": "odd", **row, "analyte": "losartn"})
    assert odd.steps[-1].unused == ("odd",)
    assert "left out: odd" in odd.steps[-1].warnings[0]
    with pytest.raises(ht.DataError, match="no dose_umol of 'new'"):
        ht.start_twin(fit, covariates={"genotype": "*1/*3"}, **SMALL)
    with pytest.raises(ht.DataError, match="one value for each patient"):
        ht.update(twin, {**row, "analyte": "losartan", "dose_umol": 50})


@pytest.fixture(scope="module")
def glucose() -> ht.Fit:
    spec = ht.read_spec(ht.shipped_specs()["glucose_minimal_model"])
    table = pd.read_csv(CASES / "glucose_minimal_model" / "simulated_cohort.csv")
    return posited(spec, table[table["id"].isin(table["id"].unique()[:2])])


BASAL = {"basal_glucose_mg_per_dL": 90, "basal_insulin_uU_per_mL": 8}


def test_a_measured_input_is_a_record(glucose) -> None:
    """Glucose says nothing before any insulin is known; a late insulin sample changes what is between."""
    start = ht.start_twin(glucose, covariates=BASAL, **SMALL)
    twin = ht.update(start, {"time_min": 20, "glucose_mg_per_dL": 200})
    assert len(twin.steps[0].unused) == 1
    assert not twin.arrays["mask_glucose"].any()
    rows = [
        {"time_min": 30, "insulin_uU_per_mL": 40, "glucose_mg_per_dL": 160},
        {"time_min": 10, "insulin_uU_per_mL": 80},
    ]
    for row in rows:
        twin = ht.update(twin, row)
    assert twin.arrays["mask_glucose"].sum() == 2
    at_once = ht.update(start, [*rows, {"time_min": 20, "glucose_mg_per_dL": 200}])
    assert_same_arrays(twin, at_once)
    at = np.flatnonzero(twin.arrays["time"][0] == 20)[0]
    assert twin.arrays["insulin"][0, at] == pytest.approx(60)


def test_what_is_early_is_left_out_and_told(glucose) -> None:
    """The spec counts glucose from 8 minutes on."""
    start = ht.start_twin(glucose, covariates=BASAL, **SMALL)
    row = {"record": "early", "time_min": 4, "insulin_uU_per_mL": 300, "glucose_mg_per_dL": 290}
    twin = ht.update(start, row)
    assert twin.steps[0].unused == ("early",)
    assert 300 in twin.arrays["insulin"]


def test_a_coordinate_stands_for_time() -> None:
    spec = ht.read_spec(ht.shipped_specs()["apoptosis_threshold"])
    table = pd.read_csv(CASES / "apoptosis_threshold" / "cll_exvivo_fludarabine_nutlin3.csv")
    chosen = table[table["tp53"].notna()]["id"].unique()[:3]
    fit = posited(spec, table[table["id"].isin(chosen)])
    twin = ht.start_twin(fit, covariates={"tp53": 0}, **SMALL)
    twin = ht.update(twin, [{"conc_uM": 5, "viability": 0.4}, {"conc_uM": 0.1, "viability": 0.9}])
    assert [surprise.value for surprise in twin.steps[0].surprises] == [0.9, 0.4]
    assert twin.arrays["dose"][0, :2].tolist() == [0.1, 5.0]
    assert {"dose_90", "K_apo"} <= set(twin.intervals()["parameter"])


def test_names_that_a_person_gave_are_kept(boluses) -> None:
    start = ht.start_twin(boluses, covariates={"slow": 0}, **SMALL)
    named = pd.DataFrame([{"record": 7, **DOSES[0]}, {"record": "b", **LEVELS[0]}])
    twin = ht.update(start, named)
    assert twin.records["record"].tolist() == ["7", "b"]
    assert twin.steps[0].added == ("7", "b")
