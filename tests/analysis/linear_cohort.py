"""A straight line for each patient, with a known population: predictions of it in closed form, without JAX."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from hierarchical_twin.analysis.prediction import Prediction

TYPICAL = np.array([2.0, 0.5])
OMEGA = np.array([[0.36, 0.06], [0.06, 0.04]])
SIGMA = 0.3


@dataclass(frozen=True)
class Truth:
    """What a cohort is simulated from."""

    patients: int = 40
    times: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0)
    draws: int = 400
    error: str = "normal"
    lower_limit: float = -np.inf
    """Of the measurement, on its own scale."""
    noise: float = 1.0
    """The residual SD of the data, as a multiple of the model's."""


def predicted_cohort(truth: Truth, seed: int = 0) -> Prediction:
    """Data from the model, and its predictions: the population known, effects from their exact posterior."""
    rng = np.random.default_rng(seed)
    design = np.stack([np.ones(len(truth.times)), np.asarray(truth.times)], axis=1)
    root, size = np.linalg.cholesky(OMEGA), len(truth.times)
    parts = []
    for _ in range(truth.patients):
        line = design @ (TYPICAL + root @ rng.normal(size=2))
        data = line + truth.noise * SIGMA * rng.normal(size=size)
        limit = truth.lower_limit
        if truth.error == "lognormal":
            limit = np.log(max(limit, 1e-300))
        is_below = data < limit
        effects = posterior_effects(rng, design, np.where(is_below, limit, data), is_below, truth.draws)
        own = (TYPICAL + effects) @ design.T
        others = (TYPICAL + rng.normal(size=(truth.draws, 2)) @ root.T) @ design.T
        noise = SIGMA * rng.normal(size=(2, truth.draws, size))
        parts.append((np.where(is_below, limit, data), is_below, own, own + noise[0], others + noise[1]))
    return _assemble(truth, design @ TYPICAL, parts)


def posterior_effects(rng, design, data, is_below, draws: int) -> np.ndarray:
    """Draws ``[draw, effect]`` of one patient's effects; censored data are augmented by Gibbs sampling."""
    precision = design.T @ design / SIGMA**2 + np.linalg.inv(OMEGA)
    covariance = np.linalg.inv(precision)
    root = np.linalg.cholesky(covariance)
    full = np.broadcast_to(data, (draws, len(data))).copy()
    for _ in range(60 if is_below.any() else 1):
        mean = (full - design @ TYPICAL) @ design @ covariance.T / SIGMA**2
        effects = mean + rng.normal(size=(draws, 2)) @ root.T
        center = ((TYPICAL + effects) @ design.T)[:, is_below]
        mass = ndtr((data[is_below] - center) / SIGMA)
        full[:, is_below] = center + SIGMA * ndtri(np.maximum(rng.uniform(size=mass.shape) * mass, 1e-300))
    return effects


def _assemble(truth: Truth, typical: np.ndarray, parts) -> Prediction:
    size, is_log = len(truth.times), truth.error == "lognormal"
    back = np.exp if is_log else np.asarray
    labels = [f"p{number}" for number in range(truth.patients)]
    rows = pd.DataFrame(
        {
            "patient": np.repeat(labels, size),
            "is_new": False,
            "outcome": "y",
            "time": np.tile(truth.times, truth.patients),
            "DV": back(np.concatenate([part[0] for part in parts])),
            "censored": np.concatenate([part[1] for part in parts]).astype(int),
        }
    )
    shape = (truth.draws, len(rows))
    return Prediction(
        rows=rows,
        individual=back(np.concatenate([part[2] for part in parts], axis=1)),
        population=np.broadcast_to(back(np.tile(typical, truth.patients)), shape).copy(),
        replicates=back(np.concatenate([part[3] for part in parts], axis=1)),
        new_patients=back(np.concatenate([part[4] for part in parts], axis=1)),
        residual_sd=np.full(shape, SIGMA),
        patients=pd.DataFrame({"patient": labels, "is_new": False}),
        parameters={},
        units={"y": "cm^3"},
        errors={"y": truth.error},
    )
