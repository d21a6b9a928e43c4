"""The page about comparison runs as written, in the folder the guide leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from analysis.test_comparison import pointwise
from test_docs import DOCS, SAVED, blocks_of, save_files

from hierarchical_twin.analysis.comparison import Comparison

FIRST = "hierarchical-twin fit growth.yaml scans.csv --out growth_fit --seed 1"


def test_every_column_is_explained():
    text = (DOCS / "compare.md").read_text(encoding="utf-8")
    scores = pointwise({"a": np.linspace(-3.0, -1.0, 5), "b": np.linspace(-2.0, -4.0, 5)})
    for column in Comparison("patient", "x", scores).table().columns[1:]:
        assert f"`{column}`" in text


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path) -> None:
    save_files(tmp_path)
    for name, text in SAVED.findall((DOCS / "compare.md").read_text(encoding="utf-8")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    commands = [block.text for block in blocks_of("compare.md") if block.language == "bash"]
    for text in (FIRST, *commands):
        subprocess.run(["bash", "-euc", text], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "comparison.svg").exists() and (tmp_path / "by_patient.csv").exists()
    script = "\n".join(block.text for block in blocks_of("compare.md") if block.language == "python")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "leave-one-patient-out" in done.stdout and "nothing about new patients" in done.stdout
