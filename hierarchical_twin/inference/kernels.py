"""One iteration of a chain: NumPyro's NUTS over all coordinates, or block by block.

`joint` moves everything in one trajectory. `blocked` moves the population by NUTS with the patients'
effects held in their informed frames, where the two are nearly independent, then every patient by
Metropolis proposals of their own: given the population patients are independent, so each accepts or
refuses alone, and a trajectory's length does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo

from hierarchical_twin.inference.geometry import Geometry, Starts
from hierarchical_twin.inference.moves import move_patients, walk_rate
from hierarchical_twin.inference.target import Target

Array = Any


class Numbers(NamedTuple):
    """All that a compiled loop takes as arguments: it serves every posterior of the same shapes.

    `model` is a pytree of the model's arrays.
    """

    geometry: Geometry
    model: Any


@dataclass(frozen=True)
class Adaptation:
    """How NUTS adapts: iterations of warm-up, the acceptance rate aimed at, the longest tree."""

    warmup: int
    target_accept: float
    max_tree_depth: int


@dataclass(frozen=True)
class Kernel:
    """One way to move a chain.

    `init(key, starts, numbers)` gives a state, `step(state, numbers)` the next one;
    `position(state, numbers)` is the array a draw is made of, `statistics(state)` what to keep of it.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    position: Callable[[Any, Any], Array]
    statistics: Callable[[Any], dict[str, Array]]


def joint_kernel(target: Target, adaptation: Adaptation) -> Kernel:
    """NUTS over the population and all effects at once.

    The mass matrix is dense over the population and diagonal over the effects.
    """
    flat, potential = partial(_whole_point, target), partial(joint_potential, target)
    start, advance = hmc(potential_fn_gen=potential, algo="NUTS")

    def init(key: Array, at: Starts, numbers: Numbers) -> Any:
        z = {"effects": at.effects, "population": at.whitened}
        slope = {"effects": at.effects_slope, "population": at.whitened_slope}
        return _begin(start, ParamInfo(z, at.potential, slope), adaptation, key, (numbers,))

    return Kernel(
        init=init,
        step=lambda state, numbers: advance(state, (numbers,)),
        position=lambda state, numbers: flat(state.z, numbers),
        statistics=_nuts_statistics,
    )


def _whole_point(target: Target, z: dict[str, Array], numbers: Numbers) -> Array:
    return numbers.geometry.flat(target.model, z["population"], z["effects"])


def joint_potential(target: Target, numbers: Numbers) -> Callable[[dict[str, Array]], Array]:
    """Minus log density over coordinates ``{"population": [coordinate], "effects": [effect, patient]}``."""
    return lambda z: -target.density(_whole_point(target, z, numbers), numbers.model)


def starts_along(target: Target, starts: Starts, numbers: Numbers) -> Starts:
    """The same starts of `joint_kernel`, with another density's values and slopes."""

    @jax.jit
    def at(places: tuple[Array, Array], numbers: Numbers) -> tuple[Array, dict[str, Array]]:
        along = jax.value_and_grad(joint_potential(target, numbers))
        return jax.lax.map(lambda place: along({"population": place[0], "effects": place[1]}), places)

    potential, slope = at((jnp.asarray(starts.whitened), jnp.asarray(starts.effects)), numbers)
    found = (potential, slope["population"], slope["effects"])
    words = ("potential", "whitened_slope", "effects_slope")
    return starts._replace(**{word: np.asarray(part) for word, part in zip(words, found, strict=True)})


def _begin(
    start: Callable[..., Any], info: ParamInfo, adaptation: Adaptation, key: Array, arguments: tuple[Any, ...]
) -> Any:
    """NUTS at a point ``{block: coordinates}``: a mass matrix of one, dense over the population."""
    masses = {
        (name,): jnp.eye(block.size) if name == "population" else jnp.ones(block.size)
        for name, block in info.z.items()
    }
    return start(
        info,
        adaptation.warmup,
        step_size=first_step_size(sum(block.size for block in info.z.values())),
        dense_mass=[("population",)],
        inverse_mass_matrix=masses,
        target_accept_prob=adaptation.target_accept,
        max_tree_depth=adaptation.max_tree_depth,
        model_args=arguments,
        rng_key=key,
    )


def first_step_size(size: int) -> float:
    """A step size for standard normal coordinates; stable trajectories shorten with their number."""
    return 1.0 / size**0.25


def _nuts_statistics(state: Any) -> dict[str, Array]:
    return {
        "diverging": state.diverging,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "energy": state.energy,
        "lp": -state.potential_energy,
        "step_size": state.adapt_state.step_size,
    }


def population_kernel(density: Callable[[Array, Any], Array], adaptation: Adaptation) -> Kernel:
    """NUTS over the population alone, whose log density has the effects integrated out.

    Parameters
    ----------
    density : callable
        Whitened coordinates ``[coordinate]`` and `Numbers` to the log density. A draw is the population in
        the model's coordinates.
    adaptation : Adaptation
    """

    def potential(numbers: Numbers) -> Callable[[dict[str, Array]], Array]:
        return lambda z: -density(z["population"], numbers)

    start, advance = hmc(potential_fn_gen=potential, algo="NUTS")

    def init(key: Array, whitened: Array, numbers: Numbers) -> Any:
        z = {"population": whitened}
        info = ParamInfo(z, *jax.value_and_grad(potential(numbers))(z))
        return _begin(start, info, adaptation, key, (numbers,))

    return Kernel(
        init=init,
        step=lambda state, numbers: advance(state, (numbers,)),
        position=lambda state, numbers: numbers.geometry.population(state.z["population"]),
        statistics=_nuts_statistics,
    )


class BlockedState(NamedTuple):
    """A chain between iterations: the population's NUTS state, the effects, and how patients move."""

    nuts: Any
    effects: Array
    moves: Array
    accepted: Array
    key: Array


def blocked_kernel(target: Target, adaptation: Adaptation) -> Kernel:
    """NUTS over the population given the effects, then Metropolis moves of each patient's effects."""

    def potential(numbers: Numbers, effects: Array) -> Callable[[dict[str, Array]], Array]:
        return lambda z: -target.density(flat(z["population"], effects, numbers), numbers.model)

    def flat(whitened: Array, effects: Array, numbers: Numbers) -> Array:
        return numbers.geometry.flat(target.model, whitened, effects)

    def patients(whitened: Array, effects: Array, numbers: Numbers) -> Array:
        return target.patients(flat(whitened, effects, numbers), numbers.model)

    start, advance = hmc(potential_fn_gen=potential, algo="NUTS")

    def init(key: Array, at: Starts, numbers: Numbers) -> BlockedState:
        z = {"population": at.whitened}
        # The first step moves the patients, and then finds the potential and its slope anew.
        info = ParamInfo(z, at.potential, {"population": at.whitened_slope})
        nuts = _begin(start, info, adaptation, key, (numbers, at.effects))
        moves = jnp.zeros(at.effects.shape[1])
        return BlockedState(nuts, at.effects, moves, moves, jax.random.fold_in(key, 1))

    def step(state: BlockedState, numbers: Numbers) -> BlockedState:
        whitened = state.nuts.z["population"]
        key, own = jax.random.split(state.key)
        rate = walk_rate(state.nuts.i, adaptation.warmup)
        moved = move_patients(
            own, state.effects, state.moves, lambda effects: patients(whitened, effects, numbers), rate
        )
        value, slope = jax.value_and_grad(potential(numbers, moved.effects))(state.nuts.z)
        nuts = advance(state.nuts._replace(potential_energy=value, z_grad=slope), (numbers, moved.effects))
        return BlockedState(nuts, moved.effects, moved.log_step, moved.chance, key)

    def statistics(state: BlockedState) -> dict[str, Array]:
        return _nuts_statistics(state.nuts) | {"patient_acceptance": jnp.mean(state.accepted)}

    return Kernel(
        init=init,
        step=step,
        position=lambda state, numbers: flat(state.nuts.z["population"], state.effects, numbers),
        statistics=statistics,
    )
