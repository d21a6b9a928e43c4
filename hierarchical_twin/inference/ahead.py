"""Programs compiled before they are needed, on cores that would idle: compiling is most of a short run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.clock import unheard
from hierarchical_twin.inference.curvature import blank_information
from hierarchical_twin.inference.device import Place, float64_on
from hierarchical_twin.inference.emulator_fit import can_emulate
from hierarchical_twin.inference.loop import Loop, compile_loop
from hierarchical_twin.inference.memory import return_freed_memory
from hierarchical_twin.inference.methods import Run, blank_run
from hierarchical_twin.inference.settings import Settings, settle

_AT_ONCE = 2


class Ahead:
    """Threads that compile while the caller does something else."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def begin[T](self, place: Place, make: Callable[[], T]) -> Future[T]:
        """Start on a program for a place; the clock does not count what it takes to compile."""

        def made() -> T:
            with float64_on(place), unheard():
                return make()

        return self._pool.submit(made)


@contextmanager
def compiling_ahead() -> Iterator[Ahead]:
    """Threads for the programs of this block; what is not begun when it ends never is."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        yield Ahead(pool)
    finally:
        # NumPyro traces with one stack for all threads, and JAX's settings are the process's: whoever comes
        # next must not meet a thread that still compiles.
        pool.shutdown(wait=True, cancel_futures=True)
        return_freed_memory()


def result_of[T](future: Future[T] | None) -> T | None:
    """What was made ahead, once it is there; None where that failed, as it may: it is then made anew."""
    return None if future is None or future.exception() is not None else future.result()


@dataclass(frozen=True)
class GuessedLoop:
    """The loop of a joint run, compiled while the pilot is still looked for, and what it is right for.

    Attributes
    ----------
    model : Model
    settings : Settings
        Settled, as the run's own will be.
    place : Place
    run : Run
        With blank numbers: its shapes are what counts.
    loop : Future of Loop
    """

    model: Model
    settings: Settings
    place: Place
    run: Run
    loop: Future[Loop]

    def take(self, model: Model, settings: Settings, place: Place, run: Run) -> Loop | None:
        """The loop, if it is of the model, the settings, the place and the shapes that came of it."""
        is_right = (
            (self.settings, self.place) == (settings, place)
            and self.model.graph == model.graph
            and _shapes(self.run) == _shapes(run)
        )
        found = result_of(self.loop)  # waited for in any case, as NumPyro's stack serves one thread at a time
        return found if is_right else None


def guess_loop(
    ahead: Ahead,
    density: Callable[[Model], Callable[..., Any]],
    model: Model,
    settings: Settings,
    *,
    place: Place,
) -> GuessedLoop | None:
    """Begin to compile the loop of a run that is bound to be joint; None where it may be another.

    Parameters
    ----------
    ahead : Ahead
    density : callable
        A backend's `flat_log_density`.
    model : Model
        From the caller; what a pilot will know of its patients changes numbers, and rarely its graph.
    settings : Settings
        As asked.
    place : Place

    Returns
    -------
    GuessedLoop or None
        Still being compiled.
    """
    blank = build(
        model.spec,
        model.cohort,
        parameterization=model.parameterization,
        information=blank_information(model),
    )
    # PyMC's density holds a model's arrays as constants, and these are not known yet.
    if settings.backend != "numpyro" or settings.method not in ("auto", "joint") or can_emulate(blank):
        return None
    settled = settle(settings, blank, is_near=lambda: True, is_integrable=lambda: True)
    if settled.method != "joint":
        return None
    run = blank_run(density, blank, settled)
    loop = ahead.begin(
        place,
        lambda: compile_loop(run.kernel, run.starts, run.numbers, schedule=settled.schedule, place=place),
    )
    return GuessedLoop(blank, settled, place, run, loop)


def _shapes(run: Run) -> Any:
    leaves, structure = jax.tree.flatten((run.starts, run.numbers))
    return structure, [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]
