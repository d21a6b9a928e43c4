"""Programs compiled before they are needed: they serve the run that comes of it, or are left aside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierarchical_twin as ht
from hierarchical_twin.backends.numpyro import flat_log_density
from hierarchical_twin.graph.blocks import count_effects, join_blocks, mark_population, split_blocks
from hierarchical_twin.inference import ahead, draws, nuts
from hierarchical_twin.inference import sample as sample_module
from hierarchical_twin.inference.ahead import compiling_ahead, result_of
from hierarchical_twin.inference.clock import Clock
from hierarchical_twin.inference.device import float64_on
from hierarchical_twin.inference.settings import Schedule, check_settings
from inference.models import LINEAR, linear_model, unequal_patients
from inference.toy import here

short = partial(ht.sample, chains=2, warmup=20, draws=20, seed=3, device="cpu", progress=False)

CENTERED = LINEAR.replace('sd: "HalfNormal(5)"}', 'sd: "HalfNormal(5)", parameterization: centered}', 1)


def posterior(fit: ht.Fit) -> dict[str, np.ndarray]:
    """Everything that was drawn, by name."""
    return {name: value.to_numpy() for name, value in fit.tree["posterior"].data_vars.items()}


def refused(*_, **__):
    """In place of what must not be compiled again."""
    pytest.fail("compiled a second time")


@pytest.mark.parametrize("text", [LINEAR, CENTERED], ids=["auto", "centered"])
def test_the_guess_serves_a_joint_run_and_changes_no_draw(monkeypatch, text):
    """The loop is compiled without knowing a pilot, and gives the very draws of one compiled with it."""
    model = linear_model(text, unequal_patients())
    with monkeypatch.context() as patched:
        patched.setattr(nuts, "compile_loop", refused)
        patched.setattr(draws, "compile_unfolding", refused)
        guessed = short(model)
    with monkeypatch.context() as patched:
        patched.setattr(sample_module, "guess_loop", lambda *_, **__: None)
        plain = short(model)
    found, expected = posterior(guessed), posterior(plain)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert np.array_equal(value, expected[name]), name


def test_a_guess_of_another_model_is_left_aside(monkeypatch):
    """As where frames fail: one graph was guessed, and another is sampled."""
    model = linear_model(LINEAR, unequal_patients())
    other = linear_model(CENTERED, unequal_patients())
    guess = ahead.guess_loop
    with monkeypatch.context() as patched:
        patched.setattr(
            sample_module,
            "guess_loop",
            lambda pool, density, _, *rest, **words: guess(pool, density, other, *rest, **words),
        )
        found = posterior(short(model))
    for name, value in posterior(short(model)).items():
        assert np.array_equal(value, found[name]), name


def test_a_guess_of_other_shapes_is_left_aside(sleep):
    """A compiled loop takes arrays of its own shapes only."""
    settings = check_settings(Schedule(2, 20, 20), "numpyro", "joint", None, 10)
    with float64_on(here()), compiling_ahead() as pool:
        guess = ahead.guess_loop(pool, flat_log_density, sleep, settings, place=here())
        assert guess is not None
        shorter = guess.run.starts._replace(whitened=guess.run.starts.whitened[:, 1:])
        given = (guess.model, guess.settings, here())
        assert guess.take(*given, replace(guess.run, starts=shorter)) is None
        assert guess.take(*given[:2], here(2), guess.run) is None
        assert (
            guess.take(guess.model, replace(guess.settings, max_tree_depth=9), *given[2:], guess.run) is None
        )
        assert guess.take(*given, guess.run) is not None
        chosen = replace(here(), reason="faster in a trial")
        assert guess.take(*given[:2], chosen, guess.run) is not None


def test_what_fails_ahead_is_made_anew(monkeypatch, sleep):
    def broken(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(ahead, "compile_loop", broken)
    monkeypatch.setattr(sample_module, "compile_unfolding", broken)
    assert short(sleep).tree["posterior"].sizes["draw"] == 20


@pytest.mark.parametrize(
    "words",
    [{"backend": "pymc"}, {"method": "marginal"}, {"method": "blocked"}],
    ids=lambda words: str(words),
)
def test_nothing_is_guessed_of_other_runs(monkeypatch, words):
    """PyMC's density holds arrays as constants; the loops of other methods depend on the pilot."""
    compiled = []
    monkeypatch.setattr(ahead, "compile_loop", lambda *given, **words: compiled.append(given))
    assert short(linear_model(LINEAR, unequal_patients()), **words).tree["posterior"].sizes["draw"] == 20
    assert not compiled


def test_nothing_is_guessed_where_polynomials_may_be_followed(monkeypatch, sleep):
    """The chains' program is another then, and this one may take a minute."""
    settings = check_settings(Schedule(2, 20, 20), "numpyro", "joint", None, 10)
    monkeypatch.setattr(ahead, "can_emulate", lambda model: True)
    with compiling_ahead() as pool:
        assert ahead.guess_loop(pool, flat_log_density, sleep, settings, place=here()) is None


def test_fewer_draws_than_were_announced_are_unfolded(sleep):
    """After an interrupt."""
    with compiling_ahead() as pool:
        made = result_of(pool.begin(here(), lambda: draws.compile_unfolding(sleep, 400)))
    assert made is not None
    assert made.batch == 400
    positions = np.zeros((2, 30, split_size(sleep)))
    assert draws.unfold_draws(sleep, positions, here(), seed=0, made=made).posterior["omega"].shape[:2] == (
        2,
        30,
    )


def split_size(model: ht.Model) -> int:
    """Coordinates of a flat point."""
    return mark_population(model).size


def test_failures_ahead_are_none():
    def broken() -> None:
        raise ValueError

    with compiling_ahead() as pool:
        assert result_of(pool.begin(here(), broken)) is None
        assert result_of(pool.begin(here(), lambda: 3)) == 3
    assert result_of(None) is None


def test_no_thread_outlives_its_block():
    """NumPyro's stack of handlers is one for all threads: the caller's next model must find it alone."""
    release = threading.Event()
    with compiling_ahead() as pool:
        future = pool.begin(here(), lambda: release.wait(60))
        threading.Timer(0.2, release.set).start()
    assert future.result(timeout=0)


def test_the_clock_does_not_hear_what_is_compiled_ahead():
    """Nobody waits for it, so it is no stage's."""
    clock = Clock()

    def compiled() -> None:
        jax.jit(lambda x: jnp.sin(x) + 2.0).lower(1.0).compile()

    with compiling_ahead() as pool:
        with clock.stage("ahead"):
            pool.begin(here(), compiled).result()
        with clock.stage("own"):
            compiled()
    assert clock.compiling["ahead"] == 0.0
    assert clock.compiling["own"] > 0.0


def test_timings_are_whole(sleep):
    """What was compiled ahead leaves no stage with less than no arithmetic."""
    timings = json.loads(short(sleep).attributes["timings"])
    for stage in ("pilot", "plan", "effects", "unfold"):
        assert 0.0 <= timings[f"{stage}_compile"] <= timings[stage]


@pytest.mark.parametrize("name", ["sleep", "line"])
def test_blocks_of_numpy_are_those_of_jax(name, sleep):
    model = sleep if name == "sleep" else linear_model(LINEAR, unequal_patients())
    flat = np.random.default_rng(0).standard_normal(split_size(model))
    ours, theirs = split_blocks(model, flat), split_blocks(model, jnp.asarray(flat))
    for one, other in zip(ours, theirs, strict=True):
        assert isinstance(one, np.ndarray)
        assert np.allclose(one, other, atol=1e-6)
    assert ours[1].shape == (count_effects(model), model.size("patient"))
    joined = join_blocks(model, *ours)
    assert isinstance(joined, np.ndarray)
    assert np.array_equal(joined, flat)


REPEATED = """
import sys
import hierarchical_twin as ht
from inference.models import sleep_model

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

model, held = sleep_model(4), []
for seed in range(7):
    ht.sample(model, chains=2, warmup=20, draws=20, seed=seed, device="cpu", progress=False)
    held.append(resident())
print(held[-1] - held[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory as Linux tells it")
def test_threads_that_compile_keep_no_memory():
    """The allocator kept some 85 MB for each run in a process that sampled again and again."""
    environment = os.environ | {"PYTHONPATH": "tests", "HIERARCHICAL_TWIN_CACHE": "off"}
    done = subprocess.run(
        [sys.executable, "-c", REPEATED], env=environment, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 150
