"""The glucose minimal model, closed form, four independent effects.

The closed form is this project's own mechanism (8-point quadrature, associative scan): a hand-writer with the
same function in hand.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from hierarchical_twin.mechanisms.glucose import glucose_minimal_model

NAMES = ("G_0", "S_G", "S_I", "p_2")
MIDDLE = jnp.log(jnp.array([260.0, 0.02, 5e-4, 0.03]))
SPREAD = jnp.array([0.3, 0.7, 1.0, 0.7])


def model(data, *, is_centered):
    """The posterior, patient-major; typical is log of G_0, S_G, S_I, p_2."""
    typical = numpyro.sample("typical", dist.Normal(MIDDLE, SPREAD).to_event(1))
    omega = numpyro.sample("omega", dist.HalfNormal(jnp.full(4, 0.5)).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(10.0))
    effects = []
    with numpyro.plate("patient", len(data["G_b"])):
        for place, name in enumerate(NAMES):
            if is_centered:
                effects.append(numpyro.sample(name, dist.Normal(typical[place], omega[place])))
            else:
                standard = numpyro.sample(f"standard_{name}", dist.Normal())
                effects.append(typical[place] + omega[place] * standard)
    numpyro.deterministic("effects", jnp.stack(effects, -1))
    solution = glucose_minimal_model(
        jnp.asarray(data["time_padded"]),
        jnp.asarray(data["insulin_padded"]),
        **{name: jnp.exp(effect)[:, None] for name, effect in zip(NAMES, effects, strict=True)},
        G_b=data["G_b"][:, None],
        I_b=data["I_b"][:, None],
    )
    numpyro.sample("y", dist.Normal(solution["G"], sigma).mask(data["mask"]), obs=data["y_padded"])
