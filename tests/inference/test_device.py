"""Which device is taken, why, and what is said about it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.errors import BackendError
from hierarchical_twin.graph.nodes import Compute, Graph
from hierarchical_twin.inference import device as module
from hierarchical_twin.inference import trial as trials
from hierarchical_twin.inference.device import Place, advice_on_scatter, choose_place
from hierarchical_twin.inference.trial import gradient_trial, time_gradients

GPU = SimpleNamespace(platform="gpu")


@pytest.fixture
def seen(monkeypatch):
    """Say which platforms JAX sees."""
    cpu = jax.devices("cpu")[0]

    def see(*platforms: str) -> None:
        def devices(platform: str) -> list:
            if platform not in platforms:
                raise RuntimeError(f"Unknown backend {platform}")
            return [cpu if platform == "cpu" else GPU]

        monkeypatch.setattr(jax, "devices", devices)

    return see


def taking(**seconds: float):
    """A trial with known answers."""
    return lambda place: seconds[place.kind]


def never(place: Place) -> float:
    raise AssertionError(f"no trial was due, and the {place.kind} had one")


@pytest.mark.parametrize(
    ("cpu", "gpu", "kind", "reason"),
    [
        (41e-6, 180e-6, "cpu", "CPU: 41 µs for 4 chains a step, GPU: 180 µs: sampling on the CPU"),
        (31.4e-3, 1.26e-3, "gpu", "CPU: 31.4 ms for 4 chains a step, GPU: 1.26 ms: sampling on the GPU"),
        (2.0, 0.9, "gpu", "CPU: 2 s for 4 chains a step, GPU: 900 ms: sampling on the GPU"),
        (1e-3, 1e-3, "cpu", "CPU: 1 ms for 4 chains a step, GPU: 1 ms: sampling on the CPU"),
    ],
)
def test_auto_takes_the_faster_and_says_why(seen, cpu, gpu, kind, reason):
    seen("cpu", "gpu")
    place = choose_place("auto", 4, trial=taking(cpu=cpu, gpu=gpu))
    assert (place.kind, place.reason) == (kind, reason)
    assert place.is_batched == (kind == "gpu")
    assert place.device is (GPU if kind == "gpu" else jax.devices("cpu")[0])


def test_a_trial_sees_each_place_as_it_would_be_sampled(seen):
    seen("cpu", "gpu")
    tried: list[Place] = []

    def trial(place: Place) -> float:
        tried.append(place)
        return 1.0

    assert "for 1 chain a step" in choose_place("auto", 1, workers=3, trial=trial).reason
    choose_place("auto", 8, workers=3, trial=trial)
    assert [(place.kind, place.workers) for place in tried] == [
        ("cpu", 1),
        ("gpu", 1),
        ("cpu", 3),
        ("gpu", 1),
    ]


@pytest.mark.parametrize(
    ("visible", "device", "kind"),
    [
        (("cpu", "gpu"), "cpu", "cpu"),
        (("cpu", "gpu"), "gpu", "gpu"),
        (("cpu",), "auto", "cpu"),
        (("cpu",), "cpu", "cpu"),
        (("gpu",), "auto", "gpu"),
    ],
)
def test_where_there_is_no_choice_there_is_no_trial(seen, visible, device, kind):
    seen(*visible)
    place = choose_place(device, 4, trial=never)
    assert place.kind == kind and place.reason == ""


def test_without_a_trial_auto_stays_on_the_cpu(seen):
    seen("cpu", "gpu")
    assert choose_place("auto", 4).kind == "cpu"


def test_a_device_that_is_not_there(seen):
    seen("cpu")
    with pytest.raises(BackendError, match=r"no GPU visible to JAX.*--device cpu"):
        choose_place("gpu", 4, trial=never)
    seen("gpu")
    with pytest.raises(BackendError, match="no CPU visible to JAX"):
        choose_place("cpu", 4)
    with pytest.raises(BackendError, match="'tpu'; expected one of auto, cpu, gpu"):
        choose_place("tpu", 4)


def test_a_gpu_that_fails_its_trial_is_not_taken(seen):
    seen("cpu", "gpu")

    def trial(place: Place) -> float:
        if place.kind == "gpu":
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\nwhile allocating")
        return 5.0

    place = choose_place("auto", 2, trial=trial)
    assert place.kind == "cpu"
    assert place.reason.endswith("GPU: failed (RESOURCE_EXHAUSTED: out of memory): sampling on the CPU")


def test_our_own_mistakes_in_a_trial_are_not_hidden(seen):
    seen("cpu", "gpu")
    with pytest.raises(ZeroDivisionError):
        choose_place("auto", 2, trial=lambda place: 1 / 0)


@pytest.mark.parametrize(("slow", "kind"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_trials_are_bounded(seen, monkeypatch, slow, kind):
    monkeypatch.setattr(module, "TRIAL_SECONDS", 0.4)
    seen("cpu", "gpu")
    released = threading.Event()

    def trial(place: Place) -> float:
        if place.kind == slow:
            released.wait(20)
        return 1.0

    begin = time.perf_counter()
    place = choose_place("auto", 2, trial=trial)
    assert time.perf_counter() - begin < 5
    released.set()
    assert place.kind == kind and f"{slow.upper()}: no answer within 0 s" in place.reason


def here(workers: int = 1, kind: str = "cpu") -> Place:
    return Place(jax.devices("cpu")[0], kind, workers)


def density(flat, numbers):
    return -0.5 * jnp.sum((flat - numbers["mean"]) ** 2)


MEAN = {"mean": np.linspace(0.0, 1.0, 50)}


@pytest.mark.parametrize("place", [here(), here(2), here(kind="a batch")], ids=["one", "two", "a batch"])
def test_a_real_trial(place):
    found = time_gradients(place, density, MEAN, np.zeros((4, 50)))
    assert 0 < found["seconds"] < 0.01 and found["compile"] > 0
    assert gradient_trial(density, MEAN, np.zeros((4, 50)))(place) > 0


def test_the_work_of_a_trial_is_not_optimised_away():
    """A density of two hundred turns takes much longer than one turn."""
    point = np.zeros((1, 50))
    quick = time_gradients(here(), density, MEAN, point)["seconds"]
    assert time_gradients(here(), scanned, MEAN, point)["seconds"] > 10 * quick


def scanned(flat, numbers):
    """Two hundred dependent turns of about what `density` does."""

    def turn(total, _):
        return total * 0.5 + density(flat + 1e-9 * total, numbers), None

    return jax.lax.scan(turn, 0.0, None, length=200)[0]


@pytest.mark.parametrize(("place", "shares"), [(here(), 6.0), (here(3), 2.0), (here(kind="a batch"), 1.0)])
def test_seconds_are_for_all_chains(monkeypatch, place, shares):
    """Three workers take six chains in two rounds; a batch takes them in one."""
    monkeypatch.setattr(trials, "_seconds_a_turn", lambda run: run(1) and 0.25)
    assert time_gradients(place, density, MEAN, np.zeros((6, 50)))["seconds"] == 0.25 * shares


GATHER = Graph((Compute("effect_at", ("patient",), "at_level", ("effect", "level_site")),), {})
NO_GATHER = Graph((Compute("sum", ("patient",), "add", ("a", "b")),), {})
ON_GPU = replace(here(), kind="gpu")


@pytest.mark.parametrize("version", ["0.10.2", "0.10.3", "0.10.2rc1", "0.11.0", "0.11.0.1"])
def test_a_slow_release_is_named_with_the_way_out(version):
    said = advice_on_scatter(ON_GPU, GATHER, version)
    assert f"jaxlib {version} " in said and "upgrade" in said and "\n" not in said


@pytest.mark.parametrize("version", ["0.9.9", "0.10.1", "0.11.1", "0.12.0", "1.0.0"])
def test_other_releases_are_not(version):
    assert advice_on_scatter(ON_GPU, GATHER, version) == ""


def test_nothing_is_said_without_a_gather_or_a_gpu():
    assert advice_on_scatter(ON_GPU, NO_GATHER, "0.11.0") == ""
    assert advice_on_scatter(here(), GATHER, "0.11.0") == ""
