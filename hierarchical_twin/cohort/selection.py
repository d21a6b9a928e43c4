"""`Selection`: the table as read, with the decision which patients stay. Between `read` and `layout`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hierarchical_twin.cohort.inputs import Samples
from hierarchical_twin.cohort.observations import Measured, Rows
from hierarchical_twin.cohort.patients import People


@dataclass(frozen=True)
class Selection:
    """Everything read, before it is laid out in arrays.

    Parameters
    ----------
    rows : Rows
    selected : ndarray of bool, shape [row]
        Rows the spec's `where` selects.
    measured : tuple of Measured
        One for each outcome, in the spec's order.
    people : People
    samples : tuple of Samples
        Inputs sampled over time; patients by code.
    present, kept : ndarray of bool, shape [code]
        Patients with a selected row; those of them in the cohort.
    fate : ndarray of int, shape [code]
        0 where kept, else the place in `reasons` (from 1).
    reasons : tuple of str
    notes : tuple of str
    """

    rows: Rows
    selected: np.ndarray
    measured: tuple[Measured, ...]
    people: People
    samples: tuple[Samples, ...]
    present: np.ndarray
    kept: np.ndarray
    fate: np.ndarray
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def patients(self) -> tuple[str, ...]:
        """Labels of the patients in the cohort."""
        names = self.rows.patient.names
        return tuple(names[code] for code in np.flatnonzero(self.kept))

    @property
    def place_of(self) -> np.ndarray:
        """Place in the cohort of each patient code; -1 for those left out, and at the end for 'none'."""
        places = np.where(self.kept, np.cumsum(self.kept) - 1, -1)
        return np.append(places, -1)
