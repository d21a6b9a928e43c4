"""Twins of patients whose answers are known in closed form, under populations that are known for certain."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prediction.dosed import BOLUS, bolus_rows
from prediction.models import LINE, line_rows

import hierarchical_twin as ht
from twin.lines import posterior_on_line
from twin.posited import known_fit

CASES = Path(__file__).parents[2] / "case_studies"
MEAN = np.array([250.0, 10.0])
SDS = np.array([25.0, 6.0])
CORRELATION = np.array([[1.0, 0.2], [0.2, 1.0]])
SIGMA = 20.0
TUMOR_SDS = np.array([0.35, 0.02])
OUT = 0.15
"""Rate at which the active drug leaves, held in the dosed spec."""
COVARIANCE = SDS[:, None] * CORRELATION * SDS


@cache
def study_fit() -> ht.Fit:
    """Reaction times along a line for each person: linear and Gaussian."""
    spec = ht.read_spec(ht.shipped_specs()["sleep"])
    table = pd.read_csv(CASES / "sleep" / "sleepstudy.csv")
    population = {
        "intercept_typical": MEAN[0],
        "slope_typical": MEAN[1],
        "omega": SDS,
        "omega_correlation": CORRELATION,
        "sigma_reaction": SIGMA,
    }
    return known_fit(spec, table[table["id"] <= 309], population)


def sleeper(times: tuple[float, ...] = (), values: tuple[float, ...] = (), particles: int = 2000) -> ht.Twin:
    """The twin of a new person, measured at some times."""
    twin = ht.start_twin(study_fit(), patient="new", covariates={}, particles=particles, seed=1)
    if not times:
        return twin
    return ht.update(twin, pd.DataFrame({"time_d": times, "reaction_ms": values}))


def line_posterior(times: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a new person's intercept and slope, given measurements."""
    return posterior_on_line(times, values, MEAN, COVARIANCE, SIGMA)


def at_time(time: float, known: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Mean and SD of the true value at a time."""
    row = np.array([1.0, time])
    return float(row @ known[0]), float(np.sqrt(row @ known[1] @ row))


@cache
def dosed_fit() -> ht.Fit:
    """A prodrug given in repeated doses."""
    population = {
        "V_typical": 20.0,
        "k_el_typical": 0.2,
        "k_act_typical": 0.1,
        "beta_k_act": -0.5,
        "omega": 0.3,
        "sigma_active": 0.05,
    }
    return known_fit(ht.parse_spec(BOLUS), bolus_rows(), population)


@cache
def dosed() -> ht.Twin:
    """A new patient with one dose behind them and two levels."""
    twin = ht.start_twin(dosed_fit(), patient="new", covariates={"slow": 0}, particles=500, seed=2)
    given = {"hour": 0.0, "evid": 1, "amount": 100.0}
    seen = [{"hour": hour, "evid": 0, "y": level} for hour, level in ((1.0, 0.35), (4.0, 0.7))]
    return ht.update(twin, [given, *seen])


@cache
def glucose_fit() -> ht.Fit:
    """Insulin measured over time, drives glucose."""
    spec = ht.read_spec(ht.shipped_specs()["glucose_minimal_model"])
    table = pd.read_csv(CASES / "glucose_minimal_model" / "simulated_cohort.csv")
    population = {
        "G_0_typical": 280.0,
        "S_G_typical": 0.02,
        "S_I_typical": 6e-4,
        "p_2_typical": 0.03,
        "omega": 0.3,
        "sigma_glucose": 5.0,
    }
    return known_fit(spec, table[table["id"] <= 2], population)


def glucose_rows() -> pd.DataFrame:
    """Records of the third patient of the simulated cohort."""
    table = pd.read_csv(CASES / "glucose_minimal_model" / "simulated_cohort.csv")
    return table[table["id"] == 3].drop(columns="id").reset_index(drop=True)


@cache
def glucose_twin() -> ht.Twin:
    """The third patient's twin."""
    facts = {"basal_glucose_mg_per_dL": 90.0, "basal_insulin_uU_per_mL": 10.0}
    twin = ht.start_twin(glucose_fit(), patient="3", covariates=facts, particles=300, seed=3)
    return ht.update(twin, glucose_rows().drop(columns=list(facts)))


@cache
def tumor_fit() -> ht.Fit:
    """Exponential growth under a lognormal error."""
    spec = ht.read_spec(ht.shipped_specs()["tumor_growth"])
    table = pd.read_csv(CASES / "tumor_growth" / "lung_xenograft_control.csv")
    population = {
        "V_0_typical": 0.15,
        "r_typical": 0.09,
        "omega": TUMOR_SDS,
        "omega_correlation": np.eye(2),
        "sigma_volume": 0.2,
    }
    return known_fit(spec, table, population)


@cache
def site_fit() -> ht.Fit:
    """Lines of patients at three sites, one of them far from the others."""
    population = {
        "intercept_typical": 5.0,
        "slope_typical": 1.0,
        "beta_slope": 0.0,
        "omega": [3.0, 0.5],
        "omega_correlation": np.eye(2),
        "omega_site": 1.0,
        "eta_site": [[0.0], [4.0], [-1.0]],
        "sigma_y": 1.0,
    }
    return known_fit(ht.parse_spec(LINE), line_rows(6), population)


@cache
def killed() -> ht.Twin:
    """Cells of a new patient, which two concentrations have been tried on: no time."""
    spec = ht.read_spec(ht.shipped_specs()["apoptosis_threshold"])
    table = pd.read_csv(CASES / "apoptosis_threshold" / "cll_exvivo_fludarabine_nutlin3.csv")
    chosen = table[table["tp53"].notna()]["id"].unique()[:4]
    population = {
        "K_apo_typical": 2.5,
        "n_typical": 1.2,
        "beta_K_apo": 1.0,
        "omega": 1.0,
        "sigma_viability": 0.1,
    }
    fit = known_fit(spec, table[table["id"].isin(chosen)], population)
    twin = ht.start_twin(fit, patient="new", covariates={"tp53": 1}, particles=400, seed=4)
    return ht.update(twin, pd.DataFrame({"conc_uM": [1.0, 10.0], "viability": [0.9, 0.45]}))
