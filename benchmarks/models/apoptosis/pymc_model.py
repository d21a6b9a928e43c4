"""Survival is logistic in log dose, its threshold the patient's own, its steepness common."""

from __future__ import annotations

import math

import pymc as pm
import pytensor.tensor as pt


def build(data, *, is_centered):
    """The posterior as a PyMC model, rows gathered by patient."""
    patients = len(data["tp53"])
    with pm.Model() as model:
        typical = pm.Normal("typical", [math.log(2.5), 0.0], [1.5, 0.5])
        beta = pm.Normal("beta", 0, 1)
        omega = pm.HalfNormal("omega", [1.0])
        sigma = pm.HalfNormal("sigma", 0.3)
        middle = typical[0] + beta * data["tp53"]
        if is_centered:
            threshold = pm.Normal("threshold", middle, omega[0], shape=patients)
        else:
            threshold = middle + omega[0] * pm.Normal("standard", 0, 1, shape=patients)
        pm.Deterministic("effects", threshold[:, None])
        survival = pm.math.sigmoid(-pt.exp(typical[1]) * (data["x"] - threshold[data["id"]]))
        pm.Normal("y", survival, sigma, observed=data["y"])
    return model
