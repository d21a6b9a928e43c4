"""Effects integrated out: exact where the answer is known, and honest where it is not."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.stats import multivariate_normal

import hierarchical_twin as ht
from hierarchical_twin.backends.numpyro import flat_log_density
from hierarchical_twin.graph.blocks import join_blocks, mark_population, split_blocks
from hierarchical_twin.graph.evaluate import flat_names, parameters_at, score
from hierarchical_twin.inference import methods
from hierarchical_twin.inference.delayed import delayed_kernel
from hierarchical_twin.inference.device import choose_place
from hierarchical_twin.inference.marginal.conditional import draw_effects, flat_draws
from hierarchical_twin.inference.marginal.density import (
    Group,
    log_prior,
    make_plan,
    marginal_log_density,
)
from hierarchical_twin.inference.marginal.quadrature import (
    gauss_rules,
    hermite_product,
    moments,
    standard_grid,
)
from hierarchical_twin.inference.marginal.rules import average_density, find_frames, make_rule
from hierarchical_twin.inference.marginal.tails import tail_shapes
from hierarchical_twin.inference.marginal.verdict import Weights, estimate_shifts, judge
from hierarchical_twin.inference.patients import Densities, take_patients
from hierarchical_twin.inference.pilot import find_pilot
from hierarchical_twin.inference.settings import Schedule, Settings
from inference.models import CASES, LINEAR, linear_model, unequal_patients


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def two_scan_model() -> ht.Model:
    """Growth with a log link on the rate and two scans a patient: a long, flat lower tail."""
    folder = CASES / "tumor_growth"
    spec = ht.read_spec(folder / "two_scans.yaml")
    return ht.build(spec, ht.read_cohort(folder / "two_scans.csv", spec))


class Case:
    """A pilot, its plan, and the population's centre."""

    def __init__(self, model: ht.Model) -> None:
        self.pilot = find_pilot(model)
        self.model = self.pilot.model
        self.marked = mark_population(self.model)
        self.center = self.pilot.position[self.marked]
        self.plan = make_plan(self.model, self.center, self.pilot.root)

    def points(self, count: int, seed: int = 3) -> np.ndarray:
        steps = np.random.default_rng(seed).standard_normal((count, len(self.center)))
        return self.center + steps @ self.pilot.root.T


@pytest.fixture(scope="module")
def linear(double_precision) -> Case:
    return Case(linear_model(LINEAR, unequal_patients()))


@pytest.fixture(scope="module")
def two_scan(double_precision) -> Case:
    return Case(two_scan_model())


def patient_moments(case: Case, population: np.ndarray, place: int) -> tuple[np.ndarray, ...]:
    """Design, data, prior mean and covariance of the effects, residual SD, at a population."""
    own, cohort = case.model, case.model.cohort
    values = parameters_at(
        own, join_blocks(own, jnp.asarray(population), jnp.zeros(case.plan.frames.mean.shape))
    )
    seen = cohort.arrays["mask_y"][place]
    design = np.stack([np.ones(seen.sum()), cohort.arrays["time"][place][seen]], axis=1)
    mean = np.array([values["intercept_typical"], values["slope_typical"]])
    return (
        design,
        cohort.arrays["observed_y"][place][seen],
        mean,
        np.diag(values["omega"] ** 2),
        values["sigma_y"],
    )


def test_linear_model_has_its_closed_form_density(linear):
    density = jax.jit(marginal_log_density(linear.plan))
    assert linear.plan.nodes == {1: linear.model.size("patient")}
    for population in linear.points(3):
        exact = float(log_prior(linear.plan.lone, jnp.asarray(population)))
        for place in range(linear.model.size("patient")):
            design, seen, mean, prior, sigma = patient_moments(linear, population, place)
            covariance = design @ prior @ design.T + sigma**2 * np.eye(len(seen))
            exact += multivariate_normal.logpdf(seen, design @ mean, covariance)
        assert float(density(population)) == pytest.approx(exact, abs=1e-6)


def test_linear_model_draws_have_their_closed_form_moments(linear):
    population = np.tile(linear.center, (2, 4000, 1))
    batches = list(draw_effects(linear.plan, population, 1, choose_place("cpu", 2)))
    flat = flat_draws(linear.plan, population, batches)
    eta = jax.jit(jax.vmap(lambda x: parameters_at(linear.model, x)["eta"]))(flat.reshape(8000, -1))
    for place in (0, 10, 11):
        design, seen, mean, prior, sigma = patient_moments(linear, linear.center, place)
        covariance = np.linalg.inv(design.T @ design / sigma**2 + np.linalg.inv(prior))
        center = covariance @ design.T @ (seen - design @ mean) / sigma**2
        drawn = np.asarray(eta[:, place])
        sd = np.sqrt(np.diag(covariance))
        assert np.abs(drawn.mean(axis=0) - center).max() < 5 * (sd / np.sqrt(8000)).max()
        np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.06 * np.outer(sd, sd).max())
    assert all(np.all(batch.k_hat < 0.7) and np.all(batch.efficiency > 0.8) for batch in batches)


def test_two_scan_draws_have_the_moments_of_their_density(two_scan):
    """Skewed effects, by Metropolis steps, against a fine grid; the same on one worker and on two."""
    population = np.tile(two_scan.center, (2, 3000, 1))
    places = [choose_place("cpu", 2, workers) for workers in (1, 2)]
    one, two = (
        flat_draws(two_scan.plan, population, draw_effects(two_scan.plan, population, 1, place))
        for place in places
    )
    np.testing.assert_array_equal(one, two)
    drawn = np.stack([split_blocks(two_scan.model, point)[1] for point in one.reshape(6000, -1)])
    densities, frames = Densities(two_scan.model), two_scan.plan.frames
    standard, constant = standard_grid((41, 41))
    nodes = frames.place(standard)
    mean, covariance = moments(nodes, densities(two_scan.center, nodes) + constant[:, None])
    sd = np.sqrt(np.einsum("iip->ip", covariance))
    np.testing.assert_allclose((drawn.mean(axis=0) - mean) / sd, 0.0, atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=0) / sd, 1.0, atol=0.1)


def test_gradient_is_that_of_the_density(two_scan):
    density = marginal_log_density(two_scan.plan)
    slope = jax.jit(jax.grad(density))(two_scan.center)
    for place, unit in enumerate(1e-5 * np.eye(len(two_scan.center))):
        both = density(two_scan.center + unit) - density(two_scan.center - unit)
        assert float(both / 2e-5) == pytest.approx(float(slope[place]), rel=1e-5, abs=1e-5)


def test_two_scans_need_more_than_one_node(two_scan):
    assert max(two_scan.plan.nodes) > 1
    points = two_scan.points(30, seed=9)
    shifts = estimate_shifts(two_scan.plan, points[None])
    assert shifts.spread < 0.15
    coarse = one_node(two_scan)
    assert estimate_shifts(coarse, points[None]).spread > 3 * shifts.spread


def one_node(case: Case):
    """A plan that integrates every patient by one node: plain Laplace."""
    mean = case.plan.frames.mean[None]
    rule = replace(case.plan.groups[0].rule, nodes=mean, log_weights=np.zeros((1, mean.shape[2])))
    group = Group(np.arange(mean.shape[2]), case.model, rule)
    return replace(case.plan, groups=(group,))


def weights(k_hat, largest, efficiency=None) -> Weights:
    """Of proposals that are good unless told otherwise."""
    return Weights(k_hat, largest, np.full(len(k_hat), 0.9) if efficiency is None else efficiency)


def test_verdict_sends_the_user_to_joint_sampling(two_scan):
    names = tuple(np.array(flat_names(two_scan.model))[two_scan.marked])
    points = two_scan.points(30, seed=9)[None]
    good = np.zeros(two_scan.model.size("patient"))
    shifts = estimate_shifts(two_scan.plan, points)
    assert judge(two_scan.plan, names, replace(shifts, patients=good), weights(good, good)).is_trusted
    bad = good + np.where(np.arange(len(good)) == 3, 0.9, 0.0)
    unreliable = judge(two_scan.plan, names, shifts, weights(bad, 50.0 + good))
    assert not unreliable.is_trusted
    assert "p3 (0.9)" in unreliable.lines[0]
    assert len(unreliable.lines) == 1
    assert judge(two_scan.plan, names, replace(shifts, patients=good), weights(bad, 2.0 + good)).is_trusted
    moved = judge(two_scan.plan, names, replace(shifts, mean=shifts.mean + 0.3), weights(good, good))
    assert names[0] in moved.lines[0]
    stuck = weights(good, good, efficiency=np.where(np.arange(len(good)) == 2, 0.05, 0.9))
    assert "p2" in judge(two_scan.plan, names, replace(shifts, patients=good), stuck).lines[0]


def test_a_subset_has_the_densities_of_its_patients(two_scan):
    chosen = np.array([7, 2, 5])
    effects = np.random.default_rng(0).standard_normal((1, 2, 12))
    whole = Densities(two_scan.model)(two_scan.center, effects)
    part = Densities(take_patients(two_scan.model, chosen))(two_scan.center, effects[:, :, chosen])
    np.testing.assert_allclose(part, whole[:, chosen], rtol=1e-12)
    flat = join_blocks(two_scan.model, jnp.asarray(two_scan.center), jnp.asarray(effects[0]))
    np.testing.assert_allclose(whole[0], score(two_scan.model, flat).patient_log_density, rtol=1e-12)


def test_own_rules_integrate_their_own_density(two_scan):
    densities = Densities(two_scan.model)
    frames = find_frames(densities, two_scan.center, 2)
    average = average_density(densities, frames, two_scan.center[None])
    found = make_rule(average, 4).integrals(densities, two_scan.center[None])
    np.testing.assert_allclose(found, average.log_integrals, atol=1e-8)
    fine = densities.integrals(two_scan.center[None], frames.mean, frames.root, (31, 31))
    np.testing.assert_allclose(found, fine, atol=1e-4)


def test_gauss_rules_are_exact_for_polynomials():
    points, weights = np.linspace(-2, 3, 40), np.random.default_rng(0).uniform(size=(5, 40))
    nodes, own = gauss_rules(points, weights, 4)
    for power in range(8):
        exact = np.sum(weights * points**power, axis=1) / weights.sum(axis=1)
        np.testing.assert_allclose(np.sum(own * nodes**power, axis=1), exact, rtol=1e-9)
    standard, log_weights = hermite_product((61,))
    nodes, _ = gauss_rules(standard[:, 0], np.exp(log_weights)[None], 5)
    np.testing.assert_allclose(nodes[0], hermite_product((5,))[0][:, 0], atol=1e-8)


def test_a_measure_on_two_points_has_a_rule():
    nodes, weights = gauss_rules(np.array([0.0, 1.0, 2.0]), np.array([[1.0, 0.0, 3.0]]), 3)
    assert np.sum(weights * nodes**3) == pytest.approx(6.0)


def test_tail_shapes_agree_with_arviz():
    rng = np.random.default_rng(0)
    normal = np.stack([scale * rng.standard_normal(4000) for scale in (0.1, 0.5, 1.0, 2.0)], axis=1)
    pareto = np.stack([shape * rng.exponential(size=4000) for shape in (0.2, 0.5, 0.9)], axis=1)
    weights = np.concatenate([normal, pareto], axis=1)
    # ArviZ takes log likelihoods, the reciprocals of weights.
    known = [float(array_stats.psislw(-column)[1]) for column in weights.T]
    np.testing.assert_allclose(tail_shapes(weights), known, atol=0.05)
    assert tail_shapes(np.zeros((100, 1)))[0] == -np.inf


def test_a_polynomial_that_is_not_good_enough_is_walked_beside(two_scan, monkeypatch):
    """One that is good enough is followed alone."""
    seen = []

    def delayed(inner, exact, adaptation, *, walks):
        seen.append(walks)
        return delayed_kernel(inner, exact, adaptation, walks=walks)

    monkeypatch.setattr(methods, "delayed_kernel", delayed)
    settings = Settings(Schedule(2, 10, 10), "numpyro", "marginal", 0.8, 10)
    for good in (10.0, 0.0):
        monkeypatch.setattr(methods, "GOOD_SPREAD", good)
        methods.prepare_run(
            flat_log_density, two_scan.pilot, two_scan.model, settings, old=None, plan=lambda: two_scan.plan
        )
    (walks,) = seen
    assert (walks.block, walks.steps) == ("population", 1)
