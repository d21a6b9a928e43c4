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
    from hierarchical_twin.analysis.comparison import Comparison
    from hierarchical_twin.analysis.diagnostics import Diagnostics
    from hierarchical_twin.analysis.prediction import Prediction
    from hierarchical_twin.analysis.scoring import Scores
    from hierarchical_twin.analysis.statistics_check import check_statistics
    from hierarchical_twin.analysis.visual_check import VisualCheck, visual_check
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
    from hierarchical_twin.prediction.comparison import compare
    from hierarchical_twin.prediction.predict import predict
    from hierarchical_twin.prediction.prior import prior_table
    from hierarchical_twin.prediction.scenarios import compare_scenarios
    from hierarchical_twin.prediction.statements import probability
    from hierarchical_twin.prediction.target import dose_for
    from hierarchical_twin.report.page.write import write_report
    from hierarchical_twin.report.twin_page import write_twin_page
    from hierarchical_twin.spec import Spec, describe, json_schema, parse_spec, read_spec, write_spec
    from hierarchical_twin.spec.shipped import shipped_specs
    from hierarchical_twin.twin.as_fit import as_fit
    from hierarchical_twin.twin.crossing import Crossing, crossing
    from hierarchical_twin.twin.forecast import compare_plans, forecast, probability_of
    from hierarchical_twin.twin.next_dose import next_dose
    from hierarchical_twin.twin.next_sample import next_sample
    from hierarchical_twin.twin.score import score_forecasts
    from hierarchical_twin.twin.start import start_twin, start_twins
    from hierarchical_twin.twin.states import states
    from hierarchical_twin.twin.store import TwinStore
    from hierarchical_twin.twin.twin import Twin
    from hierarchical_twin.twin.update import update, update_many

_HOMES = {
    "BackendError": "errors",
    "Cohort": "cohort",
    "Comparison": "analysis.comparison",
    "Crossing": "twin.crossing",
    "DataError": "errors",
    "DataReport": "cohort",
    "Diagnostics": "analysis.diagnostics",
    "Fit": "inference.fit",
    "Model": "graph.model",
    "Prediction": "analysis.prediction",
    "Problem": "errors",
    "SamplingError": "errors",
    "Scores": "analysis.scoring",
    "Simulation": "inference.simulate",
    "Spec": "spec",
    "SpecError": "errors",
    "Twin": "twin.twin",
    "TwinError": "errors",
    "TwinStore": "twin.store",
    "VisualCheck": "analysis.visual_check",
    "as_fit": "twin.as_fit",
    "build": "graph.build",
    "check_statistics": "analysis.statistics_check",
    "compare": "prediction.comparison",
    "compare_plans": "twin.forecast",
    "compare_scenarios": "prediction.scenarios",
    "crossing": "twin.crossing",
    "describe": "spec",
    "dose_for": "prediction.target",
    "forecast": "twin.forecast",
    "json_schema": "spec",
    "next_dose": "twin.next_dose",
    "next_sample": "twin.next_sample",
    "open_fit": "inference.fit",
    "parse_spec": "spec",
    "predict": "prediction.predict",
    "prior_predictive": "inference.prior_predictive",
    "prior_table": "prediction.prior",
    "probability": "prediction.statements",
    "probability_of": "twin.forecast",
    "read_cohort": "cohort",
    "read_spec": "spec",
    "sample": "inference.sample",
    "score_forecasts": "twin.score",
    "shipped_specs": "spec.shipped",
    "simulate": "inference.simulate",
    "start_twin": "twin.start",
    "start_twins": "twin.start",
    "states": "twin.states",
    "to_numpyro": "backends.numpyro",
    "to_pymc": "backends.pymc",
    "update": "twin.update",
    "update_many": "twin.update",
    "visual_check": "analysis.visual_check",
    "write_report": "report.page.write",
    "write_spec": "spec",
    "write_twin_page": "report.twin_page",
}

__all__ = [
    "BackendError",
    "Cohort",
    "Comparison",
    "Crossing",
    "DataError",
    "DataReport",
    "Diagnostics",
    "Fit",
    "Model",
    "Prediction",
    "Problem",
    "SamplingError",
    "Scores",
    "Simulation",
    "Spec",
    "SpecError",
    "Twin",
    "TwinError",
    "TwinStore",
    "VisualCheck",
    "as_fit",
    "build",
    "check_statistics",
    "compare",
    "compare_plans",
    "compare_scenarios",
    "crossing",
    "describe",
    "dose_for",
    "forecast",
    "json_schema",
    "next_dose",
    "next_sample",
    "open_fit",
    "parse_spec",
    "predict",
    "prior_predictive",
    "prior_table",
    "probability",
    "probability_of",
    "read_cohort",
    "read_spec",
    "sample",
    "score_forecasts",
    "shipped_specs",
    "simulate",
    "start_twin",
    "start_twins",
    "states",
    "to_numpyro",
    "to_pymc",
    "update",
    "update_many",
    "visual_check",
    "write_report",
    "write_spec",
    "write_twin_page",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hierarchical_twin' has no attribute '{name}'")
    return getattr(import_module(f"hierarchical_twin.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
