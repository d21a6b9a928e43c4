"""Ctrl-C in a real process: draws are kept and said to be fewer; without draws, or twice, it just ends.

The child's standard error is a terminal, so that its progress can be watched.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

import hierarchical_twin as ht

pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
# Where the tests themselves run in the background, Ctrl-C is ignored and a child would inherit that.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from hierarchical_twin.cli import main
main()
"""
PATIENCE = 90.0
TERMINAL = {"TERM": "xterm", "COLUMNS": "160", "NO_COLOR": "1"}


class Child:
    """A `fit` in a process of its own, and what it has written to its terminal so far."""

    def __init__(self, six: Path, out: Path, warmup: int) -> None:
        self.terminal, theirs = pty.openpty()
        os.set_blocking(self.terminal, False)
        words = ("fit", "sleep", six, "--out", out, "--chains", 3, "--draws", 3_000_000, "--warmup", warmup)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, words), "--device", "cpu"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env={**os.environ, **TERMINAL, "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir},
        )
        os.close(theirs)
        self.said = ""

    def listen(self) -> None:
        """Take what is there to be read."""
        try:
            while part := os.read(self.terminal, 65536):
                self.said += part.decode(errors="replace")
        except (BlockingIOError, OSError):
            return

    def wait_for(self, pattern: str, least: int = 0) -> None:
        """Until the pattern is said, and its last group, where it has one, is a number of at least `least`."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            self.listen()
            found = re.findall(pattern, self.said)
            if found and (not least or int(found[-1].replace(",", "")) >= least):
                return
            time.sleep(0.02)
        raise AssertionError(f"{pattern} was not said:\n{self.said}")

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def finish(self) -> tuple[int, str]:
        """Exit code and standard output; afterwards `said` is complete."""
        end = time.monotonic() + PATIENCE
        try:
            # The terminal must be read meanwhile, or the child waits for room to write.
            while self.process.poll() is None and time.monotonic() < end:
                self.listen()
                time.sleep(0.02)
            out, _ = self.process.communicate(timeout=1)
        finally:
            self.process.kill()
        self.listen()
        os.close(self.terminal)
        assert "Traceback" not in self.said
        return self.process.returncode, out


def test_the_draws_are_kept(six, tmp_path):
    out = tmp_path / "fit"
    child = Child(six, out, warmup=100)
    child.wait_for(r"([\d,]+)/[\d,]+ iterations", least=1200)
    child.interrupt()
    code, told = child.finish()
    assert code in (0, 3), child.said
    assert re.search(r"INTERRUPTED: keeping the [\d,]+ of 3,000,000 draws", child.said)
    assert "INTERRUPTED: this run was stopped before its end" in child.said
    assert ("DO NOT TRUST" in told) == (code == 3)
    fit = ht.open_fit(out / "fit.nc")
    assert fit.attributes["is_interrupted"] == 1
    sizes = fit.tree["posterior"].sizes
    assert sizes["chain"] == 3 and 1 <= sizes["draw"] < 3_000_000
    assert dict(fit.tree["sample_stats"].sizes) == {"chain": 3, "draw": sizes["draw"]}
    assert (out / "intervals.csv").exists()


def test_during_warmup_there_is_nothing_to_keep(six, tmp_path):
    child = Child(six, tmp_path / "fit", warmup=1_000_000)
    child.wait_for("of sampling")
    child.interrupt()
    code, told = child.finish()
    assert code == 130 and told == ""
    assert "interrupted: stopped before it was done" in child.said
    assert [path.name for path in (tmp_path / "fit").iterdir()] == ["checkpoint"]


def test_a_second_time_gives_the_draws_up(six, tmp_path):
    child = Child(six, tmp_path / "fit", warmup=100)
    child.wait_for(r"([\d,]+)/[\d,]+ iterations", least=1200)
    child.interrupt()
    child.wait_for("INTERRUPTED: keeping")
    child.interrupt()
    code, _ = child.finish()
    assert code == 130, child.said
    assert "interrupted: stopped before it was done" in child.said
    assert not any(path.name.startswith(".") for path in (tmp_path / "fit").iterdir()), "half a file"
