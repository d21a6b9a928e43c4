"""Who was measured when: designs and populations that cohorts are simulated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

import hierarchical_twin as ht

CASES = Path(__file__).parents[2] / "case_studies"


@dataclass(frozen=True)
class Design:
    """A spec, a table that gives the design, and the population.

    `priors` replaces priors of the shipped spec by narrower ones, from which the population is then
    drawn afresh for each cohort; `population` holds it instead. `process_noise` is added to the spec.
    """

    spec: str
    table: str
    patients: int
    cohorts: int
    parameters: tuple[str, ...]
    priors: tuple[tuple[str, str], ...] = ()
    population: Mapping[str, float | list[float]] | None = None
    process_noise: str = ""

    def model(self) -> ht.Model:
        """The model over the design; its measurements are to be replaced."""
        text = ht.shipped_specs()[self.spec].read_text(encoding="utf-8")
        for old, new in self.priors:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        spec = ht.parse_spec(text + self.process_noise)
        frame = pd.read_csv(CASES / self.table)
        frame = frame[frame["id"].isin(frame["id"].unique()[: self.patients])]
        return ht.build(spec, ht.read_cohort(frame, spec))


DESIGNS = {
    "tumor_growth": Design(
        spec="tumor_growth",
        table="tumor_growth/lung_xenograft_control.csv",
        patients=8,
        cohorts=6,
        parameters=("V_0", "r"),
        priors=(
            ("LogNormal(median=0.2, sd=1)", "LogNormal(median=0.2, sd=0.5)"),
            ("Normal(mean=0, sd=0.2)", "Normal(mean=0.08, sd=0.03)"),
            ('"HalfNormal(1)"', '"LogNormal(median=0.4, sd=0.4)"'),
            ('"HalfNormal(0.1)"', '"LogNormal(median=0.02, sd=0.4)"'),
            ('"HalfNormal(0.5)"', '"LogNormal(median=0.2, sd=0.3)"'),
        ),
    ),
    "linear": Design(
        spec="sleep",
        table="sleep/sleepstudy.csv",
        patients=18,
        cohorts=6,
        parameters=("intercept", "slope"),
        priors=(
            ("Normal(mean=300, sd=100)", "Normal(mean=250, sd=30)"),
            ("Normal(mean=0, sd=20)", "Normal(mean=10, sd=5)"),
            ('intercept: "HalfNormal(100)"', 'intercept: "LogNormal(median=25, sd=0.4)"'),
            ('slope: "HalfNormal(20)"', 'slope: "LogNormal(median=6, sd=0.4)"'),
            ('sigma: "HalfNormal(100)"', 'sigma: "LogNormal(median=25, sd=0.3)"'),
        ),
    ),
    "apoptosis": Design(
        spec="apoptosis_threshold",
        table="apoptosis_threshold/cll_exvivo_fludarabine_nutlin3.csv",
        patients=30,
        cohorts=5,
        parameters=("K_apo",),
        priors=(
            ("LogNormal(median=2.5, sd=1.5)", "LogNormal(median=2.5, sd=0.5)"),
            ("LogNormal(median=1, sd=0.5)", "LogNormal(median=1, sd=0.2)"),
            ('"HalfNormal(1)"', '"LogNormal(median=1, sd=0.3)"'),
            ('"HalfNormal(0.3)"', '"LogNormal(median=0.1, sd=0.3)"'),
        ),
    ),
    "prodrug": Design(
        spec="prodrug_activation",
        table="prodrug_activation/losartan_cyp2c9_arms.csv",
        patients=5,
        cohorts=5,
        parameters=("V", "k_act", "k_out"),
        priors=(
            ("LogNormal(median=200, sd=1)", "LogNormal(median=200, sd=0.4)"),
            ("LogNormal(median=0.05, sd=1)", "LogNormal(median=0.1, sd=0.4)"),
            ("LogNormal(median=0.14, sd=0.5)", "LogNormal(median=0.14, sd=0.3)"),
            ("Normal(mean=0, sd=1)", "Normal(mean=-0.5, sd=0.3)"),
        ),
    ),
    "minimal model": Design(
        spec="glucose_minimal_model",
        table="glucose_minimal_model/simulated_cohort.csv",
        patients=8,
        cohorts=3,
        parameters=("G_0", "S_G", "S_I", "p_2"),
        population={
            "G_0_typical": 270.0,
            "S_G_typical": 0.02,
            "S_I_typical": 5e-4,
            "p_2_typical": 0.03,
            "omega": [0.15, 0.3, 0.6, 0.3],
            "sigma_glucose": 6.0,
        },
    ),
}
DESIGNS["linear_wandering"] = replace(
    DESIGNS["linear"], cohorts=4, process_noise='process_noise: {y: "LogNormal(median=15, sd=0.3)"}\n'
)
"""Name to design; the minimal model is the slowest, so its cohorts are few and small."""
