"""`--resume` and `--start-from`: what was stopped goes on, what was learned is used, nothing is lost."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

import hierarchical_twin as ht
from cli.command import refused, run
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.inference import sample as sample_module
from hierarchical_twin.inference.checkpoint import discard_all, hold_output, set_aside
from hierarchical_twin.inference.nuts import Progress

GROUPS = ("posterior", "sample_stats", "log_likelihood", "posterior_predictive", "adaptation")


@contextmanager
def impatient(is_shown: bool):
    """Ctrl-C once there are draws."""

    def watch(progress: Progress) -> None:
        if progress.done >= 1000:
            raise KeyboardInterrupt

    yield watch


def test_an_interrupted_fit_goes_on(six, tmp_path, monkeypatch):
    words = (
        "--chains",
        2,
        "--draws",
        10_000,
        "--warmup",
        50,
        "--thin",
        5,
        "--method",
        "joint",
        "--device",
        "cpu",
    )
    out, whole = tmp_path / "fit", tmp_path / "whole"
    with monkeypatch.context() as patched:
        patched.setattr(sample_module, "_watcher", impatient)
        said = run("fit", "sleep", six, "--out", out, *words)
    assert "the run is saved; go on with --resume" in said.err
    assert ht.open_fit(out / "fit.nc").attributes["is_interrupted"] == 1
    (line,) = refused("fit", "sleep", six, "--out", out, *words)
    assert "an unfinished run" in line and "--resume" in line and "--overwrite" in line
    (line,) = refused("fit", "sleep", six, "--out", out, *words, "--seed", 3, "--resume")
    assert "seed: got 3; expected 0 as at its start" in line

    said = run("fit", "sleep", six, "--out", out, *words, "--resume")
    assert said.code in (0, 3), said.err
    assert not (out / "checkpoint").exists()
    run("fit", "sleep", six, "--out", whole, *words)
    one, other = (ht.open_fit(folder / "fit.nc").tree for folder in (out, whole))
    assert one["posterior"].sizes["draw"] == 2000
    for name in GROUPS:
        assert one[name].to_dataset().equals(other[name].to_dataset()), name

    (line,) = refused("fit", "sleep", six, "--out", out, *words, "--resume")
    assert "a fit and no unfinished run" in line and "nothing to resume" in line


def test_an_unfinished_run_may_be_thrown_away(six, tmp_path):
    left = tmp_path / "checkpoint"
    left.mkdir()
    (left / "run.json").write_text("half")
    words = ("--chains", 1, "--draws", 10, "--warmup", 10, "--device", "cpu")
    (line,) = refused("fit", "sleep", six, "--out", tmp_path, *words, "--resume")
    assert "run.json: got a damaged file" in line
    (line,) = refused("intervals", tmp_path)
    assert "got an unfinished run" in line and "--resume" in line
    assert run("fit", "sleep", six, "--out", tmp_path, *words, "--overwrite").code == 3
    assert not left.exists() and (tmp_path / "fit.nc").exists()


def test_nothing_to_resume(six, tmp_path):
    (line,) = refused("fit", "sleep", six, "--out", tmp_path / "new", "--resume")
    assert "no unfinished run" in line
    assert not (tmp_path / "new").exists()


def test_an_old_fit_to_start_from(fitted, six, tmp_path):
    words = ("--chains", 1, "--draws", 10, "--device", "cpu", "--start-from", fitted.folder)
    run("fit", "sleep", six, "--out", tmp_path / "again", *words)
    assert ht.open_fit(tmp_path / "again" / "fit.nc").attributes["warmup"] == 100


@pytest.mark.parametrize("word", ["gone", "gone.nc"])
def test_no_fit_to_start_from(six, tmp_path, word):
    (line,) = refused("fit", "sleep", six, "--out", tmp_path / "fit", "--start-from", tmp_path / word)
    assert word in line


def test_a_refused_run_does_not_cost_the_unfinished_one(tmp_path):
    """`--overwrite` with a word that is refused leaves the checkpoint where it was."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SamplingError), set_aside(folder):
        assert not folder.exists()
        raise SamplingError(Problem("sample method", "'fo'", "one of joint"))
    assert (folder / "run.json").read_text(encoding="utf-8") == "{}"
    with set_aside(folder):
        assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_no_second_process_writes_where_one_still_draws_pictures(six, tmp_path):
    with hold_output(tmp_path):
        (line,) = refused("fit", "sleep", six, "--out", tmp_path, "--overwrite")
    assert "is working on" in line
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_of_a_run_that_was_replaced_by_one_that_was_killed(tmp_path):
    for name in ("checkpoint", "checkpoint.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}", encoding="utf-8")
    discard_all(tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []
