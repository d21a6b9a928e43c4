"""From rows to padded arrays: ragged patients, replicates, forms of a table, inputs, units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cohort_specs import GLUCOSE, GROWTH, KILL, MICE, PRODRUG, alter
from numpy.testing import assert_allclose, assert_array_equal

from hierarchical_twin.cohort import Cohort, read_cohort
from hierarchical_twin.dims import PATIENT

TWO_OUTCOMES = {
    "drug": {
        "column": "P",
        "unit": "mg/L",
        "predicts": "prodrug",
        "error": "proportional",
        "sigma": "HalfNormal(1)",
    },
    "metabolite": {
        "column": "A",
        "unit": "mg/L",
        "predicts": "active",
        "error": "proportional",
        "sigma": "HalfNormal(1)",
    },
}
ONE_DOSE = {"amount": "dose", "unit": "mg", "time": 0}


def test_ragged_patients_are_padded_by_repeating_the_last_time(read) -> None:
    cohort = read(MICE, alter(GROWTH))
    assert cohort.patients == ("a", "b", "c")
    assert_array_equal(cohort.arrays["time"], [[0, 2, 5], [0, 3, 3], [1, 1, 1]])
    assert_array_equal(cohort.arrays["mask_volume"], [[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    assert_array_equal(cohort.arrays["observed_volume"], [[1, 1.2, 1.6], [2, 2.5, 1], [3, 1, 1]])
    assert (cohort.size("patient"), cohort.size("time"), cohort.size("effect")) == (3, 3, 2)
    assert repr(cohort) == "<Cohort mice.csv: 3 patients, 6 volume>"


def test_every_array_has_the_shape_its_dims_say(read) -> None:
    spec = alter(GROWTH, parameters__r={"formula": "1 + grade + (1 | patient) + (1 | site)"},
                 random_effects__site={"sd": "HalfNormal(1)"})  # fmt: skip
    cohort = read(MICE, spec)
    assert set(cohort.arrays) == set(cohort.dims)
    for name, array in cohort.arrays.items():
        assert array.shape == tuple(cohort.size(dim) for dim in cohort.dims[name])
        assert np.isfinite(array.astype(float)).all()


def test_rows_point_at_the_arrays_and_at_the_table(read) -> None:
    cohort = read(MICE, alter(GROWTH))
    rows = cohort.rows
    assert list(rows["table_row"]) == [1, 2, 3, 4, 5, 6]
    at = (rows["patient_index"], rows["position"])
    assert_array_equal(cohort.arrays["observed_volume"][at], rows["value"])
    assert_array_equal(cohort.arrays["time"][at], rows["time"])
    assert cohort.arrays["mask_volume"].sum() == len(rows)


def test_csv_parquet_and_frame_are_one_cohort(tmp_path: Path, read) -> None:
    spec = alter(GROWTH, parameters__r={"formula": "1 + center(age) + grade + (1 | patient)"})
    cohort = read(MICE, spec)
    frame = pd.read_csv(tmp_path / "mice.csv")
    frame.to_parquet(tmp_path / "mice.parquet")
    odd = frame.astype({"mouse": "category", "volume": "Float64", "age": "Int64", "day": object})
    for other in (tmp_path / "mice.parquet", frame, odd, frame[frame.columns[::-1]]):
        assert read_cohort(other, spec).data_hash == cohort.data_hash
    assert read_cohort(frame.assign(volume=frame["volume"] + 1), spec).data_hash != cohort.data_hash


def test_a_byte_order_mark_quotes_and_spaces_do_no_harm(read) -> None:
    plain = read("mouse,day,volume\na,0,1\nb,1,2\n", alter(GROWTH))
    decorated = read('\ufeff"mouse", day ,volume\r\n"a", 0,1 \r\n\r\n b ,1,2\r\n,,\r\n', alter(GROWTH))
    assert decorated.data_hash == plain.data_hash


def test_a_frame_is_never_changed(tmp_path: Path, read) -> None:
    read(MICE, alter(GROWTH))
    frame = pd.read_csv(tmp_path / "mice.csv", index_col="day").reset_index()
    frame.index = frame.index[::-1]
    before = frame.copy(deep=True)
    read_cohort(frame, alter(GROWTH, parameters__r={"formula": "1 + center(age) + (1 | patient)"}))
    pd.testing.assert_frame_equal(frame, before)


def test_whole_numbers_are_labels_without_a_point() -> None:
    frame = pd.DataFrame({"mouse": [40.0, 40.0, 7.0], "day": [0, 1, 0], "volume": [1.0, 2.0, 3.0]})
    assert read_cohort(frame, alter(GROWTH)).patients == ("40", "7")


def test_long_and_wide_tables_give_the_same_arrays(read) -> None:
    wide = "ID,TIME,P,A,dose\n1,1,5,1,9\n1,2,4,,9\n1,4,,2,9\n2,1,7,3,8\n"
    long = (
        "ID,TIME,what,DV,dose\n1,1,P,5,9\n1,2,P,4,9\n2,1,P,7,8\n2,1,A,3,8\n1,4,A,2,9\n1,1,A,1,9\n"
    )  # fmt: skip
    in_long = {
        name: {**words, "column": "DV", "where": {"what": words["column"]}}
        for name, words in TWO_OUTCOMES.items()
    }
    one = read(wide, alter(PRODRUG, doses=ONE_DOSE, observations=TWO_OUTCOMES))
    two = read(long, alter(PRODRUG, doses=ONE_DOSE, observations=in_long))
    assert one.data_hash == two.data_hash
    assert_array_equal(one.arrays["time"], [[1, 2, 4], [1, 1, 1]])
    assert_array_equal(one.arrays["mask_metabolite"], [[1, 0, 1], [1, 0, 0]])
    assert_array_equal(one.arrays["dose_amount"], [[9], [8]])
    assert any("out of time order" in note for note in two.report.notes)


def test_replicates_at_one_time_get_a_record_each(read) -> None:
    cohort = read("mouse,day,volume\na,1,2\na,0,1\na,1,3\na,1,3\n", alter(GROWTH))
    assert_array_equal(cohort.arrays["time"], [[0, 1, 1, 1]])
    assert_array_equal(cohort.arrays["observed_volume"], [[1, 2, 3, 3]])
    notes = " / ".join(cohort.report.notes)
    assert "out of time order were sorted (patients: 1)" in notes
    assert "time and value: 1 (first: row 4)" in notes


def test_replicates_of_two_outcomes_share_records(read) -> None:
    cohort = read(
        "ID,TIME,P,A,dose\n1,1,5,1,9\n1,1,6,2,9\n1,1,7,.,9\n",
        alter(PRODRUG, doses=ONE_DOSE, observations=TWO_OUTCOMES),
    )
    assert_array_equal(cohort.arrays["time"], [[1, 1, 1]])
    assert_array_equal(cohort.arrays["observed_drug"], [[5, 6, 7]])
    assert_array_equal(cohort.arrays["mask_metabolite"], [[1, 1, 0]])


def test_without_time_the_coordinate_orders_the_records(read) -> None:
    cohort = read("id,dose,alive\na,3,0.2\na,1,0.9\na,1,0.8\nb,2,0.5\n", alter(KILL))
    assert "time" not in cohort.arrays
    assert_array_equal(cohort.arrays["dose"], [[1, 1, 3], [2, 2, 2]])
    assert_array_equal(cohort.arrays["observed_alive"], [[0.9, 0.8, 0.2], [0.5, 1, 1]])
    assert cohort.rows["time"].isna().all() and list(cohort.rows["dose"]) == [1, 1, 3, 2]


INSULIN = """\
id,min,glucose,insulin,G_b
1,-10,90,10,90
1,0,.,20,90
1,4,280,.,90
1,10,.,40,90
1,16,200,.,90
1,20,180,30,90
2,5,250,50,85
2,8,240,.,85
"""


def glucose_cohort(read, interpolation: str) -> Cohort:
    inputs = {"insulin": {**GLUCOSE["inputs"]["insulin"], "interpolation": interpolation}}
    return read(INSULIN, alter(GLUCOSE, inputs=inputs))


def test_records_are_the_union_of_observations_and_input_samples(read) -> None:
    cohort = glucose_cohort(read, "linear")
    assert_array_equal(cohort.arrays["time"], [[0, 4, 10, 16, 20], [0, 5, 8, 8, 8]])
    assert_allclose(cohort.arrays["insulin"], [[20, 28, 40, 34, 30], [50, 50, 50, 50, 50]])
    assert_array_equal(cohort.arrays["mask_glucose"], [[0, 1, 0, 1, 1], [0, 1, 1, 0, 0]])
    assert_array_equal(cohort.arrays["known_G_b"], [90, 85])
    # The sample before time 0 is used for the input, its glucose is not.
    assert cohort.report.rows_used == 8
    assert [str(item) for item in cohort.report.values_excluded["glucose"]] == [
        "2 missing value (rows 2, 4)",
        "1 before time 0, where the model starts (row 1)",
    ]


def test_an_input_before_time_0_shapes_its_value_at_0(read) -> None:
    cohort = read("id,min,glucose,insulin,G_b\n1,-10,.,10,9\n1,10,5,30,9\n", alter(GLUCOSE))
    assert_array_equal(cohort.arrays["time"], [[0, 10]])
    assert_array_equal(cohort.arrays["insulin"], [[20, 30]])


@pytest.mark.parametrize(
    ("interpolation", "moments", "levels"),
    [
        ("locf", [0, 0, 4, 10, 10, 16, 20, 20], [10, 20, 20, 20, 40, 40, 40, 30]),
        ("nocb", [0, 0, 4, 10, 10, 16, 20], [20, 40, 40, 40, 30, 30, 30]),
    ],
)
def test_a_stepwise_input_has_a_record_on_either_side_of_each_step(
    read, interpolation, moments, levels
) -> None:
    cohort = glucose_cohort(read, interpolation)
    count = len(moments)
    assert_array_equal(cohort.arrays["time"][0, :count], moments)
    assert_array_equal(cohort.arrays["insulin"][0, :count], levels)


def test_several_input_values_at_one_time_become_their_mean(read) -> None:
    cohort = read("id,min,glucose,insulin,G_b\n1,1,5,10,9\n1,1,6,20,9\n", alter(GLUCOSE))
    assert_array_equal(cohort.arrays["insulin"], [[15, 15, 15]])
    assert "insulin: times with several different values: 1; their mean is used" in cohort.report.notes


def test_inputs_are_converted_to_working_units(read) -> None:
    base = read(INSULIN, alter(GLUCOSE))
    # The working unit of insulin is the one the input declares: its numbers stay, parameters convert.
    other = read(INSULIN, alter(GLUCOSE, inputs={"insulin": {"column": "insulin", "unit": "mU/L"}}))
    assert_allclose(other.arrays["insulin"], base.arrays["insulin"])
    assert_allclose(other.arrays["known_G_b"], base.arrays["known_G_b"])


def test_masked_places_hold_values_the_error_model_accepts(read) -> None:
    text = "id,dose,alive,n\na,1,0.5,2\na,2,0.5,2\nb,1,0.5,2\n"
    beta = {
        "alive": {
            "column": "alive",
            "predicts": "survival",
            "error": "beta",
            "concentration": "HalfNormal(9)",
        }
    }
    assert read(text, alter(KILL, observations=beta)).arrays["observed_alive"][1, 1] == 0.5
    counts = {"alive": {"column": "alive", "predicts": "survival", "error": "binomial", "trials": "n"}}
    cohort = read(text.replace("0.5", "1"), alter(KILL, observations=counts))
    assert (cohort.arrays["observed_alive"][1, 1], cohort.arrays["trials_alive"][1, 1]) == (0, 1)
    assert_array_equal(cohort.arrays["trials_alive"][0], [2, 2])


def test_trials_may_be_one_number(read) -> None:
    counts = {"alive": {"column": "alive", "predicts": "survival", "error": "binomial", "trials": 10}}
    cohort = read("id,dose,alive\na,1,3\na,2,10\n", alter(KILL, observations=counts))
    assert_array_equal(cohort.arrays["trials_alive"], [[10, 10]])


def test_censoring_by_limit_and_by_column(read) -> None:
    text = "mouse,day,volume,lloq,cens\na,0,0,0.1,0\na,1,0.5,0.1,0\na,2,9,0.1,0\na,3,0.2,.,1\na,4,7,.,-1\n"
    limits = alter(GROWTH, observations__volume={"lower_limit": "lloq", "upper_limit": 8})
    cohort = read(text, limits)
    assert_array_equal(cohort.arrays["observed_volume"], [[0.1, 0.5, 8, 0.2, 7]])
    assert_array_equal(cohort.arrays["censored_volume"], [[1, 0, -1, 0, 0]])
    assert cohort.arrays["censored_volume"].dtype == np.int8
    assert cohort.report.censored == {"volume": 2}
    marked = read(text, alter(GROWTH, observations__volume={"censored": "cens", "lower_limit": 0.1}))
    assert_array_equal(marked.arrays["censored_volume"], [[1, 0, 0, 1, -1]])
    plain = read(text, alter(GROWTH))
    assert "censored_volume" not in plain.arrays
    assert plain.report.used == {"volume": 4}


def test_known_standard_errors(read) -> None:
    text = "mouse,day,volume,sd,n\na,0,4,2,16\na,1,5,.,16\na,2,6,3,9\n"
    words = {"error": "proportional", "standard_error": {"sd": "sd", "n": "n"}}
    cohort = read(text, alter(GROWTH, observations__volume=words))
    assert_allclose(cohort.arrays["standard_error_volume"], [[0.5, 0, 1]])
    assert (
        "volume: observations without a standard error: 1; sigma alone is their error" in cohort.report.notes
    )
    alone = {**GROWTH["observations"]["volume"], **words, "error": "normal", "sigma": None}
    cohort = read(text, alter(GROWTH, observations={"volume": alone}))
    assert_allclose(cohort.arrays["standard_error_volume"], [[0.5, 1]])
    assert str(cohort.report.excluded[0]) == "1 standard error missing or 0, and no sigma (row 2)"


def test_patients_keep_the_order_of_the_table(read) -> None:
    cohort = read("mouse,day,volume\nz,0,1\na,0,1\nz,1,2\nm,0,1\n", alter(GROWTH))
    assert cohort.patients == ("z", "a", "m") == cohort.coords[PATIENT]
    assert list(cohort.rows["patient"]) == ["z", "z", "a", "m"]
