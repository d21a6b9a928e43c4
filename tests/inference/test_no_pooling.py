"""Estimates without the population keep what an outer level, such as a site, says."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from agreement.declared import DECLARED

from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import central_point, parameters_at
from hierarchical_twin.inference.no_pooling import _hold_effects


def test_a_site_s_effects_stay_at_their_posterior_mean() -> None:
    declared = DECLARED["sites"]
    model = build(declared.spec, declared.cohort, parameterization="noncentered")
    point = np.asarray(central_point(model)).copy()
    shape = parameters_at(model, jnp.asarray(point))["eta_site"].shape
    draws = np.random.default_rng(1).normal(size=(2, 5, *shape))
    _hold_effects(model, point, "_site", {"eta_site": draws})
    held = np.asarray(parameters_at(model, jnp.asarray(point))["eta_site"])
    np.testing.assert_allclose(held, draws.mean(axis=(0, 1)), rtol=1e-12)
