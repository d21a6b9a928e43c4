"""The pilot starts every shipped model at a sensible place, and says so where there is none."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement.shipped import TABLES

import hierarchical_twin as ht
from hierarchical_twin.graph.blocks import mark_population
from hierarchical_twin.graph.evaluate import central_point, flat_size, layout, log_density, parameters_at
from hierarchical_twin.inference.geometry import find_geometry
from hierarchical_twin.inference.pilot import convert_points, draw_starts, find_pilot, sampled_model
from inference.models import LINEAR, linear_model, sleep_model

GROWTH = ht.shipped_specs()["tumor_growth"].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_start_for_every_shipped_spec(name):
    spec = ht.read_spec(ht.shipped_specs()[name])
    model = ht.build(spec, ht.read_cohort(TABLES[name](), spec))
    pilot = find_pilot(model)
    value, slope = pilot.objective(pilot.position)
    assert np.isfinite(slope).all()
    assert value < pilot.objective(np.asarray(central_point(pilot.model)))[0]
    assert 0 < pilot.gradient_seconds < 1
    own = sampled_model(model, pilot)
    points = draw_starts(pilot, chains=4, seed=0)
    starts = convert_points(pilot, own, points)
    assert starts.shape == (4, flat_size(own)) and starts.dtype == np.float64
    assert len({start.tobytes() for start in starts}) == 4
    density = jax.jit(jax.vmap(jax.value_and_grad(log_density(own))))
    values, slopes = density(jnp.asarray(starts))
    assert np.isfinite(values).all() and np.isfinite(slopes).all()
    assert np.array_equal(points, draw_starts(pilot, chains=4, seed=0))
    assert not np.array_equal(points, draw_starts(pilot, chains=4, seed=1))


def test_the_root_is_the_spread_of_the_posterior_where_that_is_known():
    """Many precise rows of one straight line each: a mixed model whose typical values are known normal."""
    rng = np.random.default_rng(3)
    lines = rng.normal([10.0, 2.0], [1.5, 0.4], (60, 2))
    rows = [
        (f"p{n}", t, a + b * t + 0.3 * rng.standard_normal())
        for n, (a, b) in enumerate(lines)
        for t in (0.0, 1.0, 3.0, 6.0)
    ]
    pilot = find_pilot(linear_model(LINEAR, rows))
    places = {slot.name: slot.start for slot in layout(pilot.model)}
    marked = np.flatnonzero(mark_population(pilot.model))
    spread = np.sqrt(np.diag(pilot.root @ pilot.root.T))
    at = dict(zip(marked, spread, strict=True))
    assert at[places["intercept_typical"]] == pytest.approx(lines[:, 0].std() / np.sqrt(60), rel=0.15)
    assert at[places["slope_typical"]] == pytest.approx(lines[:, 1].std() / np.sqrt(60), rel=0.15)


def test_the_start_is_near_the_truth():
    rows = [(f"p{n}", t, 10.0 + n + (2 + 0.1 * n) * t) for n in range(5) for t in (0.0, 1.0, 3.0, 6.0)]
    model = linear_model(LINEAR, rows)
    pilot = find_pilot(model)
    found = parameters_at(pilot.model, jnp.asarray(pilot.position))
    assert np.asarray(found["slope"]) == pytest.approx([2.0, 2.1, 2.2, 2.3, 2.4], abs=0.1)
    assert np.asarray(found["intercept"]) == pytest.approx([10, 11, 12, 13, 14], abs=0.5)


def test_the_residual_does_not_run_to_zero_where_effects_can_fit_everything():
    """Two measurements for a patient's two effects: the joint mode is at sigma = 0, the truth at 0.5."""
    rng = np.random.default_rng(1)
    rows = [(f"p{n}", t, 10 + n + 2 * t + 0.5 * rng.standard_normal()) for n in range(10) for t in (0.0, 4.0)]
    pilot = find_pilot(linear_model(LINEAR, rows))
    (sigma,) = (slot.start for slot in layout(pilot.model) if slot.name == "sigma_y")
    assert 0.05 < np.exp(pilot.position[sigma]) < 5


def test_data_that_cannot_be_under_the_priors():
    """At the middle of this prior a tumour grows beyond any number a computer has."""
    text = GROWTH.replace("Normal(mean=0, sd=0.2)", "Normal(mean=1e200, sd=1)")
    spec = ht.parse_spec(text)
    model = ht.build(spec, ht.read_cohort(TABLES["tumor_growth"](), spec))
    with pytest.raises(ht.SamplingError, match=r"start of sampling: got .*not finite"):
        ht.sample(model, chains=1, warmup=5, draws=5, device="cpu", progress=False)


@pytest.mark.parametrize("choice", ["centered", "noncentered"])
def test_the_populations_scales_serve_any_coordinates_of_the_effects(choice):
    pilot = find_pilot(sleep_model())
    geometry = find_geometry(pilot, ht.build(pilot.model.spec, pilot.model.cohort, parameterization=choice))
    assert np.array_equal(geometry.root, pilot.root) and np.array_equal(geometry.center, pilot.center)
    assert geometry.effect_scale.shape == (2, 6) and (geometry.effect_scale > 0).all()
