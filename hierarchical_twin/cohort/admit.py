"""Rows that ask for a prediction: places in a table that count without a measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hierarchical_twin.cohort.cohort import Cohort
from hierarchical_twin.cohort.observations import Measured, Rows
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.vocabulary import FILLERS


@dataclass(frozen=True, eq=False)
class Asked:
    """Rows that ask for a prediction, and the cohort whose levels and centring they are read under.

    Parameters
    ----------
    rows : ndarray of bool, shape [row]
    learned : Cohort
    others_count : bool
        Whether what was measured in the other rows is used as ever, or only says what was given and when.
    """

    rows: np.ndarray
    learned: Cohort
    others_count: bool = False


def admit(spec: Spec, rows: Rows, measured: Measured, asked: Asked) -> Measured:
    """Use every asked row of an outcome that has a place, whatever was measured there.

    A value that is not there, or that its error model has no density at, is replaced by one that it has;
    a standard error or a number of trials that is not there by the cohort's median one.

    Parameters
    ----------
    spec : Spec
    rows : Rows
    measured : Measured
        Of the whole table.
    asked : Asked
    """
    mechanism = MECHANISMS[spec.mechanism.name]
    has_place = np.ones(len(asked.rows), dtype=bool)
    if mechanism.has_time:
        has_place &= ~np.isnan(rows.time)
    if mechanism.starts_at_zero:
        has_place &= rows.time >= 0
    for name, words in mechanism.inputs.items():
        if words.kind == "coordinate" and name in rows.inputs:
            has_place &= rows.inputs[name] >= 0
    is_admitted = asked.rows & measured.offered & has_place
    is_filled = is_admitted & ((measured.fate != 0) | np.isnan(measured.value))
    filler = FILLERS[spec.observations[measured.outcome].error]
    return replace(
        measured,
        fate=np.where(is_admitted, 0, measured.fate if asked.others_count else np.maximum(measured.fate, 1)),
        reasons=measured.reasons or ("not asked for",),
        value=np.where(is_filled, filler, measured.value),
        censored=np.where(is_filled, 0, measured.censored).astype(np.int8),
        standard_error=_filled(asked, measured.outcome, "standard_error", measured.standard_error),
        trials=_filled(asked, measured.outcome, "trials", measured.trials),
    )


def _filled(asked: Asked, outcome: str, name: str, values: np.ndarray | None) -> np.ndarray | None:
    if values is None:
        return None
    known, mask = asked.learned.arrays[f"{name}_{outcome}"], asked.learned.arrays[f"mask_{outcome}"]
    known = known[mask] if mask.any() else known[known > 0]  # a twin may have no measurement yet
    return np.where(asked.rows & ~(values > 0), np.median(known), values)
