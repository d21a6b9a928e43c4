"""The loop around a kernel: compiled once, for warm-up and draws of every chain.

The compiled piece advances one chain, or a batch of them, by a given number of iterations. It takes all
arrays as arguments, so it can be compiled before they are known.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.inference.clock import unheard
from hierarchical_twin.inference.device import Place, float64_on
from hierarchical_twin.inference.kernels import Kernel
from hierarchical_twin.inference.settings import Schedule

Array = Any
Numbers = Any

BUFFER = 200
"""Kept iterations that one call makes at most."""


_keys = jax.jit(jax.vmap(jax.random.fold_in, in_axes=(None, 0)))


@dataclass(frozen=True)
class Loop:
    """A kernel's compiled functions.

    Attributes
    ----------
    init : callable
        ``init(key, starts, numbers)`` gives a state.
    advance : callable
        ``advance(state, iterations, numbers)`` gives the next one, the positions ``[iteration, ...]`` kept on
        the way, and statistics.
    state : pytree
        Shapes and types of a state.
    """

    init: Callable[..., Any]
    advance: Callable[..., Any]
    state: Any


def chain_batches(starts: Any, schedule: Schedule, place: Place) -> list[tuple[Array, Any]]:
    """A key and the starts of each chain, or of all together where the place runs them as one."""
    # One program, and slices of NumPy: each operation on its own would be compiled on its own.
    keys = np.asarray(_keys(jax.random.PRNGKey(schedule.seed), np.arange(schedule.chains)))
    starts = jax.tree.map(np.asarray, starts)
    if place.is_batched:
        return [(keys, starts)]
    return [(key, jax.tree.map(lambda s, c=c: s[c], starts)) for c, key in enumerate(keys)]


def compile_loop(kernel: Kernel, starts: Any, numbers: Numbers, *, schedule: Schedule, place: Place) -> Loop:
    """Compile a kernel's functions for arrays of given shapes.

    Parameters
    ----------
    kernel : Kernel
    starts : pytree of ndarray, shape [chain, ...]
        What the kernel's `init` takes.
    numbers : pytree of ndarray
        What the kernel's functions take.
    schedule : Schedule
    place : Place

    Returns
    -------
    Loop
        Of one chain, or of all of them where the place runs them as one.
    """
    init, advance = kernel.init, _advance_by_pieces(kernel, schedule.thin)
    if place.is_batched:
        advance = jax.vmap(advance, in_axes=(0, None, None), out_axes=(0, 1, 1))
        init = jax.vmap(init, in_axes=(0, 0, None))
    held = jax.tree.map(jnp.asarray, numbers)
    begin, given = jax.jit(init), (*chain_batches(starts, schedule, place)[0], held)
    # From shapes alone: a run that goes on compiles the very program that it began with.
    state = begin.eval_shape(*given)
    lowered = (begin.lower(*given), jax.jit(advance).lower(state, jnp.asarray(1), held))

    def compiled(program: Any) -> Any:
        # Counted as the loop's by whoever waits for it, not as a stage's that runs meanwhile.
        with float64_on(place), unheard():
            return program.compile()

    with ThreadPoolExecutor(len(lowered)) as side_by_side:
        return Loop(*side_by_side.map(compiled, lowered), state)


def _advance_by_pieces(kernel: Kernel, thin: int) -> Callable[..., Any]:
    """The piece to compile: up to `BUFFER` kept iterations of a chain, each after `thin` of them."""

    def advance(state: Any, iterations: Array, numbers: Numbers) -> tuple[Any, Array, dict[str, Array]]:
        empty = jnp.zeros((BUFFER, *kernel.position(state, numbers).shape))
        stats = {
            name: jnp.zeros((max(BUFFER, thin),), dtype=value.dtype)
            for name, value in kernel.statistics(state).items()
        }

        def body(index: Array, carry: Any) -> Any:
            state, kept, stats = carry
            state = kernel.step(state, numbers)
            now = kernel.statistics(state)
            stats = {name: stats[name].at[index].set(now[name]) for name in stats}
            # A thinned draw is written over until its turn is complete.
            return state, kept.at[index // thin].set(kernel.position(state, numbers)), stats

        return jax.lax.fori_loop(0, iterations, body, (state, empty, stats))

    return advance
