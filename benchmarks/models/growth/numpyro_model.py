"""Log volume is linear in time: V = V_0 exp(r t), lognormal error, correlated effects."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def model(data, *, is_centered):
    """The posterior, patient-major; LKJ(2) of two effects is a Beta(2, 2) correlation."""
    typical = numpyro.sample(
        "typical", dist.Normal(jnp.array([math.log(0.2), 0.0]), jnp.array([1.0, 0.2])).to_event(1)
    )
    omega = numpyro.sample("omega", dist.HalfNormal(jnp.array([1.0, 0.1])).to_event(1))
    rho = numpyro.deterministic("rho", 2 * numpyro.sample("rho_unit", dist.Beta(2.0, 2.0)) - 1)
    sigma = numpyro.sample("sigma", dist.HalfNormal(0.5))
    rest = jnp.sqrt(1 - rho**2)
    with numpyro.plate("patient", len(data["y_padded"])):
        if is_centered:
            start = numpyro.sample("start", dist.Normal(typical[0], omega[0]))
            given = typical[1] + omega[1] * rho * (start - typical[0]) / omega[0]
            slope = numpyro.sample("slope", dist.Normal(given, omega[1] * rest))
        else:
            first = numpyro.sample("first", dist.Normal())
            second = numpyro.sample("second", dist.Normal())
            start = typical[0] + omega[0] * first
            slope = typical[1] + omega[1] * (rho * first + rest * second)
    numpyro.deterministic("effects", jnp.stack([start, slope], -1))
    predicted = start[:, None] + slope[:, None] * data["x_padded"]
    numpyro.sample("y", dist.Normal(predicted, sigma).mask(data["mask"]), obs=data["y_padded"])
