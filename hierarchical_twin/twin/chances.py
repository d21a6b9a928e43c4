"""Chances that weighted particles give, no better known than the particles they come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hierarchical_twin.analysis.intervals import DEFAULT_PROB
from hierarchical_twin.analysis.statements import Chance, share_limits
from hierarchical_twin.twin.twin import Twin


def limited(chance: Chance, twin: Twin, is_population: bool | np.ndarray = False) -> Chance:
    """A chance that resampled draws give, with the Monte Carlo error of the particles they come from.

    Parameters
    ----------
    chance : Chance
    twin : Twin
    is_population : bool or ndarray of bool, shape [element]
        Whether it is of the population and not of the patient: particles that share a draw are then one.
    """
    known = np.where(is_population, twin.effective_population, twin.effective)
    size = np.minimum(chance.ess, known)
    lower, upper = share_limits(chance.probability, size, DEFAULT_PROB)
    return replace(chance, lower=lower, upper=upper, ess=size)
