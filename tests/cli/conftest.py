"""One tiny cohort and one folder fitted to it, shared by every test of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from cli.command import Said, run

SLEEP = Path(__file__).parents[2] / "case_studies" / "sleep" / "sleepstudy.csv"


@dataclass(frozen=True)
class Fitted:
    """What a `fit` command wrote and said."""

    folder: Path
    said: Said


@pytest.fixture(scope="session")
def six(tmp_path_factory) -> Path:
    """Six people of the sleep study as CSV."""
    frame = pd.read_csv(SLEEP)
    path = tmp_path_factory.mktemp("tables") / "six.csv"
    frame[frame["id"].isin(frame["id"].unique()[:6])].to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def fitted(six, tmp_path_factory) -> Fitted:
    """The sleep spec on six people: 2 chains of 100 draws, too short to be trusted."""
    folder = tmp_path_factory.mktemp("fits") / "deep" / "sleep_fit"
    words = ("--chains", 2, "--draws", 100, "--warmup", 100, "--seed", 1, "--device", "cpu")
    return Fitted(folder, run("fit", "sleep", six, "--out", folder, *words))
