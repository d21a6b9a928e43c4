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
        Cut to the shortest chain if interrupted.
    """
    begin, advance, init = time.perf_counter(), *_kernel(log_density, schedule)
    keys = jnp.stack([jax.random.fold_in(jax.random.PRNGKey(schedule.seed), c) for c in range(schedule.chains)])
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
    stop = threading.Event()

    def run(state: Any) -> "_Trace":
        with float64_on(place):
            return _run_chain(compiled, state, schedule, progress, stop)

    begin = time.perf_counter()
    with ThreadPoolExecutor(place.workers) as workers:
        futures = [workers.submit(run, state) for state in states]
        _watch_until_done(futures, progress, watch, stop)
        traces = [future.result() for future in futures]
    seconds = {
        "compile": compile_seconds,
        "sample": time.perf_counter() - begin,
        "gradients": float(progress.gradients),
    }
    return _gather(traces, schedule, is_batched=place.is_batched, seconds=seconds)


@dataclass(frozen=True)
class _Trace:
    """The kept draws of one batch: positions ``[draw, ..., size]`` and statistics ``[draw, ...]``."""

    positions: np.ndarray
    stats: Mapping[str, np.ndarray]


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


def _run_chain(
    compiled: Callable[..., Any], state: Any, schedule: Schedule, progress: Progress, stop: threading.Event
) -> _Trace:
    """Advance one batch of chains to the end, or until told to stop, in pieces of about 0.2 s."""
    kept: list[np.ndarray] = []
    stats: list[dict[str, np.ndarray]] = []
    done, piece = 0, 1
    while done < schedule.iterations and not stop.is_set():
        # A piece ends where warm-up ends, so that draws are whole pieces.
        left = (schedule.warmup if done < schedule.warmup else schedule.iterations) - done
        size = min(piece, left, _BUFFER)
        begin = time.perf_counter()
        state, positions, statistics = compiled(state, jnp.asarray(size))
        positions.block_until_ready()
        elapsed = time.perf_counter() - begin
        taken = {name: np.asarray(value)[:size] for name, value in statistics.items()}
        is_warmup = done < schedule.warmup
        chains = taken["n_steps"].size // size
        divergences = 0 if is_warmup else int(taken["diverging"].sum())
        progress.add(size * chains, divergences, int(taken["n_steps"].sum()))
        if not is_warmup:
            kept.append(np.asarray(positions)[:size])
            stats.append(taken)
        done += size
        piece = int(np.clip(size * _PIECE_SECONDS / max(elapsed, 1e-6), 1, min(4 * size, _BUFFER)))
    if not kept:
        return _Trace(np.zeros((0, *np.shape(state.z))), {})
    joined = {name: np.concatenate([part[name] for part in stats]) for name in stats[0]}
    return _Trace(np.concatenate(kept), joined)


def _watch_until_done(futures: list[Any], progress: Progress, watch: Watcher, stop: threading.Event) -> None:
    try:
        while not all(future.done() for future in futures):
            watch(progress)
            time.sleep(0.05)
        watch(progress)
    except KeyboardInterrupt:
        stop.set()


def _gather(traces: list[_Trace], schedule: Schedule, *, is_batched: bool, seconds: Mapping[str, float]) -> Draws:
    shortest = min(trace.positions.shape[0] for trace in traces)

    def chains_first(parts: list[np.ndarray]) -> np.ndarray:
        if is_batched:
            return np.swapaxes(parts[0], 0, 1)
        return np.stack([part[:shortest] for part in parts])

    positions = chains_first([trace.positions for trace in traces])
    names = traces[0].stats if shortest else {}
    stats = {name: chains_first([trace.stats[name] for trace in traces]) for name in names}
    if stats:
        stats["tree_depth"] = np.ceil(np.log2(stats["n_steps"] + 1)).astype(int)
    return Draws(positions, stats, shortest < schedule.draws, seconds)
