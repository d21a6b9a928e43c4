"""The twin commands: from a fit to twins that learn, in a folder, with nothing but commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from cli.command import refused, run
from hierarchical_twin.cli.twin import group
from hierarchical_twin.twin.store import TwinStore
from hierarchical_twin.twin.twin import Doubt

COMMANDS = ("start", "update", "show", "forecast", "score", "next-sample")
FEW = ("--particles", 200, "--seed", 2)


@pytest.fixture(scope="module")
def started(fitted, tmp_path_factory) -> Path:
    """A store with two people of the study and a new one."""
    folder = tmp_path_factory.mktemp("stores") / "twins"
    own = pd.read_csv(fitted.folder / "intervals.csv", dtype={"patient": str})["patient"].unique()[:2]
    people = [word for label in own for word in ("--patient", label)]
    assert run("twin", "start", fitted.folder, "--store", folder, *people, *FEW).code == 0
    said = run("twin", "start", fitted.folder, "--store", folder, "--new", "--patient", "n1", *FEW)
    assert said.code == 0 and said.out == f"started 1 twin in {folder}: n1\n", said
    return folder


@pytest.fixture
def stored(started, tmp_path) -> Path:
    """A copy of the store, to change."""
    folder = tmp_path / "twins"
    for path in started.rglob("*"):
        if path.is_file() and path.name != "lock":
            target = folder / path.relative_to(started)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder


def records(path: Path, *rows: str, header: str = "id,time_d,reaction_ms") -> Path:
    """A table of new rows."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_every_command_is_here_and_its_help_has_an_example():
    assert [
        command.name or command.callback.__name__.replace("_", "-") for command in group.registered_commands
    ] == [*COMMANDS]
    assert "twin" in run("--help").out
    for command in COMMANDS:
        said = run("twin", command, "--help")
        assert said.code == 0 and said.err == ""
        assert "Example" in said.out and f"hierarchical-twin twin {command}" in " ".join(said.out.split())


def test_a_started_twin_is_that_of_the_fit(started, fitted):
    fit = ht.open_fit(fitted.folder / "fit.nc")
    twin = TwinStore(started).open("n1")
    expected = ht.start_twin(fit, patient="n1", covariates={}, particles=200, seed=2)
    assert np.array_equal(twin.particles.effects, expected.particles.effects)
    assert len(TwinStore(started).patients()) == 3


def test_update_prints_intervals_and_what_does_not_fit(stored, tmp_path):
    first = records(tmp_path / "a.csv", "n1,0,250", "n1,1,262")
    said = run("twin", "update", stored, first, "--out", tmp_path / "out.csv")
    assert said.code in (0, 3), said
    found = pd.read_csv(tmp_path / "out.csv")
    twin = TwinStore(stored).open("n1")
    assert twin.revision == 1 and (said.code == 0) == twin.steps[0].is_trustworthy
    assert found["mean"].to_numpy() == pytest.approx(twin.intervals()["mean"].to_numpy())
    told = run("twin", "update", stored, records(tmp_path / "b.csv", "n1,2,2000"), "--prob", 0.5)
    assert "reaction of 2000 at 2 does not fit this twin" in told.err and told.err.startswith("n1: ")
    assert "n1" in told.out and "50% equal-tailed" in told.out
    again = run("twin", "update", stored, first)
    assert again.code == 0 and again.out == "" and "nothing new" in again.err
    assert TwinStore(stored).open("n1").revision == 2


def test_every_command_says_3_where_a_twin_is_not_to_be_trusted(fitted, tmp_path):
    """Sixty particles are never enough."""
    store = tmp_path / "few"
    for label in ("n1", "n2"):
        words = ("--new", "--patient", label, "--particles", 60)
        assert run("twin", "start", fitted.folder, "--store", store, *words).code == 0
    own = ("--patient", "n1")
    said = [
        run("twin", "update", store, records(tmp_path / "a.csv", "n1,0,250")),
        run("twin", "show", store, *own),
        run("twin", "show", store, *own, "--out", tmp_path / "n1.csv"),
        run("twin", "forecast", store, *own, "--times", 3),
        run("twin", "next-sample", store, *own, "--of", "slope", "--candidates", 3),
    ]
    (step,) = TwinStore(store).open("n1").steps
    assert step.doubts and [one.code for one in said] == [3] * 5
    for one in said:
        assert "slope" in one.out or " 3 " in one.out or "wrote" in one.out, "it is done all the same"
        assert [line for line in one.err.splitlines() if line] == [f"n1: {doubt}" for doubt in step.doubts]
    shown = run("twin", "show", store)
    assert shown.code == 3 and shown.err == "in doubt: n1\n" and " n2 " in shown.out
    assert run("twin", "forecast", store, "--patient", "n2", "--times", 3).code == 0


def test_a_doubt_of_an_earlier_update_is_still_told(stored, tmp_path):
    """Some doubts are not mended by a later update that goes well."""
    run("twin", "update", stored, records(tmp_path / "a.csv", "n1,0,250"))
    opened = TwinStore(stored)
    twin = opened.open("n1")
    failed = Doubt("moves that are not accepted", "moves failed", "fit again", is_lasting=True)
    doubted = replace(twin.steps[0], doubts=(failed,))
    opened.save(replace(twin, steps=(doubted,)), overwrite=True)
    said = run("twin", "update", stored, records(tmp_path / "b.csv", "n1,1,260"))
    assert opened.open("n1").revision == 2
    assert said.code == 3 and "n1: moves failed: fit again\n" in said.err


def test_show_a_table_of_all(stored, tmp_path):
    said = run("twin", "show", stored, "--out", tmp_path / "all.parquet")
    assert said.code == 0 and "all.parquet" in said.out
    found = pd.read_parquet(tmp_path / "all.parquet")
    pd.testing.assert_frame_equal(found, TwinStore(stored).table())
    assert len(found) == 6
    printed = run("twin", "show", stored).out
    assert printed.count(" slope ") == 3 and "90% equal-tailed" in printed


def test_show_one_patient(stored, tmp_path):
    run(
        "twin",
        "update",
        stored,
        records(tmp_path / "a.csv", "n1,0,250,first", header="id,time_d,reaction_ms,record"),
    )
    said = run("twin", "show", stored, "--patient", "n1", "--prob", 0.5)
    twin = TwinStore(stored).open("n1")
    assert said.code == (3 if twin.doubts else 0)
    assert "50% equal-tailed" in said.out and "first" in said.out and "revision" in said.out


def test_show_writes_a_page(stored, tmp_path):
    said = run("twin", "show", stored, "--patient", "n1", "--out", tmp_path / "n1.html")
    assert said.code in (0, 3), said
    text = (tmp_path / "n1.html").read_text(encoding="utf-8")
    assert text.startswith("<!") and "n1" in text and "slope" in text
    assert "of all twins" in refused("twin", "show", stored, "--out", tmp_path / "all.html")[0]


def test_forecast(stored, tmp_path):
    words = ("--patient", "n1", "--times", "0,4", "--prob", 0.5, "--draws", 300, "--seed", 3)
    said = run("twin", "forecast", stored, *words, "--out", tmp_path / "f.csv")
    assert said.code == 0, said
    from hierarchical_twin.twin.forecast import forecast

    expected = forecast(TwinStore(stored).open("n1"), [0, 4], draws=300, seed=3).table(prob=0.5)
    found = pd.read_csv(tmp_path / "f.csv", dtype={"patient": str})
    assert list(found.columns) == list(expected.columns) and len(found) == 2
    numbers = expected.select_dtypes("number")
    assert found[numbers.columns].to_numpy(float) == pytest.approx(numbers.to_numpy(float), nan_ok=True)


@pytest.mark.slow
def test_score(fitted, six, tmp_path):
    frame = pd.read_csv(six)
    later = frame[frame["id"] == frame["id"].iloc[0]].assign(id="later").head(4)
    later.to_csv(tmp_path / "later.csv", index=False)
    words = (
        "--known",
        "0,1",
        "--particles",
        100,
        "--out",
        tmp_path / "s.csv",
        "--figure",
        tmp_path / "s.png",
    )
    said = run("twin", "score", fitted.folder, tmp_path / "later.csv", *words)
    assert said.code == 0, said
    found = pd.read_csv(tmp_path / "s.csv")
    assert set(found["k"]) == {0, 1} and set(found["method"]) == {"twin", "population only", "no pooling"}
    assert (tmp_path / "s.png").stat().st_size > 1000


def test_next_sample(stored, tmp_path):
    words = ("--patient", "n1", "--of", "slope", "--candidates", "1,9")
    said = run("twin", "next-sample", stored, *words, "--out", tmp_path / "n.csv")
    assert said.code == 0, said
    found = pd.read_csv(tmp_path / "n.csv")
    assert list(found["time"]) == [1, 9]
    assert found["ratio"].iloc[1] < found["ratio"].iloc[0], "a late measurement says more of a slope"


def test_start_keeps_what_is_there(stored, fitted, tmp_path):
    run("twin", "update", stored, records(tmp_path / "a.csv", "n1,0,250"))
    words = ("twin", "start", fitted.folder, "--store", stored, "--new", "--patient", "n1", *FEW)
    assert "revision 0, which is older" in refused(*words)[0]
    assert TwinStore(stored).open("n1").revision == 1
    assert run(*words, "--overwrite").code == 0
    assert TwinStore(stored).open("n1").revision == 0


def test_start_everybody_and_a_table_of_new_patients(fitted, tmp_path):
    said = run("twin", "start", fitted.folder, "--store", tmp_path / "all", "--particles", 20)
    assert said.code == 0 and "started 6 twins" in said.out
    table = records(tmp_path / "new.csv", "a1", "007", header="id")
    assert run("twin", "start", fitted.folder, "--store", tmp_path / "all", "--rows", table).code == 0
    assert {"a1", "007"} < set(TwinStore(tmp_path / "all").patients())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("start", "{fit}", "--store", "{new}", "--patient", "nobody"), "'nobody'"),
        (("start", "{fit}", "--store", "{new}", "--covariate", "age"), "COLUMN=VALUE"),
        (("start", "{fit}", "--store", "{new}", "--covariate", "age=3"), "age"),
        (
            ("start", "{fit}", "--store", "{new}", "--new", "--patient", "a", "--patient", "b"),
            "2 new patients",
        ),
        (("start", "{fit}", "--store", "{new}", "--new", "--rows", "t.csv"), "--rows beside"),
        (("start", "{fit}", "--store", "{new}", "--particles", 1), "particles"),
        (("start", "nowhere", "--store", "{new}"), "nowhere"),
        (("start", "{fit}"), "--store"),
        (("update", "{new}", "t.csv"), "no store of twins"),
        (("update", "{store}", "nowhere.csv"), "nowhere.csv"),
        (("update", "{store}", "nowhere.csv", "--prob", 2), "prob"),
        (("update", "{store}", "nowhere.csv", "--out", "o.xlsx"), "'.xlsx'"),
        (("show", "{new}"), "no store of twins"),
        (("show", "{store}", "--patient", "N1"), "did you mean 'n1'?"),
        (("show", "{store}", "--out", "all.xlsx"), ".csv"),
        (("show", "{store}", "--out", "all.html"), "twin show --out: got a page of all twins"),
        (("show", "{store}", "--until", 9), "twin show --until: got it without a page"),
        (("show", "{store}", "--patient", "n1", "--until", 9, "--out", "o.csv"), "--until: got it without"),
        (("show", "{store}", "--patient", "n1", "--plan", "nowhere.csv"), "--plan: got it without a page"),
        (("forecast", "{store}", "--patient", "n1", "--times", "soon"), "--times"),
        (("forecast", "{store}", "--patient", "n1"), "times"),
        (("forecast", "{store}", "--times", "3"), "--patient"),
        (("forecast", "{store}", "--patient", "n1", "--times", "1", "--set", "time_d=3"), "reads none"),
        (("forecast", "{store}", "--patient", "n1", "--times", "1", "--plan", "nowhere.csv"), "nowhere.csv"),
        (("score", "{fit}", "nowhere.csv"), "nowhere.csv"),
        (("score", "{fit}", "{six}", "--known", "some"), "--known"),
        (("next-sample", "{store}", "--patient", "n1", "--of", "slop", "--candidates", "1"), "slope"),
        (("next-sample", "{store}", "--patient", "n1", "--of", "slope", "--candidates", "x"), "--candidates"),
        ((), "twin"),
    ],
)
def test_what_is_refused(started, fitted, six, words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"{fit}": fitted.folder, "{store}": started, "{new}": tmp_path / "new", "{six}": six}
    assert told in refused("twin", *(places.get(str(word), word) for word in words))[0]
    assert list(tmp_path.iterdir()) == [], "nothing is made"
