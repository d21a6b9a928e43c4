"""Rows that ask what patients are like at some places: those of the fit, and newcomers like them.

A place is a time, or a value of the coordinate for a mechanism without time. A *newcomer* has the
covariates, doses and inputs of one of the fit's patients, and effects drawn from the population: all
newcomers together are what a new patient of this population may be like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.cohort import Cohort
from hierarchical_twin.cohort.asked import asked_at
from hierarchical_twin.cohort.columns import accepted_values, as_number, as_text, is_filled, read_words
from hierarchical_twin.cohort.inputs import coordinate_of
from hierarchical_twin.cohort.needs import needs_of
from hierarchical_twin.graph.model import Model
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.schema import Spec

MOST_NEWCOMERS = 200
"""More patients than these are stood for by so many of them, evenly spaced in the cohort."""
_ONCE = ("where.", "parameters.", "covariates.")


@dataclass(frozen=True, eq=False)
class Question:
    """Rows to predict, and which of them ask for which place.

    Attributes
    ----------
    frame : pandas.DataFrame
        In the spec's columns.
    place : ndarray, shape [row]
        The place a row asks for; NaN where a row only says what a newcomer is given.
    """

    frame: pd.DataFrame
    place: np.ndarray

    def at(self, prediction: Prediction, outcome: str, place: float) -> np.ndarray:
        """Column of the prediction's rows for each of its patients, ``[patient]``."""
        rows = prediction.rows
        asked = self.place[rows["table_row"].to_numpy() - 1]
        chosen = np.flatnonzero((rows["outcome"] == outcome).to_numpy() & (asked == place))
        column = pd.Series(chosen, index=rows["patient"].to_numpy()[chosen])
        return column[~column.index.duplicated()].loc[prediction.patients["patient"]].to_numpy()


def ask(
    model: Model, patients: Sequence[str], places: Sequence[float], *, like: Sequence[str] | None = None
) -> Question:
    """Ask for patients of the fit and newcomers like them at some places.

    Parameters
    ----------
    model : Model
        The fit's own.
    patients : sequence of str
        Patients of the fit.
    places : sequence of float
        Without any, the last one that was measured: to ask for what has no place.
    like : sequence of str, optional
        Patients of the fit whom newcomers are like; without it, those asked for.
    """
    spec, cohort = model.spec, model.cohort
    asked = np.asarray(sorted(set(places)) or [_last_place(spec, cohort)], dtype=float)
    chosen = tuple(patients if like is None else like)
    if len(chosen) > MOST_NEWCOMERS:
        at = np.linspace(0, len(chosen) - 1, MOST_NEWCOMERS).round().astype(int)
        chosen = tuple(chosen[number] for number in at)
    names = _new_names(cohort.patients, len(chosen))
    own, theirs = _asking(spec, tuple(patients), asked), _asking(spec, names, asked)
    known = theirs.frame.join(_facts(spec, cohort, chosen).set_axis(list(names)), on=spec.patient.column)
    given = _given_rows(spec, cohort, dict(zip(chosen, names, strict=True)))
    columns = list(map(str, cohort.table.columns))
    # Doses stand ahead of what is asked at their very time: the answer is the peak, not the trough.
    frames = [frame.reindex(columns=columns).astype(object) for frame in (own.frame, given, known)]
    place = np.concatenate([own.place, np.full(len(given), np.nan), theirs.place])
    return Question(pd.concat(frames, ignore_index=True), place)


def _asking(spec: Spec, labels: tuple[str, ...], places: np.ndarray) -> Question:
    """Rows of labels and places that match the spec's filters, one for each outcome that has its own."""
    plain = asked_at(spec, places, labels).frame
    place = np.tile(places, len(labels))
    common = {column: accepted_values(wanted)[0] for column, wanted in spec.where.items()}
    filters = [
        {column: accepted_values(wanted)[0] for column, wanted in words.where.items()}
        for words in spec.observations.values()
    ]
    distinct = [own for number, own in enumerate(filters) if own not in filters[:number]]
    frames = [plain.assign(**common, **own) for own in distinct]
    return Question(pd.concat(frames, ignore_index=True), np.tile(place, len(frames)))


def _facts(spec: Spec, cohort: Cohort, patients: tuple[str, ...]) -> pd.DataFrame:
    """What is known once per patient: the first filled cell of each such column, ``[patient, column]``."""
    is_fixed = spec.doses is not None and spec.doses.time is not None
    words = (*_ONCE, "doses.") if is_fixed else _ONCE
    filters = {column for observed in spec.observations.values() for column in observed.where}
    columns = [need.column for need in needs_of(spec) if need.key.startswith(words)]
    columns = [column for column in dict.fromkeys(columns) if column not in {*spec.where, *filters}]
    labels = read_words(cohort.table[spec.patient.column])
    found = {}
    for column in columns:
        filled = is_filled(cohort.table[column])
        first = cohort.table[column][filled].groupby(labels[filled]).first()
        found[column] = first.reindex(patients).astype(object)
    return pd.DataFrame(found, index=pd.Index(patients))


def _given_rows(spec: Spec, cohort: Cohort, names: dict[str, str]) -> pd.DataFrame:
    """Rows that dose a patient or sample an input of theirs, under a newcomer's name."""
    labels, table = read_words(cohort.table[spec.patient.column]), cohort.table
    given = pd.Series(False, index=table.index)
    if spec.doses is not None and spec.doses.time is None:
        for word in (spec.doses.amount, spec.doses.event):
            if isinstance(word, str):
                given |= pd.Series([(as_number(as_text(cell) or "") or 0) != 0 for cell in table[word]])
    for name, words in MECHANISMS[spec.mechanism.name].inputs.items():
        if words.kind == "series" and name in spec.inputs:
            given |= is_filled(table[spec.inputs[name].column])
    rows = table[given & labels.isin(set(names))].astype(object)
    rows[spec.patient.column] = labels[rows.index].map(names)
    for words in spec.observations.values():
        rows[words.column] = None
    return rows


def _new_names(known: Sequence[str], count: int) -> tuple[str, ...]:
    """Labels that nobody of the fit has."""
    word = "new patient"
    while any(label.startswith(word) for label in known):
        word = f"another {word}"
    return tuple(f"{word} {number + 1}" for number in range(count))


def _last_place(spec: Spec, cohort: Cohort) -> float:
    last = float(cohort.rows[coordinate_of(spec) or "time"].max())
    return last if last == last else 0.0  # a twin may have no measurement yet
