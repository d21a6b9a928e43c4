"""Survival is logistic in log dose, its threshold the patient's own, its steepness common."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def model(data, *, is_centered):
    """The posterior, patient-major."""
    location, spread = jnp.array([math.log(2.5), 0.0]), jnp.array([1.5, 0.5])
    typical = numpyro.sample("typical", dist.Normal(location, spread).to_event(1))
    beta = numpyro.sample("beta", dist.Normal(0.0, 1.0))
    omega = numpyro.sample("omega", dist.HalfNormal(jnp.ones(1)).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(0.3))
    middle = typical[0] + beta * data["tp53"]
    with numpyro.plate("patient", len(data["tp53"])):
        if is_centered:
            threshold = numpyro.sample("threshold", dist.Normal(middle, omega[0]))
        else:
            threshold = middle + omega[0] * numpyro.sample("standard", dist.Normal())
    numpyro.deterministic("effects", threshold[:, None])
    survival = jax.nn.sigmoid(-jnp.exp(typical[1]) * (data["x_padded"] - threshold[:, None]))
    numpyro.sample("y", dist.Normal(survival, sigma), obs=data["y_padded"])
