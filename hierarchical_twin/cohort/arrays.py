"""Records to arrays: one time axis per patient, padded, patient-major, with masks.

A record is a moment (or a coordinate, without time) at which the mechanism is solved. All
outcomes and input samples share a patient's records; replicates get a record each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hierarchical_twin.cohort.events import DoseEvents

TROUGH_SHIFT = 1e-12
"""How far, relative to time, a record moves ahead of a dose of the same time that stands after it in
the table: far above float64 rounding, far below any clock, so that the mechanism sees the trough."""


@dataclass(frozen=True)
class Uses:
    """Things that need a record, of one source: an outcome, an input, or the start at time 0.

    Parameters
    ----------
    patient : ndarray of int, shape [use]
        Place of the patient in the cohort.
    key : ndarray of float, shape [use]
        Time, or the coordinate, in declared units.
    row : ndarray of int, shape [use]
        Table row, which orders replicates.
    """

    patient: np.ndarray
    key: np.ndarray
    row: np.ndarray


@dataclass(frozen=True)
class Records:
    """The records of all patients, ordered by patient and key.

    Parameters
    ----------
    patient, slot : ndarray of int, shape [record]
        `slot` numbers records of the same key, from 0.
    key : ndarray of float, shape [record]
    start, count : ndarray of int, shape [patient]
        First record of each patient, and how many.
    """

    patient: np.ndarray
    slot: np.ndarray
    key: np.ndarray
    start: np.ndarray
    count: np.ndarray

    @property
    def width(self) -> int:
        """Length of the padded time axis."""
        return int(self.count.max())

    def pad(self, values: np.ndarray) -> np.ndarray:
        """Values of records as ``[patient, time]``; the last one repeats."""
        along = np.minimum(np.arange(self.width), self.count[:, None] - 1)
        return values[self.start[:, None] + along]


def align(sources: Sequence[Uses], patients: int) -> tuple[Records, list[np.ndarray]]:
    """Lay the uses of all sources on one axis of records per patient.

    The k-th use of a source at one key takes the k-th record at that key.

    Parameters
    ----------
    sources : sequence of Uses
    patients : int
        Every patient has at least one use.

    Returns
    -------
    Records, and for each source the position of its uses on the time axis
    """
    source = np.concatenate([np.full(len(uses.patient), number) for number, uses in enumerate(sources)])
    patient = np.concatenate([uses.patient for uses in sources])
    # -0.0 and 0.0 are one moment.
    key = np.concatenate([uses.key for uses in sources]) + 0.0
    row = np.concatenate([uses.row for uses in sources])
    slot = _replicate_number(source, patient, key, row)
    order = np.lexsort((slot, key, patient))
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = _changes(patient[order], key[order], slot[order])
    chosen = order[fresh]
    record = np.empty(len(order), dtype=np.int64)
    record[order] = np.cumsum(fresh) - 1
    count = np.bincount(patient[chosen], minlength=patients)
    start = np.cumsum(count) - count
    position = record - start[patient]
    ends = np.cumsum([len(uses.patient) for uses in sources])[:-1]
    return Records(patient[chosen], slot[chosen], key[chosen], start, count), np.split(position, ends)


def _replicate_number(
    source: np.ndarray, patient: np.ndarray, key: np.ndarray, row: np.ndarray
) -> np.ndarray:
    order = np.lexsort((row, key, patient, source))
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = _changes(source[order], patient[order], key[order])
    places = np.arange(len(order))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = places - np.maximum.accumulate(np.where(fresh, places, 0))
    return number


def _changes(*columns: np.ndarray) -> np.ndarray:
    return np.logical_or.reduce([column[1:] != column[:-1] for column in columns])


def ahead_of_doses(patient: np.ndarray, time: np.ndarray, row: np.ndarray, doses: DoseEvents) -> np.ndarray:
    """Times of observations, moved by `TROUGH_SHIFT` ahead of doses of the same time in later rows.

    Equal time: the row order decides whether an observation is a trough or a peak (NONMEM's rule).

    Parameters
    ----------
    patient, time, row : ndarray, shape [use]
    doses : DoseEvents
        As declared, with their rows; patients numbered like `patient`.
    """
    at = np.flatnonzero(doses.row >= 0)
    if not len(at) or not len(time):
        return time
    order = at[np.lexsort((doses.row[at], doses.time[at], doses.patient[at]))]
    is_asked = np.concatenate([np.zeros(len(order), dtype=bool), np.ones(len(time), dtype=bool)])
    all_patients = np.concatenate([doses.patient[order], patient])
    all_times = np.concatenate([doses.time[order], time])
    all_rows = np.concatenate([doses.row[order], row])
    merged = np.lexsort((all_rows, all_times, all_patients))
    # Within a run of equal patient and time: how many doses have been passed when the observation comes.
    fresh = np.ones(len(merged), dtype=bool)
    fresh[1:] = _changes(all_patients[merged], all_times[merged])
    passed = np.cumsum(~is_asked[merged])
    run = np.cumsum(fresh) - 1
    before_run = (passed - ~is_asked[merged])[fresh]
    in_run = np.bincount(run, weights=~is_asked[merged])
    is_trough = np.zeros(len(merged), dtype=bool)
    is_trough[merged] = (passed == before_run[run]) & (in_run[run] > 0)
    is_trough = is_trough[len(order) :]
    return np.where(is_trough, time - TROUGH_SHIFT * np.maximum(1.0, np.abs(time)), time)


def place(
    records: Records, patient: np.ndarray, position: np.ndarray, values: np.ndarray, filler: float | bool
) -> np.ndarray:
    """Values of uses on ``[patient, time]``, with `filler` wherever there is none."""
    array = np.full((len(records.count), records.width), filler, dtype=values.dtype)
    array[patient, position] = values
    return array


def dose_arrays(events: DoseEvents, patients: int) -> dict[str, np.ndarray]:
    """Doses as ``[patient, dose]``: time, amount, duration in declared units; padded with amount 0.

    Parameters
    ----------
    events : DoseEvents
        Written out, ordered by patient and time; patients numbered as in the cohort.
    patients : int
    """
    count = np.bincount(events.patient, minlength=patients)
    start = np.cumsum(count) - count
    number = np.arange(len(events.patient)) - start[events.patient]
    shape = (patients, max(1, int(count.max(initial=0))))
    arrays = {}
    for name in ("time", "amount", "duration"):
        arrays[f"dose_{name}"] = np.zeros(shape)
        arrays[f"dose_{name}"][events.patient, number] = getattr(events, name)
    return arrays


def hash_data(arrays: Mapping[str, np.ndarray], coords: Mapping[str, tuple]) -> str:
    """SHA-256 of arrays and labels, whatever the order of the mappings.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    for dim in sorted(coords):
        digest.update(f"|{dim}|{'|'.join(repr(label) for label in coords[dim])}".encode())
    return digest.hexdigest()
