"""Doses: NONMEM rows, one per patient, infusions, additional doses, troughs and peaks."""

from __future__ import annotations

import pytest
from cohort_specs import PRODRUG, alter
from numpy.testing import assert_allclose, assert_array_equal

INFUSION = {"name": "prodrug_activation", "input": "infusion"}


# An additive error explains a value before any dose; a proportional one does not.
ADDITIVE = {"error": "normal"}


def doses(**words) -> dict:
    return {**PRODRUG["doses"], **words}


def test_event_rows(read) -> None:
    text = "ID,TIME,DV,EVID,AMT\n1,0,.,1,100\n1,1,5,0,.\n1,2,.,2,.\n1,4,.,1,50\n1,5,6,0,0\n2,0,3,0,.\n"
    cohort = read(text, alter(PRODRUG, observations__drug=ADDITIVE))
    assert_array_equal(cohort.arrays["dose_amount"], [[100, 50], [0, 0]])
    assert_array_equal(cohort.arrays["dose_time"], [[0, 4], [0, 0]])
    assert cohort.dims["dose_time"] == ("patient", "dose") and cohort.size("dose") == 2
    report = cohort.report
    assert (report.rows_read, report.rows_used, report.dose_rows, report.doses) == (6, 3, 2, 2)
    assert str(report.excluded[0]) == "1 other event (EVID 2) (row 3)"
    assert "patients without a dose: 1" in report.notes


def test_without_evid_an_amount_makes_a_dose(read) -> None:
    text = "ID,TIME,DV,AMT\n1,0,.,100\n1,1,5,0\n1,2,4,.\n"
    cohort = read(text, alter(PRODRUG, doses={"amount": "AMT", "unit": "mg"}))
    assert cohort.report.dose_rows == 1 and cohort.report.used == {"drug": 2}


def test_additional_doses_and_rates(read) -> None:
    text = "ID,TIME,DV,EVID,AMT,RATE,II,ADDL\n1,0,.,1,100,50,12,2\n1,3,.,1,10,0,.,.\n1,30,5,0,.,.,.,.\n"
    words = doses(rate="RATE", additional="ADDL", interval="II")
    cohort = read(text, alter(PRODRUG, mechanism=INFUSION, doses=words))
    assert_array_equal(cohort.arrays["dose_time"], [[0, 3, 12, 24]])
    assert_array_equal(cohort.arrays["dose_amount"], [[100, 10, 100, 100]])
    assert_array_equal(cohort.arrays["dose_duration"], [[2, 0, 2, 2]])
    assert (cohort.report.dose_rows, cohort.report.doses) == (2, 4)


def test_duration_as_a_number(read) -> None:
    text = "ID,TIME,DV,EVID,AMT\n1,0,.,1,100\n1,1,5,0,.\n"
    cohort = read(text, alter(PRODRUG, mechanism=INFUSION, doses=doses(duration=1.5)))
    assert_array_equal(cohort.arrays["dose_duration"], [[1.5]])


def test_row_order_at_one_time_decides_trough_or_peak(read) -> None:
    text = "ID,TIME,DV,EVID,AMT\n1,0,.,1,100\n1,12,5,0,.\n1,12,.,1,100\n1,12,50,0,.\n"
    cohort = read(text, alter(PRODRUG))
    time = cohort.arrays["time"][0]
    assert time[0] < 12.0 and time[1] == 12.0
    assert_allclose(time, [12, 12], rtol=1e-11)
    assert_array_equal(cohort.arrays["observed_drug"], [[5, 50]])
    assert list(cohort.rows["time"]) == [12, 12]


def test_a_trough_at_time_0_is_ahead_of_the_dose(read) -> None:
    text = "ID,TIME,DV,EVID,AMT\n1,0,0,0,.\n1,0,.,1,100\n1,1,5,0,.\n2,0,9,0,.\n"
    cohort = read(text, alter(PRODRUG, observations__drug=ADDITIVE))
    assert cohort.arrays["time"][0, 0] < 0 and cohort.arrays["time"][1, 0] == 0


def test_one_dose_per_patient(read) -> None:
    text = "ID,TIME,DV,dose,length\n1,1,5,100,2\n1,2,4,100,.\n2,1,7,80,1\n3,1,7,.,1\n"
    words = {"amount": "dose", "unit": "mg", "time": 0.5, "duration": "length"}
    cohort = read(text, alter(PRODRUG, mechanism=INFUSION, doses=words))
    assert_array_equal(cohort.arrays["dose_amount"], [[100], [80]])
    assert_array_equal(cohort.arrays["dose_time"], [[0.5], [0.5]])
    assert_array_equal(cohort.arrays["dose_duration"], [[2], [1]])
    assert cohort.report.patients_excluded == (("3", "missing dose"),)
    fixed = read(text, alter(PRODRUG, doses={"amount": 30, "unit": "mg", "time": 0}))
    assert_array_equal(fixed.arrays["dose_amount"], [[30], [30], [30]])


def test_a_dose_that_changes_within_a_patient_is_refused(refuse) -> None:
    words = {"amount": "dose", "unit": "mg", "time": 0}
    error = refuse("ID,TIME,DV,dose\n1,1,5,100\n1,2,4,90\n", alter(PRODRUG, doses=words))
    assert "'90' for patient '1', who has '100'" in str(error)


def test_a_measurement_on_a_dose_row_is_not_read(read) -> None:
    cohort = read("ID,TIME,DV,EVID,AMT\n1,0,text,1,100\n1,1,5,0,.\n", alter(PRODRUG))
    assert cohort.report.used == {"drug": 1} and cohort.report.dose_rows == 1


def test_an_mdv_column_is_pointed_out_until_it_is_named(read) -> None:
    text = "ID,TIME,DV,EVID,AMT,MDV\n1,0,.,1,100,1\n1,1,5,0,.,0\n1,2,8,0,.,1\n"
    notes = read(text, alter(PRODRUG)).report.notes
    assert any("write observations.drug.where: {MDV: 0}" in note for note in notes)
    named = read(text, alter(PRODRUG, observations__drug={"where": {"MDV": 0}}))
    assert named.report.used == {"drug": 1} and not any("MDV" in note for note in named.report.notes)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_doses_are_ordered_by_time_whatever_the_rows(read, order) -> None:
    lines = ["1,0,.,1,10", "1,1,5,0,.", "1,2,.,1,20", "1,3,4,0,."]
    text = "ID,TIME,DV,EVID,AMT\n" + "\n".join(lines[place] for place in order) + "\n"
    cohort = read(text, alter(PRODRUG))
    assert_array_equal(cohort.arrays["dose_amount"], [[10, 20]])
    assert_array_equal(cohort.arrays["observed_drug"], [[5, 4]])


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        (
            "ADDL,II",
            "2,12",
            ("column 'ADDL': got ADDL 2, which", "write doses: {additional: ADDL, interval: II}"),
        ),
        ("RATE", "5", ("no 'rate'", "{rate: RATE} and mechanism: {input: infusion}")),
        ("SS", "1", ("steady-state doses are not supported",)),
        ("EVID", "4", ("got EVID 4", "write doses: {event: EVID}")),
        ("EVID", "0", ("got EVID 0",)),
    ],
)
def test_dose_columns_that_are_not_read_are_refused(refuse, column, cell, words) -> None:
    blank = "," * column.count(",")
    text = f"ID,TIME,DV,AMT,{column}\n1,0,.,100,{cell}\n1,1,5,0,{blank}\n"
    message = str(refuse(text, alter(PRODRUG, doses={"amount": "AMT", "unit": "mg"})))
    assert all(word in message for word in words), message


def test_a_dose_column_in_small_letters_is_noted(read) -> None:
    text = "ID,TIME,DV,AMT,addl,ii\n1,0,.,100,2,12\n1,1,5,0,.,.\n"
    notes = read(text, alter(PRODRUG, doses={"amount": "AMT", "unit": "mg"})).report.notes
    assert any("got addl 2" in note and "{additional: addl, interval: ii}" in note for note in notes)


def test_dose_columns_that_say_nothing_or_mean_something_else_are_let_be(read) -> None:
    header = "ID,TIME,DV,AMT,EVID,RATE,II,ADDL,ss,CMT\n"
    text = header + "1,0,.,100,1,0,12,0,b,1\n1,1,5,0,0,.,.,.,b,2\n1,2,.,50,1,.,.,.,b,1\n"
    words = {"amount": "AMT", "unit": "mg"}
    cohort = read(text, alter(PRODRUG, doses=words, parameters__V={"formula": "1 + ss + (1 | patient)"}))
    assert not any("CMT" in note for note in cohort.report.notes)
    other = read(text.replace("b,1\n1,1", "b,3\n1,1"), alter(PRODRUG, doses=words))
    assert any("column CMT is not read; it is 3, 1 on dose rows" in note for note in other.report.notes)


def test_a_fixed_time_does_not_hide_dose_rows(read, refuse) -> None:
    spec = alter(PRODRUG, doses={"amount": "AMT", "unit": "mg", "time": 0})
    text = "ID,TIME,DV,AMT\n1,0,.,100\n1,1,5,.\n1,12,.,100\n1,13,5,.\n"
    message = str(refuse(text, spec))
    assert "row 3" in message and "a dose at time 12, and doses.time is 0" in message
    assert "leave doses.time out" in message
    assert read(text.replace("1,12,.,100\n", ""), spec).report.doses == 1
    assert read("ID,TIME,DV,AMT\n1,1,5,100\n1,12,4,100\n", spec).report.doses == 1


def test_a_table_without_any_dose_is_refused(refuse) -> None:
    spec = alter(PRODRUG, observations__drug=ADDITIVE)
    assert "no dose of any patient" in str(refuse("ID,TIME,DV,EVID,AMT\n1,1,5,0,.\n", spec))
    # The one patient with a dose has no measurement.
    text = "ID,TIME,DV,EVID,AMT\n1,1,5,0,.\n2,0,.,1,9\n"
    assert "no dose of any patient" in str(refuse(text, spec))
