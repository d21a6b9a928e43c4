"""NUTS along a stand-in for a density that costs more; where a trajectory ends, the density accepts or refuses.

The stand-ins are `emulator` for the mechanism of joint chains, and `marginal.surrogate` for integrals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hierarchical_twin.inference.kernels import Adaptation, Kernel, Numbers
from hierarchical_twin.inference.moves import move_patients, walk_rate

Array = Any
_NOWHERE = -1e300


class DelayedState(NamedTuple):
    """A chain between iterations: NUTS along the stand-in, the exact density less it, the last chance, the steps
    of the longest trajectory since the draw before, and the log step of each that walks ``[column]``."""

    nuts: Any
    excess: Array
    chance: Array
    longest: Array
    moves: Array


@dataclass(frozen=True)
class Walks:
    """How one block of coordinates walks by the exact density after a joint move.

    Attributes
    ----------
    block : {"effects", "population"}
        Effects walk patient by patient, the population as one.
    steps : int
    every : int
        Of so many draws one walks.
    density : callable
        What the inner kernel's `position` gives, and `Numbers`, to the exact log density of each that walks
        ``[patient]`` or ``[1]``.
    potential : callable
        `Numbers` to the stand-in's minus log density, a function of the inner kernel's coordinates.
    """

    block: str
    steps: int
    density: Callable[[Array, Any], Array]
    potential: Callable[[Any], Callable[[dict[str, Array]], Array]]
    every: int = 1


def delayed_kernel(
    inner: Kernel,
    exact: Callable[[Array, Any], Array],
    adaptation: Adaptation,
    *,
    transitions: int = 1,
    walks: Walks | None = None,
) -> Kernel:
    """A NUTS kernel along a stand-in for the density; where it ends, the density accepts or refuses.

    Delayed acceptance (Liu 2001, doi:10.1007/978-0-387-76371-2, section 9.4.3; Christen and Fox 2005,
    doi:10.1198/106186005X76983): NUTS is reversible under the stand-in, so the draws are exact whatever it
    is. They have no use for the exact density in warm-up; it is first taken at its end. What walks afterwards does so
    by Metropolis steps under the exact density, in warm-up too.

    Parameters
    ----------
    inner : Kernel
        `joint_kernel` or `population_kernel` of the stand-in.
    exact : callable
        What the inner kernel's `position` gives, and `Numbers`, to the log density.
    adaptation : Adaptation
        The inner kernel's.
    transitions : int
        Of NUTS between two draws after warm-up, all accepted or refused together.
    walks : Walks, optional
        A chain that is where a stand-in sees far too little stays there: no joint move is accepted until small
        steps by the exact density have led out, of a patient alone or of the population.
    """

    def init(key: Array, start: Any, numbers: Numbers) -> DelayedState:
        nuts = inner.init(key, start, numbers)
        moves = jnp.zeros(0 if walks is None else _columns(nuts.z[walks.block]).shape[1])
        return DelayedState(nuts, jnp.zeros(()), jnp.ones(()), jnp.zeros_like(nuts.num_steps), moves)

    def excess_at(nuts: Any, numbers: Numbers) -> Array:
        found = jax.lax.cond(
            nuts.i >= adaptation.warmup,
            lambda: exact(inner.position(nuts, numbers), numbers) + nuts.potential_energy,
            lambda: jnp.zeros(()),
        )
        # A place without a density is left at once, if warm-up should end there.
        return jnp.nan_to_num(found, nan=_NOWHERE, neginf=_NOWHERE)

    def step(state: DelayedState, numbers: Numbers) -> DelayedState:
        turns = jnp.where(state.nuts.i < adaptation.warmup, 1, transitions)
        nothing = _Told(*(jnp.zeros_like(part) for part in _told(state.nuts)))
        nuts, told = jax.lax.fori_loop(
            0, turns, lambda _, carry: _counted(inner, carry, numbers), (state.nuts, nothing)
        )
        key, own, alone = jax.random.split(nuts.rng_key, 3)
        excess = excess_at(nuts, numbers)
        chance = jnp.where(nuts.i > adaptation.warmup, jnp.exp(jnp.minimum(excess - state.excess, 0.0)), 1.0)
        is_taken = jax.random.uniform(own) < chance
        kept = {
            name: jax.tree.map(partial(jnp.where, is_taken), getattr(nuts, name), getattr(state.nuts, name))
            for name in ("z", "z_grad", "potential_energy")
        }
        nuts = nuts._replace(
            rng_key=key,
            num_steps=told.steps,
            accept_prob=told.acceptance / turns,
            diverging=told.is_diverging,
            **kept,
        )
        found = DelayedState(
            nuts, jnp.where(is_taken, excess, state.excess), chance, told.longest, state.moves
        )
        if walks is None:
            return found
        if walks.every == 1:
            return walked(walks, found, alone, numbers)
        is_due = nuts.i % walks.every == 0
        return jax.lax.cond(is_due, lambda: walked(walks, found, alone, numbers), lambda: found)

    def walked(walks: Walks, state: DelayedState, key: Array, numbers: Numbers) -> DelayedState:
        z = state.nuts.z
        block = z[walks.block]

        def density(columns: Array) -> Array:
            there = state.nuts._replace(z={**z, walks.block: columns.reshape(block.shape)})
            return walks.density(inner.position(there, numbers), numbers)

        moved = move_patients(
            key,
            _columns(block),
            state.moves,
            density,
            walk_rate(state.nuts.i, adaptation.warmup),
            proposals=0,
            steps=walks.steps,
        )
        z = {**z, walks.block: moved.effects.reshape(block.shape)}
        value, slope = jax.value_and_grad(walks.potential(numbers))(z)
        nuts = state.nuts._replace(z=z, potential_energy=value, z_grad=slope)
        return state._replace(nuts=nuts, excess=excess_at(nuts, numbers), moves=moved.log_step)

    def statistics(state: DelayedState) -> dict[str, Array]:
        found = inner.statistics(state.nuts)
        own = {"exact_acceptance": state.chance, "longest": state.longest}
        return found | {"lp": found["lp"] + state.excess} | own

    return Kernel(
        init=init,
        step=step,
        position=lambda state, numbers: inner.position(state.nuts, numbers),
        statistics=statistics,
    )


def _columns(block: Array) -> Array:
    """A block ``[coordinate, ...]`` with one column for each that walks."""
    return block.reshape(block.shape[0], -1)


class _Told(NamedTuple):
    """Of some transitions: steps in all, of the longest, acceptance summed, whether any diverged."""

    steps: Array
    longest: Array
    acceptance: Array
    is_diverging: Array


def _told(nuts: Any) -> _Told:
    return _Told(nuts.num_steps, nuts.num_steps, nuts.accept_prob, nuts.diverging)


def _counted(inner: Kernel, carry: tuple[Any, _Told], numbers: Numbers) -> tuple[Any, _Told]:
    """One more transition, and what is told of all so far."""
    nuts, told = carry
    nuts = inner.step(nuts, numbers)
    last = _told(nuts)
    longest = jnp.maximum(told.longest, last.longest)
    is_diverging = told.is_diverging | last.is_diverging
    return nuts, _Told(told.steps + last.steps, longest, told.acceptance + last.acceptance, is_diverging)
