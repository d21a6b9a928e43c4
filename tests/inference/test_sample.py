"""The verb `sample`: two backends and one posterior, nothing global changed, loud when it goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import jax
import numpy as np
import pytest
from arviz_stats import ess

import hierarchical_twin as ht
from hierarchical_twin.inference import sample as sample_module
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.inference.nuts import Progress
from inference.models import linear_model

quiet_sample = partial(ht.sample, device="cpu", progress=False)


@pytest.fixture(scope="module")
def sleep_fit_by_pymc(sleep):
    return quiet_sample(sleep, backend="pymc", chains=2, warmup=300, draws=600, seed=1)


def test_both_backends_give_one_posterior(sleep_fit, sleep_fit_by_pymc):
    ours, theirs = (fit.tree["posterior"].to_dataset() for fit in (sleep_fit, sleep_fit_by_pymc))
    assert set(ours.data_vars) == set(theirs.data_vars)
    for name in ("intercept_typical", "slope_typical", "sigma_reaction", "intercept", "slope", "omega"):
        one, other = (np.atleast_3d(posterior[name].values) for posterior in (ours, theirs))
        for index in range(one.shape[2]):
            a, b = one[:, :, index], other[:, :, index]
            error = np.hypot(a.std() / np.sqrt(ess(a)), b.std() / np.sqrt(ess(b)))
            assert abs(a.mean() - b.mean()) < 4 * error, name


def test_both_backends_begin_alike(sleep):
    """Equal densities and seeds: rounding has not yet been amplified in the first draws."""
    fits = [
        quiet_sample(sleep, backend=word, chains=2, warmup=3, draws=4, seed=3) for word in ("numpyro", "pymc")
    ]
    ours, theirs = (fit.tree["posterior"].to_dataset() for fit in fits)
    for name in ("intercept_typical", "slope", "sigma_reaction", "eta"):
        assert ours[name].values == pytest.approx(theirs[name].values, rel=1e-5)


def test_the_seed_and_the_workers(sleep, sleep_fit):
    again = quiet_sample(sleep, chains=2, warmup=300, draws=600, seed=1, workers=1)
    for group in ("posterior", "log_likelihood", "posterior_predictive", "no_pooling"):
        assert again.tree[group].to_dataset().equals(sleep_fit.tree[group].to_dataset()), group


PROGRAM = """
import json
import jax, numpy as np
import hierarchical_twin as ht
from inference.models import sleep_model

def flags():
    return {name: repr(value) for name, value in jax.config.values.items()}

before, state = flags(), np.random.get_state()[1].tolist()
fit = ht.sample(sleep_model(3), chains=2, warmup=20, draws=20, device="cpu", progress=False)
posterior = fit.tree["posterior"].to_dataset()
simulated = ht.simulate(sleep_model(3), seed=1)
print(json.dumps({
    "x64": bool(jax.config.jax_enable_x64),
    "changed": [name for name, value in flags().items() if before[name] != value],
    "numpy": np.random.get_state()[1].tolist() == state,
    "default": str(jax.numpy.zeros(1).dtype),
    "types": sorted({str(values.dtype) for values in posterior.data_vars.values()}),
    "simulated": str(simulated.truth["slope"].dtype),
    "precise": float(np.abs(posterior["slope_typical"].values
        - posterior["slope_typical"].values.astype(np.float32)).max()),
}))
"""


def test_double_precision_without_touching_a_flag(tmp_path):
    """In a process of its own, where JAX is in its single-precision default."""
    tests = str(next(path for path in map(str, sys.path) if path.endswith("tests")))
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={"PYTHONPATH": tests, "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir},
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found.pop("precise") > 0, "digits that single precision does not have"
    assert found == {
        "x64": False,
        "changed": [],
        "numpy": True,
        "default": "float32",
        "types": ["float64"],
        "simulated": "float64",
    }


def test_float64_is_for_a_block_only():
    with jax.enable_x64(False):
        with float64_on(choose_place("cpu", 1)):
            assert jax.numpy.zeros(1).dtype == np.float64
        assert jax.numpy.zeros(1).dtype == np.float32


HARD = """\
spec: 1
name: schools
title: One noisy measurement for each patient, centred
mechanism: linear
time: {column: t, unit: h}
patient: {column: id}
parameters:
  intercept: {unit: m, link: identity, typical: "Normal(mean=0, sd=20)", formula: "1 + (1 | patient)"}
  slope: {unit: m/h, value: 0}
random_effects:
  patient: {sd: "HalfCauchy(5)", parameterization: centered}
observations:
  y: {column: y, unit: m, predicts: y, error: normal, sigma: "LogNormal(median=12, sd=0.1)"}
"""


def test_a_divergent_run_is_loud_and_keeps_its_draws():
    """A funnel (eight schools, Rubin 1981): the fit says that it diverged; nothing is raised."""
    effects = (28, 8, -3, 7, -1, 1, 18, 12)
    model = linear_model(HARD, [(f"p{n}", 1.0, float(y)) for n, y in enumerate(effects)])
    fit = quiet_sample(model, chains=2, warmup=200, draws=300, seed=1, target_accept=0.6)
    verdict = fit.diagnostics()
    assert verdict.divergences > 0 and not verdict.is_trustworthy
    assert "DO NOT TRUST" in str(verdict) and "divergences" in str(verdict)
    assert fit.tree["sample_stats"]["diverging"].sum() == verdict.divergences
    assert fit.tree["posterior"].sizes["draw"] == 300
    assert len(fit.intervals("intercept")) == 8


def press_ctrl_c_at(monkeypatch, least: int) -> None:
    def watch(progress: Progress) -> None:
        if progress.done >= least:
            raise KeyboardInterrupt

    @contextmanager
    def watcher(is_shown: bool):
        yield watch

    monkeypatch.setattr(sample_module, "_watcher", watcher)


def test_ctrl_c_gives_a_whole_fit_of_fewer_draws(sleep, monkeypatch):
    press_ctrl_c_at(monkeypatch, 2 * 300 + 6000)
    said: list[str] = []
    fit = quiet_sample(sleep, chains=2, warmup=300, draws=1_000_000, seed=1, announce=said.append)
    assert fit.attributes["is_interrupted"] == 1
    kept = fit.tree["posterior"].sizes["draw"]
    assert 1 <= kept < 1_000_000
    for group in ("sample_stats", "log_likelihood", "posterior_predictive"):
        assert fit.tree[group].sizes["draw"] == kept
    assert f"keeping the {kept:,} of 1,000,000 draws" in said[-1] and "INTERRUPTED" in said[-1]
    assert len(fit.intervals("slope")) == 6


def test_ctrl_c_during_warmup_is_an_interrupt(sleep, monkeypatch):
    press_ctrl_c_at(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt, match="no draws to keep"):
        quiet_sample(sleep, chains=2, warmup=1_000_000, draws=600, seed=1)


def test_what_it_costs_is_said_before(sleep):
    said: list[str] = []
    quiet_sample(sleep, chains=2, warmup=3, draws=4, seed=3, announce=said.append)
    assert len(said) == 1
    for words in ("2 chains of 3 + 4", "CPU", "float64", "18 parameters", "a gradient"):
        assert words in said[0]


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        (
            {"chains": 0},
            ht.SamplingError,
            "sample chains: got 0; expected a whole number from 1 to 10000; 4, the default",
        ),
        ({"draws": 1.5}, ht.SamplingError, r"sample draws: got 1.5; .*; 1000 draws a chain"),
        ({"warmup": "many"}, ht.SamplingError, r"sample warmup: got 'many'; .*; left out"),
        ({"thin": 0}, ht.SamplingError, r"sample thin: got 0; .*; 1, the default"),
        ({"draws": 5, "thin": 6}, ht.SamplingError, "at least one draw kept; more draws"),
        ({"seed": 2**64}, ht.SamplingError, "sample seed"),
        ({"max_tree_depth": 99}, ht.SamplingError, r"sample max_tree_depth: .*; 10, the default"),
        ({"target_accept": "high"}, ht.SamplingError, r"sample target_accept: .*; left out"),
        ({"target_accept": float("nan")}, ht.SamplingError, "sample target_accept"),
        ({"backend": "numpyo"}, ht.BackendError, "did you mean 'numpyro'"),
        ({"device": "quantum"}, ht.BackendError, "one of auto, cpu, gpu"),
    ],
)
def test_words_that_are_refused(sleep, words, error, told):
    with pytest.raises(error, match=told):
        ht.sample(sleep, **words)


def test_all_refusals_at_once(sleep):
    with pytest.raises(ht.SamplingError) as caught:
        ht.sample(sleep, chains=0, draws=0, target_accept=2)
    assert len(caught.value.problems) == 3


def test_places():
    assert choose_place("cpu", 1, workers=8).workers == 1
    assert choose_place("cpu", 8, workers=3).workers == 3
    assert choose_place("auto", 4).workers >= 1
    assert not choose_place("cpu", 4).is_batched
