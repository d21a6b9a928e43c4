"""Where sampling runs and in what precision: the device, its workers, and float64.

Which of two devices is faster is measured, by a trial that the caller brings (`inference.trial`).
Importing this module changes nothing; `float64_on` turns double precision on for a block only.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import jax

from hierarchical_twin.errors import BackendError, Problem
from hierarchical_twin.graph.nodes import Compute, Graph

DEVICES = ("auto", "cpu", "gpu")
TRIAL_SECONDS = 10.0
"""Both trials together, compiling included; half of it at most for the CPU."""
_SLOW_SCATTER = ((0, 10, 2), (0, 11, 0))


@dataclass(frozen=True)
class Place:
    """A device, and how many chains run at once on it.

    On a CPU each chain runs in a worker thread of its own, so that none waits for another's longer
    trajectory; on a GPU all chains advance together as one batch. `reason` says in one line why this
    device was taken, and is empty where there was nothing to choose.
    """

    device: Any
    kind: str
    workers: int
    reason: str = field(default="", compare=False)

    @property
    def is_batched(self) -> bool:
        """Whether chains advance as one batch."""
        return self.kind != "cpu"


Trial = Callable[[Place], float]
"""Seconds that one step of all chains takes at a place; raises JAX's own error where it cannot run."""


def choose_place(device: str, chains: int, workers: int | None = None, trial: Trial | None = None) -> Place:
    """The device to sample on.

    Parameters
    ----------
    device : {"auto", "cpu", "gpu"}
        ``auto`` tries both where JAX sees a GPU, and takes the faster.
    chains : int
    workers : int, optional
        Chains at once on a CPU; the number of cores this process may use by default. The draws do
        not depend on it.
    trial : callable, optional
        Times one place. Without it ``auto`` stays on the CPU.

    Raises
    ------
    BackendError
        The device word is unknown, or JAX sees no such device.
    """
    if device not in DEVICES:
        raise BackendError(Problem("device", f"'{device}'", f"one of {', '.join(DEVICES)}"))
    cpu = None if device == "gpu" else _cpu(chains, workers)
    gpu = None if device == "cpu" else _gpu()
    match cpu, gpu:
        case None, None:
            raise BackendError(_missing(device))
        case only, None:
            return only
        case None, only:
            return only
    return cpu if trial is None else _faster(cpu, gpu, chains, trial)


def advice_on_scatter(place: Place, graph: Graph, jaxlib: str) -> str:
    """What to say where a gather over levels meets a JAX release that is slow at its gradient, or nothing.

    From jaxlib 0.10.2 to 0.11.0 a scatter-add on a GPU, which is what the gradient of a gather is, took
    hundreds of times longer than before and after (JAX issue 38806).

    Parameters
    ----------
    place : Place
    graph : Graph
        Of the model to be sampled.
    jaxlib : str
        Version of the jaxlib package.
    """
    has_gather = any(isinstance(node, Compute) and node.operation == "at_level" for node in graph)
    first, last = _SLOW_SCATTER
    if place.kind != "gpu" or not has_gather or not first <= _release(jaxlib) <= last:
        return ""
    return (
        f"jaxlib {jaxlib} is slow on a GPU where patients share a level such as a site: "
        "upgrade with pip install --upgrade jax, or choose the CPU (device cpu)"
    )


@contextmanager
def float64_on(place: Place) -> Iterator[None]:
    """Double precision on the chosen device, for this block and this thread only."""
    with jax.enable_x64(True), jax.default_device(place.device):
        yield


def preparing_place(place: Place) -> Place:
    """Where a run is prepared: the CPU if there is one, so that it is prepared alike wherever it is sampled."""
    return _cpu(place.workers, place.workers) or place


def map_ahead[Item, Found](
    function: Callable[[Item], Found], items: Iterable[Item], place: Place
) -> Iterator[Found]:
    """A function of each item, in their order, on all workers of a place in double precision.

    At most one more result than there are workers is held at a time.
    """

    def run(item: Item) -> Found:
        with float64_on(place):
            return function(item)

    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(place.workers) as workers:
        for item in items:
            waiting.append(workers.submit(run, item))
            if len(waiting) > place.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _cpu(chains: int, workers: int | None) -> Place | None:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    device = _first("cpu")
    return None if device is None else Place(device, "cpu", max(1, min(chains, workers or available)))


def _gpu() -> Place | None:
    device = _first("gpu")
    return None if device is None else Place(device, "gpu", 1)


def _first(platform: str) -> Any:
    try:
        return jax.devices(platform)[0]
    except RuntimeError:
        return None


def _missing(device: str) -> Problem:
    if device == "gpu":
        hint = "try --device cpu, or install the GPU build: pip install 'hierarchical_twin[gpu]'"
        return Problem("device gpu", "no GPU visible to JAX", "a GPU", hint)
    hint = "is JAX_PLATFORMS set? unset it, or add cpu to it"
    return Problem(f"device {device}", "no CPU visible to JAX", "a CPU", hint)


def _release(version: str) -> tuple[int, ...]:
    """The first three numbers of a version."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _faster(cpu: Place, gpu: Place, chains: int, trial: Trial) -> Place:
    """The place with the shorter trial; the CPU where neither, or both alike, came to an end."""
    begin = time.perf_counter()
    on_cpu, cpu_words = _timed(trial, cpu, TRIAL_SECONDS / 2)
    on_gpu, gpu_words = _timed(trial, gpu, TRIAL_SECONDS - (time.perf_counter() - begin))
    chosen = gpu if on_gpu < on_cpu else cpu
    many = f"{chains} chain{'' if chains == 1 else 's'}"
    measured = f"CPU: {cpu_words} for {many} a step, GPU: {gpu_words}"
    return replace(chosen, reason=f"{measured}: sampling on the {chosen.kind.upper()}")


def _timed(trial: Trial, place: Place, limit: float) -> tuple[float, str]:
    """Seconds a step and the words for them; infinity where the trial fails or outlasts its limit."""
    pool = ThreadPoolExecutor(1)
    try:
        seconds = pool.submit(trial, place).result(timeout=limit)
    except TimeoutError:
        # XLA cannot be stopped while it compiles: what was begun ends by itself, unseen.
        return float("inf"), f"no answer within {limit:.0f} s"
    except jax.errors.JaxRuntimeError as error:
        return float("inf"), f"failed ({(str(error).splitlines() or ['no message'])[0][:80]})"
    finally:
        pool.shutdown(wait=False)
    return seconds, _readable(seconds)


def _readable(seconds: float) -> str:
    for scale, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * scale < 1000:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s"
