"""Reaction time is linear in days, normal error, correlated effects."""

from __future__ import annotations

import pymc as pm
import pytensor.tensor as pt


def build(data, *, is_centered):
    """The posterior as a PyMC model, rows gathered by patient."""
    patients = int(data["id"].max()) + 1
    with pm.Model() as model:
        typical = pm.Normal("typical", [300.0, 0.0], [100.0, 20.0])
        omega = pm.HalfNormal("omega", [100.0, 20.0])
        rho = pm.Deterministic("rho", 2 * pm.Beta("rho_unit", 2, 2) - 1)
        sigma = pm.HalfNormal("sigma", 100.0)
        rest = pt.sqrt(1 - rho**2)
        if is_centered:
            start = pm.Normal("start", typical[0], omega[0], shape=patients)
            given = typical[1] + omega[1] * rho * (start - typical[0]) / omega[0]
            slope = pm.Normal("slope", given, omega[1] * rest, shape=patients)
        else:
            first = pm.Normal("first", 0, 1, shape=patients)
            second = pm.Normal("second", 0, 1, shape=patients)
            start = typical[0] + omega[0] * first
            slope = typical[1] + omega[1] * (rho * first + rest * second)
        pm.Deterministic("effects", pt.stack([start, slope], axis=-1))
        pm.Normal("y", start[data["id"]] + slope[data["id"]] * data["x"], sigma, observed=data["y"])
    return model
