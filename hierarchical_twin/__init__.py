"""Declarative hierarchical models of mechanistic parameters: honest per-patient estimates.

    import hierarchical_twin as ht

    spec = ht.read_spec("model_specs/tumor_growth.yaml")   # what was declared
    cohort = ht.read_cohort("mice.csv", spec)              # what was measured
    model = ht.build(spec, cohort)                         # the joint density
    fit = ht.sample(model, seed=1)                         # its posterior
    fit.intervals(["r"], prob=0.9)

Verbs load when they are first used, so that opening a saved fit imports neither JAX nor a backend.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hierarchical_twin.analysis.diagnostics import Diagnostics
    from hierarchical_twin.backends.numpyro import to_numpyro
    from hierarchical_twin.backends.pymc import to_pymc
    from hierarchical_twin.cohort import Cohort, DataReport, read_cohort
    from hierarchical_twin.errors import BackendError, DataError, Problem, SamplingError, SpecError, TwinError
    from hierarchical_twin.graph.build import build
    from hierarchical_twin.graph.model import Model
    from hierarchical_twin.inference.fit import Fit, open_fit
    from hierarchical_twin.inference.prior_predictive import prior_predictive
    from hierarchical_twin.inference.sample import sample
    from hierarchical_twin.inference.simulate import Simulation, simulate
    from hierarchical_twin.spec import Spec, describe, json_schema, parse_spec, read_spec, write_spec
    from hierarchical_twin.spec.shipped import shipped_specs

_HOMES = {
    "BackendError": "errors",
    "Cohort": "cohort",
    "DataError": "errors",
    "DataReport": "cohort",
    "Diagnostics": "analysis.diagnostics",
    "Fit": "inference.fit",
    "Model": "graph.model",
    "Problem": "errors",
    "SamplingError": "errors",
    "Simulation": "inference.simulate",
    "Spec": "spec",
    "SpecError": "errors",
    "TwinError": "errors",
    "build": "graph.build",
    "describe": "spec",
    "json_schema": "spec",
    "open_fit": "inference.fit",
    "parse_spec": "spec",
    "prior_predictive": "inference.prior_predictive",
    "read_cohort": "cohort",
    "read_spec": "spec",
    "sample": "inference.sample",
    "shipped_specs": "spec.shipped",
    "simulate": "inference.simulate",
    "to_numpyro": "backends.numpyro",
    "to_pymc": "backends.pymc",
    "write_spec": "spec",
}

__all__ = [
    "BackendError",
    "Cohort",
    "DataError",
    "DataReport",
    "Diagnostics",
    "Fit",
    "Model",
    "Problem",
    "SamplingError",
    "Simulation",
    "Spec",
    "SpecError",
    "TwinError",
    "build",
    "describe",
    "json_schema",
    "open_fit",
    "parse_spec",
    "prior_predictive",
    "read_cohort",
    "read_spec",
    "sample",
    "shipped_specs",
    "simulate",
    "to_numpyro",
    "to_pymc",
    "write_spec",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hierarchical_twin' has no attribute '{name}'")
    return getattr(import_module(f"hierarchical_twin.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
