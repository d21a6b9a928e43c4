"""All chains of a run, piece by piece of a compiled loop.

What one iteration does is in `inference.kernels`, the loop around it in `inference.loop`. Chains run in
threads over the host's cores, progress is shown, an interrupt keeps what was drawn, and a chain is saved
now and then where it stands. The draws depend on the seed and the chain's number only, not on how many
chains run at once or how the run is cut into pieces.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.inference.chain import Chain, restore_chain, save_chain, total_counts
from hierarchical_twin.inference.device import Place, float64_on
from hierarchical_twin.inference.keeper import Keeper, NoCheckpoint
from hierarchical_twin.inference.kernels import Kernel
from hierarchical_twin.inference.loop import BUFFER, Loop, chain_batches, compile_loop
from hierarchical_twin.inference.settings import Schedule

Array = Any
Numbers = Any

_PIECE_SECONDS = 0.2
_SAVE_SECONDS = 5.0


@dataclass(frozen=True)
class Draws:
    """What the chains returned.

    Attributes
    ----------
    positions : ndarray, shape [chain, draw, size]
    stats : mapping of str to ndarray, shape [chain, draw]
        ``diverging, n_steps, tree_depth, acceptance_rate, energy, lp, step_size``.
    is_interrupted : bool
        Whether the run was stopped before its end.
    seconds : mapping of str to float
        Wall time of ``compile`` and ``sample``, of which ``warmup``; ``gradients`` counts leapfrog
        steps, warm-up included.
    """

    positions: np.ndarray
    stats: Mapping[str, np.ndarray]
    is_interrupted: bool
    seconds: Mapping[str, float]


@dataclass
class Progress:
    """What a progress bar reads while chains run; written by the workers."""

    total: int
    done: int = 0
    divergences: int = 0
    gradients: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, iterations: int, divergences: int, gradients: int) -> None:
        """Count one finished piece."""
        with self.lock:
            self.done += iterations
            self.divergences += divergences
            self.gradients += gradients


Watcher = Callable[[Progress], None]


def run_chains(
    kernel: Kernel,
    starts: Any,
    numbers: Numbers,
    schedule: Schedule,
    *,
    place: Place,
    watch: Watcher,
    keep: Keeper = NoCheckpoint(),  # noqa: B008, an empty frozen value
    ahead: Callable[[], Loop | None] = lambda: None,
) -> Draws:
    """Run a kernel's chains.

    Parameters
    ----------
    kernel : Kernel
    starts : pytree of ndarray, shape [chain, ...]
        What the kernel's `init` takes.
    numbers : pytree of ndarray
        What the kernel's functions take: arguments of the compiled loop.
    schedule : Schedule
    place : Place
    watch : callable
        Called about ten times a second from the calling thread with a `Progress`. Raising
        ``KeyboardInterrupt`` there (or pressing Ctrl-C) stops the run and keeps the draws.
    keep : Keeper
        Where chains are saved, and found if they were saved before.
    ahead : callable
        Gives, or waits for, what `compile_loop` makes of the rest, if that was begun before; None if not.

    Returns
    -------
    Draws
        If interrupted: the chains that have draws, cut to the shortest of them.

    Raises
    ------
    SamplingError
        A saved chain is damaged.
    """
    begin = time.perf_counter()
    held = jax.tree.map(jnp.asarray, numbers)
    batches = chain_batches(starts, schedule, place)
    loop = ahead() or compile_loop(kernel, starts, numbers, schedule=schedule, place=place)
    chains = [
        restore_chain(number, loop.state, keep, schedule) or Chain(number, loop.init(*batch, held))
        for number, batch in enumerate(batches)
    ]
    compile_seconds = time.perf_counter() - begin
    together = schedule.chains // len(batches)
    progress = Progress(schedule.chains * schedule.iterations, sum(chain.done for chain in chains) * together)
    earlier = total_counts(chains)
    progress.divergences, progress.gradients = int(earlier["divergences"]), int(earlier["gradients"])
    running = _Running(loop.advance, held, schedule, progress, chains, keep)

    def work() -> None:
        with float64_on(place):
            running.work()

    begin = time.perf_counter()
    with ThreadPoolExecutor(place.workers) as workers:
        futures = [workers.submit(work) for _ in range(place.workers)]
        _watch_until_done(futures, running, watch)
    for future in futures:
        future.result()
    wall = time.perf_counter() - begin
    for chain in chains:
        save_chain(chain, keep)
    counts = total_counts(chains)
    wall += (earlier["warmup"] + earlier["draws"]) / min(place.workers, len(chains))
    seconds = {
        "compile": compile_seconds,
        "sample": wall,
        "warmup": wall * counts["warmup"] / max(counts["warmup"] + counts["draws"], 1e-9),
        "gradients": counts["gradients"],
    }
    return _gather(running.chains, schedule, is_batched=place.is_batched, seconds=seconds)


@dataclass
class _Running:
    """All chains of a run; workers take turns on them, so that an interrupt finds all about as far."""

    compiled: Callable[..., Any]
    numbers: Any
    schedule: Schedule
    progress: Progress
    chains: list[Chain]
    keep: Keeper
    stop: threading.Event = field(default_factory=threading.Event)
    waiting: SimpleQueue[Chain] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        for chain in self.chains:
            if chain.done < self.schedule.iterations:
                self.waiting.put(chain)

    def work(self) -> None:
        """Advance whichever chain waits longest, until none is left or told to stop."""
        while not self.stop.is_set():
            try:
                chain = self.waiting.get_nowait()
            except Empty:
                return
            try:
                self._advance(chain)
                is_turn = chain.done in (self.schedule.warmup, self.schedule.iterations)
                if is_turn or time.monotonic() - chain.saved_at > _SAVE_SECONDS:
                    save_chain(chain, self.keep)
            except BaseException:
                self.stop.set()
                raise
            if chain.done < self.schedule.iterations:
                self.waiting.put(chain)

    def _advance(self, chain: Chain) -> None:
        """One piece of about `_PIECE_SECONDS`; it ends where warm-up ends, so that draws are whole pieces."""
        is_warmup = chain.done < self.schedule.warmup
        left = (self.schedule.warmup if is_warmup else self.schedule.iterations) - chain.done
        thin = self.schedule.thin
        size = min(chain.piece, left, BUFFER)
        size = size if is_warmup else max(size - size % thin, min(thin, left))
        begin = time.perf_counter()
        chain.state, positions, statistics = self.compiled(chain.state, jnp.asarray(size), self.numbers)
        positions.block_until_ready()
        elapsed = time.perf_counter() - begin
        taken = {name: np.asarray(value)[:size] for name, value in statistics.items()}
        # Completed doublings: a tree that turned inside its last doubling was not cut off by the limit.
        longest = taken.pop("longest", taken["n_steps"])
        taken["tree_depth"] = np.floor(np.log2(longest + 1)).astype(int)
        divergences = 0 if is_warmup else int(taken["diverging"].sum())
        gradients = int(taken["n_steps"].sum())
        self.progress.add(taken["n_steps"].size, divergences, gradients)
        stage = "warmup" if is_warmup else "draws"
        for name, more in (("divergences", divergences), ("gradients", gradients), (stage, elapsed)):
            chain.counts[name] += more
        if not is_warmup:
            chain.kept.append(np.array(np.asarray(positions)[: size // thin]))
            chain.stats.append({name: _thinned(name, value, thin) for name, value in taken.items()})
        chain.done += size
        chain.piece = int(np.clip(size * _PIECE_SECONDS / max(elapsed, 1e-6), 1, min(4 * size, BUFFER)))


def _thinned(name: str, values: np.ndarray, thin: int) -> np.ndarray:
    """One value for each kept draw: whether any diverged, all steps taken, the deepest tree, else the last one."""
    groups = values[: len(values) - len(values) % thin].reshape(-1, thin, *values.shape[1:])
    match name:
        case "diverging":
            return groups.any(axis=1)
        case "n_steps":
            return groups.sum(axis=1)
        case "tree_depth":
            return groups.max(axis=1)
        case _:
            return groups[:, -1]


def _watch_until_done(futures: list[Any], running: _Running, watch: Watcher) -> None:
    try:
        while wait(futures, timeout=0.05).not_done:
            watch(running.progress)
        watch(running.progress)
    except KeyboardInterrupt:
        pass
    finally:
        # Whatever went wrong here, the workers are not left to sample to the end unseen.
        running.stop.set()


def _gather(
    chains: list[Chain], schedule: Schedule, *, is_batched: bool, seconds: Mapping[str, float]
) -> Draws:
    # An interrupt may find a chain still warming up: the others' draws are worth keeping.
    drawn = [chain for chain in chains if chain.draws]
    if not drawn:
        return Draws(np.zeros((schedule.chains, 0, 0)), {}, True, seconds)
    shortest = min(chain.draws for chain in drawn)

    def chains_first(parts: list[list[np.ndarray]]) -> np.ndarray:
        joined = [np.concatenate(part)[:shortest] for part in parts]
        return np.swapaxes(joined[0], 0, 1) if is_batched else np.stack(joined)

    positions = chains_first([chain.kept for chain in drawn])
    stats = {
        name: chains_first([[part[name] for part in chain.stats] for chain in drawn])
        for name in drawn[0].stats[0]
    }
    is_whole = shortest == schedule.kept and len(drawn) == len(chains)
    return Draws(positions, stats, not is_whole, seconds)
