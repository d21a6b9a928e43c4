"""The NumPyro program as its users run it: handlers, Predictive, named sites."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import numpyro
import pytest
from agreement.declared import DECLARED
from agreement.densities import with_choice
from agreement.shipped import TABLES
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer import MCMC, NUTS, Predictive
from scipy import stats

from hierarchical_twin.backends.numpyro import DISTRIBUTIONS, model_function, to_numpyro
from hierarchical_twin.cohort import read_cohort
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.distributions import DISTRIBUTIONS as ORACLE
from hierarchical_twin.spec import read_spec
from hierarchical_twin.spec.shipped import shipped_specs

NAMES = ("sites", "traits", "errors", "bolus")


def traced(name: str) -> dict[str, dict[str, Any]]:
    """Sites of one run of the program."""
    program = to_numpyro(DECLARED[name].spec, DECLARED[name].cohort)
    return handlers.trace(handlers.seed(program, 1)).get_trace()


def test_every_prior_word_has_a_distribution() -> None:
    assert set(DISTRIBUTIONS) == set(ORACLE)


@pytest.mark.parametrize("name", NAMES)
def test_sites_are_the_graph_s(name: str) -> None:
    model = build(DECLARED[name].spec, DECLARED[name].cohort)
    sites = traced(name)
    outcomes = model.spec.observations
    latent = {key for key, site in sites.items() if site["type"] == "sample" and not site["is_observed"]}
    assert latent == {node.name for node in model.graph.samples}
    assert {node.name for node in model.graph.reported} <= set(sites)
    assert set(outcomes) <= {key for key, site in sites.items() if site.get("is_observed")}
    for node in model.graph.samples:
        assert sites[node.name]["value"].shape == model.shape(node.dims)
    for outcome in outcomes:
        np.testing.assert_array_equal(sites[outcome]["value"], model.cohort.arrays[f"observed_{outcome}"])


def test_a_framed_normal_is_a_normal_in_coordinates_of_its_own() -> None:
    """Draws and density are the normal's; the way to the real line is the frame's."""
    center, scale = np.array([20.0, -7.0]), np.array([0.01, 3.0])
    framed = DISTRIBUTIONS["FramedNormal"](mean=1.5, sd=0.5, center=center, scale=scale)
    drawn = framed.sample(jax.random.PRNGKey(0), (4000,))
    np.testing.assert_allclose(drawn.mean(axis=0), 1.5, atol=0.05)
    np.testing.assert_allclose(drawn.std(axis=0), 0.5, atol=0.03)
    place = np.array([1.0, 2.5])
    np.testing.assert_allclose(framed.log_prob(place), stats.norm(1.5, 0.5).logpdf(place), rtol=1e-12)
    transform = biject_to(framed.support)
    np.testing.assert_allclose(transform.inv(place), (place - center) / scale, rtol=1e-12)
    jacobian = transform.log_abs_det_jacobian(transform.inv(place), place)
    np.testing.assert_allclose(jacobian, np.log(scale), rtol=1e-12)


def test_informed_effects_are_drawn_from_their_prior() -> None:
    program = model_function(with_choice(DECLARED["sites"].spec, DECLARED["sites"].cohort, "informed"))
    drawn = Predictive(program, num_samples=500, condition_deterministic=True)(jax.random.PRNGKey(0))
    standard = np.asarray(drawn["eta"]) / np.asarray(drawn["omega"])[:, None, :]
    np.testing.assert_allclose(standard.mean(axis=(0, 1)), 0.0, atol=0.15)
    np.testing.assert_allclose(standard.std(axis=(0, 1)), 1.0, atol=0.1)


def test_predictive_draws_the_prior() -> None:
    program = to_numpyro(DECLARED["sites"].spec, DECLARED["sites"].cohort)
    drawn = Predictive(program, num_samples=3, condition_deterministic=True)(jax.random.PRNGKey(0))
    assert drawn["V_0"].shape == (3, 4) and drawn["eta_site"].shape == (3, 3, 3)
    assert all(np.isfinite(value).all() for value in drawn.values())
    assert len(np.unique(drawn["V_0_typical"])) == 3


def test_predictive_replicates_outcomes_once_they_are_unconditioned() -> None:
    """An observed site is drawn when its observations are taken away."""
    cohort = DECLARED["gompertz"].cohort
    program = handlers.uncondition(to_numpyro(DECLARED["gompertz"].spec, cohort))
    drawn = Predictive(program, num_samples=4)(jax.random.PRNGKey(0))
    measured = np.asarray(drawn["volume"])[:, cohort.arrays["mask_volume"]]
    assert measured.shape == (4, 5) and len(np.unique(measured)) == 20 and (measured > 0).all()


@pytest.mark.slow
def test_fractions_and_counts_are_replicated() -> None:
    cohort = DECLARED["traits"].cohort
    program = handlers.uncondition(to_numpyro(DECLARED["traits"].spec, cohort))
    drawn = Predictive(program, num_samples=4)(jax.random.PRNGKey(0))
    assert drawn["alive"].shape == (4, *cohort.arrays["mask_alive"].shape)
    measured = np.asarray(drawn["alive"])[:, cohort.arrays["mask_alive"]]
    assert len(np.unique(measured)) > 4 and ((measured > 0) & (measured < 1)).all()
    counts = np.asarray(drawn["counted"])[:, cohort.arrays["mask_counted"]]
    assert (counts <= cohort.arrays["trials_counted"][cohort.arrays["mask_counted"]]).all()


def test_handlers_condition_and_block() -> None:
    program = to_numpyro(DECLARED["gompertz"].spec, DECLARED["gompertz"].cohort)
    fixed = handlers.condition(program, data={"V_0_typical": 1.5})
    sites = handlers.trace(handlers.seed(fixed, 0)).get_trace()
    assert sites["V_0_typical"]["is_observed"]
    assert float(sites["V_0"]["value"][1]) == 1.5
    hidden = handlers.trace(handlers.seed(handlers.block(program, hide=["a_typical"]), 0)).get_trace()
    assert "a_typical" not in hidden


def test_parameterization_overrides_the_spec_s() -> None:
    program = to_numpyro(
        DECLARED["gompertz"].spec, DECLARED["gompertz"].cohort, parameterization="noncentered"
    )
    assert "z" in handlers.trace(handlers.seed(program, 0)).get_trace()
    assert "centered_r" in traced("gompertz")


def test_a_user_extends_the_program() -> None:
    own = to_numpyro(DECLARED["gompertz"].spec, DECLARED["gompertz"].cohort)

    def extended() -> None:
        own()
        numpyro.sample("more", numpyro.distributions.Normal(0.0, 1.0))

    assert "more" in handlers.trace(handlers.seed(extended, 0)).get_trace()


@pytest.mark.slow
def test_numpyro_s_own_sampler_runs_it() -> None:
    program = to_numpyro(DECLARED["gompertz"].spec, DECLARED["gompertz"].cohort)
    mcmc = MCMC(NUTS(program), num_warmup=50, num_samples=50, progress_bar=False)
    mcmc.run(jax.random.PRNGKey(0))
    assert np.isfinite(mcmc.get_samples()["r"]).all()


def shipped_program(name: str) -> tuple[Any, Any]:
    """The program of a shipped spec on its small table, and the cohort."""
    spec = read_spec(shipped_specs()[name])
    cohort = read_cohort(TABLES[name](), spec)
    return to_numpyro(spec, cohort), cohort


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_shipped_program_runs_in_jax_s_default_precision(name: str) -> None:
    with jax.enable_x64(False):
        sites = handlers.trace(handlers.seed(shipped_program(name)[0], 1)).get_trace()
    drawn = [site["value"] for site in sites.values() if site["type"] == "sample"]
    assert all(np.isfinite(np.asarray(value)).all() for value in drawn)


def test_predictive_draws_the_outcomes_when_they_are_not_observed() -> None:
    program, cohort = shipped_program("sleep")
    observed = np.asarray(cohort.arrays["observed_reaction"])
    draws = Predictive(program, num_samples=7)(jax.random.PRNGKey(3), is_observed=False)["reaction"]
    assert draws.shape == (7, *observed.shape)
    assert not np.isclose(draws, observed).any() and np.ptp(np.asarray(draws), axis=0).min() > 0
