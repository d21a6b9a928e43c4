"""Metropolis moves of every patient's effects at once, given the population; `kernels` makes chains of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = Any
_DEGREES_OF_FREEDOM = 4.0
_INDEPENDENT_MOVES = 2
_WALK_ACCEPTANCE = 0.35


class Moved(NamedTuple):
    """Effects after their moves ``[effect, patient]``, the log step of each patient's walk, the chance
    that each patient's last independent proposal had (0 if there was none)."""

    effects: Array
    log_step: Array
    chance: Array


def move_patients(
    key: Array,
    effects: Array,
    log_step: Array,
    density: Callable[[Array], Array],
    rate: Array,
    *,
    proposals: int = _INDEPENDENT_MOVES,
    steps: int = 1,
) -> Moved:
    """Metropolis moves of every patient's effects at once, each accepted or refused alone.

    Independent proposals from a multivariate t around the patient's frame, then small steps, for
    patients whose posterior is not where their frame says.

    Parameters
    ----------
    key : Array
    effects : Array, shape [effect, patient]
        In coordinates in which they are about standard normal; `proposals` need the informed frames'.
    log_step : Array, shape [patient]
        Log size of the small step; adapted by `rate` towards accepting about a third.
    density : callable
        Effects to each patient's log density ``[patient]``.
    rate : Array
        0 after warm-up.
    proposals, steps : int
        How many of each kind.
    """
    # Drawn before the loop: inside, XLA would draw them again for every use the density makes of them.
    drawn, uniform = _draw_t(key, (proposals + steps, *effects.shape))

    def body(turn: Array, carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        effects, now, log_step, chance = carry
        is_walk = turn >= proposals
        own = drawn[turn].astype(float)
        proposal = jnp.where(is_walk, effects + jnp.exp(log_step) * own, own)
        then = density(proposal)
        ratio = then - now + jnp.where(is_walk, 0.0, _log_t(effects) - _log_t(proposal))
        accepted = jnp.exp(jnp.minimum(jnp.nan_to_num(ratio, nan=-jnp.inf), 0.0))
        is_taken = uniform[turn] < accepted
        return (
            jnp.where(is_taken, proposal, effects),
            jnp.where(is_taken, then, now),
            jnp.where(is_walk, log_step + rate * (accepted - _WALK_ACCEPTANCE), log_step),
            jnp.where(is_walk, chance, accepted),
        )

    start = (effects, density(effects), log_step, jnp.zeros_like(log_step))
    effects, _, log_step, chance = jax.lax.fori_loop(0, proposals + steps, body, start)
    return Moved(effects, log_step, chance)


def walk_rate(iteration: Array, warmup: int) -> Array:
    """How fast the patients' steps adapt: ever slower in warm-up, not at all after it."""
    return jnp.where(iteration < warmup, 2.0 / (iteration + 6.0) ** 0.6, 0.0)


def _draw_t(key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Multivariate t draws ``[turn, effect, patient]`` with 4 degrees of freedom, uniforms ``[turn, patient]``.

    In single precision, which is several times faster: a proposal may be any number, as the ratio is
    taken in double precision at the point proposed.
    """
    normal = jax.random.normal(key, shape, dtype=jnp.float32)
    uniform = jax.random.uniform(
        jax.random.fold_in(key, 1),
        (3, shape[0], shape[2]),
        dtype=jnp.float32,
        minval=jnp.finfo(jnp.float32).tiny,
    )
    # Chi-squared of 4 over 4.
    square = -0.5 * (jnp.log(uniform[0]) + jnp.log(uniform[1]))
    return normal / jnp.sqrt(square)[:, None], uniform[2]


def _log_t(effects: Array) -> Array:
    """Its log density ``[patient]``, without the constant."""
    square = jnp.sum(effects * effects, axis=0)
    return -(_DEGREES_OF_FREEDOM + effects.shape[0]) / 2 * jnp.log1p(square / _DEGREES_OF_FREEDOM)
