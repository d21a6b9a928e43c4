"""The columns of a table that a spec names."""

from __future__ import annotations

from dataclasses import dataclass

from hierarchical_twin.cohort.patients import column_of, groups_of
from hierarchical_twin.spec.population import covariates_of
from hierarchical_twin.spec.schema import Spec


@dataclass(frozen=True)
class Need:
    """A column, and the key of the spec that names it."""

    key: str
    column: str


def needs_of(spec: Spec) -> list[Need]:
    """Every column the spec names, with the key that names it."""
    needs = [Need("patient.column", spec.patient.column)]
    if spec.time is not None:
        needs.append(Need("time.column", spec.time.column))
    needs += [Need(f"where.{column}", column) for column in spec.where]
    for name, parameter in spec.parameters.items():
        if parameter.column is not None:
            needs.append(Need(f"parameters.{name}.column", parameter.column))
    for name in dict.fromkeys((*covariates_of(spec), *groups_of(spec), *spec.covariates)):
        needs.append(Need(f"covariates.{name}", column_of(spec, name)))
    for name, words in spec.observations.items():
        error = words.standard_error
        keyed = {
            "column": words.column,
            "trials": words.trials,
            "lower_limit": words.lower_limit,
            "upper_limit": words.upper_limit,
            "censored": words.censored,
            "standard_error.column": error and error.column,
            "standard_error.sd": error and error.sd,
            "standard_error.n": error and error.n,
        }
        needs += [
            Need(f"observations.{name}.{key}", text) for key, text in keyed.items() if isinstance(text, str)
        ]
        needs += [Need(f"observations.{name}.where.{column}", column) for column in words.where]
    needs += [Need(f"inputs.{name}.column", words.column) for name, words in spec.inputs.items()]
    if spec.doses is not None:
        for key in ("amount", "event", "rate", "duration", "additional", "interval"):
            text = getattr(spec.doses, key)
            needs += [Need(f"doses.{key}", text)] if isinstance(text, str) else []
    return needs
