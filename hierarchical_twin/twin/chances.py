"""Monte Carlo limits of probabilities that weighted particles give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import beta

from hierarchical_twin.analysis.intervals import DEFAULT_PROB
from hierarchical_twin.analysis.statements import Chance
from hierarchical_twin.analysis.weighted import effective_size
from hierarchical_twin.twin.twin import Twin


def size_of(twin: Twin) -> float:
    """How many independent draws would know as much as a twin's particles do.

    Without effects of the patient's own, particles of one draw of the population are one.
    """
    if twin.particles.effects.shape[1]:
        return twin.effective
    return effective_size(np.bincount(twin.particles.draw, twin.weights))


def share_limits(share: np.ndarray, size: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Limits of the Monte Carlo error of shares, with probability 0.9: Jeffreys' interval of a binomial.

    Parameters
    ----------
    share : ndarray
    size : float or ndarray
        Of the binomial, as independent draws.
    """
    tail = (1 - DEFAULT_PROB) / 2
    true, false = share * size + 0.5, (1 - share) * size + 0.5
    lower = np.where(share > 0, np.minimum(beta.ppf(tail, true, false), share), 0.0)
    return lower, np.where(share < 1, np.maximum(beta.ppf(1 - tail, true, false), share), 1.0)


def limited(chance: Chance, twin: Twin) -> Chance:
    """A chance that resampled draws give, no better known than by the particles they come from."""
    size = np.minimum(chance.ess, size_of(twin))
    lower, upper = share_limits(chance.probability, size)
    return replace(chance, lower=lower, upper=upper, ess=size)
