"""What was measured: tables to padded, patient-major arrays with masks, and a report of every row."""

from hierarchical_twin.cohort.cohort import Cohort, Effect, hash_reading, require_spec
from hierarchical_twin.cohort.encode import Encoding
from hierarchical_twin.cohort.read import read_cohort
from hierarchical_twin.cohort.report import DataReport, Exclusion

__all__ = [
    "Cohort",
    "DataReport",
    "Effect",
    "Encoding",
    "Exclusion",
    "hash_reading",
    "read_cohort",
    "require_spec",
]
