"""A short trial of a device: what a gradient of all chains costs there, in the shape it would be sampled.

On a CPU as many threads as there would be workers compute one chain's gradient each; on a GPU all
chains are one batch. What NUTS does around its gradients is not timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.inference.device import Place, Trial, float64_on

Array = Any
Numbers = Any
LogDensity = Callable[[Array, Numbers], Array]

_ENOUGH_SECONDS = 0.05
_MOST_SECONDS = 1.0


def gradient_trial(density: LogDensity, numbers: Numbers, points: np.ndarray) -> Trial:
    """A trial of a log density, for `choose_place`.

    Parameters
    ----------
    density : callable
        ``(flat, numbers) -> scalar``, traceable by JAX.
    numbers : mapping of str to ndarray
        The model's arrays.
    points : ndarray, shape [chain, size]
        Where each chain's gradient is taken.
    """
    return lambda place: time_gradients(place, density, numbers, points)["seconds"]


def time_gradients(
    place: Place, density: LogDensity, numbers: Numbers, points: np.ndarray
) -> dict[str, float]:
    """Wall time of one gradient of every chain, and of compiling it.

    Parameters
    ----------
    place : Place
    density, numbers, points
        As in `gradient_trial`.

    Returns
    -------
    dict
        ``seconds`` of one gradient of all chains, and ``compile`` seconds.
    """
    chains, loop = len(points), _loop(density)
    with float64_on(place):
        begin = time.perf_counter()
        held = jax.tree.map(lambda value: jnp.asarray(np.asarray(value)), numbers)
        if place.is_batched:
            loop = jax.vmap(loop, in_axes=(0, None, None))
        starts = jnp.asarray(np.asarray(points if place.is_batched else points[0], dtype=float))
        compiled = jax.jit(loop).lower(starts, jnp.asarray(1), held).compile()
        compiling = time.perf_counter() - begin

    def work(times: int) -> None:
        with float64_on(place):
            jax.block_until_ready(compiled(starts, jnp.asarray(times), held))

    with ThreadPoolExecutor(place.workers) as pool:
        seconds = _seconds_a_turn(lambda times: list(pool.map(work, [times] * place.workers)))
    shares = 1.0 if place.is_batched else chains / place.workers
    return {"seconds": seconds * shares, "compile": compiling}


def _loop(density: LogDensity) -> Callable[[Array, Array, Mapping[str, Array]], Array]:
    """The gradient computed `times` over: dispatch from Python does not count."""
    gradient = jax.value_and_grad(density)

    def loop(flat: Array, times: Array, numbers: Mapping[str, Array]) -> tuple[Array, Array]:
        def again(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            # Each turn depends on the whole of the last, or the compiler would compute it once.
            return gradient(flat + 1e-300 * (carry[0] + carry[1]), numbers)

        return jax.lax.fori_loop(0, times, again, (jnp.zeros(()), jnp.zeros_like(flat)))

    return loop


def _seconds_a_turn(run: Callable[[int], object]) -> float:
    """Seconds for one of the turns that `run` makes so many of, over enough of them to be told."""
    run(1)
    begin, times = time.perf_counter(), 1
    while True:
        start = time.perf_counter()
        run(times)
        now = time.perf_counter()
        elapsed = now - start
        if elapsed > _ENOUGH_SECONDS or now - begin > _MOST_SECONDS:
            return elapsed / times
        times = 1 + int(times * min(20.0, 1.5 * _ENOUGH_SECONDS / max(elapsed, 1e-7)))
