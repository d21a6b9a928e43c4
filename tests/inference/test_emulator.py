"""Polynomials in place of a mechanism: near it where patients may be, harmless elsewhere, exact in the draws."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from hierarchical_twin.backends.numpyro import flat_log_density
from hierarchical_twin.graph.blocks import count_effects, join_blocks, mark_population
from hierarchical_twin.graph.evaluate import log_density
from hierarchical_twin.inference import emulator_fit as emulating
from hierarchical_twin.inference import nuts
from hierarchical_twin.inference import sample as sampling
from hierarchical_twin.inference.checkpoint import open_checkpoint
from hierarchical_twin.inference.device import choose_place
from hierarchical_twin.inference.emulator_fit import fit_emulator
from hierarchical_twin.inference.marginal.rules import find_frames
from hierarchical_twin.inference.memory import memory_needed
from hierarchical_twin.inference.methods import prepare_run
from hierarchical_twin.inference.patients import Densities
from hierarchical_twin.inference.pilot import find_pilot
from hierarchical_twin.inference.settings import TARGET_ACCEPT, Schedule, Settings, settle
from inference.models import CASES, sleep_model
from inference.test_checkpoint import Killed, die_at

PLACE = choose_place("cpu", 2, 2)


def minimal_model(people: int, *changes: tuple[str, str]) -> ht.Model:
    """The minimal model on the first people of its cohort, with words of the spec changed."""
    frame = pd.read_csv(CASES / "glucose_minimal_model" / "simulated_cohort.csv", dtype={"id": str})
    text = ht.shipped_specs()["glucose_minimal_model"].read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    spec = ht.parse_spec(text)
    return ht.build(spec, ht.read_cohort(frame[frame["id"].isin(frame["id"].unique()[:people])], spec))


@pytest.fixture(scope="module")
def model():
    """The minimal model on five people of its cohort."""
    return minimal_model(5)


@pytest.fixture(scope="module")
def pilot(model):
    with jax.enable_x64(True):
        return find_pilot(model)


@pytest.fixture(scope="module")
def emulated(pilot):
    with jax.enable_x64(True):
        return fit_emulator(pilot.model, pilot.center, pilot.root, PLACE)


@pytest.fixture
def double_precision():
    with jax.enable_x64(True):
        yield


def errors_and_bends(pilot, near) -> tuple[np.ndarray, np.ndarray]:
    """What it errs by at 60 places about the pilot, and how far its slopes are off, relative to their length."""
    both = jax.jit(
        lambda flat: (
            jax.value_and_grad(log_density(pilot.model))(flat),
            jax.value_and_grad(lambda at: near.log_density(pilot.model, at))(flat),
        )
    )
    frames = find_frames(Densities(pilot.model), pilot.center, count_effects(pilot.model))
    errors, bends = [], []
    generator = np.random.default_rng(4)
    for effects in frames.place(generator.standard_normal((60, *frames.mean.shape))):
        population = pilot.center + pilot.root @ generator.standard_normal(len(pilot.center))
        point = join_blocks(pilot.model, jnp.asarray(population), jnp.asarray(effects))
        (exact, slope), (found, other) = both(point)
        errors.append(float(found - exact))
        bends.append(float(jnp.linalg.norm(other - slope) / jnp.linalg.norm(slope)))
    return np.array(errors), np.array(bends)


def test_it_follows_the_model_where_patients_may_be(pilot, emulated, double_precision):
    errors, bends = errors_and_bends(pilot, emulated)
    # Frames are straight where the posterior is curved: some of these places are beside it.
    assert np.std(errors) < 0.5 and np.median(np.abs(errors)) < 0.05
    assert np.median(bends) < 0.02


def test_a_lognormal_error_is_judged_by_logarithms(double_precision):
    changes = ("error: normal", "error: lognormal"), ("HalfNormal(10)", "HalfNormal(0.2)")
    pilot = find_pilot(minimal_model(3, *changes))
    near = fit_emulator(pilot.model, pilot.center, pilot.root, PLACE)
    errors, bends = errors_and_bends(pilot, near)
    assert np.median(np.abs(errors)) < 0.1 and np.median(bends) < 0.02


def test_buckets_and_errors_that_grow_with_predictions_are_left_alone(pilot, monkeypatch, double_precision):
    grows = find_pilot(minimal_model(2, ("error: normal", "error: proportional"), ("(10)", "(0.2)")))
    assert fit_emulator(grows.model, grows.center, grows.root, PLACE) is None
    monkeypatch.setattr(emulating, "bucket_ends", lambda model: [2, 5])
    assert fit_emulator(pilot.model, pilot.center, pilot.root, PLACE) is None


def test_what_fitting_takes_is_in_the_estimate(pilot):
    one, two = (emulating.fitting_bytes(pilot.model, workers) for workers in (1, 2))
    assert two == 2 * one > 8 * 8_192 * 24 * 5
    settings = Settings(Schedule(1, 1, 1), "numpyro", "joint", 0.9, 10)
    assert memory_needed(pilot.model, settings, "draws", 2).peak >= two
    assert memory_needed(pilot.model, replace(settings, method="blocked"), "draws", 2).peak < two


def test_polynomials_of_a_run_given_up_are_not_found(tmp_path):
    (tmp_path / "polynomials.npz").write_bytes(b"of another run")
    with open_checkpoint(tmp_path, resume=False) as keep:
        assert keep.find("polynomials") is None


def test_far_away_it_falls_and_stays_a_number(pilot, emulated, double_precision):
    """A patient's effects grow without end: so does what the wall takes away."""
    at = jax.jit(lambda flat: emulated.log_density(pilot.model, flat))
    values = []
    for step in (0.0, 30.0, 300.0):
        point = np.where(mark_population(pilot.model), pilot.position, step)
        values.append(float(at(jnp.asarray(point))))
    assert np.isfinite(values).all()
    assert values[0] > values[1] > values[2]


def test_it_does_not_depend_on_the_number_of_workers(pilot, emulated, double_precision):
    again = fit_emulator(pilot.model, pilot.center, pilot.root, choose_place("cpu", 1, 1))
    assert np.array_equal(again.coefficients, emulated.coefficients)


def test_batches_are_of_one_size_and_in_order(pilot, emulated, monkeypatch, double_precision):
    """Five patients two at a time: the last batch is filled up with the first patient."""
    monkeypatch.setattr(emulating, "_BATCH_BYTES", 2.5 * emulating._bytes_each(pilot.model))
    again = fit_emulator(pilot.model, pilot.center, pilot.root, PLACE)
    np.testing.assert_allclose(again.center, emulated.center, rtol=1e-8)
    np.testing.assert_allclose(again.level, emulated.level, rtol=1e-6)


def test_a_cheap_mechanism_is_left_alone(double_precision):
    pilot = find_pilot(sleep_model())
    assert fit_emulator(pilot.model, pilot.center, pilot.root, PLACE) is None


def test_polynomials_of_no_use_are_not_used(pilot, monkeypatch, double_precision):
    monkeypatch.setattr(emulating, "_MOST_SPREAD", 1e-6)
    assert fit_emulator(pilot.model, pilot.center, pilot.root, PLACE) is None


def test_a_run_says_so_and_repeats_itself(model):
    said: list[str] = []
    words = {"draws": 20, "warmup": 30, "chains": 2, "seed": 3, "progress": False}
    one = ht.sample(model, announce=said.append, workers=1, **words)
    two = ht.sample(model, workers=2, **words)
    assert any("polynomials of each patient's mechanism" in line for line in said)
    assert "exact_acceptance" in one.tree["sample_stats"]
    for name in ("S_I_typical", "eta"):
        assert np.array_equal(one.tree["posterior"][name], two.tree["posterior"][name])


def test_a_checkpoint_gives_the_same_polynomials(pilot, emulated):
    arrays = emulating.emulator_arrays(emulated)
    again = emulating.emulator_from(arrays, pilot.model)
    assert again.parameters == emulated.parameters
    assert np.array_equal(again.basis, emulated.basis)
    with pytest.raises(ValueError, match="another model"):
        emulating.emulator_from({**arrays, "center": arrays["center"][:, :3]}, pilot.model)


def test_a_resumed_run_gives_the_same_draws(model, tmp_path, monkeypatch):
    """Polynomials are read, not fitted again, and the draws are those of a run in one go."""
    words = {"draws": 30, "warmup": 20, "chains": 2, "seed": 3, "progress": False}
    whole = ht.sample(model, **words)

    def stopped(*rest, **others):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sampling, "run_chains", stopped)
        with pytest.raises(KeyboardInterrupt):
            ht.sample(model, checkpoint=tmp_path / "kept", **words)
    monkeypatch.setattr(sampling, "fit_emulator", stopped)
    resumed = ht.sample(model, checkpoint=tmp_path / "kept", resume=True, **words)
    assert np.array_equal(resumed.tree["posterior"]["eta"], whole.tree["posterior"]["eta"])


def test_a_run_killed_among_its_draws_goes_on(model, tmp_path, monkeypatch):
    """How patients walk alone is part of a chain's state."""
    words = {"draws": 12, "warmup": 20, "chains": 2, "seed": 3, "progress": False}
    whole = ht.sample(model, **words)
    monkeypatch.setattr(nuts, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(nuts, "_PIECE_SECONDS", 1e-9)
    with monkeypatch.context() as patched:
        die_at(patched, 50)
        with pytest.raises(Killed):
            ht.sample(model, checkpoint=tmp_path / "kept", **words)
    assert list((tmp_path / "kept").glob("chain_*"))
    resumed = ht.sample(model, checkpoint=tmp_path / "kept", resume=True, **words)
    for name in ("eta", "S_I_typical"):
        assert np.array_equal(resumed.tree["posterior"][name], whole.tree["posterior"][name])


@pytest.mark.slow
def test_the_draws_are_those_of_the_mechanism(model, monkeypatch):
    """The same posterior with and without polynomials, within Monte Carlo error."""
    words = {"seed": 5, "progress": False, "draws": 1500}
    with_them = ht.sample(model, **words)
    monkeypatch.setattr(sampling, "fit_emulator", lambda *rest: None)
    without = ht.sample(model, **words)
    assert "exact_acceptance" not in without.tree["sample_stats"]
    one, two = with_them.population(), without.population()
    for left, right in zip(one.itertuples(), two.itertuples(), strict=True):
        error = np.hypot(left.mcse_mean, right.mcse_mean) if hasattr(left, "mcse_mean") else 0.15 * right.sd
        assert abs(left.mean - right.mean) < 5 * error, left
        assert abs(np.log(left.sd / right.sd)) < 0.25, left


def test_chains_start_with_the_slopes_they_will_follow(pilot, emulated, double_precision):
    """Of the polynomials, not of the mechanism: NUTS compares with them in its first trajectory."""
    settings = Settings(Schedule(2, 10, 10), "numpyro", "joint", 0.9, 10)
    run = prepare_run(
        flat_log_density, pilot, pilot.model, settings, old=None, plan=lambda: None, emulator=emulated
    )
    for chain, whitened in enumerate(run.starts.whitened):
        flat = run.numbers.geometry.flat(
            pilot.model, jnp.asarray(whitened), jnp.asarray(run.starts.effects[chain])
        )
        np.testing.assert_allclose(
            run.starts.potential[chain], -emulated.log_density(pilot.model, flat), rtol=1e-10
        )
    assert np.isfinite(run.starts.effects_slope).all() and "polynomials" in run.note


def test_a_patient_alone_aims_higher():
    """No frame straightens the ridge of a model without patient effects: the one divergence is not worth it."""
    spec = ht.read_spec(ht.shipped_specs()["glucose_minimal_model_single"])
    cohort = ht.read_cohort(CASES / "glucose_minimal_model" / "fsigt_pacini_bergman.csv", spec)
    asked = Settings(Schedule(4, None, 100), "numpyro", "auto", None, 10)

    def aimed(model):
        return settle(asked, model, lambda: False, lambda: False).target_accept

    assert aimed(ht.build(spec, cohort)) > aimed(sleep_model()) == TARGET_ACCEPT["joint"]


def test_a_wall_stands_only_beyond_reach(pilot, emulated, double_precision):
    near = emulated
    rows = np.exp(near.center) - near.floors
    values = {name: jnp.asarray(row) for (name, _), row in zip(near.parameters, rows, strict=True)}
    assert float(near.wall(values)) < 1e-6
    far = {name: value * 1e4 for name, value in values.items()}
    assert float(near.wall(far)) > 10.0
    nowhere = replace(near, whiten=np.zeros_like(near.whiten))
    assert float(nowhere.wall(far)) == 0.0
