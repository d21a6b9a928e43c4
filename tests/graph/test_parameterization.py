"""Centred, non-centred, informed and mixed effects are one model: a change of variables apart."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement.declared import DECLARED
from agreement.densities import QUICKLY, choices_of, points, with_choice

from hierarchical_twin.errors import SpecError
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import convert_point, flat_names, log_density, parameters_at
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Sample
from hierarchical_twin.spec.schema import RandomEffects

# Three correlated patient effects with a slope, over two or three site effects with a correlation of their
# own; a pair with another link; one effect.
NAMES = ("sites", "bolus", "gompertz")
CASES = [
    (name, choice)
    for name in NAMES
    for choice in choices_of(DECLARED[name].spec)
    # Without knowledge patients' effects are non-centred: test_information.
    if choice not in ("noncentered", "blank")
]


@pytest.mark.parametrize(("name", "choice"), CASES)
def test_densities_differ_by_the_jacobian(name: str, choice: str) -> None:
    spec, cohort = DECLARED[name].spec, DECLARED[name].cohort
    plain, target = with_choice(spec, cohort, "noncentered"), with_choice(spec, cohort, choice)
    assert len(flat_names(plain)) == len(flat_names(target))

    def compare(flat: Any) -> tuple[Any, Any, Any, Any]:
        moved = convert_point(plain, target, flat)
        jacobian = jnp.linalg.slogdet(jax.jacfwd(lambda point: convert_point(plain, target, point))(flat))[1]
        own, other = parameters_at(plain, flat), parameters_at(target, moved)
        same = {key: (own[key], other[key]) for key in ("eta", *spec.parameters) if key in own}
        return log_density(plain)(flat), log_density(target)(moved), jacobian, same

    flat = 0.3 * jax.random.normal(jax.random.PRNGKey(1), (2, len(flat_names(plain))))
    before, after, jacobian, same = jax.jit(jax.vmap(compare), compiler_options=QUICKLY)(flat)
    np.testing.assert_allclose(after + jacobian, before, rtol=1e-10)
    assert np.all(np.abs(jacobian) > 0.01)
    for own, other in same.values():
        np.testing.assert_allclose(other, own, rtol=1e-10, atol=1e-12)


def effect_samples(model: Model) -> set[str]:
    """Names of the random variables over patients and sites."""
    return {node.name for node in model.graph.samples if {"patient", "site"} & set(node.dims)}


def test_what_is_sampled_under_each_choice() -> None:
    spec, cohort = DECLARED["errors"].spec, DECLARED["errors"].cohort
    assert effect_samples(with_choice(spec, cohort, "noncentered")) == {"z"}
    assert effect_samples(with_choice(spec, cohort, "centered")) == {"centered_V_0", "centered_r"}
    assert effect_samples(build(spec, cohort)) == {"z_V_0", "centered_r"}


def test_a_choice_for_a_categorical_slope_serves_its_levels() -> None:
    spec, cohort = DECLARED["sites"].spec, DECLARED["sites"].cohort
    site = spec.random_effects["site"]
    for key in ("r:sex", "r:sex[m]"):
        chosen = site.model_copy(update={"parameterization": {key: "centered"}})
        altered = spec.model_copy(update={"random_effects": {**spec.random_effects, "site": chosen}})
        assert "centered_r:sex[m]_site" in effect_samples(build(altered, cohort))


def test_a_level_without_a_prior_is_told() -> None:
    spec, cohort = DECLARED["sites"].spec, DECLARED["sites"].cohort
    site = spec.random_effects["site"]
    priors = {key: prior for key, prior in site.sd.items() if key != "r:sex"} | {"r:sex[x]": site.sd["r"]}
    altered = RandomEffects(sd=priors)
    with pytest.raises(SpecError, match=r"random_effects\.site\.sd.*r:sex\[m\]"):
        build(spec.model_copy(update={"random_effects": {**spec.random_effects, "site": altered}}), cohort)


def test_correlated_noncentered_effects_have_the_declared_covariance() -> None:
    spec, cohort = DECLARED["errors"].spec, DECLARED["errors"].cohort
    model = with_choice(spec, cohort, "noncentered")
    values = parameters_at(model, points(model)[0])
    omega, matrix = np.asarray(values["omega"]), np.asarray(values["omega_correlation"])
    scale = np.diag(omega) @ np.asarray(values["omega_cholesky"])
    np.testing.assert_allclose(scale @ scale.T, np.outer(omega, omega) * matrix, rtol=1e-12)
    np.testing.assert_allclose(values["eta"], np.asarray(values["z"]) @ scale.T, rtol=1e-12)


@pytest.mark.parametrize("choice", ["centered", "mixed", "mixed_other"])
def test_mixed_correlated_effects_are_jointly_normal(choice: str) -> None:
    """The prior of eta in any mixture is the multivariate normal of omega and the correlation."""
    spec, cohort = DECLARED["sites"].spec, DECLARED["sites"].cohort
    model = with_choice(spec, cohort, choice)
    flat = jnp.asarray(points(model)[-1])
    values = parameters_at(model, flat)
    omega, cholesky = values["omega"], values["omega_cholesky"]
    standard = jnp.linalg.solve(omega[:, None] * cholesky, values["eta"].T)
    own = sum(
        jnp.sum(
            jax.scipy.stats.norm.logpdf(
                values[node.name], *(values_or(values, node, k) for k in ("mean", "sd"))
            )
        )
        for node in model.graph.samples
        if node.dims == ("patient",)
    )
    # Non-centred columns stand for themselves scaled: their density lacks the scale's logarithm.
    scales = omega * jnp.diag(cholesky)
    missing = sum(
        jnp.log(scales[place]) * cohort.size("patient")
        for place, label in enumerate(cohort.coords["effect"])
        if f"z_{label}" in {node.name for node in model.graph.samples}
    )
    expected = jnp.sum(jax.scipy.stats.norm.logpdf(standard)) - cohort.size("patient") * jnp.sum(
        jnp.log(scales)
    )
    assert float(own - missing) == pytest.approx(float(expected), rel=1e-10)


def values_or(values: dict[str, Any], node: Sample, word: str) -> Any:
    """An argument of a random variable: a node's value or its own number."""
    given = dict(node.arguments)[word]
    return values[given] if isinstance(given, str) else jnp.asarray(given)
