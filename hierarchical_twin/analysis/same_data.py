"""The measurements that fits were made from, and whether they are the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from hierarchical_twin.analysis.variables import spec_part, units_of
from hierarchical_twin.dims import OBSERVED_DATA
from hierarchical_twin.errors import DataError, Problem, SamplingError

_ROUNDING = 1e-9
_DIGITS = 9
_SHOWN = 5
_KEYS = ["outcome", "patient", "value", "censored", "time", "row"]


def measurements_of(tree: xr.DataTree) -> pd.DataFrame:
    """Every used measurement of a fit: outcome, patient, value, censored, time, row, place.

    `place` counts along the outcome's observations; rows are in an order that does not depend on that of
    the table.

    Raises
    ------
    SamplingError
        The fit holds no measurements.
    """
    if OBSERVED_DATA not in tree.children or not tree[OBSERVED_DATA].data_vars:
        hint = "it was not made by `sample`"
        raise SamplingError(Problem("fit", "no measurements", "a group 'observed_data'", hint))
    observed = tree[OBSERVED_DATA].to_dataset()
    parts = []
    for outcome, values in observed.data_vars.items():
        count = values.size
        known = {
            word: observed[f"{word}_{outcome}"].values if f"{word}_{outcome}" in observed.coords else default
            for word, default in (("patient", ""), ("censored", 0), ("time", np.nan), ("row", 0))
        }
        own = {"outcome": str(outcome), "value": values.values, "place": np.arange(count)}
        parts.append(pd.DataFrame({**own, **known}).astype({"patient": str}))
    found = pd.concat(parts, ignore_index=True)
    # Values that differ by rounding only, as after a change of unit, must not put equal ones in another order.
    rounded = found.assign(value=[float(f"{value:.{_DIGITS}g}") for value in found["value"]])
    return found.loc[rounded.sort_values(_KEYS, kind="stable").index].reset_index(drop=True)


def check_same_data(trees: Mapping[str, xr.DataTree]) -> dict[str, pd.DataFrame]:
    """The measurements of every fit, refused where they are not the same ones.

    Parameters
    ----------
    trees : mapping of name to DataTree

    Returns
    -------
    dict
        Name to `measurements_of`; row by row they are the same patient's same measurement.

    Raises
    ------
    DataError
        Fits differ in outcomes, units, patients, measured values or the times of these: their log densities
        are then of different things and cannot be compared. Times are set against each other where both
        fits have them, in the same unit.
    """
    found = {name: measurements_of(tree) for name, tree in trees.items()}
    first, *others = found
    for other in others:
        problem = (
            _other_words((first, other), [_outcomes(found[name]) for name in (first, other)], "outcomes")
            or _other_units((first, other), [units_of(trees[name]) for name in (first, other)], found[first])
            or _other_words((first, other), [_patients(found[name]) for name in (first, other)], "patients")
            or _other_values((first, other), [found[first], found[other]])
            or _other_times((first, other), [trees[first], trees[other]], [found[first], found[other]])
        )
        if problem is not None:
            raise DataError(problem)
    return found


def _outcomes(measured: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(measured["outcome"]))


def _patients(measured: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(measured["patient"]))


def listed(words: Sequence[str]) -> str:
    """The first few words, and how many more there are."""
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more


def _problem(names: tuple[str, str], got: str, expected: str) -> Problem:
    hint = "fit every spec to the same table, the same rows used"
    return Problem(f"compare {names[0]} with {names[1]}", got, expected, hint)


def _other_words(names: tuple[str, str], words: list[list[str]], what: str) -> Problem | None:
    only = [sorted(set(words[0]) - set(words[1])), sorted(set(words[1]) - set(words[0]))]
    said = [f"{listed(own)} only in {name}" for name, own in zip(names, only, strict=True) if own]
    return _problem(names, "; ".join(said), f"the same {what}") if said else None


def _other_units(
    names: tuple[str, str], units: list[dict[str, str]], measured: pd.DataFrame
) -> Problem | None:
    for outcome in _outcomes(measured):
        own = [known.get(outcome, "") for known in units]
        if own[0] != own[1]:
            got = f"{outcome} in {own[0] or 'no unit'} and in {own[1] or 'no unit'}"
            return _problem(names, got, "one unit: a log density depends on it")
    return None


def _other_values(names: tuple[str, str], measured: list[pd.DataFrame]) -> Problem | None:
    counts = [own.groupby(["outcome", "patient"]).size() for own in measured]
    for (outcome, patient), count in counts[0].items():
        other = int(counts[1].get((outcome, patient), 0))
        if other != count:
            got = f"{count} and {other} measurements of {outcome} for patient {patient}"
            return _problem(names, got, "the same measurements")
    if len(measured[0]) != len(measured[1]):
        return _problem(names, "an outcome that only one has of some patient", "the same measurements")
    values = [own["value"].to_numpy(float) for own in measured]
    is_same = np.isclose(*values, rtol=_ROUNDING, atol=0.0)
    is_same &= measured[0]["censored"].to_numpy() == measured[1]["censored"].to_numpy()
    if is_same.all():
        return None
    patients = list(dict.fromkeys(measured[0]["patient"].to_numpy()[~is_same]))
    place = int(np.flatnonzero(~is_same)[0])
    pair = [f"{own[place]:.6g}" for own in values]
    got = f"other values for {listed(patients)}, such as {pair[0]} and {pair[1]}"
    return _problem(names, got, "the same measured values, censored alike")


def _other_times(
    names: tuple[str, str], trees: list[xr.DataTree], measured: list[pd.DataFrame]
) -> Problem | None:
    """Of measurements that are the same row by row, whether they were made at other times."""
    units = [spec_part(tree, "time", "unit") for tree in trees]
    if units[0] != units[1]:
        return None
    times = [own["time"].to_numpy(float) for own in measured]
    is_known = np.isfinite(times[0]) & np.isfinite(times[1])
    is_other = is_known & ~np.isclose(*times, rtol=_ROUNDING, atol=_ROUNDING)
    if not is_other.any():
        return None
    patients = list(dict.fromkeys(measured[0]["patient"].to_numpy()[is_other]))
    place = int(np.flatnonzero(is_other)[0])
    pair = [f"{own[place]:.6g}" for own in times]
    got = f"other times for {listed(patients)}, such as {pair[0]} and {pair[1]}"
    return _problem(names, got, "the same measured values at the same times")
