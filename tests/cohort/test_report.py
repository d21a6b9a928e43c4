"""The data report: no row is lost, no row is counted twice, and the reasons are told."""

from __future__ import annotations

from io import StringIO

import pandas as pd
import pytest
from cohort_specs import GLUCOSE, GROWTH, KILL, MICE, PRODRUG, alter

from hierarchical_twin.cohort.columns import match_rows
from hierarchical_twin.cohort.table import open_table

WIDE = {
    "drug": {
        "column": "P",
        "unit": "mg/L",
        "predicts": "prodrug",
        "error": "lognormal",
        "sigma": "HalfNormal(1)",
    },
    "metabolite": {
        "column": "A",
        "unit": "mg/L",
        "predicts": "active",
        "error": "normal",
        "sigma": "HalfNormal(1)",
        "from_time": 1,
    },
}
LONG = {name: {**words, "column": "DV", "where": {"what": words["column"]}} for name, words in WIDE.items()}
TABLES = {
    "clean": (MICE, alter(GROWTH)),
    "a bit of everything": (
        "mouse,day,volume,age,arm\na,0,1,1,x\na,1,.,1,x\na,,3,1,x\na,2,-1,1,x\nb,0,1,.,x\nc,0,0,2,x\nd,0,1,1,y\n",
        alter(GROWTH, where={"arm": "x"}, parameters__r={"formula": "1 + age + (1 | patient)"}),
    ),
    "doses": (
        "ID,TIME,DV,EVID,AMT\n1,0,.,1,9\n1,1,5,0,.\n1,2,.,0,.\n1,3,.,2,.\n1,4,.,1,0\n2,0,.,1,9\n2,1,.,0,.\n3,1,4,0,.\n",
        alter(PRODRUG),
    ),
    "wide": (
        "ID,TIME,P,A,EVID,AMT\n1,0,.,.,1,9\n1,0,5,3,0,.\n1,1,-5,3,0,.\n1,2,-1,.,0,.\n1,3,.,.,0,.\n2,0,.,4,0,.\n",
        alter(PRODRUG, observations=WIDE),
    ),
    "long": (
        "ID,TIME,what,DV,EVID,AMT\n1,0,.,.,1,9\n1,0,P,5,0,.\n1,0,A,5,0,.\n1,1,A,5,0,.\n1,1,P,0,0,.\n1,1,Z,7,0,.\n",
        alter(PRODRUG, observations=LONG),
    ),
    "inputs": (
        "id,min,glucose,insulin,G_b\n1,-5,90,9,90\n1,2,.,.,90\n1,3,80,9,90\n2,1,90,.,90\n3,1,.,9,90\n4,1,90,9,.\n",
        alter(GLUCOSE, observations__glucose={"until_time": 10}),
    ),
    "coordinates": (
        "id,dose,alive\na,1,0.4\na,.,0.5\na,-1,0.6\na,2,.\nb,1,1.5\n",
        alter(
            KILL,
            observations={
                "alive": {
                    "column": "alive",
                    "predicts": "survival",
                    "error": "beta",
                    "concentration": "HalfNormal(9)",
                }
            },
        ),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_used_a_dose_or_excluded(name: str, read) -> None:
    text, spec = TABLES[name]
    cohort = read(text, spec)
    report = cohort.report
    assert report.rows_read == len(text.strip().splitlines()) - 1
    assert report.rows_read == report.rows_used + report.dose_rows + sum(
        item.count for item in report.excluded
    )
    assert sum(report.used.values()) == len(cohort.rows)
    for outcome, count in report.used.items():
        assert count == cohort.arrays[f"mask_{outcome}"].sum()
    if len(report.used) == 1 and not spec.inputs:
        assert sum(report.used.values()) == report.rows_used


def reasons(read, name: str) -> dict[str, int]:
    return {item.reason: item.count for item in read(*TABLES[name]).report.excluded}


def test_reasons_are_named_and_counted(read) -> None:
    assert reasons(read, "a bit of everything") == {
        "not selected by where": 1,
        "missing value": 1,
        "missing time": 1,
        "not positive, under lognormal error": 2,
        "of a patient left out: missing age": 1,
    }
    assert reasons(read, "doses") == {
        "missing value": 2,
        "other event (EVID 2)": 1,
        "dose of amount 0": 1,
        "dose of a patient without observations": 1,
        "before a dose has acted (prediction 0), under proportional error": 1,
    }
    assert reasons(read, "long") == {
        "before from_time (1 h)": 1,
        "not positive, under lognormal error": 1,
        "not an observation of any outcome": 1,
    }
    assert reasons(read, "coordinates") == {
        "missing dose": 1,
        "negative dose": 1,
        "missing value": 1,
        "not strictly between 0 and 1, under beta error": 1,
    }
    assert reasons(read, "inputs") == {
        "missing value": 1,
        "of a patient left out: no insulin sample": 1,
        "input sample of a patient without observations": 1,
        "of a patient left out: missing G_b": 1,
    }


def test_in_a_wide_table_each_outcome_has_its_own_account(read) -> None:
    report = read(*TABLES["wide"]).report
    assert report.used == {"drug": 1, "metabolite": 1}
    offered = report.rows_read - report.dose_rows
    for outcome, count in report.used.items():
        assert offered == count + sum(item.count for item in report.values_excluded[outcome])
    assert {item.reason: item.count for item in report.excluded} == {
        "not positive, under lognormal error": 1,
        "missing value": 1,
        "before from_time (1 h)": 1,
    }


def test_patients_left_out_are_listed_with_their_reason(read) -> None:
    report = read(*TABLES["inputs"]).report
    assert report.patients_excluded == (
        ("2", "no insulin sample"),
        ("3", "no observation that can be used"),
        ("4", "missing G_b"),
    )
    assert "2: no insulin sample" in str(report)


def test_where_compares_text_and_numbers(read) -> None:
    text = "mouse,day,volume,arm,keep\na,0,1,1.0,yes\na,1,2,1, no\nb,0,3,2,yes \nc,0,4,,yes\n"
    assert read(text, alter(GROWTH, where={"arm": 1})).report.used == {"volume": 2}
    assert read(text, alter(GROWTH, where={"arm": [1, "2"]})).report.used == {"volume": 3}
    table = open_table(pd.read_csv(StringIO(text), dtype=str))
    assert list(match_rows(table, {"arm": [1, "2"], "keep": "yes"})) == [True, False, True, False]
    assert list(match_rows(table, {"arm": None})) == [False, False, False, True]


def test_the_printed_report(read) -> None:
    text = str(read(*TABLES["a bit of everything"]).report)
    assert text.splitlines()[:4] == [
        "Data report: mice.csv",
        "  rows read        7",
        "  rows used        1",
        "  rows excluded    6",
    ]
    assert "2 not positive, under lognormal error (rows 4, 6)" in text
    assert "observations per patient: 1 to 1, median 1" in text


def test_labels_that_are_one_number_are_two_patients_and_told(read) -> None:
    report = read("mouse,day,volume\n7,0,1\n7.0,1,2\n8,0,1\n007,0,1\n", alter(GROWTH)).report
    note = "patients '7' and '7.0' are read as two, though their labels are one number (such pairs: 2)"
    assert report.patients == 4 and note in report.notes
    alone = read("mouse,day,volume\n7,0,1\n7a,1,2\n8.5,0,1\n", alter(GROWTH)).report
    assert not any("one number" in note for note in alone.notes)
