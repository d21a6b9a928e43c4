"""Losartan and its active metabolite after an oral dose: closed form, combined error, values below 10 censored.

The closed form is this project's own mechanism: a hand-writer with the same formula in hand.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import log_ndtr

from hierarchical_twin.mechanisms.prodrug import prodrug_activation

MIDDLE = jnp.log(jnp.array([200.0, 0.3, 0.05, 0.14, 2.0]))
SPREAD = jnp.array([1.0, 0.3, 1.0, 0.5, 0.3])
SIGMA = jnp.log(jnp.array([5.0, 0.15, 5.0, 0.15]))


def model(data, *, is_centered):
    """The posterior, patient-major; typical is log of V, k_el, k_act, k_out, k_a."""
    typical = numpyro.sample("typical", dist.Normal(MIDDLE, SPREAD).to_event(1))
    beta = numpyro.sample("beta", dist.Normal(0.0, 1.0))
    omega = numpyro.sample("omega", dist.LogNormal(jnp.full(3, math.log(0.4)), 0.5).to_event(1))
    sigma = numpyro.sample("sigma", dist.LogNormal(SIGMA, 0.5).to_event(1))
    middles = (typical[0], typical[2] + beta * data["alleles"], typical[3])
    effects = []
    with numpyro.plate("patient", len(data["alleles"])):
        for place, (name, middle) in enumerate(zip(("V", "k_act", "k_out"), middles, strict=True)):
            if is_centered:
                effects.append(numpyro.sample(name, dist.Normal(middle, omega[place])))
            else:
                standard = numpyro.sample(f"standard_{name}", dist.Normal())
                effects.append(middle + omega[place] * standard)
    numpyro.deterministic("effects", jnp.stack(effects, -1))
    volume, k_act, k_out = (jnp.exp(effect)[:, None] for effect in effects)
    none = jnp.zeros((len(data["alleles"]), 1))
    for place, (analyte, drug) in enumerate((("losartan", "prodrug"), ("e3174", "active"))):
        solution = prodrug_activation(
            data[f"x_{analyte}_padded"],
            none,
            data["dose"][:, None],
            none,
            V=volume,
            k_el=jnp.exp(typical[1]),
            k_act=k_act,
            k_out=k_out,
            k_a=jnp.exp(typical[4]),
            t_lag=0.8,
            input="oral",
        )
        # umol / L to nM.
        _observe(analyte, data, 1000.0 * solution[drug], sigma[2 * place], sigma[2 * place + 1])


def _observe(analyte, data, predicted, additive, proportional):
    sd = jnp.sqrt(additive**2 + (proportional * predicted) ** 2 + data[f"se_{analyte}_padded"] ** 2)
    y, below, mask = (
        data[f"y_{analyte}_padded"],
        data[f"below_{analyte}_padded"] > 0,
        data[f"mask_{analyte}"],
    )
    numpyro.sample(analyte, dist.Normal(predicted, sd).mask(mask & ~below), obs=y)
    numpyro.factor(f"{analyte}_below", jnp.where(mask & below, log_ndtr((y - predicted) / sd), 0.0))
