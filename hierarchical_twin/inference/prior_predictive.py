"""What the priors alone expect to see, beside what was seen."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from hierarchical_twin.graph.evaluate import draw_outcomes, draw_prior
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.device import choose_place, float64_on

_BAND = (5.0, 50.0, 95.0)
_WIDE = 1e4


@dataclass(frozen=True)
class PriorSanity:
    """One outcome's measurements against its prior predictive.

    Attributes
    ----------
    outcome, unit : str
    observed : tuple of float
        Minimum, median and maximum.
    expected : tuple of float
        5th, 50th and 95th percentiles of replicated measurements under the priors.
    inside : float
        Share of the measurements between the 5th and 95th percentile.
    not_finite : float
        Share of replicated measurements that are not finite.
    """

    outcome: str
    unit: str
    observed: tuple[float, float, float]
    expected: tuple[float, float, float]
    inside: float
    not_finite: float

    @property
    def verdict(self) -> str:
        """What to make of it, in a sentence."""
        if self.not_finite > 0.01:
            return f"{self.not_finite:.0%} of replicates are not finite: the priors reach where the mechanism fails"
        if self.inside < 0.5:
            return "most measurements are outside what the priors expect: check units and prior medians"
        low, _, high = self.expected
        observed_width = max(self.observed[2] - self.observed[0], 1e-300)
        if (high - low) / observed_width > _WIDE:
            return "the priors expect a far wider range than was seen; they can be tightened"
        return "the priors allow the data"

    def __str__(self) -> str:
        seen = " / ".join(f"{value:.4g}" for value in self.observed)
        band = " / ".join(f"{value:.4g}" for value in self.expected)
        return (
            f"{self.outcome} ({self.unit}): observed min/median/max {seen}; "
            f"prior predictive 5/50/95 % {band}; {self.inside:.0%} of measurements inside: {self.verdict}"
        )


def prior_predictive(model: Model, *, draws: int = 400, seed: int = 0) -> dict[str, np.ndarray]:
    """Replicated measurements under the priors.

    Parameters
    ----------
    model : Model
    draws, seed : int

    Returns
    -------
    dict
        Outcome to ``[draw, observation]``, in the cohort's row order and the outcome's unit.
    """
    with float64_on(choose_place("cpu", 1)):

        def one(key: jax.Array) -> dict[str, jax.Array]:
            own, noise = jax.random.split(key)
            return draw_outcomes(model, draw_prior(model, own)[0], noise)

        drawn = jax.jit(jax.vmap(one))(jax.random.split(jax.random.PRNGKey(seed), draws))
    arrays = model.cohort.arrays
    return {node.name: np.asarray(drawn[node.name])[:, arrays[node.mask]] for node in model.graph.observes}


def prior_sanity(model: Model, *, draws: int = 400, seed: int = 0) -> list[PriorSanity]:
    """Compare every outcome with its prior predictive."""
    replicates = prior_predictive(model, draws=draws, seed=seed)
    found = []
    for node in model.graph.observes:
        seen = model.cohort.arrays[node.observed][model.cohort.arrays[node.mask]]
        values = replicates[node.name]
        finite = values[np.isfinite(values)]
        band = np.percentile(finite, _BAND) if finite.size else np.full(3, np.nan)
        inside = float(np.mean((seen >= band[0]) & (seen <= band[2])))
        found.append(
            PriorSanity(
                outcome=node.name,
                unit=model.spec.observations[node.name].unit,
                observed=(float(seen.min()), float(np.median(seen)), float(seen.max())),
                expected=(float(band[0]), float(band[1]), float(band[2])),
                inside=inside,
                not_finite=1.0 - finite.size / values.size,
            )
        )
    return found
