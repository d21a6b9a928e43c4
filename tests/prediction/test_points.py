"""What a fit stores of the population becomes the very points its model was sampled at."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import hierarchical_twin as ht
from hierarchical_twin.analysis.variables import posterior_of
from hierarchical_twin.graph.blocks import mark_population
from hierarchical_twin.graph.evaluate import flat_size, parameters_at, reported_values
from hierarchical_twin.graph.likelihood import JAX
from hierarchical_twin.graph.operations import vine_cholesky
from hierarchical_twin.inference.adaptation import population_names
from hierarchical_twin.inference.curvature import blank_information
from hierarchical_twin.inference.pilot import informed
from hierarchical_twin.prediction.points import partial_correlations, population_points
from prediction.models import LINE, line_rows

MIXED = LINE.replace(
    'patient: {sd: "HalfNormal(5)", correlation: "LKJ(2)"}',
    'patient: {sd: {intercept: "HalfNormal(5)", slope: "Exponential(mean=1)"}}',
).replace('"Normal(mean=0, sd=20)"', '"Uniform(lower=-30, upper=40)"')
OUTER = LINE.replace('formula: "1 + (1 | patient)"}', 'formula: "1 + (1 | patient) + (1 | site)"}').replace(
    'site: {sd: "HalfNormal(1)"}', 'site: {sd: "HalfNormal(1)", correlation: "LKJ(2)"}'
)


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def line_model(text: str) -> ht.Model:
    spec = ht.parse_spec(text)
    return ht.build(spec, ht.read_cohort(line_rows(), spec))


def stored(model: ht.Model, points: np.ndarray) -> xr.Dataset:
    """What a fit would hold of flat points ``[chain, draw, size]``, population and all."""

    def one(point: jax.Array) -> dict[str, jax.Array]:
        return reported_values(model, parameters_at(model, point))

    values = jax.jit(jax.vmap(jax.vmap(one)))(jnp.asarray(points))
    dims = {node.name: ("chain", "draw", *node.dims) for node in model.graph.reported}
    return xr.Dataset({name: (dims[name], np.asarray(value)) for name, value in values.items()})


@pytest.mark.parametrize("text", [LINE, MIXED, OUTER], ids=["sites", "mixed families", "two correlations"])
def test_the_round_trip_is_exact(text):
    model = line_model(text)
    own = informed(model, blank_information(model))
    points = 0.8 * np.random.default_rng(1).standard_normal((2, 9, flat_size(own)))
    found = population_points(own, stored(own, points))
    np.testing.assert_allclose(found, points[..., mark_population(own)], atol=1e-8)


@pytest.mark.parametrize("name", sorted(ht.shipped_specs()))
def test_every_shipped_population_comes_back(name):
    spec = ht.read_spec(ht.shipped_specs()[name])
    cohort = ht.read_cohort(shipped_table(name), spec)
    own = informed(ht.build(spec, cohort), blank_information(ht.build(spec, cohort)))
    points = 0.5 * np.random.default_rng(2).standard_normal((1, 4, flat_size(own)))
    found = population_points(own, stored(own, points))
    np.testing.assert_allclose(found, points[..., mark_population(own)], atol=1e-8)


def test_draws_are_thinned_within_chains(line_fit):
    model = line_model(LINE)
    own = informed(model, blank_information(model))
    posterior = posterior_of(line_fit.tree)
    whole = population_points(own, posterior)
    some = population_points(own, posterior, 90)
    assert whole.shape[:2] == (2, 200) and some.shape[:2] == (2, 40)
    np.testing.assert_array_equal(some, whole[:, ::5])


def test_the_points_are_those_the_sampler_moved_in(line_fit):
    """The fit's adaptation kept their mean, on the sampler's own scale."""
    model = line_model(LINE)
    own = informed(model, blank_information(model))
    points = population_points(own, posterior_of(line_fit.tree))
    mean = dict(zip(population_names(own), points.reshape(-1, points.shape[-1]).mean(axis=0), strict=True))
    group = line_fit.tree["adaptation"].to_dataset()
    kept = dict(zip(map(str, group["coordinate"].values), group["center"].values, strict=True))
    same = [name for name in kept if name in mean and "site[" not in name]
    assert {"slope_typical", "sigma_y", "omega[slope]", "omega_partial[intercept~slope]"} <= set(same)
    for name in same:
        assert mean[name] == pytest.approx(kept[name], abs=1e-8)


def test_partial_correlations_make_the_matrix_again():
    rng = np.random.default_rng(3)
    unit = rng.uniform(0.02, 0.98, (50, 6))
    root = jax.vmap(lambda own: vine_cholesky(JAX, own, size=4))(jnp.asarray(unit))
    matrix = np.asarray(root @ jnp.swapaxes(root, 1, 2))
    np.testing.assert_allclose(partial_correlations(matrix), unit, atol=1e-8)


def test_a_perfect_correlation_stays_finite():
    unit = partial_correlations(np.array([[[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]]))
    assert np.isfinite(unit).all() and ((unit > 0) & (unit < 1)).all()


def test_draws_of_another_spec_are_refused(line_fit):
    model = line_model(MIXED)
    own = informed(model, blank_information(model))
    posterior = posterior_of(line_fit.tree).drop_vars("sigma_y")
    with pytest.raises(ht.SamplingError, match="no sigma_y"):
        population_points(own, posterior)


def shipped_table(name: str) -> pd.DataFrame | str:
    """The cohort a shipped spec is fitted to."""
    from prediction.conftest import CASES

    tables = {
        "apoptosis_threshold": "apoptosis_threshold/cll_exvivo_fludarabine_nutlin3.csv",
        "apoptosis_threshold_nutlin3": "apoptosis_threshold/cll_exvivo_fludarabine_nutlin3.csv",
        "glucose_minimal_model": "glucose_minimal_model/simulated_cohort.csv",
        "glucose_minimal_model_single": "glucose_minimal_model/fsigt_pacini_bergman.csv",
        "prodrug_activation": "prodrug_activation/losartan_cyp2c9_arms.csv",
        "sleep": "sleep/sleepstudy.csv",
        "tumor_growth": "tumor_growth/lung_xenograft_control.csv",
    }
    return str(CASES / tables[name])
