"""The NUTS loop on densities whose answer is known, and what a seed, a cut and an interrupt may change."""

from __future__ import annotations

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats import ess

from hierarchical_twin.inference import nuts
from hierarchical_twin.inference.device import Place
from hierarchical_twin.inference.nuts import Draws, Progress
from hierarchical_twin.inference.settings import Schedule
from inference.toy import BATCHED, here, run_toy, silent

MEAN = np.array([1.0, -20.0, 0.3])
SD = np.array([1.0, 5.0, 0.05])
CORRELATION = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, -0.3], [0.0, -0.3, 1.0]])
PRECISION = np.linalg.inv(CORRELATION * np.outer(SD, SD))
SCHEDULE = Schedule(chains=3, warmup=400, draws=800, seed=4)
STATISTICS = {"diverging", "n_steps", "tree_depth", "acceptance_rate", "energy", "lp", "step_size"}


def gaussian(flat: jax.Array) -> jax.Array:
    centred = flat - MEAN
    return -0.5 * centred @ jnp.asarray(PRECISION) @ centred


def drawn(schedule: Schedule = SCHEDULE, place: Place | None = None, watch=silent) -> Draws:
    starts = MEAN + SD * np.random.default_rng(0).standard_normal((schedule.chains, 3))
    return run_toy(gaussian, starts, schedule, place=place, watch=watch)


@pytest.fixture(scope="module")
def reference() -> Draws:
    return drawn()


def assert_gaussian(found: Draws) -> None:
    flat = found.positions.reshape(-1, 3)
    for index in range(3):
        chains = found.positions[:, :, index]
        error = SD[index] / np.sqrt(ess(chains))
        assert abs(chains.mean() - MEAN[index]) < 4 * error
        error_of_sd = SD[index] / np.sqrt(2 * ess(chains**2))
        assert abs(chains.std() - SD[index]) < 4 * max(error_of_sd, error)
    fewest = min(ess(found.positions[:, :, index]) for index in range(3))
    assert np.corrcoef(flat.T) == pytest.approx(CORRELATION, abs=4 / np.sqrt(fewest))


def test_means_sds_and_correlations(reference):
    assert_gaussian(reference)


def test_shapes_and_statistics(reference):
    assert reference.positions.shape == (3, 800, 3) and reference.positions.dtype == np.float64
    assert set(reference.stats) == STATISTICS
    assert all(values.shape == (3, 800) for values in reference.stats.values())
    assert not reference.is_interrupted and not reference.stats["diverging"].any()
    assert 0.7 < reference.stats["acceptance_rate"].mean() < 0.97
    # Completed doublings: a trajectory may end inside the next one.
    completed = 2 ** reference.stats["tree_depth"]
    assert (completed - 1 <= reference.stats["n_steps"]).all()
    assert (reference.stats["n_steps"] < 2 * completed - 1).all()
    assert reference.seconds["gradients"] >= reference.stats["n_steps"].sum()
    step = reference.stats["step_size"]
    assert (step == step[:, :1]).all(), "adaptation ends with warm-up"


def test_lp_is_the_log_density(reference):
    values = jax.vmap(gaussian)(jnp.asarray(reference.positions[0]))
    assert reference.stats["lp"][0] == pytest.approx(np.asarray(values), rel=1e-9, abs=1e-9)


def test_the_seed_decides(reference):
    again, other = drawn(), drawn(replace(SCHEDULE, seed=5))
    assert np.array_equal(again.positions, reference.positions)
    assert not np.array_equal(other.positions, reference.positions)
    assert_gaussian(other)
    chains = reference.positions
    assert not np.array_equal(chains[0], chains[1])


def test_workers_do_not_matter(reference):
    found = drawn(place=here(workers=2))
    assert np.array_equal(found.positions, reference.positions)
    for name, values in found.stats.items():
        assert np.array_equal(values, reference.stats[name])


@pytest.mark.parametrize("seconds", [1e-9, 10.0])
def test_how_the_run_is_cut_does_not_matter(reference, monkeypatch, seconds):
    monkeypatch.setattr(nuts, "_PIECE_SECONDS", seconds)
    assert np.array_equal(drawn().positions, reference.positions)


def test_a_chain_does_not_depend_on_how_many_there_are(reference):
    """With starts the same, the chain's number and the seed decide."""
    assert np.array_equal(drawn(replace(SCHEDULE, chains=2)).positions, reference.positions[:2])


@pytest.mark.parametrize("thin", [3, 250])
def test_thinning_keeps_every_so_manieth_draw(reference, thin):
    """Also when a kept draw takes longer than a piece of the run is long."""
    found = drawn(replace(SCHEDULE, thin=thin))
    kept = 800 // thin
    assert np.array_equal(found.positions, reference.positions[:, thin - 1 :: thin][:, :kept])
    groups = {
        name: values[:, : kept * thin].reshape(3, kept, thin) for name, values in reference.stats.items()
    }
    assert np.array_equal(found.stats["n_steps"], groups["n_steps"].sum(axis=2))
    assert np.array_equal(found.stats["diverging"], groups["diverging"].any(axis=2))
    assert np.array_equal(found.stats["tree_depth"], groups["tree_depth"].max(axis=2))
    assert np.array_equal(found.stats["lp"], groups["lp"][..., -1])
    assert not found.is_interrupted


def test_a_batch_samples_the_same_density(reference):
    found = drawn(place=BATCHED)
    assert found.positions.shape == reference.positions.shape
    assert all(values.shape == (3, 800) for values in found.stats.values())
    assert_gaussian(found)


def test_progress_reaches_its_end():
    seen: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        seen.append((progress.done, progress.total))

    drawn(watch=watch)
    assert seen[-1] == (3 * 1200, 3 * 1200)
    assert all(before <= after for (before, _), (after, _) in itertools.pairwise(seen))


def stop_at(least: int):
    """A watcher that presses Ctrl-C once so many iterations are done."""

    def watch(progress: Progress) -> None:
        if progress.done >= least:
            raise KeyboardInterrupt

    return watch


LONG = replace(SCHEDULE, draws=50_000_000)


@pytest.mark.parametrize("place", [here(1), here(2), BATCHED], ids=["one worker", "two workers", "a batch"])
def test_an_interrupt_keeps_equal_chains(reference, place):
    found = drawn(LONG, place, stop_at(3 * 400 + 30_000))
    kept = found.positions.shape[1]
    assert found.is_interrupted and 1 <= kept < LONG.draws
    assert found.positions.shape == (3, kept, 3)
    assert set(found.stats) == STATISTICS
    assert all(values.shape == (3, kept) for values in found.stats.values())
    if not place.is_batched:
        same = min(kept, 800)
        assert np.array_equal(found.positions[:, :same], reference.positions[:, :same])


def test_chains_take_turns_so_that_an_interrupt_finds_all_of_them():
    """One worker, three chains: after the warm-up of all, each has something to keep."""
    assert drawn(LONG, here(1), stop_at(3 * 400 + 1000)).positions.shape[1] > 0


def test_an_interrupt_during_warmup_keeps_nothing():
    found = drawn(replace(SCHEDULE, warmup=50_000_000), watch=stop_at(100))
    assert found.is_interrupted and found.positions.shape[:2] == (3, 0)


def test_another_failure_of_the_watcher_does_not_leave_workers_running():
    def fail(progress: Progress) -> None:
        raise ValueError("the terminal went away")

    with pytest.raises(ValueError, match="went away"):
        drawn(LONG, here(2), fail)


def test_a_funnel_is_seen_to_diverge():
    """Neal's funnel: divergences are counted where they happen and the draws stay."""

    def funnel(flat: jax.Array) -> jax.Array:
        return -0.5 * (flat[0] / 3) ** 2 - 0.5 * jnp.sum(flat[1:] ** 2) * jnp.exp(-flat[0]) - 4.5 * flat[0]

    schedule, counted = Schedule(chains=2, warmup=300, draws=500, seed=1), []
    found = run_toy(
        funnel,
        np.random.default_rng(1).standard_normal((2, 10)),
        schedule,
        place=here(2),
        watch=lambda progress: counted.append(progress.divergences),
        target_accept=0.6,
    )
    assert found.stats["diverging"].sum() > 0
    assert counted[-1] == found.stats["diverging"].sum()
    assert np.isfinite(found.positions).all() and found.positions.shape == (2, 500, 10)
