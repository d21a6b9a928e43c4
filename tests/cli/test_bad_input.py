"""Whatever a person types or hands over: exit code 2, one clear line for each problem, no traceback."""

from __future__ import annotations

import os
import random

import pytest

import hierarchical_twin as ht
from cli.command import refused, run

SLEEP = ht.shipped_specs()["sleep"].read_text(encoding="utf-8")
GROWTH = ht.shipped_specs()["tumor_growth"].read_text(encoding="utf-8")

BROKEN_SPECS = {
    "unknown key": (("title:", "titel:"), "titel", "did you mean 'title'?"),
    "unknown inner key": (("    link: identity\n    # Simple", "    lnk: identity\n    #"), "lnk", "link"),
    "misspelt prior": (("Normal(mean=300", "Nrmal(mean=300"), "Nrmal", "did you mean 'Normal'?"),
    "prior argument": (("mean=300", "meen=300"), "meen", "mean"),
    "prior out of range": (("sd=100)", "sd=-100)"), "-100", "sd"),
    "not a unit": (("unit: ms/day", "unit: ms/dya"), "dya", "unit"),
    "impossible unit": (("unit: ms/day", "unit: kg"), "kg", "parameters.slope.unit"),
    "parameter of another mechanism": (("  slope:\n    unit", "  slop:\n    unit"), "slop", "slope"),
    "unknown mechanism": (("mechanism: linear", "mechanism: liner"), "liner", "did you mean 'linear'?"),
    "unknown error model": (("error: normal", "error: norml"), "norml", "did you mean 'normal'?"),
    "code in a formula": (
        ('formula: "1 + (1 | patient)"\n  slope', 'formula: "1 + exit(1)"\n  slope'),
        "exit",
        "formula",
    ),
    "another language version": (("spec: 1", "spec: 2"), "2", "1"),
    "tabs": (("    unit: ms\n", "\tunit: ms\n"), "tab", "spaces"),
    "a key twice": (("title: ", "name: twice\ntitle: "), "name", "once"),
}


@pytest.mark.parametrize("broken", BROKEN_SPECS)
def test_a_broken_spec(broken, tmp_path):
    (old, new), *words = BROKEN_SPECS[broken]
    assert SLEEP.count(old) >= 1
    path = tmp_path / "mine.yaml"
    path.write_text(SLEEP.replace(old, new, 1), encoding="utf-8")
    lines = refused("check", path)
    assert any(str(path) in line for line in lines)
    assert any(f"{path}:" in line for line in lines), "with the line"
    for word in words:
        assert any(word in line for line in lines), lines


def test_all_problems_of_a_spec_at_once(tmp_path):
    path = tmp_path / "mine.yaml"
    text = SLEEP.replace("Normal(mean=300", "Nrmal(mean=300").replace("unit: ms/day", "unit: kg")
    path.write_text(text.replace("error: normal", "error: norml"), encoding="utf-8")
    lines = refused("check", path)
    assert len(lines) == 3, lines


def _nonsense() -> str:
    words = random.Random(1)
    return "\n".join("".join(words.choices("abc:-{}[]&*!|>'\"%@ \t#?,1", k=40)) for _ in range(200))


def _nonsense_keys() -> str:
    words = random.Random(2)
    return "\n".join(f"{''.join(words.choices('abcdefgh', k=6))}{n}: {n}" for n in range(200))


FILES = {
    "empty": b"",
    "blank": b"\n  \n\n",
    "comment": b"# nothing here\n",
    "200 lines of nonsense": _nonsense().encode(),
    "200 keys of nonsense": _nonsense_keys().encode(),
    "200 keys in a spec": SLEEP.encode() + b"\n" + _nonsense_keys().encode(),
    "a list": b"- 1\n- 2\n",
    "a number": b"7\n",
    "binary": bytes(range(256)) * 8,
    "a python object": b"!!python/object/apply:os.system ['true']\n",
    "a table": b"id,time_d,reaction_ms\n1,2,3\n",
    "null bytes": b"spec: 1\x00\n",
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_that_is_no_spec(content, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(FILES[content])
    lines = refused("check", path)
    assert len(lines) <= 41
    assert all(str(path) in line for line in lines)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("nowhere.yaml", "no such file"),
        ("sleeep", "did you mean 'sleep'?"),
        ("x" * 300, "no such file"),
        ("no/where.yaml", "no such file"),
        ("", "got"),
    ],
)
def test_a_spec_that_is_not_there(word, told):
    text = "".join(run("check", word).err)
    assert told in text and run("check", word).code == 2


def test_a_folder_for_a_spec_or_a_table(tmp_path):
    assert "folder" in refused("check", tmp_path)[0]
    assert str(tmp_path.name) in refused("check", "sleep", tmp_path)[0]


HEADER = "id,time_d,reaction_ms\n"
BAD_TABLES = {
    "missing column": (b"id,time_d,reaction\na,0,250\n", "reaction_ms", "did you mean"),
    "no patient column": (b"person,time_d,reaction_ms\na,0,250\n", "'id'", "column"),
    "text in a number column": (f"{HEADER}a,0,250\na,1,fast\n".encode(), "fast", "line 3"),
    "text in the time column": (f"{HEADER}a,monday,250\n".encode(), "monday", "time_d"),
    "empty": (b"", "empty", "CSV"),
    "header only": (HEADER.encode(), "no rows", "row"),
    "binary": (bytes(range(256)) * 10, "UTF-8", "CSV"),
    "null bytes": (f"{HEADER}a,0,\x00250\n".encode(), "binary", "CSV"),
    "semicolons": (b"id;time_d;reaction_ms\na;0;250\n", "semicolons", "commas"),
    "too many cells": (f"{HEADER}a,0,250,7,8\n".encode(), "cells", "3"),
    "column twice": (b"id,time_d,id,reaction_ms\na,0,a,250\n", "2 times", "id"),
    "nobody measured": (f"{HEADER}a,0,\nb,1,.\n".encode(), "no observation", "missing"),
    "infinite": (f"{HEADER}a,0,inf\na,1,250\n".encode(), "inf", "number"),
}


@pytest.mark.parametrize("bad", BAD_TABLES)
def test_a_bad_table(bad, tmp_path):
    content, *words = BAD_TABLES[bad]
    path, out = tmp_path / "table.csv", tmp_path / "out"
    path.write_bytes(content)
    lines = refused("fit", "sleep", path, "--out", out)
    assert not out.exists(), "nothing is written for a table that cannot be read"
    assert any("table.csv" in line for line in lines)
    for word in words:
        assert any(word in line for line in lines), lines


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere.parquet", "x" * 300 + ".csv", "book.xlsx"])
def test_a_table_that_is_not_there(name):
    refused("check", "sleep", name)


def test_a_broken_parquet(tmp_path):
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1" + bytes(100))
    assert "Parquet" in refused("check", "sleep", path)[0]


GLUCOSE_ROWS = "1,-5,90,10\n1,0,92,11\n1,8,250,60\n1,20,200,40\n1,60,120,20\n2,-3,90,10\n"
COUNTED = {
    "volumes under a log model, and a mouse left with nothing": (
        "tumor_growth",
        "id,time_d,volume_cm3\na,0,0.3\na,5,0.5\nb,4,-0.1\nb,6,0.2\nb,7,0\nc,2,-1\nc,3,\n",
        (
            "rows read        7",
            "3 not positive",
            "1 missing value",
            "patients         2",
            "c: no observation",
        ),
    ),
    "negative times, and a patient with no others": (
        "glucose_minimal_model_single",
        f"id,time_min,glucose_mg_per_dL,insulin_uU_per_mL\n{GLUCOSE_ROWS}",
        ("before time 0", "patients         1", "2: no observation", "before from_time"),
    ),
    "unsorted and duplicate times": (
        "sleep",
        f"{HEADER}a,3,260\na,0,250\na,0,250\nb,1,270\nb,0,280\n",
        ("rows used        5", "out of time order", "kept as replicates"),
    ),
}


@pytest.mark.parametrize("case", COUNTED)
def test_values_a_model_cannot_use_are_counted(case, tmp_path):
    spec, text, words = COUNTED[case]
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    said = run("check", spec, path)
    assert said.code == 0, said.err
    report = said.out[said.out.index("Data report") : said.out.index("Prior predictive")]
    for word in words:
        assert word in report, report


FIT = ("fit", "sleep")
BAD_OPTIONS = {
    "no chains": (("--chains", 0), "chains"),
    "a fraction of a chain": (("--chains", 1.5), "chains"),
    "no draws": (("--draws", -5), "draws"),
    "too many draws": (("--draws", 10**12), "draws"),
    "no warmup": (("--warmup", 0), "warmup"),
    "negative seed": (("--seed", -1), "seed"),
    "seed beyond 64 bits": (("--seed", 2**64), "seed"),
    "acceptance of 1": (("--target-accept", 1), "target_accept"),
    "acceptance nan": (("--target-accept", "nan"), "target_accept"),
    "unknown backend": (("--backend", "nunpyro"), "did you mean 'numpyro'?"),
    "unknown device": (("--device", "tpu"), "auto, cpu, gpu"),
    "unknown option": (("--chain", 2), "--chain"),
    "word for a number": (("--draws", "many"), "--draws"),
}


@pytest.mark.parametrize("bad", BAD_OPTIONS)
def test_a_bad_option_of_fit(bad, six, tmp_path):
    words, told = BAD_OPTIONS[bad]
    lines = refused(*FIT, six, "--out", tmp_path / "out", *words)
    assert len(lines) == 1 and told in lines[0], lines


def test_a_gpu_where_there_is_none(six, tmp_path, monkeypatch):
    def none_here(kind: str) -> list:
        raise RuntimeError(f"no {kind}")

    monkeypatch.setattr("hierarchical_twin.inference.device.jax.devices", none_here)
    line = refused(*FIT, six, "--out", tmp_path / "out", "--device", "gpu")[0]
    assert "no GPU" in line and "--device cpu" in line


def test_several_bad_options_are_told_together(six, tmp_path):
    lines = refused(*FIT, six, "--out", tmp_path / "out", "--chains", 0, "--draws", 0)
    assert len(lines) == 2


def test_a_fit_is_not_replaced_unasked(fitted, six):
    before = (fitted.folder / "fit.nc").read_bytes()
    assert "--overwrite" in refused(*FIT, six, "--out", fitted.folder)[0]
    assert (fitted.folder / "fit.nc").read_bytes() == before


def test_a_place_that_cannot_be_written(six, tmp_path):
    occupied = tmp_path / "occupied"
    occupied.write_text("x")
    assert "a file" in refused(*FIT, six, "--out", occupied)[0]
    refused(*FIT, six, "--out", occupied / "inside")
    refused(*FIT, six, "--out", tmp_path / ("x" * 300))
    refused("init", occupied / "mine.yaml")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write to")
def test_an_unwritable_folder_is_found_before_sampling(six):
    """Root may write anywhere else, so this folder is the kernel's."""
    said = run(*FIT, six, "--out", "/proc/self")
    assert said.code == 2 and "can be written to" in said.errors[0]
    assert "chains of" not in said.err


READERS = ("intervals", "population", "shrinkage", "diagnostics")


@pytest.mark.parametrize("command", READERS)
def test_a_fit_that_is_not_there(command, tmp_path):
    assert "no such file" in refused(command, tmp_path / "nowhere")[0]
    assert "no such file" in refused(command, tmp_path / "nowhere.nc")[0]
    assert "fit.nc" in refused(command, tmp_path)[0]
    refused(command, "x" * 300)


@pytest.mark.parametrize("command", READERS)
def test_junk_for_a_fit(command, tmp_path, six):
    path = tmp_path / "junk.nc"
    path.write_bytes(bytes(range(256)) * 20)
    assert "cannot be read" in refused(command, path)[0]
    path.write_bytes(b"")
    refused(command, path)
    refused(command, six)
    (tmp_path / "folder.zarr").mkdir()
    refused(command, tmp_path / "folder.zarr")


def test_half_a_fit(fitted, tmp_path):
    path = tmp_path / "fit.nc"
    whole = (fitted.folder / "fit.nc").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused("intervals", path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--prob", 1.5), "prob"),
        (("--prob", 0), "prob"),
        (("--prob", "nan"), "prob"),
        (("--prob", "most"), "--prob"),
        (("--parameter", "slop"), "did you mean 'slope'?"),
        (("--kind", "hid"), "equal-tailed"),
        (("--out", "table.xlsx"), ".csv"),
        (("--out", "no/where/table.csv"), "folder"),
    ],
)
def test_a_bad_option_of_intervals(fitted, words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told in refused("intervals", fitted.folder, *words)[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nosuch",), "nosuch"),
        (("intervls",), "'intervals'"),
        (("fit",), "SPEC"),
        (("fit", "sleep"), "DATA"),
        (("fit", "sleep", "t.csv"), "--out"),
        (("models", "extra"), "extra"),
        (("init",), "PATH"),
        (("init", "mine.yaml", "--like"), "--like"),
        (("init", "mine.yaml", "--like", "slep"), "did you mean 'sleep'?"),
        (("--version",), "--version"),
        (("intervals",), "FIT"),
    ],
)
def test_wrong_words_have_our_shape(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = refused(*words)
    assert len(lines) == 1 and told in lines[0], lines


def test_a_refused_run_leaves_no_folder(six, tmp_path):
    for words in (("--chains", 0), ("--method", "fo"), ("--backend", "stan")):
        refused("fit", "sleep", six, "--out", tmp_path / "fit", *words)
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    refused("fit", "sleep", six, "--out", tmp_path / "mine", "--chains", 0)
    assert (tmp_path / "mine").is_dir(), "a folder that was there stays"
