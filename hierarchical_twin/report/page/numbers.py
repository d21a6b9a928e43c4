"""How the page writes numbers, so that a clinician reads them without counting zeros."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_KEPT_DIGITS = 6


def plain(value: float, digits: int = 3) -> str:
    """A number to some significant digits: ``0.0942``, ``1,240``, ``1.2 × 10⁻⁵``; a dash for NaN."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    shown = float(f"{value:.{digits - 1}e}")
    power = math.floor(math.log10(abs(shown)))
    if -4 < power < 6:
        text = f"{shown:,.{max(0, digits - 1 - power)}f}"
    else:
        text = f"{shown / 10**power:.{digits - 1}f} × 10{str(power).translate(_SUPERSCRIPT)}"
    return text.replace("-", "−")


def span(lower: float, upper: float, digits: int = 3) -> str:
    """Two limits, ``0.081 to 0.108``; a dash where there are none."""
    if math.isnan(lower) or math.isnan(upper):
        return "–"
    return f"{plain(lower, digits)} to {plain(upper, digits)}"


def percent(share: float) -> str:
    """A share as a percentage, ``92 %``; a dash for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.0f} %".replace("-", "−")


def p_words(value: float) -> str:
    """A p-value: ``p = 0.023``, ``p < 0.001``."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def counted(number: int, word: str) -> str:
    """A count and its noun: ``1 patient``, ``1,200 patients``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def kept(values: Iterable[Any], digits: int = _KEPT_DIGITS) -> list[float | None]:
    """Numbers for the page's data: some significant digits, None where not finite."""
    numbers = np.asarray(values, dtype=np.float64)
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in numbers.tolist()]


def cell(value: Any) -> Any:
    """One cell of a download: a finite number in full, None for a missing one, else text."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | np.number):
        number = value.item() if isinstance(value, np.number) else value
        return number if math.isfinite(number) else None
    return str(value)
