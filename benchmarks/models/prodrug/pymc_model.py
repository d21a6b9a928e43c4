"""Losartan and its active metabolite after an oral dose: closed form, combined error, values below 10 censored."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt


def build(data, *, is_centered):
    """The posterior as a PyMC model, rows gathered by patient; the textbook sum of exponentials."""
    patients = len(data["alleles"])
    with pm.Model() as model:
        middle = np.log([200.0, 0.3, 0.05, 0.14, 2.0])
        typical = pm.Normal("typical", middle, [1.0, 0.3, 1.0, 0.5, 0.3])
        beta = pm.Normal("beta", 0, 1)
        omega = pm.LogNormal("omega", np.full(3, np.log(0.4)), 0.5)
        sigma = pm.LogNormal("sigma", np.log([5.0, 0.15, 5.0, 0.15]), 0.5)
        middles = (typical[0], typical[2] + beta * data["alleles"], typical[3])
        effects = []
        for place, (name, middle) in enumerate(zip(("V", "k_act", "k_out"), middles, strict=True)):
            if is_centered:
                effects.append(pm.Normal(name, middle, omega[place], shape=patients))
            else:
                effects.append(middle + omega[place] * pm.Normal(f"standard_{name}", 0, 1, shape=patients))
        pm.Deterministic("effects", pt.stack(effects, axis=-1))
        individual = (*(pt.exp(effect) for effect in effects), pt.exp(typical[1]), pt.exp(typical[4]))
        for place, analyte in enumerate(("losartan", "e3174")):
            _observe(analyte, data, individual, (sigma[2 * place], sigma[2 * place + 1]))
    return model


def _observe(analyte, data, individual, sigma):
    volume, k_act, k_out, k_el, k_a = individual
    who = data[f"id_{analyte}"]
    since = np.maximum(data[f"x_{analyte}"] - 0.8, 0.0)
    given = 1000.0 * data["dose"][who] * k_a / volume[who]
    loss = k_el + k_act[who]
    if analyte == "losartan":
        predicted = given / (k_a - loss) * (pt.exp(-loss * since) - pt.exp(-k_a * since))
    else:
        out = k_out[who]
        absorbed = pt.exp(-k_a * since) / ((loss - k_a) * (out - k_a))
        lost = pt.exp(-loss * since) / ((k_a - loss) * (out - loss))
        gone = pt.exp(-out * since) / ((k_a - out) * (loss - out))
        predicted = given * k_act[who] * (absorbed + lost + gone)
    sd = pt.sqrt(sigma[0] ** 2 + (sigma[1] * predicted) ** 2 + data[f"se_{analyte}"] ** 2)
    below = data[f"below_{analyte}"] > 0
    measured, censored = np.flatnonzero(~below), np.flatnonzero(below)
    pm.Normal(analyte, predicted[measured], sd[measured], observed=data[f"y_{analyte}"][measured])
    mass = pm.logcdf(pm.Normal.dist(predicted[censored], sd[censored]), data[f"y_{analyte}"][censored])
    pm.Potential(f"{analyte}_below", mass.sum())
