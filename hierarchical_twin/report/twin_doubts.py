"""What speaks against trusting a twin, as values: the only place that reads the sentences of a `Step`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hierarchical_twin.twin.twin import Step, Twin

_KINDS = {
    r"\beffective particles\b": "few effective particles",
    r"\beffective draws of the population\b": "few effective draws of the population",
    r"\bMonte Carlo error of (\S+)": r"Monte Carlo error of \1",
    r"\bMonte Carlo error is not known\b": "Monte Carlo error that is not known",
    r"\bnew records count by\b": "records that count in part only",
    r"\bmoves were accepted\b": "moves that are not accepted",
    r"\bheavy tail\b": "a heavy tail",
    r"\bcan explain the records\b": "few particles that can explain the records",
    r"\ball particles have the same\b": "particles that are all the same",
}
"""What tells the sentence of a doubt, and its kind, in the words of docs/twin.md."""
_WITH_REASON = ("few effective draws of the population", "records that count in part only")
"""Kinds whose sentence is "found: why; what to do"; that of the others is "found: what to do"."""


@dataclass(frozen=True)
class Doubt:
    """One thing that speaks against trusting an update.

    Attributes
    ----------
    kind : str
        The same for doubts of several updates that say one thing, with other numbers.
    found : str
    advice : str
        What to do; empty where nothing is known.
    is_lasting : bool
        Whether later updates do not mend it.
    """

    kind: str
    found: str
    advice: str
    is_lasting: bool


def doubts_of(step: Step) -> tuple[Doubt, ...]:
    """The doubts of an update."""
    return tuple(_read(sentence, is_lasting=sentence in step.lasting) for sentence in step.doubts)


def standing_doubts(twin: Twin) -> tuple[tuple[int, Doubt], ...]:
    """Doubts that stand, in order, each with the number of its update: lasting ones, and all of the last."""
    return tuple(
        (number, doubt)
        for number, step in enumerate(twin.steps, start=1)
        for doubt in doubts_of(step)
        if doubt.is_lasting or number == twin.revision
    )


def _read(sentence: str, *, is_lasting: bool) -> Doubt:
    head = sentence.partition(": ")[0]
    told = ((re.search(pattern, head), kind) for pattern, kind in _KINDS.items())
    kind = next((match.expand(kind) for match, kind in told if match), head)
    found, _, advice = sentence.partition("; " if kind in _WITH_REASON else ": ")
    return Doubt(kind, found, advice, is_lasting)
