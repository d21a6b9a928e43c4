"""The command `compare` prints the table of its verb, and writes what it is asked to."""

from __future__ import annotations

import pandas as pd
import pytest

from cli.command import refused, run


@pytest.fixture(scope="module")
def said(fitted, tmp_path_factory):
    """The same fit under two names: no difference, and no second run."""
    folder = tmp_path_factory.mktemp("compared")
    words = ("--no-refit", "--patients", folder / "patients.csv", "--figure", folder / "compared.svg")
    return folder, run("compare", f"one={fitted.folder}", f"two={fitted.folder}", *words)


def test_table_verdict_and_notes(said):
    folder, found = said
    assert found.code == 0, found
    assert "elpd" in found.out and "se_difference" in found.out and "p_patients" in found.out
    assert "hardly a difference" in found.out and "leave-one-patient-out" in found.out
    patients = pd.read_csv(folder / "patients.csv")
    assert len(patients) == 12 and (patients["difference"] == 0).all()
    assert "<svg" in (folder / "compared.svg").read_text(encoding="utf-8")[:2000]


def test_by_observation_to_a_table(fitted, tmp_path):
    found = run("compare", fitted.folder, "--by", "observation", "--out", tmp_path / "table.json")
    assert found.code == 0, found
    assert pd.read_json(tmp_path / "table.json")["model"].tolist() == [fitted.folder.stem]


def test_bad_words_are_refused(fitted, tmp_path):
    assert "two fits named 'a'" in refused("compare", f"a={fitted.folder}", f"a={fitted.folder}")[0]
    assert "NAME=FIT" in refused("compare", f"={fitted.folder}")[0]
    assert "no such file" in refused("compare", f"a={tmp_path / 'nothing.nc'}")[0]
    assert "folds" in refused("compare", f"a={fitted.folder}", "--folds", 1)[0]
