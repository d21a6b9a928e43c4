"""What was declared: a YAML file, or the same values built in Python. No JAX.

`read_spec` and `parse_spec` give a checked `Spec`; `write_spec` gives its YAML back; `describe`
prints the model as a statistician writes it; `json_schema` is what editors complete from.
"""

from hierarchical_twin.spec.check import check_spec
from hierarchical_twin.spec.describe import describe
from hierarchical_twin.spec.formula import Formula, FormulaError, GroupTerm, read_formula
from hierarchical_twin.spec.population import coefficient_prior, effects_of, link_of
from hierarchical_twin.spec.prior import Prior, PriorError, parse_prior
from hierarchical_twin.spec.published_schema import json_schema
from hierarchical_twin.spec.read import parse_spec, read_spec
from hierarchical_twin.spec.schema import (
    Covariate,
    Derived,
    Doses,
    Input,
    MechanismChoice,
    Observation,
    Parameter,
    PatientColumn,
    RandomEffects,
    Spec,
    StandardError,
    TimeColumn,
)
from hierarchical_twin.spec.units import WorkingUnits, working_units
from hierarchical_twin.spec.write import write_spec

__all__ = [
    "Covariate",
    "Derived",
    "Doses",
    "Formula",
    "FormulaError",
    "GroupTerm",
    "Input",
    "MechanismChoice",
    "Observation",
    "Parameter",
    "PatientColumn",
    "Prior",
    "PriorError",
    "RandomEffects",
    "Spec",
    "StandardError",
    "TimeColumn",
    "WorkingUnits",
    "check_spec",
    "coefficient_prior",
    "describe",
    "effects_of",
    "json_schema",
    "link_of",
    "parse_prior",
    "parse_spec",
    "read_formula",
    "read_spec",
    "working_units",
    "write_spec",
]
