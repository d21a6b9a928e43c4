"""What several commands read out of the words of an option."""

from __future__ import annotations

from typing import Any

from hierarchical_twin.errors import DataError, Problem


def numbers(text: str | None, option: str = "--times") -> list[float] | None:
    """Numbers with commas between them.

    Raises
    ------
    DataError
        One of them is no number.
    """
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise DataError(Problem(option, f"'{text}'", "numbers with commas, such as 0,30,60")) from None


def whole_numbers(text: str, option: str) -> list[int]:
    """Whole numbers with commas between them.

    Raises
    ------
    DataError
        One of them is no whole number.
    """
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise DataError(Problem(option, f"'{text}'", "whole numbers with commas, such as 0,1,2")) from None


def assignments(words: list[str] | None, option: str) -> dict[str, str]:
    """``column=value`` words, each value as it was typed.

    Raises
    ------
    DataError
        A word without ``=``.
    """
    found = {}
    for word in words or ():
        column, equals, text = word.partition("=")
        if not equals or not column.strip():
            raise DataError(Problem(option, f"'{word}'", "COLUMN=VALUE, such as dose_mg=50"))
        found[column.strip()] = text.strip()
    return found


def scenario_of(words: list[str] | None) -> dict[str, Any] | None:
    """The ``column=value`` words of ``--set`` as a scenario: numbers where they are numbers.

    Raises
    ------
    DataError
        As `assignments`.
    """
    return {column: _number(text) for column, text in assignments(words, "--set").items()} or None


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
