"""The least value of a number for which a probability reaches a target, of many elements at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hierarchical_twin.analysis.statements import Chance

Curve = Callable[[np.ndarray], Chance]
"""From a value for each element, ``[element]``, to each element's chance there."""
_BISECTIONS = 10
_DECADES = 3
"""From 0, the ladder begins so many powers of ten below its end."""


@dataclass(frozen=True, eq=False)
class Found:
    """Where elements reach a target; every array is ``[element]``.

    Attributes
    ----------
    value : ndarray
        The least value found to reach it; NaN where none does.
    lower, upper : ndarray
        Where the upper and the lower Monte Carlo limit of the probability reach it; NaN where it does not.
    probability : ndarray
        At `value`; where the target is not reached, the greatest that was seen.
    is_monotone : ndarray of bool
        Whether no probability on the ladder is below an earlier one by more than the Monte Carlo error.
    """

    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    probability: np.ndarray
    is_monotone: np.ndarray


def least_value(
    curve: Curve, elements: int, between: tuple[float, float], target: float, *, steps: int = 25
) -> Found:
    """Climb a ladder of values, then bisect where the target is first reached.

    Parameters
    ----------
    curve : callable
        Its random numbers are the same at every value.
    elements : int
    between : (float, float)
        The ends of the ladder, from 0; its steps are equal ratios.
    target : float
    steps : int
    """
    ladder = _ladder(between, steps)
    seen = [(np.full(elements, value), curve(np.full(elements, value))) for value in ladder]
    probability = np.stack([chance.probability for _, chance in seen])
    is_reached = probability >= target
    first = np.argmax(is_reached, axis=0)
    is_found = is_reached.any(axis=0)
    below, above = ladder[np.maximum(first - 1, 0)], ladder[first]
    at_value = probability[first, np.arange(elements)]
    for _ in range(_BISECTIONS if is_found.any() else 0):
        middle = np.where(below > 0, np.sqrt(below * above), (below + above) / 2)
        chance = curve(middle)
        seen.append((middle, chance))
        is_enough = chance.probability >= target
        below, above = np.where(is_enough, below, middle), np.where(is_enough, middle, above)
        at_value = np.where(is_enough, chance.probability, at_value)
    values = np.stack([value for value, _ in seen])
    lower = _first_crossing(values, np.stack([chance.upper for _, chance in seen]), target)
    upper = _first_crossing(values, np.stack([chance.lower for _, chance in seen]), target)
    return Found(
        value=np.where(is_found, above, np.nan),
        lower=lower,
        upper=upper,
        probability=np.where(is_found, at_value, probability.max(axis=0)),
        is_monotone=_never_falls([chance for _, chance in seen[: len(ladder)]]),
    )


def _ladder(between: tuple[float, float], steps: int) -> np.ndarray:
    low, high = between
    if low > 0:
        return np.geomspace(low, high, steps)
    return np.concatenate([[0.0], np.geomspace(high / 10**_DECADES, high, steps - 1)])


def _first_crossing(values: np.ndarray, heights: np.ndarray, target: float) -> np.ndarray:
    """Where heights ``[point, element]`` first reach a target, linear between neighbouring values."""
    order = np.argsort(values, axis=0, kind="stable")
    values, heights = np.take_along_axis(values, order, 0), np.take_along_axis(heights, order, 0)
    is_reached = heights >= target
    first = np.argmax(is_reached, axis=0)
    before, at = np.maximum(first - 1, 0), np.arange(values.shape[1])
    rise = heights[first, at] - heights[before, at]
    share = np.where(rise > 0, (target - heights[before, at]) / np.where(rise > 0, rise, 1.0), 1.0)
    crossing = values[before, at] + np.clip(share, 0.0, 1.0) * (values[first, at] - values[before, at])
    return np.where(is_reached.any(axis=0), crossing, np.nan)


def _never_falls(chances: list[Chance]) -> np.ndarray:
    highest = np.maximum.accumulate(np.stack([chance.lower for chance in chances]), axis=0)
    return (np.stack([chance.upper for chance in chances]) >= highest).all(axis=0)
