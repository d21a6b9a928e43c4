"""From a fit to the whole page as frozen values, in reading order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.page.checks import gather_checks
from hierarchical_twin.report.page.gates import coverage_gates, error_gates, sampler_gates, shrinkage_gate
from hierarchical_twin.report.page.model import gather_data, gather_model, gather_reproducibility
from hierarchical_twin.report.page.numbers import cell
from hierarchical_twin.report.page.patients import gather_patients
from hierarchical_twin.report.page.population import gather_population
from hierarchical_twin.report.page.predicted import Predicted, predict_page
from hierarchical_twin.report.page.pseudonyms import rename_patients, rename_prediction, rename_rows
from hierarchical_twin.report.page.sections import Download, Page
from hierarchical_twin.report.page.sensitivity import gather_sensitivity
from hierarchical_twin.report.page.summary import gather_summary, gather_verdict, page_title


def gather_page(
    fit: Fit,
    *,
    title: str | None,
    question: str | None,
    prob: float,
    names: Mapping[str, str] | None,
    tell: Callable[[str], None],
) -> Page:
    """Everything the page says.

    Parameters
    ----------
    names : mapping, optional
        Patient's label to the name the page gives them; must hold every patient.
    tell : callable
        Called with a line of text for each step.
    """
    tell("predicting")
    predicted = predict_page(fit, prob=prob)
    sensitivity, prior_gates = gather_sensitivity(fit, predicted, prob)
    if names is not None:
        fit, predicted = rename_patients(fit, names), _rename(predicted, names)
    tell("gathering estimates and diagnostics")
    diagnostics, shrinkage = fit.diagnostics(), fit.shrinkage(prob=prob)
    population, intervals = fit.population(prob=prob), fit.intervals(prob=prob)
    gates = (
        *sampler_gates(diagnostics),
        *coverage_gates(predicted.rows, prob),
        *error_gates(predicted.rows),
        *shrinkage_gate(shrinkage),
        *prior_gates,
    )
    patients = gather_patients(fit, intervals, predicted)
    tell("drawing the checks")
    checks = gather_checks(fit, predicted, gates)
    return Page(
        title=page_title(fit, title),
        verdict=gather_verdict(diagnostics, checks.gates),
        summary=gather_summary(fit, population, predicted, question),
        model=gather_model(fit),
        data=gather_data(fit),
        population=gather_population(fit, population, shrinkage),
        patients=patients,
        checks=checks,
        sensitivity=sensitivity,
        reproducibility=gather_reproducibility(fit),
        downloads=(
            _download("population", "fit.population()", population),
            _download("shrinkage", "fit.shrinkage()", shrinkage),
            _download("diagnostics", "fit.diagnostics().table()", diagnostics.table()),
            Download("spec.yaml", "Spec (YAML)", "fit.spec_text", text=fit.spec_text),
        ),
    )


def _rename(predicted: Predicted, names: Mapping[str, str]) -> Predicted:
    measured = predicted.measured and rename_prediction(predicted.measured, names)
    rows, curves = rename_rows(predicted.rows, names), rename_rows(predicted.curves, names)
    if predicted.coordinate == "row":
        # The number of a row in the table would tell the table's order of patients.
        rows = rows.assign(place=np.arange(len(rows), dtype=float))
    return replace(predicted, measured=measured, rows=rows, curves=curves)


def _download(name: str, source: str, frame: pd.DataFrame) -> Download:
    columns = tuple(map(str, frame.columns))
    rows = tuple(tuple(cell(value) for value in row) for row in frame.itertuples(index=False))
    return Download(f"{name}.csv", f"{name.capitalize()} (CSV)", source, columns, rows)
