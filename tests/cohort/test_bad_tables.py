"""A table of bad tables: each row names what is wrong and the words of the one answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from cohort_specs import GLUCOSE, GROWTH, KILL, MICE, PRODRUG, alter

from hierarchical_twin.cohort import read_cohort
from hierarchical_twin.errors import DataError
from hierarchical_twin.spec.schema import Spec

GROWTH_SPEC = alter(GROWTH)
INFUSION = {"name": "prodrug_activation", "input": "infusion"}
BY_AGE = alter(GROWTH, parameters__r={"formula": "1 + age + (1 | patient)"})
ON_GRADE = {"formula": "1 + grade + (1 | patient)"}
BY_GRADE = alter(GROWTH, parameters__r=ON_GRADE)
COUNTS = alter(
    KILL,
    observations={"alive": {"column": "alive", "predicts": "survival", "error": "binomial", "trials": "n"}},
)
LAGGED = alter(
    PRODRUG,
    mechanism={"name": "prodrug_activation", "input": "oral"},
    parameters__k_a={"unit": "1/h", "value": 1},
    parameters__t_lag={"unit": "h", "column": "lag"},
    doses={"amount": "AMT", "unit": "mg"},
)


class Bad(NamedTuple):
    """A table, its spec, and words the message must hold."""

    text: str
    spec: Spec
    words: tuple[str, ...]


BAD = {
    "empty file": Bad("", GROWTH_SPEC, ("mice.csv", "an empty file")),
    "blank lines only": Bad("\n\n  \n", GROWTH_SPEC, ("an empty file",)),
    "header only": Bad("mouse,day,volume\n", GROWTH_SPEC, ("no rows", "at least one row")),
    "semicolons": Bad("mouse;day;volume\na;0;1,5\n", GROWTH_SPEC, ("line 1", "semicolons", "sep=';'")),
    "tabs": Bad("mouse\tday\tvolume\na\t0\t1\n", GROWTH_SPEC, ("tabs", "commas")),
    "binary": Bad("\x00\x01\x02", GROWTH_SPEC, ("binary file",)),
    "missing columns, all of them": Bad(
        "mouse,Day,volum\na,0,1\n",
        GROWTH_SPEC,
        (
            "time.column: got 'day'",
            "did you mean 'Day'?",
            "observations.volume.column",
            "did you mean 'volum'?",
        ),
    ),
    "missing covariate column": Bad(
        "mouse,day,volume\na,0,1\n", BY_AGE, ("covariates.age", "mouse, day, volume")
    ),
    "column twice": Bad("mouse,day,volume,day\na,0,1,0\n", GROWTH_SPEC, ("column 'day' 2 times",)),
    "row too long": Bad("mouse,day,volume\na,0,1,5\n", GROWTH_SPEC, ("3 cells in each row",)),
    "a later row too long": Bad("mouse,day,volume\na,0,1\na,1,1,5\n", GROWTH_SPEC, ("3 cells in each row",)),
    "open quote": Bad('mouse,day,volume\n"a,0,1\n', GROWTH_SPEC, ("do not fit the header",)),
    "text in a number column": Bad(
        "mouse,day,volume\n\na,0,1\na,1,big\na,2,small\n",
        GROWTH_SPEC,
        ("mice.csv row 2 (line 4), column 'volume': got 'big'", "row 3 (line 5) 'small'", "2 rows in all"),
    ),
    "six bad numbers, five shown": Bad(
        "mouse,day,volume\n" + "".join(f"a,{day},x{day}\n" for day in range(6)),
        GROWTH_SPEC,
        ("'x4', ...; 6 rows in all",),
    ),
    "text in two columns": Bad(
        "mouse,day,volume\na,zero,big\n",
        GROWTH_SPEC,
        ("column 'day': got 'zero'", "column 'volume': got 'big'"),
    ),
    "decimal comma": Bad('mouse,day,volume\na,0,"1,5"\n', GROWTH_SPEC, ("decimal point, not a comma",)),
    "less-than sign": Bad("mouse,day,volume\na,0,<0.1\n", GROWTH_SPEC, ("`censored`",)),
    "infinite": Bad("mouse,day,volume\na,0,inf\n", GROWTH_SPEC, ("got 'inf'", "finite")),
    "no patient": Bad("mouse,day,volume\na,0,1\n,1,2\n", GROWTH_SPEC, ("row 2 (line 3)", "no patient")),
    "nothing left": Bad(
        "mouse,day,volume\na,0,-1\na,1,.\n",
        GROWTH_SPEC,
        ("no observation that can be used", "1 not positive", "1 missing value"),
    ),
    "where matches nothing": Bad(
        MICE, alter(GROWTH, where={"grade": "hihg"}), ("no row with grade = 'hihg'", "'low', 'high'")
    ),
    "where with a list matches nothing": Bad(
        MICE, alter(GROWTH, where={"grade": ["hihg", "mid"]}), ("no row with grade = 'hihg' or 'mid'",)
    ),
    "where of an outcome misspelt in a list": Bad(
        MICE,
        alter(GROWTH, observations__volume={"where": {"grade": ["low", "hihg"]}}),
        ("observations.volume.where.grade: got 'hihg'", "did you mean 'high'?"),
    ),
    "where of an outcome misspelt": Bad(
        MICE,
        alter(GROWTH, observations__volume={"where": {"grade": "hihg"}}),
        ("observations.volume.where.grade", "did you mean 'high'?"),
    ),
    "covariate changes": Bad(
        "mouse,day,volume,age\na,0,1,10\na,1,1,11\n",
        BY_AGE,
        ("row 2 (line 3), column 'age'", "'11' for patient 'a', who has '10'", "one value for each patient"),
    ),
    "category changes": Bad(
        "mouse,day,volume,grade\na,0,1,low\na,1,1,high\n", BY_GRADE, ("'high' for patient 'a'",)
    ),
    "numbers and words": Bad(
        "mouse,day,volume,age\na,0,1,10\nb,1,1,old\n", BY_AGE, ("numbers and words ('old')", "levels: [...]")
    ),
    "level outside the declared": Bad(
        MICE,
        alter(GROWTH, parameters__r=ON_GRADE, covariates={"grade": {"levels": ("low", "hihg")}}),
        ("got 'high'", "one of the levels 'low', 'hihg'", "did you mean 'hihg'?"),
    ),
    "value not recoded": Bad(
        MICE,
        alter(GROWTH, parameters__r=ON_GRADE, covariates={"grade": {"values": {"low": 0}}}),
        ("got 'high'", "one of the recoded values 'low'"),
    ),
    "log of a covariate that is 0": Bad(
        "mouse,day,volume,age\na,0,1,0\nb,0,1,1\n",
        alter(GROWTH, parameters__r={"formula": "1 + log1p(age - 2) + (1 | patient)"}),
        ("log1p", "not finite for patient"),
    ),
    "center of words": Bad(
        MICE,
        alter(GROWTH, parameters__r={"formula": "1 + center(grade) + (1 | patient)"}),
        ("covariates of '1 + center(grade)'", "covariate of words"),
    ),
    "CENS of another kind": Bad(
        "mouse,day,volume,cens\na,0,1,2\na,1,1,0\n",
        alter(GROWTH, observations__volume={"censored": "cens"}),
        ("column 'cens': got 2", "0 (measured), 1 (below"),
    ),
    "counts above trials": Bad(
        "id,dose,alive,n\na,1,3,2\na,2,1,2\n", COUNTS, ("column 'alive': got 3", "whole number from 0")
    ),
    "counts that are not whole": Bad("id,dose,alive,n\na,1,0.5,2\n", COUNTS, ("column 'alive': got 0.5",)),
    "trials that are not whole": Bad("id,dose,alive,n\na,1,1,2.5\n", COUNTS, ("column 'n': got 2.5",)),
    "negative standard error": Bad(
        "mouse,day,volume,se\na,0,1,-0.1\n",
        alter(GROWTH, observations__volume={"error": "proportional", "standard_error": {"column": "se"}}),
        ("column 'se': got -0.1", "0 or more"),
    ),
    "known parameter not positive": Bad(
        "id,min,glucose,insulin,G_b\na,0,100,5,0\n",
        alter(GLUCOSE),
        ("column 'G_b'", "a positive number", "'G_b'"),
    ),
    "known lag below 0": Bad(
        "ID,TIME,DV,AMT,lag\n1,0,.,5,-1\n1,2,1,.,-1\n", LAGGED, ("column 'lag'", "a number of at least 0")
    ),
    "reset": Bad(
        "ID,TIME,DV,EVID,AMT\n1,0,.,1,5\n1,2,1,0,.\n1,3,.,3,.\n", alter(PRODRUG), ("reset", "column 'EVID'")
    ),
    "unknown event": Bad("ID,TIME,DV,EVID,AMT\n1,0,1,7,5\n", alter(PRODRUG), ("event of another kind",)),
    "dose without amount": Bad("ID,TIME,DV,EVID,AMT\n1,0,.,1,.\n1,1,1,0,.\n", alter(PRODRUG), ("no amount",)),
    "negative dose": Bad("ID,TIME,DV,EVID,AMT\n1,0,.,1,-5\n1,1,1,0,.\n", alter(PRODRUG), ("negative dose",)),
    "dose without time": Bad(
        "ID,TIME,DV,EVID,AMT\n1,.,.,1,5\n1,1,1,0,.\n", alter(PRODRUG), ("a dose without a time",)
    ),
    "coded rate": Bad(
        "ID,TIME,DV,EVID,AMT,RATE\n1,0,.,1,5,-2\n1,1,1,0,.,.\n",
        alter(PRODRUG, mechanism=INFUSION, doses={**PRODRUG["doses"], "rate": "RATE"}),
        ("negative rate", "not supported"),
    ),
    "additional doses without interval": Bad(
        "ID,TIME,DV,EVID,AMT,II,ADDL\n1,0,.,1,5,0,3\n1,1,1,0,.,.,.\n",
        alter(PRODRUG, doses={**PRODRUG["doses"], "additional": "ADDL", "interval": "II"}),
        ("column 'II'", "greater than 0"),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_each_bad_table_gives_its_message(name: str, refuse: Any) -> None:
    message = str(refuse(BAD[name].text, BAD[name].spec))
    for words in BAD[name].words:
        assert words in message


def test_paths_and_objects_that_are_no_tables(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"not parquet")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("mouse,day,volume\nmüde,0,1\n".encode("latin-1"))
    cases: list[tuple[Any, str]] = [
        (tmp_path / "absent.csv", "no file at this path"),
        (tmp_path, "cannot be read"),
        (broken, "not readable Parquet"),
        (latin, "latin.csv line 2: got bytes that are not UTF-8"),
        (tmp_path / "book.xlsx", "spreadsheet"),
        ([1, 2], "a list"),
        (pd.DataFrame(), "no rows"),
        (pd.DataFrame({("a", "b"): [1]}), "several levels"),
    ]
    for table, words in cases:
        with pytest.raises(DataError, match=words):
            read_cohort(table, GROWTH_SPEC)


def test_dates_are_refused_with_the_way_out() -> None:
    frame = pd.DataFrame({"mouse": ["a"], "day": pd.to_datetime(["2024-01-01"]), "volume": [1.0]})
    with pytest.raises(DataError, match="time since a start"):
        read_cohort(frame, GROWTH_SPEC)


def test_all_problems_are_told_together(refuse: Any) -> None:
    error = refuse("mouse,day,volume,age\na,x,1,10\na,1,y,11\n", BY_AGE)
    assert len(error.problems) == 3


def test_a_known_lag_of_0_is_what_value_0_is(read: Any) -> None:
    cohort = read("ID,TIME,DV,AMT,lag\n1,0,.,5,0\n1,2,1,.,0\n2,0,.,5,0.5\n2,2,1,.,0.5\n", LAGGED)
    assert cohort.arrays["known_t_lag"].tolist() == [0, 0.5]
