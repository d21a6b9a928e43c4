"""The verdict and the plain words at the top of the page."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from hierarchical_twin.analysis.diagnostics import Diagnostics
from hierarchical_twin.analysis.intervals import interval_words
from hierarchical_twin.analysis.variables import links_of, patient_variables, patients_of, spec_part
from hierarchical_twin.dims import PATIENT
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.page.numbers import counted, plain
from hierarchical_twin.report.page.population import table_unit
from hierarchical_twin.report.page.predicted import Predicted
from hierarchical_twin.report.page.sections import Gate, Summary, Verdict

_ORDER = {"failed": 0, "attention": 1}
_MOST_SENTENCES = 8


def gather_verdict(diagnostics: Diagnostics, gates: tuple[Gate, ...]) -> Verdict:
    """Whether to believe the page, from every gate that did not pass."""
    open_gates = _once(
        sorted((gate for gate in gates if gate.state in _ORDER), key=lambda gate: _ORDER[gate.state])
    )
    length = f"{counted(diagnostics.chains, 'chain')} of {diagnostics.draws:,} draws"
    if not diagnostics.is_trustworthy:
        words = (
            f"The sampler has not found the posterior ({length}). Every number on this page, intervals "
            "included, may be wrong. Do what is said below and fit again before anybody uses them."
        )
        # What the model gets wrong cannot be judged before the sampler is right.
        failed = {check.name.lower() for check in diagnostics.failures}
        worst = tuple(gate for gate in open_gates if gate.name.lower() in failed)
        return Verdict("failed", "Do not use these numbers yet", words, worst)
    if any(gate.state == "failed" for gate in open_gates):
        words = (
            f"The sampling is sound ({length}), but the model does not describe these data: the numbers are "
            "those of a model that is contradicted below."
        )
        return Verdict("failed", "The model does not fit these data", words, tuple(open_gates))
    if open_gates:
        words = f"The sampling is sound ({length}). {counted(len(open_gates), 'point')} below should be read first."
        return Verdict("attention", "These numbers can be used, with care", words, tuple(open_gates))
    passed = sum(gate.state == "passed" for gate in gates)
    words = f"The sampling is sound ({length}), and all {counted(passed, 'check')} that could be made passed."
    return Verdict("passed", "These numbers can be used", words, ())


def _once(gates: list[Gate]) -> list[Gate]:
    """Gates whose advice was given by one before them do not give it again."""
    told: set[str] = set()
    shorter = []
    for gate in gates:
        shorter.append(replace(gate, advice="") if gate.advice in told else gate)
        told.add(gate.advice)
    return shorter


def gather_summary(fit: Fit, population: pd.DataFrame, predicted: Predicted, question: str | None) -> Summary:
    """Question, cohort and findings in sentences."""
    title = str(spec_part(fit.tree, "title") or spec_part(fit.tree, "name") or "this model")
    asked = (
        question or f"What does each patient's record say under this model: {title[:1].lower()}{title[1:]}?"
    )
    return Summary(asked, _cohort(fit, predicted), _found(fit, population))


def _cohort(fit: Fit, predicted: Predicted) -> tuple[str, ...]:
    patients = patients_of(fit.tree).sizes[PATIENT]
    sentences = []
    for outcome, rows in predicted.rows.groupby("outcome", sort=False):
        unit = "" if predicted.coordinate == "row" else _coordinate_unit(fit, predicted.coordinate)
        told = f"{counted(len(rows), 'measurement')} of {outcome}"
        if predicted.coordinate != "row" and rows["place"].min() < rows["place"].max():
            low, high = f"{rows['place'].min():.4g}", f"{rows['place'].max():.4g}"
            told += f" from {predicted.coordinate} {low} to {high} {unit}".rstrip()
        censored = int((rows["censored"] != 0).sum())
        told += f", {censored} of them beyond a limit of quantification" if censored else ""
        sentences.append(told)
    measured = " and ".join(sentences) or "measurements that this fit does not keep"
    return (f"{counted(patients, 'patient')}, {measured}.",)


def _coordinate_unit(fit: Fit, coordinate: str) -> str:
    keys = ("time", "unit") if coordinate == "time" else ("inputs", coordinate, "unit")
    unit = str(spec_part(fit.tree, *keys) or "")
    return "" if unit == "1" else unit


def _found(fit: Fit, population: pd.DataFrame) -> tuple[str, ...]:
    """One sentence for each typical value and what differs, then each coefficient and derived quantity."""
    by_name = population.set_index("parameter")
    own, links = patient_variables(patients_of(fit.tree)), links_of(fit.tree)
    sentences = []
    for name in own:
        typical, omega = f"{name}_typical", f"omega[{name}]"
        if typical not in by_name.index:
            continue
        row = by_name.loc[typical]
        told = f"The typical {name} is {_amount(row)} ({_limits(row)})"
        if omega in by_name.index:
            told += f"; {_spread(name, by_name.loc[omega], links.get(name, 'identity'), table_unit(row))}"
        sentences.append(f"{told}.")
    sentences += [_coefficient(row, links) for _, row in population.iterrows() if _is_beta(row)]
    return tuple(sentences[:_MOST_SENTENCES])


def _is_beta(row: Any) -> bool:
    return str(row["parameter"]).startswith("beta_")


def _amount(row: Any) -> str:
    unit = table_unit(row)
    return f"{plain(row['median'])} {unit}".rstrip()


def _limits(row: Any) -> str:
    words = interval_words(row["prob"], row["kind"])
    return f"{words} {plain(row['lower'])} to {plain(row['upper'])}"


def _spread(name: str, row: Any, link: str, unit: str) -> str:
    if link == "log" and not math.isnan(row["cv_percent"]):
        return f"patients differ around it by a coefficient of variation of {plain(row['cv_percent'], 2)} %"
    scale = f"{unit}" if link == "identity" else f"on the {link} scale"
    return (
        f"patients differ around it with a standard deviation of {plain(row['median'], 2)} {scale}".rstrip()
    )


def _coefficient(row: Any, links: dict[str, str]) -> str:
    label = str(row["parameter"])
    parameter, _, term = label.removeprefix("beta_").removesuffix("]").partition("[")
    sure = row["lower"] > 0 or row["upper"] < 0
    direction = "rises" if row["median"] > 0 else "falls"
    told = (
        f"{parameter} {direction} with {term}"
        if sure
        else f"Whether {parameter} changes with {term} is not settled"
    )
    scale = "" if links.get(parameter) == "identity" else f" on the {links.get(parameter, 'link')} scale"
    return f"{told}: {plain(row['median'])}{scale} ({_limits(row)})."


def page_title(fit: Fit, title: str | None) -> str:
    """The page's title: the one asked for, or the spec's."""
    return title or str(spec_part(fit.tree, "title") or spec_part(fit.tree, "name") or "Hierarchical model")
