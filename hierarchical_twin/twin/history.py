"""What each update of a twin has done, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hierarchical_twin.twin.twin import Step, Twin

_NAMED = ("added", "corrected", "repeated", "unused")
_MEASURED = ("effective", "effective_population", "k_hat", "stages", "acceptance", "log_evidence")
_COLUMNS = ("revision", "saved", *_NAMED, "surprising", *_MEASURED, "is_trustworthy", "warnings")


def history_of(twin: Twin, saved: Sequence[str] = ()) -> pd.DataFrame:
    """One row for each revision of a twin, from its start.

    Parameters
    ----------
    twin : Twin
    saved : sequence of str
        When each revision was saved, ISO 8601; missing for those beyond its end.

    Returns
    -------
    pandas.DataFrame
        ``revision, saved`` (UTC), the identifiers of the records that were ``added, corrected, repeated,
        unused`` with commas, ``surprising`` (measurements that do not fit), ``effective,
        effective_population, k_hat, stages, acceptance, log_evidence, is_trustworthy, warnings``.
    """
    rows = [_row(step) for step in (None, *twin.steps)]
    times = [*saved, *(None for _ in rows)][: len(rows)]
    frame = pd.DataFrame(rows).assign(revision=range(len(rows)), saved=pd.to_datetime(times, utc=True))
    return frame[list(_COLUMNS)]


def _row(step: Step | None) -> Mapping[str, Any]:
    if step is None:
        blank: dict[str, Any] = dict.fromkeys((*_NAMED, "warnings"), "")
        return blank | dict.fromkeys(_MEASURED, float("nan")) | {"surprising": 0, "is_trustworthy": True}
    told: dict[str, Any] = {name: ", ".join(getattr(step, name)) for name in _NAMED}
    told |= {name: getattr(step, name) for name in (*_MEASURED, "is_trustworthy")}
    surprising = sum(one.is_surprising for one in step.surprises)
    return told | {"surprising": surprising, "warnings": "; ".join(step.warnings)}
