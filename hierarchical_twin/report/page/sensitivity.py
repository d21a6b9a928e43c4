"""How far the answers hang on the priors: power-scaling, and the posterior beside the prior."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.sensitivity import NO_CONCERN, power_scaling, prior_posterior
from hierarchical_twin.errors import TwinError
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.page.numbers import percent, plain, span
from hierarchical_twin.report.page.pictures import picture_of
from hierarchical_twin.report.page.predicted import Predicted
from hierarchical_twin.report.page.sections import Absent, Gate, Picture, SensitivitySection
from hierarchical_twin.report.prior_posterior import prior_posterior_figure

_COLUMNS = (
    "Quantity",
    "Prior median and interval",
    "Posterior median and interval",
    "Told by data",
    "Prior",
    "Likelihood",
    "Reading",
)


def gather_sensitivity(
    fit: Fit, predicted: Predicted, prob: float
) -> tuple[SensitivitySection, tuple[Gate, ...]]:
    """The section, and the gate that says whether a prior decides.

    Parameters
    ----------
    fit : Fit
        Under its own labels: its table is read again.
    predicted : Predicted
        Says why a fit cannot be read again.
    prob : float
    """
    if predicted.measured is None:
        absent = (
            Absent(
                "Prior beside posterior", f"The priors cannot be drawn from this fit: {predicted.why_not}"
            ),
        )
        return SensitivitySection((), (), (), (), absent), ()
    # JAX is imported with it, and a page of a fit without its table does without.
    from hierarchical_twin.prediction.population_prior import draw_population_prior, population_log_prior

    prior = draw_population_prior(fit)
    beside = prior_posterior(fit.tree, prior, prob=prob)
    absent: tuple[Absent, ...] = ()
    try:
        scaled = power_scaling(fit.tree, population_log_prior(fit)).set_index("variable")
    except TwinError as error:
        scaled = pd.DataFrame(columns=["prior", "likelihood", "diagnosis"])
        absent = (Absent("Power-scaling sensitivity", str(error)),)
    rows = tuple(_row(line, scaled) for _, line in beside.iterrows())
    pictures: tuple[Picture, ...] = (picture_of("prior", lambda: prior_posterior_figure(fit, prior)),)
    return SensitivitySection(_words(scaled), _COLUMNS, rows, pictures, absent), _gates(scaled)


def _words(scaled: pd.DataFrame) -> tuple[str, ...]:
    words = (
        "Told by data: 1 − (width after / width before)²; near 100 % the data decide, near 0 the prior does. "
        "Prior and likelihood: how far the posterior moves when either is made a little stronger or weaker "
        "(power-scaling); from 0.05 on it matters."
    )
    if scaled.empty:
        return (words,)
    noticed = list(scaled.index[scaled["diagnosis"] != NO_CONCERN])
    if not noticed:
        return ("No quantity of the population hangs noticeably on its prior.", words)
    return (f"Read with their priors in mind: {', '.join(noticed)}.", words)


def _gates(scaled: pd.DataFrame) -> tuple[Gate, ...]:
    if scaled.empty:
        return ()
    noticed = [str(name) for name in scaled.index[scaled["diagnosis"] != NO_CONCERN]]
    found = f"{len(noticed)} of {len(scaled)} quantities noticeably sensitive"
    advice = (
        f"Look at the priors of {', '.join(noticed[:4])}{' and others' if len(noticed) > 4 else ''} in the section "
        "on sensitivity; fit again with others that are as defensible, and see whether the answer stands."
    )
    return (
        Gate(
            "Priors",
            "attention" if noticed else "passed",
            found,
            expected="sensitivities to the prior below 0.05",
            checked="Whether any quantity of the population hangs on its prior (power-scaling sensitivity).",
            advice=advice if noticed else "",
        ),
    )


def _row(line: Any, scaled: pd.DataFrame) -> tuple[str, ...]:
    name = str(line["variable"])
    told = line["contraction"]
    head = (
        name,
        f"{plain(line['prior_median'])} ({span(line['prior_lower'], line['prior_upper'], 2)})",
        f"{plain(line['median'])} ({span(line['lower'], line['upper'])})",
        percent(float(told)) if np.isfinite(told) else "–",
    )
    if name not in scaled.index:
        return (*head, "–", "–", "")
    found = scaled.loc[name]
    reading = "" if found["diagnosis"] == NO_CONCERN else str(found["diagnosis"])
    return (*head, f"{found['prior']:.2f}", f"{found['likelihood']:.2f}", reading)
