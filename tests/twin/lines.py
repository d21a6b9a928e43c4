"""Lines whose population is known for certain, so that every forecast is a normal distribution in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd

import hierarchical_twin as ht

from .made import made_fit

TYPICAL, OMEGA, SIGMA = np.array([5.0, 1.0]), np.array([3.0, 0.5]), 0.8
SPEC = """\
spec: 1
name: lines
title: A line for each patient
mechanism: linear
time: {column: t, unit: h}
patient: {column: id}
parameters:
  intercept: {unit: m, link: identity, typical: "Normal(mean=0, sd=20)", formula: "1 + (1 | patient)"}
  slope: {unit: m/h, link: identity, typical: "Normal(mean=0, sd=5)", formula: "1 + (1 | patient)"}
random_effects:
  patient: {sd: "HalfNormal(5)"}
observations:
  y: {column: y, unit: m, predicts: y, error: normal, sigma: "HalfNormal(5)"}
"""


def line_rows(patients: int, records: int = 6, seed: int = 0, prefix: str = "p") -> pd.DataFrame:
    """Rows of patients of this population, a measurement each 2 h."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(patients):
        own = TYPICAL + OMEGA * rng.standard_normal(2)
        t = 2.0 * np.arange(records)
        y = own[0] + own[1] * t + SIGMA * rng.standard_normal(records)
        frames.append(pd.DataFrame({"id": f"{prefix}{number}", "t": t, "y": y}))
    return pd.concat(frames, ignore_index=True)


def known_fit(patients: int = 3, draws: int = 1000) -> ht.Fit:
    """A fit whose draws of the population are all the truth."""
    rows = line_rows(patients, seed=99, prefix="fitted")
    eta = OMEGA * np.random.default_rng(1).standard_normal((draws, patients, 2))
    population = {
        "intercept_typical": np.full(draws, TYPICAL[0]),
        "slope_typical": np.full(draws, TYPICAL[1]),
        "omega": np.tile(OMEGA, (draws, 1)),
        "sigma_y": np.full(draws, SIGMA),
    }
    return made_fit(ht.parse_spec(SPEC), rows, {**population, "eta": eta})


def exact_forecast(
    t: np.ndarray, y: np.ndarray, ahead: np.ndarray, wider: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD ``[ahead]`` of new measurements given some; effects' SDs so many times wider."""
    design = np.stack([np.ones_like(t), t], axis=1)
    precision = design.T @ design / SIGMA**2 + np.diag((wider * OMEGA) ** -2.0)
    covariance = np.linalg.inv(precision)
    mean = TYPICAL + covariance @ design.T @ (y - design @ TYPICAL) / SIGMA**2
    later = np.stack([np.ones_like(ahead), ahead], axis=1)
    return later @ mean, np.sqrt(np.einsum("ij,jk,ik->i", later, covariance, later) + SIGMA**2)
