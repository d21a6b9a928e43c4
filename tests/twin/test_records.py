"""Promises about records: doses, inputs and outcomes in any order, and what is known of a patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prediction.dosed import BOLUS, bolus_rows
from prediction.models import LINE, line_rows

import hierarchical_twin as ht
from hierarchical_twin.twin.records import empty_records, read_records
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


FILTERED = BOLUS.replace('sigma: "HalfNormal(0.2)"}', 'sigma: "HalfNormal(0.2)", where: {dvid: 1}}')
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


def sparse_lines() -> tuple[str, pd.DataFrame]:
    """Age and site in the first row of each patient only."""
    rows = line_rows(4)
    later = rows["id"].duplicated()
    return LINE, rows.assign(age=rows["age"].mask(later), site=rows["site"].mask(later))


def filtered_boluses() -> tuple[str, pd.DataFrame]:
    """Dose rows that do not say of which outcome they are."""
    rows = bolus_rows()
    return FILTERED, rows.assign(dvid=rows["evid"].map({1: ".", 0: "1"}))


@pytest.mark.parametrize("made", [sparse_lines, filtered_boluses])
def test_rows_of_the_fit_with_blank_cells_are_known_when_they_come_again(made) -> None:
    """Otherwise each measurement and dose counts twice."""
    spec, rows = made()
    twin = ht.start_twin(posited(ht.parse_spec(spec), rows), patient=rows["id"].iloc[-1], **SMALL)
    own = rows[rows["id"] == twin.patient]
    assert own.isin([None, ".", np.nan]).any().any()
    assert ht.update(twin, own) is twin
    named = own.assign(record=twin.records["record"].to_numpy())
    assert ht.update(twin, named) is twin


def test_replicates_of_the_fit_are_known_when_they_come_again() -> None:
    """Two records with the same cells are two; a third is one too many."""
    rows = line_rows(4)
    twice = pd.concat([rows, rows.iloc[:1]]).sort_values("id", kind="stable", ignore_index=True)
    twin = ht.start_twin(posited(ht.parse_spec(LINE), twice), patient="p0", **SMALL)
    own = twice[twice["id"] == "p0"]
    assert len(twin.records) == len(own)
    assert ht.update(twin, own) is twin
    assert ht.update(twin, rows.iloc[:1]) is twin
    half = own.assign(record=["row 1", *[None] * (len(own) - 1)])
    assert ht.update(twin, half) is ht.update(twin, half.iloc[::-1]) is twin
    with pytest.raises(ht.DataError, match="of 'p0': got the same twice among the new records"):
        ht.update(twin, pd.concat([own, rows.iloc[:1]]))


CLASHES = [
    ([{"y": 1.0}, {"y": 1.0}], None),
    ([{"y": 1.0, "record": "a"}, {"y": 1.0}], None),
    ([{"y": 0.4}, {"y": 2.0, "record": "k"}], ["k"]),
    ([{"y": 0.4}, {"y": 0.4, "record": "k"}], ["k"]),
    ([{"y": 1.0, "record": name} for name in "abab"], ["a", "b"]),
]


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize(("given", "names"), CLASHES)
def test_what_could_be_one_new_record_or_two_is_refused_in_either_order(
    boluses, given, names, is_turned
) -> None:
    start = ht.start_twin(boluses, covariates={"slow": 1}, **SMALL)
    twin = ht.update(start, {**LEVELS[0], "record": "k"})
    rows = [{**LEVELS[0], **row} for row in given]
    with pytest.raises(ht.DataError, match="the same twice") as told:
        ht.update(twin, rows[::-1] if is_turned else rows)
    if names is not None:
        assert [one.where for one in told.value.problems] == [f"record '{name}' of 'new'" for name in names]


@pytest.mark.parametrize("name", ["of the fit", "of a person", "of the cells"])
def test_a_corrected_record_is_known_when_its_first_cells_come_again(boluses, name) -> None:
    """A table that still has the wrong value puts it neither back nor beside the right one."""
    if name == "of the fit":
        twin, own = ht.start_twin(boluses, patient="b1", **SMALL), bolus_rows().query("id == 'b1'")
    else:
        own = pd.DataFrame(DOSES + LEVELS)
        given = own.assign(record=list("abcd")) if name == "of a person" else own
        twin = ht.update(ht.start_twin(boluses, covariates={"slow": 1}, **SMALL), given)
    number = int(np.flatnonzero(own["y"].notna())[0])
    right = {**own.iloc[number].dropna().to_dict(), "record": twin.records["record"][number]}
    for value in (0.9, 0.8):
        twin = ht.update(twin, {**right, "y": value})
        assert twin.steps[-1].corrected == (right["record"],)
    assert ht.update(twin, own) is twin
    more = ht.update(twin, pd.concat([own, pd.DataFrame([{"hour": 20.0, "evid": 0, "y": 0.1}])]))
    assert more.records["y"][number] == 0.8 and len(more.records) == len(own) + 1
    assert ht.update(more, own) is more


@pytest.mark.parametrize("is_trough", [True, False])
def test_at_one_time_the_order_of_arrival_decides(boluses, is_trough) -> None:
    """A sample that comes before its dose is a trough for good; a time just after the dose makes it a peak."""
    start = ht.start_twin(boluses, covariates={"slow": 1}, **SMALL)
    sample = {"record": "s", "hour": 4, "evid": 0, "y": 0.4}
    rows = (sample, DOSES[1]) if is_trough else (DOSES[1], sample)
    one_by_one = start
    for row in rows:
        one_by_one = ht.update(one_by_one, row)
    together = ht.update(start, rows)
    for twin in (one_by_one, together):
        at = twin.arrays["time"][0, np.flatnonzero(twin.arrays["mask_active"][0])[0]]
        assert at < 4 if is_trough else at == 4
    peak = ht.update(one_by_one, {**sample, "hour": 4.001})
    at = peak.arrays["time"][0, np.flatnonzero(peak.arrays["mask_active"][0])[0]]
    assert at == 4.001


def test_what_is_not_known_of_a_patient_is_told_of_all(boluses) -> None:
    model = ht.start_twin(boluses, covariates={"slow": 1}, **SMALL).population.model
    frames = dict.fromkeys("xyz", empty_records(model.spec))
    with pytest.raises(ht.DataError) as told:
        read_records(frames, {"x": {}, "y": {"slow": 1}, "z": {}}, model.spec, model.cohort)
    assert [problem.where for problem in told.value.problems] == ["records of 'x'", "records of 'z'"]
    assert all("slow" in problem.got for problem in told.value.problems)


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
