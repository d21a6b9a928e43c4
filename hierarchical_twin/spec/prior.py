"""A prior as a value: its word and its numbers, parsed from ``LogNormal(median=3, sd=1)``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from hierarchical_twin.errors import nearest
from hierarchical_twin.spec.vocabulary import PRIORS, Support

EXAMPLE = '"LogNormal(median=3, sd=1)"'
_CALL = re.compile(r"^\s*([A-Za-z_]\w*)\s*\(([^()]{0,200})\)\s*$")


@dataclass(frozen=True)
class Prior:
    """A distribution from the closed vocabulary, with every argument given.

    Parameters
    ----------
    name : str
        A key of `vocabulary.PRIORS`.
    arguments : tuple of (str, float)
        Argument names and values, in the vocabulary's order.
    """

    name: str
    arguments: tuple[tuple[str, float], ...]

    @property
    def support(self) -> Support:
        """Where the prior puts its mass."""
        return PRIORS[self.name].support

    def __getitem__(self, argument: str) -> float:
        return dict(self.arguments)[argument]

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={_text(value)}" for name, value in self.arguments)
        return f"{self.name}({inside})"

    def lies_within(self, support: str) -> bool:
        """Whether all its mass is ``positive``, ``unit`` (0 to 1) or ``real``."""
        if self.support == "interval":
            lowest = -math.inf if support == "real" else 0.0
            highest = 1.0 if support == "unit" else math.inf
            return lowest <= self["lower"] and self["upper"] <= highest
        inside = {"positive": ("positive", "unit"), "unit": ("unit",), "real": ("positive", "unit", "real")}
        return self.support in inside[support]


def _text(value: float) -> str:
    """Shortest text that reads back as the same number."""
    short = f"{value:.12g}"
    return short if float(short) == value else repr(float(value))


class PriorError(ValueError):
    """A text that is not a prior.

    Parameters
    ----------
    expected, hint : str
        What would have been accepted, and the likely repair.
    """

    def __init__(self, expected: str, hint: str = "") -> None:
        self.expected, self.hint = expected, hint
        super().__init__(f"expected {expected}" + (f"; {hint}" if hint else ""))


def parse_prior(text: Any) -> Prior:
    """Read a prior from its mathematical notation.

    Parameters
    ----------
    text : str or Prior
        Such as ``"HalfNormal(0.5)"`` or ``"LogNormal(median=0.006, sd=1)"``; arguments by
        position, by name, or both.

    Raises
    ------
    PriorError
        The text is not a prior; the message says what was expected and the nearest word.

    Examples
    --------
    >>> str(parse_prior("LogNormal(3, sd=1)"))
    'LogNormal(median=3, sd=1)'
    """
    if isinstance(text, Prior):
        return _with_arguments(text.name, [], dict(text.arguments))
    match = _CALL.match(text) if isinstance(text, str) else None
    if match is None:
        hint = nearest(text, PRIORS) if isinstance(text, str) else ""
        raise PriorError(f"a prior such as {EXAMPLE}", hint)
    name, inside = match.groups()
    if name not in PRIORS:
        raise PriorError(f"one of the priors {', '.join(PRIORS)}", nearest(name, PRIORS))
    positional, named = _arguments(inside)
    return _with_arguments(name, positional, named)


def _arguments(inside: str) -> tuple[list[float], dict[str, float]]:
    positional: list[float] = []
    named: dict[str, float] = {}
    for part in inside.split(",") if inside.strip() else []:
        name, equals, number = part.rpartition("=")
        name = name.strip()
        if not equals and named:
            raise PriorError("numbers without a name before those with one")
        if not equals:
            positional.append(_number(number))
        elif name in named:
            raise PriorError(f"each argument once; '{name}' is given twice")
        else:
            named[name] = _number(number)
    return positional, named


def _number(text: str) -> float:
    try:
        value = float(text.strip().replace("_", "x"))  # float() would read 1_0 as 10
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PriorError(f"finite numbers as arguments; '{text.strip()}' is not one")
    return value


def _with_arguments(name: str, positional: list[float], named: dict[str, float]) -> Prior:
    if name not in PRIORS:
        raise PriorError(f"one of the priors {', '.join(PRIORS)}", nearest(name, PRIORS))
    words = PRIORS[name]
    form = f"{name}({', '.join(words.arguments)})"
    if len(positional) > len(words.arguments):
        raise PriorError(f"{form}, which takes {len(words.arguments)} numbers")
    given = dict(zip(words.arguments, positional, strict=False))
    for argument, value in named.items():
        if argument not in words.arguments:
            raise PriorError(
                f"{form}; '{argument}' is not an argument of it", nearest(argument, words.arguments)
            )
        if argument in given:
            raise PriorError(f"each argument once; '{argument}' is given twice")
        given[argument] = value
    given = dict(words.defaults) | given
    missing = [argument for argument in words.arguments if argument not in given]
    if missing:
        raise PriorError(f"{form}; '{missing[0]}' is missing")
    _refuse_impossible(name, given)
    return Prior(name, tuple((argument, float(given[argument])) for argument in words.arguments))


def _refuse_impossible(name: str, given: dict[str, float]) -> None:
    for argument in PRIORS[name].positive:
        if given[argument] <= 0:
            raise PriorError(f"'{argument}' of {name} to be greater than 0")
    if not all(math.isfinite(value) for value in given.values()):
        raise PriorError("finite numbers as arguments")
    if name == "Uniform" and given["lower"] >= given["upper"]:
        raise PriorError("Uniform(lower, upper) with lower less than upper")
    if name == "LogitNormal" and given["median"] >= 1:
        raise PriorError("a LogitNormal median between 0 and 1")
