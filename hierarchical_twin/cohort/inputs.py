"""Inputs: those measured over time, such as insulin, at any moment; and the one that stands for time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.schema import Spec


@dataclass(frozen=True)
class Samples:
    """An input sampled over time, one value for each patient and time, ordered by both.

    Parameters
    ----------
    name : str
    interpolation : str
        ``linear``, ``locf`` (last value carried forward) or ``nocb`` (next value carried back).
    patient : ndarray of int, shape [sample]
    time, value : ndarray of float, shape [sample]
        In declared units.
    """

    name: str
    interpolation: str
    patient: np.ndarray
    time: np.ndarray
    value: np.ndarray

    def at(self, patient: np.ndarray, time: np.ndarray, before_jump: np.ndarray) -> np.ndarray:
        """Value of the input at given moments; constant before the first and after the last sample.

        Parameters
        ----------
        patient : ndarray of int, shape [record]
        time : ndarray of float, shape [record]
        before_jump : ndarray of bool, shape [record]
            Where ``locf`` and ``nocb`` jump at this very time, take the value before the jump.
        """
        last = _last_at_or_before(self.patient, self.time, patient, time)
        has_last = (last >= 0) & (self.patient[np.maximum(last, 0)] == patient)
        following = np.minimum(last + 1, len(self.time) - 1)
        has_following = self.patient[following] == patient
        has_following &= last + 1 < len(self.time)
        low = np.where(has_last, last, following)
        high = np.where(has_following, following, low)
        exact = has_last & (self.time[low] == time)
        if self.interpolation == "linear":
            span = self.time[high] - self.time[low]
            share = np.where(span > 0, (time - self.time[low]) / np.where(span > 0, span, 1.0), 0.0)
            return self.value[low] + share * (self.value[high] - self.value[low])
        if self.interpolation == "locf":
            previous = np.maximum(low - 1, 0)
            has_previous = (low > 0) & (self.patient[previous] == patient)
            return self.value[np.where(exact & before_jump & has_previous, previous, low)]
        return self.value[np.where(exact & before_jump, low, high)]

    def jumps(self) -> np.ndarray:
        """Samples at which a stepwise input changes, and so needs a record on either side."""
        if self.interpolation == "linear":
            return np.zeros(len(self.time), dtype=bool)
        before = self.at(self.patient, self.time, np.ones(len(self.time), dtype=bool))
        return before != self.at(self.patient, self.time, np.zeros(len(self.time), dtype=bool))


def _last_at_or_before(
    patient: np.ndarray, time: np.ndarray, asked_patient: np.ndarray, asked_time: np.ndarray
) -> np.ndarray:
    """Place of the last sample not after each asked moment; samples are ordered by patient, time."""
    is_asked = np.concatenate([np.zeros(len(time), dtype=bool), np.ones(len(asked_time), dtype=bool)])
    order = np.lexsort(
        (is_asked, np.concatenate([time, asked_time]), np.concatenate([patient, asked_patient]))
    )
    seen = np.empty(len(order), dtype=np.int64)
    seen[order] = np.cumsum(~is_asked[order]) - 1
    return seen[len(time) :]


def coordinate_of(spec: Spec) -> str | None:
    """The input that stands in the place of time, such as a concentration; None where there is time."""
    mechanism = MECHANISMS[spec.mechanism.name]
    names = [name for name, words in mechanism.inputs.items() if words.kind == "coordinate"]
    return names[0] if names and not mechanism.has_time else None


def gather_samples(
    name: str, interpolation: str, rows: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[Samples, int]:
    """Input samples from rows; several at one time become their mean.

    Parameters
    ----------
    name, interpolation : str
    rows : (patient, time, value), each of shape [row]

    Returns
    -------
    Samples, and how many times held several different values
    """
    order = np.lexsort((rows[1], rows[0]))
    patient, time, value = (part[order] for part in rows)
    if not len(patient):
        return Samples(name, interpolation, patient, time, value), 0
    fresh = np.ones(len(patient), dtype=bool)
    fresh[1:] = (np.diff(patient) != 0) | (np.diff(time) != 0)
    starts = np.flatnonzero(fresh)
    least, most = np.minimum.reduceat(value, starts), np.maximum.reduceat(value, starts)
    counts = np.diff(np.append(starts, len(value)))
    # A mean of equal numbers can be off by one rounding: keep the number itself.
    mean = np.where(least == most, least, np.add.reduceat(value, starts) / counts)
    return Samples(name, interpolation, patient[starts], time[starts], mean), int((least != most).sum())
