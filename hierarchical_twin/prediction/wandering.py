"""Process noise in predictions: what was measured stands beside what is asked, and some questions are refused.

Where a patient has wandered to is known from their measurements only. A cohort of asked rows therefore
carries the measured ones along, in order of time, and the filter looks at these alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.dims import PATIENT, TIME
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
    """
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


def _own(known: Cohort, asked: Cohort, name: str, at: np.ndarray) -> np.ndarray:
    """An array of the known cohort for the patients of the asked one; new ones repeat their own first record."""
    values = known.arrays.get(name)
    if values is None:
        return np.zeros((len(at), known.size(TIME)), asked.arrays[name].dtype)
    found = values[np.maximum(at, 0)]
    if name in asked.arrays:
        found = np.where((at >= 0)[:, None], found, asked.arrays[name][:, :1])
    return found
