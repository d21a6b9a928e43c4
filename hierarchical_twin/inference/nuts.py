"""NUTS over a flat log density: one loop, compiled once, for warm-up and draws of every chain.

The kernel is NumPyro's; the loop around it is ours. The compiled piece advances one chain by a given
number of iterations, so that chains run in threads over the host's cores, progress can be shown, and
an interrupt keeps what was drawn. The draws depend on the seed and the chain's number only, not on
how many chains run at once or how the run is cut into pieces.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc

from hierarchical_twin.inference.device import Place, float64_on

Array = Any
LogDensity = Callable[[Array], Array]

_BUFFER = 200
_PIECE_SECONDS = 0.2


@dataclass(frozen=True)
class Schedule:
    """How long and how carefully to sample."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    seed: int = 0
    target_accept: float = 0.8
    max_tree_depth: int = 10

    @property
    def iterations(self) -> int:
        """Iterations of one chain."""
        return self.warmup + self.draws


@dataclass(frozen=True)
class Draws:
    """What NUTS returned.

    Attributes
    ----------
    positions : ndarray, shape [chain, draw, size]
    stats : mapping of str to ndarray, shape [chain, draw]
        ``diverging, n_steps, tree_depth, acceptance_rate, energy, lp, step_size``.
    is_interrupted : bool
        Whether the run was stopped before its end.
    seconds : mapping of str to float
        Wall time of ``compile`` and ``sample``; ``gradients`` counts leapfrog steps, warm-up included.
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


def run_nuts(
    log_density: LogDensity, starts: np.ndarray, schedule: Schedule, *, place: Place, watch: Watcher
) -> Draws:
    """Sample a flat log density.

    Parameters
    ----------
    log_density : callable
        ``[size] -> scalar``, traceable by JAX.
    starts : ndarray, shape [chain, size]
    schedule : Schedule
    place : Place
    watch : callable
        Called about ten times a second from the calling thread with a `Progress`. Raising
        ``KeyboardInterrupt`` there (or pressing Ctrl-C) stops the run and keeps the draws.

    Returns
    -------
    Draws
        If interrupted: the chains that have draws, cut to the shortest of them.
    """
    begin, advance, init = time.perf_counter(), *_kernel(log_density, schedule)
    keys = jnp.stack(
        [jax.random.fold_in(jax.random.PRNGKey(schedule.seed), c) for c in range(schedule.chains)]
    )
    if place.is_batched:
        advance = jax.vmap(advance, in_axes=(0, None), out_axes=(0, 1, 1))
        init = jax.vmap(init)
        batches = [(keys, jnp.asarray(starts))]
    else:
        batches = [(key, jnp.asarray(start)) for key, start in zip(keys, starts, strict=True)]
    states = [jax.jit(init)(*batch) for batch in batches]
    compiled = jax.jit(advance).lower(states[0], jnp.asarray(1)).compile()
    compile_seconds = time.perf_counter() - begin
    progress = Progress(total=schedule.chains * schedule.iterations)
    running = _Running(compiled, schedule, progress, [_Chain(state) for state in states])

    def work() -> None:
        with float64_on(place):
            running.work()

    begin = time.perf_counter()
    with ThreadPoolExecutor(place.workers) as workers:
        futures = [workers.submit(work) for _ in range(place.workers)]
        _watch_until_done(futures, running, watch)
    for future in futures:
        future.result()
    seconds = {
        "compile": compile_seconds,
        "sample": time.perf_counter() - begin,
        "gradients": float(progress.gradients),
    }
    return _gather(running.chains, schedule, is_batched=place.is_batched, seconds=seconds)


def _kernel(log_density: LogDensity, schedule: Schedule) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The pieces to compile: advance a chain by up to `_BUFFER` iterations, and start one."""
    init_kernel, step = hmc(lambda flat: -log_density(flat), algo="NUTS")

    def init(key: Array, start: Array) -> Any:
        return init_kernel(
            start,
            schedule.warmup,
            rng_key=key,
            target_accept_prob=schedule.target_accept,
            max_tree_depth=schedule.max_tree_depth,
        )

    def advance(state: Any, iterations: Array) -> tuple[Any, Array, dict[str, Array]]:
        empty = jnp.zeros((_BUFFER, state.z.shape[-1]))
        stats = {name: jnp.zeros((_BUFFER,), dtype=value.dtype) for name, value in _statistics(state).items()}

        def body(index: Array, carry: Any) -> Any:
            state, kept, stats = carry
            state = step(state)
            now = _statistics(state)
            stats = {name: stats[name].at[index].set(now[name]) for name in stats}
            return state, kept.at[index].set(state.z), stats

        return jax.lax.fori_loop(0, iterations, body, (state, empty, stats))

    return advance, init


def _statistics(state: Any) -> dict[str, Array]:
    return {
        "diverging": state.diverging,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "energy": state.energy,
        "lp": -state.potential_energy,
        "step_size": state.adapt_state.step_size,
    }


@dataclass
class _Chain:
    """A chain (or a batch of them) on its way: its state, and what it kept."""

    state: Any
    done: int = 0
    piece: int = 1
    kept: list[np.ndarray] = field(default_factory=list)
    stats: list[dict[str, np.ndarray]] = field(default_factory=list)

    @property
    def draws(self) -> int:
        """Draws kept so far."""
        return sum(len(part) for part in self.kept)


@dataclass
class _Running:
    """All chains of a run; workers take turns on them, so that an interrupt finds all about as far."""

    compiled: Callable[..., Any]
    schedule: Schedule
    progress: Progress
    chains: list[_Chain]
    stop: threading.Event = field(default_factory=threading.Event)
    waiting: SimpleQueue[_Chain] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        for chain in self.chains:
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
            except BaseException:
                self.stop.set()
                raise
            if chain.done < self.schedule.iterations:
                self.waiting.put(chain)

    def _advance(self, chain: _Chain) -> None:
        """One piece of about `_PIECE_SECONDS`; it ends where warm-up ends, so that draws are whole pieces."""
        is_warmup = chain.done < self.schedule.warmup
        left = (self.schedule.warmup if is_warmup else self.schedule.iterations) - chain.done
        size = min(chain.piece, left, _BUFFER)
        begin = time.perf_counter()
        chain.state, positions, statistics = self.compiled(chain.state, jnp.asarray(size))
        positions.block_until_ready()
        elapsed = time.perf_counter() - begin
        taken = {name: np.asarray(value)[:size] for name, value in statistics.items()}
        divergences = 0 if is_warmup else int(taken["diverging"].sum())
        self.progress.add(taken["n_steps"].size, divergences, int(taken["n_steps"].sum()))
        if not is_warmup:
            chain.kept.append(np.asarray(positions)[:size])
            chain.stats.append(taken)
        chain.done += size
        chain.piece = int(np.clip(size * _PIECE_SECONDS / max(elapsed, 1e-6), 1, min(4 * size, _BUFFER)))


def _watch_until_done(futures: list[Any], running: _Running, watch: Watcher) -> None:
    try:
        while not all(future.done() for future in futures):
            watch(running.progress)
            time.sleep(0.05)
        watch(running.progress)
    except KeyboardInterrupt:
        pass
    finally:
        # Whatever went wrong here, the workers are not left to sample to the end unseen.
        running.stop.set()


def _gather(
    chains: list[_Chain], schedule: Schedule, *, is_batched: bool, seconds: Mapping[str, float]
) -> Draws:
    # An interrupt may find a chain still warming up: the others' draws are worth keeping.
    drawn = [chain for chain in chains if chain.draws]
    if not drawn:
        size = chains[0].state.z.shape[-1]
        return Draws(np.zeros((schedule.chains, 0, size)), {}, True, seconds)
    shortest = min(chain.draws for chain in drawn)

    def chains_first(parts: list[list[np.ndarray]]) -> np.ndarray:
        joined = [np.concatenate(part)[:shortest] for part in parts]
        return np.swapaxes(joined[0], 0, 1) if is_batched else np.stack(joined)

    positions = chains_first([chain.kept for chain in drawn])
    stats = {
        name: chains_first([[part[name] for part in chain.stats] for chain in drawn])
        for name in drawn[0].stats[0]
    }
    # Completed doublings: a tree that turned inside its last doubling was not cut off by the limit.
    stats["tree_depth"] = np.floor(np.log2(stats["n_steps"] + 1)).astype(int)
    is_whole = shortest == schedule.draws and len(drawn) == len(chains)
    return Draws(positions, stats, not is_whole, seconds)
