"""Every command does what its help says; the help has an example of each."""

from __future__ import annotations

import json
import os
import re
import sys
from unittest.mock import patch

import pandas as pd
import pytest
import typer

import hierarchical_twin as ht
from cli.command import run
from hierarchical_twin.cli import app, main

COMMANDS = (
    *("models", "init", "check", "fit", "intervals", "population", "shrinkage", "diagnostics"),
    *("predict", "probability", "dose-for", "prior-predict", "compare", "report"),
)
LINE = """\
spec: 1
name: line
title: One line for everybody
mechanism: linear
time: {column: t, unit: h}
patient: {column: id}
parameters:
  intercept: {unit: m, link: identity, typical: "Normal(mean=0, sd=5)"}
  slope: {unit: m/h, link: identity, typical: "Normal(mean=0, sd=5)"}
observations:
  y: {column: y, unit: m, predicts: y, error: normal, sigma: "HalfNormal(1)"}
"""


def test_every_command_is_here():
    names = [command.callback.__name__.replace("_", "-") for command in app.registered_commands]
    assert tuple(names) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    said = run(command, "--help")
    assert said.code == 0 and said.err == ""
    assert "Example" in said.out and f"hierarchical-twin {command}" in " ".join(said.out.split())


def test_without_words_it_helps():
    said = run()
    assert said == run("--help")
    assert said.code == 0
    assert all(command in said.out for command in COMMANDS)


def test_models_names_can_be_copied():
    said = run("models")
    assert said.code == 0
    for name in ht.shipped_specs():
        assert f" {name} " in said.out
    assert "V(t) = V_0 exp(r t)" in said.out


def test_init_writes_a_spec_that_fits_a_small_table(tmp_path):
    path = tmp_path / "new" / "mine.yaml"
    said = run("init", path)
    assert said.code == 0 and str(path) in said.out
    assert "# " in path.read_text(encoding="utf-8")
    table = tmp_path / "mice.csv"
    table.write_text("patient,day,volume\na,0,0.8\na,7,1.0\nb,0,1.1\nb,9,1.3\n", encoding="utf-8")
    checked = run("check", path, table)
    assert checked.code == 0, checked.err
    assert "patients         2" in checked.out and "the priors allow the data" in checked.out


@pytest.mark.parametrize("name", sorted(ht.shipped_specs()))
def test_init_like_copies_a_shipped_model(name, tmp_path):
    path = tmp_path / "mine.yaml"
    assert run("init", path, "--like", name).code == 0
    assert ht.read_spec(path) == ht.read_spec(ht.shipped_specs()[name])
    written, shipped = (found.read_text(encoding="utf-8") for found in (path, ht.shipped_specs()[name]))
    assert shipped.endswith(written), "with its comments"
    assert "../" not in written, "no path that holds in our folder only"
    assert run("check", path).code == 0


def test_init_keeps_what_is_there(six):
    before = six.read_bytes()
    assert run("init", six).code == 2
    assert six.read_bytes() == before


def test_check_a_spec_prints_the_model():
    said = run("check", "sleep")
    assert said.code == 0 and said.err == ""
    for words in ("y(t) = intercept + slope t", "Normal(mean=300, sd=100)", "LKJ", "σ_reaction"):
        assert words in said.out
    assert "rows read" not in said.out


def test_check_with_data_prints_the_report_and_the_prior(six):
    said = run("check", "sleep", six)
    assert said.code == 0
    for words in (
        "rows read        60",
        "patients         6",
        "Prior predictive",
        "the priors allow the data",
    ):
        assert words in said.out


def test_a_shipped_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "sleep").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run("check", "sleep").code == 0


def test_fit_writes_its_folder_and_says_whether_to_believe_it(fitted):
    said = fitted.said
    assert said.code == 3, "100 draws are too few to be trusted, and the exit code says so"
    assert "DO NOT TRUST" in said.out and "INTERRUPTED" not in said.err
    assert "rows used        60" in said.err
    assert re.search(r"a gradient: .* of sampling", said.err), "an estimate before it starts"
    assert " iterations" in said.err, "progress"
    written = {path.name for path in fitted.folder.iterdir()}
    tables = {"fit.nc", "intervals.csv", "population.csv", "shrinkage.csv"}
    texts = {"diagnostics.txt", "spec.yaml", "data_report.txt"}
    pictures = {"shrinkage.svg", "forest_intercept.svg", "forest_slope.svg", "patients_reaction.svg"}
    assert written == tables | texts | pictures
    assert all((fitted.folder / name).stat().st_size > 0 for name in written)
    assert all(name in said.err for name in written)


def test_fit_records_its_command(fitted, six):
    attributes = ht.open_fit(fitted.folder / "fit.nc").attributes
    assert attributes["command"].startswith(f"fit sleep {six}")
    assert attributes["seed"] == 1 and attributes["is_interrupted"] == 0


def test_the_saved_spec_fits_again(fitted, six):
    assert run("check", fitted.folder / "spec.yaml", six).code == 0


def test_a_fit_to_be_trusted_exits_0(tmp_path):
    spec, table, out = tmp_path / "line.yaml", tmp_path / "line.csv", tmp_path / "fit"
    spec.write_text(LINE, encoding="utf-8")
    rows = [f"a,{t},{1 + 2 * t + (-1) ** t * 0.3}" for t in range(12)]
    table.write_text("\n".join(["id,t,y", *rows]), encoding="utf-8")
    words = ("--draws", 800, "--warmup", 500, "--seed", 3, "--target-accept", 0.8, "--device", "cpu")
    said = run("fit", spec, table, "--out", out, *words)
    assert said.code == 0, said
    assert "can be trusted" in said.out
    assert run("diagnostics", out).code == 0
    found = ht.open_fit(out / "fit.nc").population().set_index("parameter")["mean"]
    assert found["slope_typical"] == pytest.approx(2.0, abs=0.1)
    assert run("shrinkage", out).code in (0, 2), "no effects: nothing to shrink, and no traceback"


def test_intervals_as_a_table(fitted):
    said = run("intervals", fitted.folder)
    assert said.code == 0 and said.err == ""
    assert "90% equal-tailed" in said.out
    named = run("intervals", fitted.folder / "fit.nc", "--parameter", "slope", "--prob", 0.5, "--kind", "hdi")
    assert "50% HDI" in named.out
    lines = [line for line in named.out.splitlines() if "ms/day" in line]
    assert len(lines) == 6


@pytest.mark.parametrize("command", ["intervals", "population", "shrinkage"])
@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_tables_go_to_files(fitted, tmp_path, command, suffix):
    path = tmp_path / f"{command}.{suffix}"
    said = run(command, fitted.folder, "--out", path)
    assert said.code == 0 and str(path) in said.out
    readers = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}
    fit = ht.open_fit(fitted.folder / "fit.nc")
    expected = getattr(fit, command)()
    found = readers[suffix](path)
    assert list(found.columns) == list(expected.columns) and len(found) == len(expected)
    numbers = expected.select_dtypes("number")
    assert found[numbers.columns].to_numpy() == pytest.approx(numbers.to_numpy(), nan_ok=True)
    if suffix == "json":
        assert isinstance(json.loads(path.read_text(encoding="utf-8")), list)


def test_population_and_shrinkage_say_their_definitions(fitted):
    population = run("population", fitted.folder)
    assert population.code == 0 and "omega[slope]" in population.out
    shrinkage = run("shrinkage", fitted.folder, "--prob", 0.8)
    assert shrinkage.code == 0
    assert "sd" in shrinkage.out and "variance" in shrinkage.out and "80%" in shrinkage.out


def test_diagnostics_of_a_short_run(fitted):
    said = run("diagnostics", fitted.folder)
    assert said.code == 3
    assert "R-hat" in said.out and "ESS bulk" in said.out and "DO NOT TRUST" in said.out


def test_a_reader_that_leaves_early_stops_no_work(fitted):
    read, write = os.pipe()
    os.close(read)
    asked = ["hierarchical-twin", "diagnostics", str(fitted.folder)]
    with (
        os.fdopen(write, "w") as broken,
        patch.object(sys, "stdout", broken),
        patch.object(sys, "argv", asked),
        pytest.raises(SystemExit) as stopped,
    ):
        main()
    assert stopped.value.code == 3, "as with a reader that stays"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_an_output_that_cannot_be_written_is_told(fitted, capfd):
    asked = ["hierarchical-twin", "intervals", str(fitted.folder)]
    with (
        open("/dev/full", "w") as full,
        patch.object(sys, "stdout", full),
        patch.object(sys, "argv", asked),
        pytest.raises(SystemExit) as stopped,
    ):
        main()
    assert stopped.value.code == 2
    assert "standard output: got No space left on device" in capfd.readouterr().err


def test_overwrite_replaces_a_fit(fitted, six, tmp_path):
    folder = tmp_path / "fit"
    folder.mkdir()
    (folder / "fit.nc").write_bytes((fitted.folder / "fit.nc").read_bytes())
    words = ("--chains", 2, "--draws", 100, "--warmup", 100, "--seed", 2, "--overwrite", "--device", "cpu")
    assert run("fit", "sleep", six, "--out", folder, *words).code == 3
    assert ht.open_fit(folder / "fit.nc").attributes["seed"] == 2


def test_a_mistake_of_ours_is_one_line(monkeypatch):
    def stumble(word: str) -> None:
        raise RuntimeError(f"no {word} today")

    monkeypatch.setattr("hierarchical_twin.spec.shipped.locate_spec", stumble)
    monkeypatch.delenv("HIERARCHICAL_TWIN_DEBUG", raising=False)
    said = run("check", "sleep")
    assert said.code == 1
    assert said.err.count("\n") == 1 and said.err.startswith("error: hierarchical-twin: got RuntimeError")
    assert "this is a bug" in said.err
    monkeypatch.setenv("HIERARCHICAL_TWIN_DEBUG", "1")
    with pytest.raises(RuntimeError, match="no sleep today"):
        run("check", "sleep")


def test_an_interrupted_command_exits_130(monkeypatch):
    def stop(word: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hierarchical_twin.spec.shipped.locate_spec", stop)
    said = run("check", "sleep")
    assert said.code == 130 and said.err == "interrupted: stopped before it was done\n"


def test_an_abort_of_typer_is_an_interrupt(monkeypatch):
    def abort(word: str) -> None:
        raise typer.Abort

    monkeypatch.setattr("hierarchical_twin.spec.shipped.locate_spec", abort)
    assert run("check", "sleep").code == 130
