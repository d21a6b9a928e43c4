"""A synthetic fit of the sleep-deprivation study's shape: 18 patients, 10 days, two random effects.

Draws come from the exact conditional posterior of a linear mixed model at fixed variances, so the
picture is the classic one without sampling. Values are simulated, not the study's.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from hierarchical_twin.inference.fit import Fit

SPEC_TEXT = """
spec: 1
name: sleep
time: {column: day, unit: day}
observations:
  reaction: {column: reaction, unit: ms, predicts: y, error: normal}
"""
TYPICAL, OMEGA, SIGMA = np.array([251.0, 10.5]), np.array([25.0, 6.0]), 25.0


def sleep_fit(seed: int = 4, patients: int = 18, draws: int = 150, days: int = 10) -> Fit:
    """A fit with posterior, no-pooling, observed and predictive groups; the fourth patient has few rows."""
    rng = np.random.default_rng(seed)
    labels = [f"{300 + number}" for number in range(patients)]
    truth = TYPICAL + rng.normal(size=(patients, 2)) * OMEGA
    own, eta, rows = [], [], []
    for number in range(patients):
        day = np.arange(days if number != 3 else 3, dtype=float)
        design = np.stack([np.ones_like(day), day], axis=1)
        value = design @ truth[number] + rng.normal(size=len(day)) * SIGMA
        own.append(np.linalg.lstsq(design, value, rcond=None)[0])
        precision = design.T @ design / SIGMA**2 + np.diag(OMEGA**-2.0)
        centre = np.linalg.solve(precision, design.T @ (value - design @ TYPICAL) / SIGMA**2)
        eta.append(rng.multivariate_normal(centre, np.linalg.inv(precision), (4, draws)))
        rows.append((np.full(len(day), labels[number]), day, value, design))
    eta = np.stack(eta, axis=2)
    typical = TYPICAL + rng.normal(size=(4, draws, 2)) * [6.0, 1.5]
    values = typical[:, :, None] + eta
    mean = np.concatenate([values[:, :, n] @ rows[n][3].T for n in range(patients)], axis=2)
    return _assemble(rng, labels, rows, np.array(own), eta, typical, values, mean)


def _assemble(rng, labels, rows, own, eta, typical, values, mean) -> Fit:
    sample = ("chain", "draw")
    correlation = np.broadcast_to(np.eye(2), (*eta.shape[:2], 2, 2)).copy()
    correlation[..., 0, 1] = correlation[..., 1, 0] = rng.normal(0.07, 0.1, eta.shape[:2])
    posterior = xr.Dataset(
        {
            "intercept": ((*sample, "patient"), values[..., 0]),
            "slope": ((*sample, "patient"), values[..., 1]),
            "intercept_typical": (sample, typical[..., 0]),
            "slope_typical": (sample, typical[..., 1]),
            "omega": ((*sample, "effect"), OMEGA * np.exp(rng.normal(0, 0.1, (*eta.shape[:2], 2)))),
            "omega_correlation": ((*sample, "effect", "effect_other"), correlation),
            "eta": ((*sample, "patient", "effect"), eta),
        },
        {"patient": labels, "effect": ["intercept", "slope"], "effect_other": ["intercept", "slope"]},
    )
    dim = "observation_reaction"
    coords = {
        "patient_reaction": (dim, np.concatenate([row[0] for row in rows])),
        "time_reaction": (dim, np.concatenate([row[1] for row in rows])),
    }
    observed = xr.Dataset({"reaction": (dim, np.concatenate([row[2] for row in rows]))}, coords)
    predictive = xr.Dataset({"reaction": ((*sample, dim), mean + rng.normal(size=mean.shape) * SIGMA)})
    no_pooling = xr.Dataset(
        {"intercept": ("patient", own[:, 0]), "slope": ("patient", own[:, 1])}, {"patient": labels}
    )
    groups = {"posterior": posterior, "observed_data": observed, "posterior_predictive": predictive}
    tree = xr.DataTree.from_dict({**groups, "no_pooling": no_pooling})
    tree.attrs = {
        "spec": SPEC_TEXT,
        "link": json.dumps({"intercept": "identity", "slope": "identity"}),
        "unit": json.dumps({"intercept": "ms", "slope": "ms/day", "reaction": "ms"}),
        "error": json.dumps({"reaction": "normal"}),
    }
    return Fit(tree)


@pytest.fixture(scope="session")
def sleep() -> Fit:
    """Eighteen patients over ten days."""
    return sleep_fit()
