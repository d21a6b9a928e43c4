"""The error tree, and the one shape a message has.

    TwinError
    ├── SpecError       the YAML file: a word, a prior, a unit, a missing key
    ├── DataError       the table: a column, a row, a value
    ├── BackendError    a backend is missing or cannot express the model
    └── SamplingError   sampling could not start, or a fit cannot be read

Every error carries one or more `Problem`s; each prints as
``where: got …; expected …; try …``. All problems of a file are reported together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what the user gave us.

    Parameters
    ----------
    where : str
        Place a person can go to: ``tumor_growth.yaml:14 parameters.r.typical`` or
        ``mice.csv row 12 column volume_cm3``.
    got : str
        What was found there, quoted.
    expected : str
        What would have been accepted.
    hint : str, optional
        The most likely repair, for example ``did you mean 'LogNormal'?``.
    """

    where: str
    got: str
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: got {self.got}; expected {self.expected}"
        return f"{text}; {self.hint}" if self.hint else text


class TwinError(Exception):
    """Base of every error this package raises on purpose.

    Parameters
    ----------
    problems : Problem or sequence of Problem
        What is wrong; all of it, not only the first.
    """

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SpecError(TwinError):
    """The spec says something we cannot build."""


class DataError(TwinError):
    """The table does not hold what the spec says it holds."""


class BackendError(TwinError):
    """A backend is not installed, or cannot express this model."""


class SamplingError(TwinError):
    """Sampling could not start, or a saved fit could not be read."""


def nearest(word: str, words: Iterable[str]) -> str:
    """Hint naming the valid word closest to `word`, or an empty string.

    Examples
    --------
    >>> nearest("lognorml", ["Normal", "LogNormal"])
    "did you mean 'LogNormal'?"
    """
    by_lower = {candidate.lower(): candidate for candidate in words}
    found = get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f"did you mean '{by_lower[found[0]]}'?" if found else ""
