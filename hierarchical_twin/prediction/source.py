"""The model a saved fit came from, out of the spec and the table that it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.cohort.kept import table_from_dataset
from hierarchical_twin.cohort.read import read_opened
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.dims import TABLE
from hierarchical_twin.errors import DataError, Problem, SamplingError, nearest
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.spec import parse_spec

_AGAIN = "fit the table again with this version"


@dataclass(frozen=True)
class ModelledFit(Fit):
    """Draws that hold their model, since no table that they keep would give it again.

    Parameters
    ----------
    tree : xr.DataTree
        As `Fit`; a group ``posterior`` is all that predictions need.
    model : Model
        Non-centred; its cohort's `table` holds what is known of its patients.
    """

    model: Model


def model_of(fit: Fit) -> Model:
    """The model a fit was made from, its effects non-centred; a `ModelledFit`'s own.

    Raises
    ------
    SamplingError
        The fit keeps no table (it was made by an earlier version), or reading it again gives other
        arrays than were sampled.
    """
    if isinstance(fit, ModelledFit):
        return fit.model
    if TABLE not in fit.tree.children:
        expected = "a fit that keeps the table it was made from"
        raise SamplingError(Problem("fit", "no group 'table'", expected, _AGAIN))
    spec = parse_spec(fit.spec_text, "the fit's spec")
    frame = table_from_dataset(fit.tree[TABLE].to_dataset())
    cohort = read_opened(Table(frame, str(fit.attributes.get("data_source", "table"))), spec)
    if cohort.data_hash != fit.attributes.get("data_hash"):
        got = "a table that gives other arrays than those the fit was made from"
        raise SamplingError(Problem("fit", got, "the same data hash", _AGAIN))
    return build(spec, cohort, parameterization="noncentered")


def cohort_of(fit: Fit) -> Cohort:
    """The cohort a fit was made from; see `model_of`."""
    return model_of(fit).cohort


def own_patients(cohort: Cohort, patients: Sequence[str] | None) -> tuple[str, ...]:
    """Labels of the patients that are asked for; everybody for None.

    Raises
    ------
    DataError
        One of them is not in the cohort, or nobody is asked for.
    """
    if patients is None:
        return cohort.patients
    labels = (patients,) if isinstance(patients, str) else tuple(str(label) for label in patients)
    known = set(cohort.patients)
    problems = [
        Problem("predict patients", f"'{label}'", "a patient of the fit", nearest(label, cohort.patients))
        for label in labels
        if label not in known
    ]
    if problems or not labels:
        raise DataError(problems or [Problem("predict patients", "nobody", "at least one patient")])
    return labels
