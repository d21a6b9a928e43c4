"""Statements about a patient that are true or false in each draw: ``volume > 10 cm^3 at 90 day``.

The words are read here, and how often a statement is true is counted here; what its name stands for and
what its units are worth is known to whoever has the model (`prediction.statements`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from hierarchical_twin.analysis.convergence import convergence
from hierarchical_twin.errors import Problem, SamplingError

GRAMMAR = "[measured] NAME < NUMBER [unit] [at TIME [unit]], with one of <, <=, >, >="
_RELATION = re.compile(r"<=|>=|<|>|≤|≥")
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
"""The regular expression of a number as it is written."""
_LEFT = re.compile(r"(?P<measured>measured\s+)?(?P<name>[^\W\d]\w*)")
_VALUE = re.compile(rf"(?P<number>{NUMBER})\s*(?P<unit>[^\d.].*)?")
_PLAIN = {"≤": "<=", "≥": ">="}


@dataclass(frozen=True)
class Statement:
    """One comparison of a patient's quantity with a number.

    Attributes
    ----------
    text : str
        As it was written.
    name : str
        A parameter, a derived quantity or an outcome.
    is_measured : bool
        Whether a new measurement of the outcome is meant, and not its true value.
    relation : {"<", "<=", ">", ">="}
    number : float
    unit : str
        Of the number; empty where none was written.
    place : float or None
        Time (or coordinate, for a mechanism without time) at which an outcome is meant.
    place_unit : str
    """

    text: str
    name: str
    is_measured: bool
    relation: str
    number: float
    unit: str = ""
    place: float | None = None
    place_unit: str = ""

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Where it is true of values in its own unit; false where a value is not a number."""
        with np.errstate(invalid="ignore"):
            match self.relation:
                case "<":
                    return values < self.number
                case "<=":
                    return values <= self.number
                case ">":
                    return values > self.number
                case _:
                    return values >= self.number


def read_statement(text: str) -> Statement:
    """Read one statement.

    Parameters
    ----------
    text : str
        In the grammar of `GRAMMAR`, such as ``S_I < 2e-4`` or ``measured volume > 10 cm^3 at 90``.

    Raises
    ------
    SamplingError
        It is not in the grammar; the message says what is missing.
    """
    where = f"statement '{text}'"
    if not isinstance(text, str):
        raise SamplingError(Problem("statement", repr(text), f"a text: {GRAMMAR}"))
    relations = _RELATION.findall(text)
    if len(relations) != 1:
        got = f"{len(relations)} comparisons" if relations else "no comparison"
        raise SamplingError(Problem(where, got, f"one: {GRAMMAR}"))
    left, right = (part.strip() for part in _RELATION.split(text))
    name = _LEFT.fullmatch(left)
    if name is None:
        raise SamplingError(Problem(where, f"'{left}' before {relations[0]}", f"one name: {GRAMMAR}"))
    said, *places = re.split(r"(?<=\s)at(?=\s|$)", right, maxsplit=1)
    value = _read_value(where, said, f"after {relations[0]}")
    place = _read_value(where, places[-1], "after 'at'") if places else None
    return Statement(
        text=" ".join(text.split()),
        name=name["name"],
        is_measured=name["measured"] is not None,
        relation=_PLAIN.get(relations[0], relations[0]),
        number=value.number,
        unit=value.unit,
        place=None if place is None else place.number,
        place_unit="" if place is None else place.unit,
    )


@dataclass(frozen=True)
class _Value:
    number: float
    unit: str


def _read_value(where: str, text: str, after: str) -> _Value:
    found = _VALUE.fullmatch(text.strip())
    if found is None or not math.isfinite(float(found["number"])):
        raise SamplingError(Problem(where, f"'{text.strip()}' {after}", f"a number: {GRAMMAR}"))
    return _Value(float(found["number"]), (found["unit"] or "").strip())


@dataclass(frozen=True)
class Chance:
    """How often something is true, and how well the draws know that; every array is ``[element]``.

    Attributes
    ----------
    probability : ndarray
        Share of the draws.
    lower, upper : ndarray
        Limits of what a run of endlessly many draws might say (Monte Carlo error only).
    ess : ndarray
        Number of independent draws that would know it as well.
    """

    probability: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    ess: np.ndarray


def count_true(shares: np.ndarray, prob: float) -> Chance:
    """Probability of each element, with its Monte Carlo interval.

    Parameters
    ----------
    shares : ndarray, shape [chain, draw, element]
        0 or 1 in each draw; or, where a draw holds several patients, the share for whom it is true.
    prob : float
        Probability inside the interval.

    Returns
    -------
    Chance

    Notes
    -----
    The interval is Jeffreys' of a binomial whose size is the effective one, p (1 - p) / MCSE^2, with the
    Monte Carlo standard error of `convergence`. Where a statement is true in every draw, or in none, the
    draws count as independent: nothing else is known.
    """
    total = shares.shape[0] * shares.shape[1]
    probability = shares.mean(axis=(0, 1))
    quality = convergence(np.asarray(shares, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        size = probability * (1 - probability) / quality.mcse**2
    size = np.where(np.isfinite(size) & (size > 0), size, float(total))
    lower, upper = share_limits(probability, size, prob)
    return Chance(probability, lower, upper, size)


def share_limits(share: np.ndarray, size: float | np.ndarray, prob: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits of the Monte Carlo error of shares: Jeffreys' interval of a binomial, which holds the share.

    Parameters
    ----------
    share : ndarray
    size : float or ndarray
        Of the binomial, as independent draws.
    prob : float
        Probability inside the limits.
    """
    tail = (1 - prob) / 2
    true, false = share * size + 0.5, (1 - share) * size + 0.5
    lower = np.where(share > 0, beta.ppf(tail, true, false), 0.0)
    upper = np.where(share < 1, beta.ppf(1 - tail, true, false), 1.0)
    return np.fmin(lower, share), np.fmax(upper, share)


def along_chains(values: np.ndarray, chains: int) -> np.ndarray:
    """Draws ``[draw, ...]`` that run chain after chain as ``[chain, draw, ...]``.

    As one chain where they cannot be told apart: their number is no multiple of the chains'.
    """
    whole = chains if values.shape[0] % chains == 0 else 1
    return values.reshape(whole, values.shape[0] // whole, *values.shape[1:])
