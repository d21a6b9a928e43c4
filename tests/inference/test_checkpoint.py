"""A run that is stopped at any moment goes on to the draws, bit for bit, of one that nothing stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierarchical_twin as ht
from hierarchical_twin.inference import keeper, nuts
from hierarchical_twin.inference import sample as sample_module
from hierarchical_twin.inference.checkpoint import (
    check_output,
    discard_checkpoint,
    has_run,
    open_checkpoint,
)
from hierarchical_twin.inference.keeper import Checkpoint
from hierarchical_twin.inference.nuts import Draws, Progress
from hierarchical_twin.inference.settings import Schedule
from inference.models import sleep_model
from inference.toy import BATCHED, here, run_toy, silent

SCHEDULE = Schedule(chains=3, warmup=30, draws=60, seed=4)
STARTS = np.random.default_rng(0).standard_normal((3, 3))
QUICK = {"chains": 2, "warmup": 30, "draws": 40, "seed": 1, "device": "cpu", "progress": False}
GROUPS = ("posterior", "sample_stats", "log_likelihood", "posterior_predictive", "no_pooling", "adaptation")


class Killed(BaseException):
    """Stands for SIGKILL where a process of its own would take too long."""


def density(flat: jax.Array) -> jax.Array:
    return -0.5 * jnp.sum(flat**2 * jnp.array([1.0, 4.0, 0.2])) - 0.1 * flat[0] * flat[1] * flat[2] ** 2


def toy_run(
    folder: Path | None, *, resume: bool = False, schedule=SCHEDULE, place=None, watch=silent
) -> Draws:
    with open_checkpoint(folder, resume=resume) as keep:
        keep.begin({"device": "cpu"})
        return run_toy(density, STARTS, schedule, place=place, watch=watch, keep=keep)


@pytest.fixture
def often(monkeypatch):
    """Saved after every piece, and pieces of one iteration."""
    monkeypatch.setattr(nuts, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(nuts, "_PIECE_SECONDS", 1e-9)


def die_at(monkeypatch, write: int) -> None:
    """Die in place of the so-manieth file that would take its place."""
    replace_file, count = os.replace, iter(range(write))

    def counted(source, target):
        if next(count, None) is None:
            raise Killed
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", counted)


def until_done(run: Callable[[pytest.MonkeyPatch], Any], monkeypatch) -> tuple[Any, int]:
    """What a run gives that is begun again whenever it was killed, and how often it was."""
    for kills in range(15):
        with monkeypatch.context() as patched:
            try:
                return run(patched), kills
            except Killed:
                continue
    raise AssertionError("never done")


def assert_same(found: Draws, expected: Draws) -> None:
    assert found.is_interrupted == expected.is_interrupted
    assert np.array_equal(found.positions, expected.positions)
    assert set(found.stats) == set(expected.stats)
    for name, values in expected.stats.items():
        assert np.array_equal(found.stats[name], values), name
        assert found.stats[name].dtype == values.dtype


def same_fit(one: ht.Fit, other: ht.Fit) -> bool:
    return all(one.tree[name].to_dataset().equals(other.tree[name].to_dataset()) for name in GROUPS)


@pytest.mark.parametrize(
    ("place", "thin"),
    [(here(2), 7), (BATCHED, 3)],
    ids=["two workers", "a batch"],
)
def test_killed_again_and_again(tmp_path, monkeypatch, often, place, thin):
    schedule = replace(SCHEDULE, thin=thin)
    expected = toy_run(None, schedule=schedule, place=place)
    generator, most = random.Random(thin), 25 if place.is_batched else 60

    def run(patched: pytest.MonkeyPatch) -> Draws:
        die_at(patched, generator.randint(most // 2, most))
        return toy_run(tmp_path, resume=has_run(tmp_path), schedule=schedule, place=place)

    found, kills = until_done(run, monkeypatch)
    assert 2 <= kills < 15
    assert_same(found, expected)
    assert not list(tmp_path.glob(".*")), "half files of killed runs"


PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from hierarchical_twin.inference import keeper, nuts
from hierarchical_twin.inference.checkpoint import has_run
from inference.test_checkpoint import toy_run

nuts._SAVE_SECONDS, nuts._PIECE_SECONDS = 0.0, 1e-9
folder, out = map(Path, sys.argv[1:])
found = toy_run(folder, resume=has_run(folder))
np.savez(out, positions=found.positions, **found.stats)
"""


def test_sigkill_at_random_moments(tmp_path):
    """In processes of their own, killed by the system while they write several files for each iteration."""
    expected = toy_run(None)
    folder, out = tmp_path / "run", tmp_path / "draws.npz"
    tests = str(Path(__file__).parents[1])
    words = {"PYTHONPATH": tests, "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir}
    seed = int(time.time())
    generator, codes = random.Random(seed), []
    for patience in (1.0, 1.0, 1000.0):
        child = subprocess.Popen([sys.executable, "-c", PROGRAM, folder, out], env={**os.environ, **words})
        before = written(folder)
        end = time.monotonic() + 120
        while child.poll() is None and written(folder) == before and time.monotonic() < end:
            time.sleep(0.01)
        try:
            codes.append(child.wait(generator.uniform(0, 0.2) * patience))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            codes.append(child.wait())
    assert codes[-1] == 0 and -signal.SIGKILL in codes, (codes, seed)
    with np.load(out) as found:
        assert np.array_equal(found["positions"], expected.positions), seed
        assert all(np.array_equal(found[name], values) for name, values in expected.stats.items()), seed


def written(folder: Path) -> float:
    """When a chain was last saved."""
    return max((path.stat().st_mtime_ns for path in folder.glob("chain_?.npz")), default=0)


def test_a_part_that_no_state_counts_is_of_no_consequence(tmp_path, monkeypatch, often):
    """Died between a part and the state that counts it: the part is there, and is written again."""
    expected = toy_run(None)
    replace_file = os.replace

    def after_part(source, target):
        replace_file(source, target)
        if "part_00005" in Path(target).name:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", after_part)
        with pytest.raises(Killed):
            toy_run(tmp_path)
    stray = next(tmp_path.glob("chain_*_part_00005.npz"))
    stray.write_bytes(b"half")
    assert_same(toy_run(tmp_path, resume=True), expected)
    assert stray.read_bytes() != b"half"


def test_an_interrupted_run_goes_on(tmp_path):
    long = replace(SCHEDULE, draws=30_000)

    def watch(progress: Progress) -> None:
        if progress.done >= 2_000:
            raise KeyboardInterrupt

    found = toy_run(tmp_path, schedule=long, watch=watch)
    kept = found.positions.shape[1]
    assert found.is_interrupted and kept < 30_000
    with np.load(tmp_path / "chain_0.npz") as state:
        assert state["done"] >= 30 + kept, "saved where it was interrupted, not where it was last saved"
    expected = toy_run(None, schedule=long)
    assert np.array_equal(found.positions, expected.positions[:, :kept])
    seen: list[int] = []
    finished = toy_run(tmp_path, resume=True, schedule=long, watch=lambda p: seen.append(p.done))
    assert_same(finished, expected)
    assert seen[0] >= 2_000 and seen[-1] == 3 * 30_030
    assert finished.seconds["gradients"] == expected.seconds["gradients"]


def test_parts_are_not_written_twice(tmp_path, often):
    """What is on disk grows with the draws: together the parts hold each once."""
    toy_run(tmp_path)
    for chain in range(3):
        parts = [np.load(path)["positions"] for path in sorted(tmp_path.glob(f"chain_{chain}_part_*.npz"))]
        assert len(parts) > 3 and sum(map(len, parts)) == 60


def test_saved_seldom_by_default(tmp_path, monkeypatch):
    """A short run: a chain is saved where warm-up ends and where it ends itself, not at every piece."""
    monkeypatch.setattr(nuts, "_PIECE_SECONDS", 1e-9)
    saved: list[str] = []
    save = Checkpoint.save
    monkeypatch.setattr(
        Checkpoint, "save", lambda self, name, arrays: (saved.append(name), save(self, name, arrays))
    )
    toy_run(tmp_path)
    assert saved.count("chain_0") == 2 and saved.count("chain_0_part_00000") == 1


DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a flipped bit": lambda data: (
        data[:300] + bytes([data[300] ^ 4]) + data[301:] if len(data) > 300 else b"\xff" + data
    ),
    "not a file of arrays": lambda data: b"hello" * 40,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    toy_run(folder)
    return folder


@pytest.mark.parametrize("name", ["chain_1.npz", "chain_2_part_00000.npz", "run.json"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_told(finished, name, damage):
    path = finished / name
    before = path.read_bytes()
    data = DAMAGE[damage](before)
    path.write_bytes(data)
    try:
        with pytest.raises(ht.SamplingError, match=rf"{name}: got .*--overwrite"):
            toy_run(finished, resume=True)
    finally:
        path.write_bytes(before)


def test_a_missing_part_is_told(finished):
    path = finished / "chain_2_part_00000.npz"
    aside = path.rename(finished / "aside")
    with pytest.raises(ht.SamplingError, match="got no such file"):
        toy_run(finished, resume=True)
    aside.rename(path)


def test_a_state_of_other_shapes_is_told(finished):
    other = replace(SCHEDULE, draws=50)
    with pytest.raises(ht.SamplingError, match="a chain of another run"):
        toy_run(finished, resume=True, schedule=other)


def test_only_one_process_at_a_time(finished):
    with open_checkpoint(finished, resume=True):
        told = f"that process {os.getpid()} is working on"
        with pytest.raises(ht.SamplingError, match=told), open_checkpoint(finished, resume=True):
            pass
        with pytest.raises(ht.SamplingError, match=told):
            discard_checkpoint(finished)
    assert has_run(finished)
    with open_checkpoint(finished, resume=True):
        """Free again."""


def test_the_lock_of_a_dead_process_is_none(finished):
    holder = (
        "import sys, os, signal; from hierarchical_twin.inference.checkpoint import open_checkpoint\n"
        "with open_checkpoint(sys.argv[1], resume=True): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", holder, str(finished)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL and (finished / "owner").exists()
    with open_checkpoint(finished, resume=True) as keep:
        assert keep.run == {"device": "cpu"}


def test_what_cannot_be_resumed(tmp_path, finished):
    with pytest.raises(ht.SamplingError, match="no unfinished run"), open_checkpoint(tmp_path, resume=True):
        pass
    with pytest.raises(ht.SamplingError, match="no checkpoint"), open_checkpoint(None, resume=True):
        pass
    with pytest.raises(ht.SamplingError, match=r"an unfinished run.*--resume"):
        toy_run(finished)
    with pytest.raises(ht.SamplingError, match=r"got (Not a directory|File exists)"):
        (tmp_path / "file").touch()
        toy_run(tmp_path / "file" / "run")


def test_what_is_there_is_not_lost(tmp_path, finished):
    fit, none = tmp_path / "fit.nc", tmp_path / "checkpoint"
    ask = partial(check_output, fit, resume=False, overwrite=False)
    ask(none)
    with pytest.raises(ht.SamplingError, match="no unfinished run"):
        ask(none, resume=True)
    with pytest.raises(ht.SamplingError, match="an unfinished run"):
        ask(finished)
    fit.touch()
    with pytest.raises(ht.DataError, match="a fit that exists"):
        ask(none)
    with pytest.raises(ht.SamplingError, match="nothing to resume"):
        ask(none, resume=True)
    with pytest.raises(ht.SamplingError, match="got both"):
        ask(finished, resume=True, overwrite=True)
    ask(finished, resume=True)
    ask(finished, overwrite=True)


def test_files_of_others_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    toy_run(tmp_path)
    discard_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    discard_checkpoint(tmp_path / "none")


def test_leavings_of_a_discarded_run_are_not_taken_for_draws(tmp_path):
    """Killed while it was discarded: without its first file it is no run."""
    toy_run(tmp_path)
    (tmp_path / "run.json").unlink()
    other = replace(SCHEDULE, seed=5)
    assert_same(toy_run(tmp_path, schedule=other), toy_run(None, schedule=other))


@pytest.fixture(scope="module")
def three() -> ht.Model:
    return sleep_model(3)


@pytest.mark.parametrize(
    ("words", "batched"),
    [
        ({"method": "blocked", "thin": 3}, False),
        ({"method": "blocked"}, True),
        ({"method": "marginal"}, False),
    ],
    ids=["blocked, thinned", "blocked, a batch", "marginal"],
)
def test_a_fit_is_the_same(three, tmp_path, monkeypatch, often, words, batched):
    """Stopped in the pilot, in warm-up and among the draws."""
    if batched:
        monkeypatch.setattr(sample_module, "choose_place", lambda *_: BATCHED)
    expected = ht.sample(three, **QUICK, **words)
    writes = iter((50,) if batched else (1, 40, 70))

    def run(patched: pytest.MonkeyPatch) -> ht.Fit:
        die_at(patched, next(writes, 10_000))
        return ht.sample(three, checkpoint=tmp_path, resume=has_run(tmp_path), **QUICK, **words)

    found, kills = until_done(run, monkeypatch)
    assert kills == (1 if batched else 3)
    assert same_fit(found, expected)


def test_the_pilot_is_read_and_not_fitted_again(three, tmp_path, monkeypatch):
    expected = ht.sample(three, checkpoint=tmp_path, **QUICK)
    for path in tmp_path.glob("chain_*"):
        path.unlink()

    def never(model):
        raise AssertionError("fitted again")

    monkeypatch.setattr(sample_module, "find_pilot", never)
    assert same_fit(ht.sample(three, checkpoint=tmp_path, resume=True, **QUICK), expected)


@pytest.fixture(scope="module")
def begun(three, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("begun")
    ht.sample(three, checkpoint=folder, **QUICK)
    return folder


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"seed": 2}, "seed: got 2; expected 1 as at its start"),
        ({"draws": 41}, "draws: got 41; expected 40"),
        ({"thin": 2}, "thin: got 2; expected 1"),
        ({"method": "blocked"}, "method: got 'blocked'; expected 'auto'"),
        ({"target_accept": 0.8}, "target_accept: got 0.8; expected the default"),
        ({"backend": "pymc"}, "backend: got 'pymc'; expected 'numpyro'"),
    ],
)
def test_another_run_is_refused(three, begun, words, told):
    with pytest.raises(ht.SamplingError, match=told):
        ht.sample(three, checkpoint=begun, resume=True, **{**QUICK, **words})


def test_all_differences_at_once(begun):
    """Other data, another seed and another version of JAX."""
    run = json.loads((begun / "run.json").read_text())
    changed = run | {"version of jax": "0.0.1"}
    (begun / "run.json").write_text(json.dumps(changed))
    try:
        with pytest.raises(ht.SamplingError) as caught:
            ht.sample(sleep_model(4), checkpoint=begun, resume=True, **{**QUICK, "seed": 7})
    finally:
        (begun / "run.json").write_text(json.dumps(run))
    named = [problem.where.removeprefix(f"{begun} ") for problem in caught.value.problems]
    assert named == ["data", "coordinates", "seed", "version of jax"]


def test_a_damaged_pilot_is_told(three, begun):
    path = begun / "pilot.npz"
    before = path.read_bytes()
    path.write_bytes(before[:100])
    with pytest.raises(ht.SamplingError, match=r"pilot.npz: got .*--overwrite"):
        ht.sample(three, checkpoint=begun, resume=True, **QUICK)
    with np.load(begun / "chain_0.npz") as other:
        np.savez(path, **other)
    with pytest.raises(ht.SamplingError, match="the pilot of another model"):
        ht.sample(three, checkpoint=begun, resume=True, **QUICK)
    path.write_bytes(before)


def test_the_device_is_not_measured_again(begun):
    with open_checkpoint(begun, resume=True) as keep:
        assert keep.device("auto") == "cpu" and keep.device("gpu") == "gpu"


def test_ctrl_c_says_how_to_go_on(three, tmp_path, monkeypatch):
    @contextmanager
    def watcher(is_shown: bool):
        def watch(progress: Progress) -> None:
            raise KeyboardInterrupt

        yield watch

    said: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(sample_module, "_watcher", watcher)
        with pytest.raises(KeyboardInterrupt):
            ht.sample(three, checkpoint=tmp_path, announce=said.append, **{**QUICK, "warmup": 1_000_000})
    assert "the run is saved" in said[-1] and "--resume" in said[-1]
    assert has_run(tmp_path)


def test_a_full_disk_is_told(three, tmp_path, monkeypatch):
    def full(path, arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeper, "_write_arrays", full)
    with pytest.raises(ht.TwinError, match="No space left"):
        ht.sample(three, checkpoint=tmp_path, **QUICK)
    assert not has_run(tmp_path), "nothing was drawn: there is nothing to go on with"


def test_a_failure_among_the_draws_leaves_what_there_is(tmp_path, monkeypatch, often):
    def fail(progress: Progress) -> None:
        if progress.done > 60:
            raise ValueError("the terminal went away")

    with pytest.raises(ValueError, match="went away"):
        toy_run(tmp_path, schedule=replace(SCHEDULE, draws=3000), watch=fail)
    assert has_run(tmp_path) and (tmp_path / "chain_0.npz").exists()
