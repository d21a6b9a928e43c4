"""The nouns of what was measured: `Effect` and `Cohort`. How they are made is in `read`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from weakref import ref

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.encode import Encoding
from hierarchical_twin.cohort.report import DataReport
from hierarchical_twin.dims import PATIENT
from hierarchical_twin.errors import Problem, SpecError
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.write import write_spec


@dataclass(frozen=True)
class Effect:
    """One random effect of a grouping level: the parameter it moves and its term (``1``: intercept)."""

    parameter: str
    term: str

    @property
    def label(self) -> str:
        """Label on the effect dim: ``r`` for an intercept, ``r:age`` for a slope on age."""
        return self.parameter if self.term == "1" else f"{self.parameter}:{self.term}"


@dataclass(frozen=True, repr=False, eq=False)
class Cohort:
    """A table read under a spec: padded, patient-major arrays with masks, and their labels.

    Parameters
    ----------
    patients : tuple of str
        Labels in order of first appearance in the table.
    arrays : mapping
        Name to array. ``time`` and each input ``[patient, time]``, ``dose_time``, ``dose_amount``,
        ``dose_duration`` ``[patient, dose]`` in the mechanism's working units; ``design_<parameter>``
        ``[patient, term]``; ``effect_design_<group>`` ``[patient, effect]``; ``level_<group>``
        ``[patient]`` int32; ``known_<parameter>`` ``[patient]`` in its declared unit; for each outcome
        ``observed_``, ``mask_`` (bool) and, when declared, ``censored_`` (int8: 0 measured, 1 below, -1
        above), ``standard_error_``, ``trials_`` ``[patient, time]`` in the outcome's declared unit.
        Padding repeats the last time under a false mask; padded doses have amount 0.
    dims : mapping
        Array name to dimension names.
    coords : mapping
        Dimension name to labels; ``time`` and ``dose`` are numbered.
    effects : mapping
        Grouping level to its random effects, in the order of its effect dimension.
    rows : pandas.DataFrame
        One row for each used observation, ordered by outcome, patient and position: outcome, patient,
        patient_index, position, time, the inputs, value (declared unit), censored, table_row (1-based).
    covariates : pandas.DataFrame
        Indexed by patient: covariates and grouping columns as the formulas see them.
    table : pandas.DataFrame
        Every row of the table that was read, the columns the spec names, cells unchanged.
    encodings : mapping
        Parameter to the encoding of its covariates.
    effect_encodings : mapping
        Grouping level to parameter to the encoding of its random-effect terms (intercept included).
    report : DataReport
        What became of every row.
    data_hash : str
        SHA-256 over the arrays and labels.
    spec_hash : str
        `hash_reading` of the spec the table was read under.
    """

    patients: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]
    dims: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, tuple]
    effects: Mapping[str, tuple[Effect, ...]]
    rows: pd.DataFrame
    covariates: pd.DataFrame
    table: pd.DataFrame
    encodings: Mapping[str, Encoding]
    effect_encodings: Mapping[str, Mapping[str, Encoding]]
    report: DataReport
    data_hash: str
    spec_hash: str

    def size(self, dim: str) -> int:
        """Length of a dimension, such as ``patient`` or ``time``."""
        return len(self.coords[dim])

    def __repr__(self) -> str:
        used = ", ".join(f"{count} {outcome}" for outcome, count in self.report.used.items())
        return f"<Cohort {self.report.source}: {self.size(PATIENT)} patients, {used}>"


def hash_reading(spec: Spec) -> str:
    """SHA-256 of all of a spec that a table is read under, as YAML.

    Derived quantities, process noise, and the priors and parameterization of random effects, play no part in
    reading and may change between `read_cohort` and `build`. Which effects there are is in the formulas.
    """
    known = _HASHES.get(id(spec))
    if known is not None and known[0]() is spec:
        return known[1]
    read = spec.model_copy(update={"random_effects": {}, "derived": {}, "process_noise": {}})
    found = sha256(write_spec(read).encode()).hexdigest()
    # Writing YAML takes longer than reading a record, and a twin's spec is read under again and again.
    place = id(spec)
    _HASHES[place] = (ref(spec, lambda _: _HASHES.pop(place, None)), found)
    return found


_HASHES: dict[int, tuple[ref[Spec], str]] = {}


def require_spec(spec: object, where: str) -> None:
    """Refuse what is no Spec.

    Raises
    ------
    SpecError
    """
    if not isinstance(spec, Spec):
        raise SpecError(Problem(where, f"a {type(spec).__name__}", "a Spec", "ht.read_spec(path) reads one"))
