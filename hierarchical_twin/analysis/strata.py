"""What the rows of a prediction run along, and groups of patients to look at apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.prediction import ROW_COLUMNS
from hierarchical_twin.errors import Problem, SamplingError, nearest

_ALL = "all"
_MANY_STRATA = 6
_NOT_COORDINATES = (*ROW_COLUMNS, "table_row")


def coordinate_of(rows: pd.DataFrame) -> str:
    """What rows run along: time, or without it the first input that varies, or the only one.

    Raises
    ------
    SamplingError
        There is neither.
    """
    if np.isfinite(rows["time"].to_numpy(float)).all():
        return "time"
    inputs = [
        str(name)
        for name in rows.columns
        if name not in _NOT_COORDINATES
        and rows[name].dtype.kind in "iuf"
        and np.isfinite(rows[name].to_numpy()).all()
    ]
    varying = [name for name in inputs if len(np.unique(rows[name].to_numpy())) > 1]
    if not inputs:
        raise SamplingError(
            Problem("prediction", "rows without time and input", "one of them to make bins of")
        )
    return (varying or inputs)[0]


def strata_of(rows: pd.DataFrame, stratify: str | Mapping[str, object] | None) -> np.ndarray:
    """Stratum of each row ``[row]`` as text; all in one by default.

    Raises
    ------
    SamplingError
        No such column, or a patient the mapping does not have.
    """
    if stratify is None:
        return np.full(len(rows), _ALL)
    if isinstance(stratify, str):
        if stratify not in rows:
            known = [str(name) for name in rows.columns]
            hint = nearest(stratify, known) or "or a mapping from patient to stratum"
            raise SamplingError(Problem("stratify", repr(stratify), f"one of {', '.join(known)}", hint))
        values, name = pd.Series(rows[stratify].to_numpy()), stratify
    else:
        words = {str(patient): word for patient, word in stratify.items()}
        missing = sorted(set(rows["patient"].astype(str)) - set(words))
        if missing:
            got = f"no stratum for {', '.join(missing[:5])}{' ...' * (len(missing) > 5)}"
            raise SamplingError(Problem("stratify", got, "a stratum for every patient"))
        values, name = pd.Series([words[label] for label in rows["patient"].astype(str)]), ""
    return _as_strata(values, rows["patient"].to_numpy(), name)


def _as_strata(values: pd.Series, patients: np.ndarray, name: str) -> np.ndarray:
    label = f"{name} " if name else ""
    if values.dtype.kind in "iuf" and values.nunique() > _MANY_STRATA:
        middle = float(values.groupby(patients).first().median())
        return np.where(values > middle, f"{label}> {middle:g}", f"{label}<= {middle:g}")
    return np.array([f"{label}{value}" for value in values])
