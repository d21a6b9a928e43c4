"""Arrays of one patient, padded so that what is compiled for a few records serves until there are more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.dims import DOSE, PATIENT, TIME

_LEAST_WIDTH = {TIME: 8, DOSE: 4}


def bucket(dim: str, size: int) -> int:
    """The width for so many records or doses: the next power of two."""
    return max(_LEAST_WIDTH[dim], 1 << (max(size, 1) - 1).bit_length())


def pad(cohort: Cohort) -> dict[str, np.ndarray]:
    """A cohort's arrays, as wide along records and doses as `bucket` says."""
    widths = {dim: bucket(dim, cohort.size(dim)) for dim in _LEAST_WIDTH if dim in cohort.coords}
    return widen(cohort.arrays, cohort.dims, widths)


def one_patient(arrays: Mapping[str, np.ndarray], cohort: Cohort, place: int) -> dict[str, np.ndarray]:
    """The arrays of one patient ``[1, ...]``, the only member of each level above."""
    own = {
        name: value[place : place + 1] if PATIENT in cohort.dims[name] else value
        for name, value in arrays.items()
    }
    return {name: np.zeros_like(value) if name.startswith("level_") else value for name, value in own.items()}


def own_widths(arrays: Mapping[str, np.ndarray], dims: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """The widths that one patient's records and doses need; what stands beyond them is padding."""
    needed = dict.fromkeys({dim for name in arrays for dim in dims[name] if dim in _LEAST_WIDTH}, 1)
    for name, value in arrays.items():
        dim = dims[name][-1]
        if dim == TIME:
            # Padding repeats the last record under a false mask: a record is where anything changes.
            says = value[0] if name.startswith("mask_") else np.diff(value[0], prepend=value[0, :1]) != 0
            if name.startswith(("observed_", "censored_", "standard_error_", "trials_")):
                continue
        elif name == "dose_amount":
            says = value[0] != 0
        else:
            continue
        at = np.flatnonzero(says)
        needed[dim] = max(needed[dim], int(at[-1]) + 1 if len(at) else 1)
    return {dim: bucket(dim, size) for dim, size in needed.items()}


def widen(
    arrays: Mapping[str, np.ndarray], dims: Mapping[str, tuple[str, ...]], widths: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Arrays at some widths: padded by the last record under a false mask and by doses of nothing, or cut.

    Parameters
    ----------
    arrays : mapping to ndarray
    dims : mapping
        Array name to its dimensions.
    widths : mapping
        Of records and doses; nothing but padding stands beyond them.
    """
    found = {}
    for name, value in arrays.items():
        cut = value[tuple(slice(widths.get(dim)) for dim in dims[name])]
        width = [(0, widths.get(dim, size) - size) for dim, size in zip(dims[name], cut.shape, strict=True)]
        if any(after for _, after in width):
            is_blank = name.startswith("mask_") or name == "dose_amount" or not cut.size
            cut = np.pad(cut, width) if is_blank else np.pad(cut, width, mode="edge")
        found[name] = np.ascontiguousarray(cut)
    return found
