"""What a unit that somebody writes is worth in a unit that a spec declares."""

from __future__ import annotations

from hierarchical_twin.errors import Problem, SpecError
from hierarchical_twin.spec.units import conversion_factor, parse_unit, unit_hint


def unit_factor(given: str, declared: str, *, where: str) -> float:
    """The number by which a value in the unit `given` becomes one in `declared`.

    Parameters
    ----------
    given, declared : str
        Units as a spec writes them, such as ``mg/dL``.
    where : str
        The place a message names.

    Raises
    ------
    SpecError
        `given` is no unit, or does not convert to `declared` by a factor.
    """
    unit, wanted = parse_unit(given), parse_unit(declared)
    expected = f"a unit that converts to '{declared}'" if declared != "1" else "a number without unit"
    if unit is None:
        raise SpecError(Problem(where, f"'{given}'", expected, unit_hint(given)))
    factor = None if wanted is None else conversion_factor(unit, wanted)
    if factor is None:
        raise SpecError(Problem(where, f"'{given}'", expected))
    return factor
