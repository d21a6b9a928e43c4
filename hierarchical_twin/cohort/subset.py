"""Some of a cohort's patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hierarchical_twin.cohort.cohort import Cohort
from hierarchical_twin.dims import PATIENT


def take_patients(cohort: Cohort, chosen: np.ndarray) -> Cohort:
    """The same cohort with only some of its patients; levels above the patient and coding stay.

    Parameters
    ----------
    cohort : Cohort
    chosen : ndarray of int
        Places of the patients, in the order they are to have. `Cohort.rows` stay those of all.
    """
    own = {
        name: np.take(value, chosen, axis=cohort.dims[name].index(PATIENT))
        if PATIENT in cohort.dims.get(name, ())
        else value
        for name, value in cohort.arrays.items()
    }
    labels = tuple(cohort.patients[place] for place in chosen)
    covariates = cohort.covariates.iloc[chosen]
    coords = {**cohort.coords, PATIENT: labels}
    return replace(cohort, arrays=own, patients=labels, coords=coords, covariates=covariates)
