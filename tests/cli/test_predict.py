"""The commands that predict say what their functions say, in tables and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from cli.command import refused, run
from hierarchical_twin.prediction.scenarios import compare_scenarios
from hierarchical_twin.prediction.statements import probability


@pytest.fixture(scope="module")
def fit(fitted) -> ht.Fit:
    """The fit behind the commands."""
    return ht.open_fit(fitted.folder / "fit.nc")


@pytest.fixture(scope="module")
def dosed(tmp_path_factory) -> Path:
    """The folder of a fit of four samples' viability at four concentrations, with a covariate."""
    folder = tmp_path_factory.mktemp("dosed")
    rows = [
        f"s{number},{dose},{half / (half + dose) + 0.03 * (-1) ** (number + place):.4f},{number % 2},fludarabine"
        for number, half in enumerate([1.0, 3.0, 2.0, 6.0])
        for place, dose in enumerate([0.2, 1, 5, 25])
    ]
    table = folder / "cells.csv"
    table.write_text("\n".join(["id,conc_uM,viability,tp53,drug", *rows]), encoding="utf-8")
    short = ("--chains", 2, "--draws", 50, "--warmup", 100, "--seed", 1, "--device", "cpu")
    assert run("fit", "apoptosis_threshold", table, "--out", folder / "fit", *short).code in (0, 3)
    return folder / "fit"


def same(path, expected: pd.DataFrame) -> None:
    """A CSV holds this table."""
    found = pd.read_csv(path, dtype={"patient": str})
    assert list(found.columns) == list(expected.columns) and len(found) == len(expected)
    numbers = expected.select_dtypes("number")
    assert found[numbers.columns].to_numpy(float) == pytest.approx(numbers.to_numpy(float), nan_ok=True)


def test_measured_rows_with_residuals(fitted):
    said = run("predict", fitted.folder)
    assert said.code == 0 and said.err == ""
    header = said.out.splitlines()[0].split()
    assert {"PRED", "IPRED", "IWRES", "NPDE", "PIT", "lower_new"} <= set(header)
    assert len([line for line in said.out.splitlines() if " reaction " in line]) == 60
    assert "90% equal-tailed" in said.out


def test_times_and_one_person(fitted, fit, tmp_path):
    who, path = str(fit.intervals()["patient"].iloc[0]), tmp_path / "p.csv"
    words = (
        "--times",
        "0,12.5",
        "--patient",
        who,
        "--prob",
        0.5,
        "--kind",
        "hdi",
        "--draws",
        50,
        "--seed",
        4,
    )
    said = run("predict", fitted.folder, *words, "--out", path)
    assert said.code == 0 and str(path) in said.out
    found = ht.predict(fit, times=[0, 12.5], patients=[who], draws=50, seed=4).table(prob=0.5, kind="hdi")
    same(path, found)
    assert len(found) == 2


def test_a_table_of_rows_and_every_draw(fitted, fit, tmp_path):
    plan, draws = tmp_path / "plan.csv", tmp_path / "draws.csv"
    plan.write_text("id,time_d\nnew,0\nnew,20\n", encoding="utf-8")
    said = run("predict", fitted.folder, "--rows", plan, "--draws-out", draws, "--draws", 30)
    assert said.code == 0 and str(draws) in said.out and "new" in said.out
    found = ht.predict(fit, rows=plan, draws=30)
    table = pd.read_csv(draws)
    assert len(table) == 60 and list(table.columns[:2]) == ["draw", "row"]
    assert table["individual"].to_numpy().reshape(30, 2) == pytest.approx(found.individual)
    assert table["replicate"].to_numpy().reshape(30, 2) == pytest.approx(found.replicates)


def test_scenarios(dosed, tmp_path):
    table, path = tmp_path / "scenarios.csv", tmp_path / "out.csv"
    table.write_text("scenario,tp53\nmutated,1\n", encoding="utf-8")
    said = run("predict", dosed, "--scenario", table, "--out", path)
    assert said.code == 0, said.err
    same(path, compare_scenarios(ht.open_fit(dosed / "fit.nc"), {"mutated": {"tp53": 1}}))
    line = refused("predict", dosed, "--scenario", table, "--draws-out", tmp_path / "d.csv")[0]
    assert "--draws-out beside --scenario" in line


def test_set_a_column(dosed, tmp_path):
    path = tmp_path / "out.csv"
    assert run("predict", dosed, "--set", "tp53=1", "--out", path).code == 0
    same(path, ht.predict(ht.open_fit(dosed / "fit.nc"), scenario={"tp53": 1}).table())
    assert "did you mean 'tp53'?" in refused("predict", dosed, "--set", "tp35=1")[0]


def test_probabilities(fitted, fit, tmp_path):
    path = tmp_path / "p.csv"
    statements = ("slope > 10 ms/day", "reaction > 0.4 s at 10 day")
    assert run("probability", fitted.folder, *statements, "--out", path).code == 0
    expected = probability(fit, statements)
    same(path, expected)
    assert len(expected) == 14 and np.isfinite(expected["ess"]).all()
    assert "new patient" in run("probability", fitted.folder, statements[0]).out


def test_the_priors_alone(six, tmp_path):
    said = run("prior-predict", "sleep", six, "--draws", 20)
    assert said.code == 0 and len(said.out.splitlines()) >= 60
    plan = tmp_path / "plan.csv"
    plan.write_text("id,time_d\na,0\na,9\n", encoding="utf-8")
    assert "lower_new" in run("prior-predict", "sleep", plan, "--draws", 20).out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("predict", "--times", "0,soon"), "--times"),
        (("predict", "--times", "0", "--rows", "t.csv"), "both times and rows"),
        (("predict", "--patient", "nobody"), "'nobody'"),
        (("predict", "--prob", 90), "prob"),
        (("predict", "--draws", 0), "draws"),
        (("predict", "--set", "time_d"), "COLUMN=VALUE"),
        (("predict", "--set", "time_d=3"), "this spec reads none"),
        (("predict", "--rows", "nowhere.csv"), "nowhere.csv"),
        (("predict", "--scenario", "nowhere.csv"), "nowhere.csv"),
        (("predict", "--draws-out", "draws.xlsx", "--draws", 5), ".csv"),
        (("probability",), "STATEMENT"),
        (("probability", "slop > 1"), "did you mean 'slope'?"),
        (("probability", "slope > 1 kg"), "ms/day"),
        (("dose-for", "reaction > 400 at 3"), "--by"),
        (("dose-for", "reaction > 400 at 3", "--by", "time_d", "--between", 1, 2), "this spec has none"),
        (("dose-for", "reaction > 400 at 3", "--by", "x", "--between", 1), "--between"),
    ],
)
def test_what_is_refused(fitted, words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, *others = words
    assert told in refused(command, fitted.folder, *others)[0]
    assert list(tmp_path.iterdir()) == []


def test_a_dose_on_the_command_line(dosed):
    """From a spec and a table to the concentration that kills, with nothing but commands."""
    words = ("--by", "conc_uM", "--between", 0.1, 10000, "--probability", 0.8)
    said = run("dose-for", dosed, "viability <= 0.1", *words)
    assert said.code == 0, said.err
    assert "new patient" in said.out and "uM" in said.out
