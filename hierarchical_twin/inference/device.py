"""Where sampling runs and in what precision: the device, its workers, and float64.

Importing this module changes nothing; `float64_on` turns double precision on for a block only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax

from hierarchical_twin.errors import BackendError, Problem


@dataclass(frozen=True)
class Place:
    """A device, and how many chains run at once on it.

    On a CPU each chain runs in a worker thread of its own, so that none waits for another's longer
    trajectory; on a GPU all chains advance together as one batch.
    """

    device: Any
    kind: str
    workers: int

    @property
    def is_batched(self) -> bool:
        """Whether chains advance as one batch."""
        return self.kind != "cpu"


def choose_place(device: str, chains: int, workers: int | None = None) -> Place:
    """The device to sample on.

    Parameters
    ----------
    device : {"auto", "cpu", "gpu"}
        ``auto`` takes a GPU when JAX sees one.
    chains : int
    workers : int, optional
        Chains at once on a CPU; the number of cores this process may use by default. The draws do
        not depend on it.

    Raises
    ------
    BackendError
        The device word is unknown, or no GPU is visible.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise BackendError(Problem("device", f"'{device}'", "one of auto, cpu, gpu"))
    if device != "cpu":
        try:
            return Place(jax.devices("gpu")[0], "gpu", 1)
        except RuntimeError as error:
            if device == "gpu":
                hint = "try --device cpu, or install the GPU build: pip install 'hierarchical_twin[gpu]'"
                raise BackendError(Problem("device gpu", "no GPU visible to JAX", "a GPU", hint)) from error
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Place(jax.devices("cpu")[0], "cpu", max(1, min(chains, workers or available)))


@contextmanager
def float64_on(place: Place) -> Iterator[None]:
    """Double precision on the chosen device, for this block and this thread only."""
    with jax.enable_x64(True), jax.default_device(place.device):
        yield
