"""A kernel on any log density of a flat point, without a model behind it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.inference.device import Place, float64_on
from hierarchical_twin.inference.geometry import Starts
from hierarchical_twin.inference.keeper import Keeper, NoCheckpoint
from hierarchical_twin.inference.kernels import Adaptation, Kernel, Numbers, joint_kernel
from hierarchical_twin.inference.nuts import Draws, Progress, run_chains
from hierarchical_twin.inference.settings import Schedule

Density = Callable[[jax.Array], jax.Array]


def here(workers: int = 1) -> Place:
    """The CPU."""
    return Place(jax.devices("cpu")[0], "cpu", workers)


BATCHED = Place(jax.devices("cpu")[0], "a batch", 1)
"""As on a GPU: all chains advance together."""


def silent(progress: Progress) -> None:
    """Watch nothing."""
    del progress


@jax.tree_util.register_static
class OwnCoordinates:
    """The last is an effect of one patient, the others the population."""

    def flat(self, _, whitened: jax.Array, effects: jax.Array) -> jax.Array:
        """All in a row."""
        return jnp.concatenate([whitened, effects[0]])


def toy_kernel(density: Density, schedule: Schedule, target_accept: float) -> Kernel:
    """NUTS on a density in its own coordinates."""
    target = SimpleNamespace(model=None, density=lambda flat, numbers: density(flat))
    return joint_kernel(target, Adaptation(schedule.warmup, target_accept, 10))


def run_toy(
    density: Density,
    starts: np.ndarray,
    schedule: Schedule,
    *,
    place: Place | None = None,
    watch=silent,
    keep: Keeper = NoCheckpoint(),  # noqa: B008, an empty frozen value
    target_accept: float = 0.8,
) -> Draws:
    """Sample a density from starts ``[chain, size]``."""
    place = place or here()
    kernel = toy_kernel(density, schedule, target_accept)
    with float64_on(place):
        potential, slope = jax.vmap(jax.value_and_grad(lambda flat: -density(flat)))(jnp.asarray(starts))
        slope = np.asarray(slope)
        points = Starts(
            starts[:, :-1], starts[:, None, -1:], np.asarray(potential), slope[:, :-1], slope[:, None, -1:]
        )
        return run_chains(
            kernel, points, Numbers(OwnCoordinates(), {}), schedule, place=place, watch=watch, keep=keep
        )
