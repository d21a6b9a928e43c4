"""Process noise in predictions: what was measured stands beside what is asked, and some questions are refused.

Where a patient has wandered to is known from their measurements only. A cohort of asked rows therefore
carries the measured ones along, in order of time, and the filter looks at these alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.dims import DOSE, PATIENT, TIME
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.spec.schema import Spec


def refuse_wandering(spec: Spec, what: str, hint: str) -> None:
    """Refuse a question that has no answer under process noise.

    Raises
    ------
    SamplingError
        The spec has process noise.
    """
    if spec.process_noise:
        noise = f"a fit with process noise of {', '.join(spec.process_noise)}"
        raise SamplingError(Problem(what, noise, "a fit without process noise", hint))


def with_history(asked: Cohort, known: Cohort) -> Cohort:
    """Asked rows with the measurements of the same patients merged in.

    Parameters
    ----------
    asked : Cohort
        Rows to predict.
    known : Cohort
        Measurements, read under the same spec; patients who are not in it have none.

    Returns
    -------
    Cohort
        The patients of `asked`; ``rows`` are its rows at their new positions, and the masks are true at
        measurements alone. Measurements stand before rows asked at their time.

    Raises
    ------
    SamplingError
        The asked rows give a patient another past than they were measured under (doses, inputs, covariates),
        or ask for a time before noise acts on them.
    """
    refuse_another_past(asked, known)
    place = {label: number for number, label in enumerate(known.patients)}
    at = np.array([place.get(label, -1) for label in asked.patients])
    widths = known.size(TIME), asked.size(TIME)
    time = np.concatenate([_own(known, asked, "time", at), asked.arrays["time"]], axis=1)
    order = np.argsort(time, axis=1, kind="stable")
    arrays, dims = dict(asked.arrays), dict(asked.dims)
    for name in {*asked.arrays, *known.arrays}:
        own = asked.dims.get(name, known.dims.get(name))
        if own != (PATIENT, TIME):
            continue
        new = asked.arrays.get(name)
        if new is None:
            new = np.zeros((len(at), widths[1]), known.arrays[name].dtype)
        old = _own(known, asked, name, at)
        if name.startswith("mask_"):
            old, new = old & (at >= 0)[:, None], np.zeros_like(new)
        arrays[name] = np.take_along_axis(np.concatenate([old, new], axis=1), order, axis=1)
        dims[name] = own
    moved = np.argsort(order, axis=1)[:, widths[0] :]
    rows = asked.rows.assign(position=moved[asked.rows["patient_index"], asked.rows["position"]])
    coords = {**asked.coords, TIME: tuple(range(sum(widths)))}
    return replace(asked, arrays=arrays, dims=dims, coords=coords, rows=rows)


def refuse_another_past(asked: Cohort, known: Cohort) -> None:
    """Refuse rows that give patients another past than they were measured under.

    Raises
    ------
    SamplingError
        Doses, inputs or covariates differ, or a time is asked for at which noise does not act yet.
    """
    problems = []
    place = {label: number for number, label in enumerate(known.patients)}
    for number, label in enumerate(asked.patients):
        other = place.get(label)
        begin = 0.0 if other is None else min(float(known.arrays["time"][other, 0]), 0.0)
        rows = asked.rows[asked.rows["patient_index"] == number]
        if (asked.arrays["time"][number][rows["position"]] < begin).any():
            got, expected = "a time before process noise begins", f"times from {begin:g} on"
            problems.append(Problem(f"patient '{label}'", got, expected))
        if other is not None and (changed := _changed_past(asked, known, (number, other))):
            got = f"{changed} other than those they were measured under"
            expected = "what they were given: it is part of where they have wandered"
            problems.append(Problem(f"patient '{label}'", got, expected))
    if problems:
        raise SamplingError(problems)


def _changed_past(asked: Cohort, known: Cohort, places: tuple[int, int]) -> str:
    """What is not as it was when a patient was measured: a word, or nothing."""
    own, other = places
    measured = np.any(
        [known.arrays[name][other] for name in known.arrays if name.startswith("mask_")], axis=0
    )
    if not measured.any():
        return ""
    times = known.arrays["time"][other][measured]
    for name, dims in known.dims.items():
        if name not in asked.arrays or dims[0] != PATIENT or TIME in dims or DOSE in dims:
            continue
        is_level = name.startswith("level_")  # a level's number may be another one among those asked for
        if not is_level and not np.array_equal(asked.arrays[name][own], known.arrays[name][other]):
            return "covariates"
    if not np.array_equal(_doses(asked, own, times[-1]), _doses(known, other, times[-1])):
        return "doses"
    series = [name for name, dims in known.dims.items() if dims == (PATIENT, TIME) and _is_input(name)]
    for name in series:
        found = np.interp(times, asked.arrays["time"][own], asked.arrays[name][own])
        if not np.allclose(found, known.arrays[name][other][measured], rtol=1e-6, atol=1e-12):
            return f"values of {name}"
    return ""


def _doses(cohort: Cohort, patient: int, until: float) -> np.ndarray:
    """Doses of a patient before a time ``[dose, 3]``: time, amount and duration."""
    if "dose_time" not in cohort.arrays:
        return np.zeros((0, 3))
    columns = [cohort.arrays[f"dose_{word}"][patient] for word in ("time", "amount", "duration")]
    doses = np.column_stack(columns)
    return doses[(doses[:, 1] > 0) & (doses[:, 0] < until)]


def _is_input(name: str) -> bool:
    return name != "time" and not name.startswith(
        ("observed_", "mask_", "censored_", "standard_error_", "trials_")
    )


def _own(known: Cohort, asked: Cohort, name: str, at: np.ndarray) -> np.ndarray:
    """An array of the known cohort for the patients of the asked one; new ones repeat their own first record."""
    values = known.arrays.get(name)
    if values is None:
        return np.zeros((len(at), known.size(TIME)), asked.arrays[name].dtype)
    found = values[np.maximum(at, 0)]
    if name in asked.arrays:
        found = np.where((at >= 0)[:, None], found, asked.arrays[name][:, :1])
    return found
