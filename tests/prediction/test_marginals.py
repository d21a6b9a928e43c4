"""A patient's log likelihood with the effects integrated out equals its closed form, or a fine grid."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

import hierarchical_twin as ht
from hierarchical_twin.analysis.variables import posterior_of
from hierarchical_twin.prediction import marginals
from hierarchical_twin.prediction.marginals import frame_patients, integrate_effects
from hierarchical_twin.prediction.points import population_points
from hierarchical_twin.prediction.source import model_of
from prediction.conftest import sampled
from prediction.models import line_rows


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def line_log_likelihood(fit: ht.Fit) -> np.ndarray:
    """``log p(y_i | population)`` ``[chain, draw, patient]`` of the line model, in closed form."""
    cohort, posterior = model_of(fit).cohort, posterior_of(fit.tree)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    found = np.empty((*shape, cohort.size("patient")))
    intercept, slope = posterior["intercept_typical"].values, posterior["slope_typical"].values
    beta, sigma = posterior["beta_slope"].values, posterior["sigma_y"].values
    omega, site = posterior["omega"].values, posterior["eta_site"].values
    correlation = posterior["omega_correlation"].values
    for place in range(found.shape[2]):
        rows = cohort.rows[cohort.rows["patient_index"] == place]
        design = np.stack([np.ones(len(rows)), rows["time"].to_numpy()], axis=1)
        level, age = cohort.arrays["level_site"][place], cohort.arrays["design_slope"][place]
        for at in np.ndindex(*shape):
            mean = np.array([intercept[at], slope[at] + age @ beta[at] + site[at][level, 0]])
            spread = np.diag(omega[at]) @ correlation[at] @ np.diag(omega[at])
            covariance = design @ spread @ design.T + sigma[at] ** 2 * np.eye(len(rows))
            found[(*at, place)] = multivariate_normal.logpdf(rows["value"], design @ mean, covariance)
    return found


@pytest.fixture(scope="module")
def line_exact(line_fit) -> np.ndarray:
    return line_log_likelihood(line_fit)


def test_a_linear_model_has_its_closed_form(line_fit, line_exact):
    framed = frame_patients(model_of(line_fit), line_fit.tree)
    found = integrate_effects(framed, population_points(framed.model, posterior_of(line_fit.tree)))
    np.testing.assert_allclose(found.log_likelihood, line_exact, atol=1e-5)
    assert (found.moved < 1e-5).all() and np.isnan(found.k_hat).all()


def test_some_patients_alone_are_the_same(line_fit, line_exact):
    framed = frame_patients(model_of(line_fit), line_fit.tree).take(np.array([11, 2]))
    found = integrate_effects(framed, population_points(framed.model, posterior_of(line_fit.tree), 40))
    np.testing.assert_allclose(found.log_likelihood, line_exact[:, ::10, [11, 2]], atol=1e-5)


def test_importance_sampling_agrees(line_fit, line_exact, monkeypatch):
    """As where there are more effects than a product of rules reaches."""
    monkeypatch.setattr(marginals, "_LEVELS", {0: (1,)})
    framed = frame_patients(model_of(line_fit), line_fit.tree)
    found = integrate_effects(framed, population_points(framed.model, posterior_of(line_fit.tree), 80))
    apart = found.log_likelihood - line_exact[:, ::5]
    assert np.abs(apart).max() < 0.1 and np.sqrt(np.mean(apart**2)) < 0.03
    assert (found.k_hat < 0.7).all()


POOLED = """\
spec: 1
name: pooled
title: One line for everybody
mechanism: linear
time: {column: t, unit: h}
patient: {column: id}
parameters:
  intercept: {unit: m, link: identity, typical: "Normal(mean=0, sd=20)"}
  slope: {unit: m/h, link: identity, typical: "Normal(mean=0, sd=5)"}
observations:
  y: {column: y, unit: m, predicts: y, error: normal, sigma: "HalfNormal(5)"}
"""


def test_without_effects_there_is_nothing_to_integrate():
    fit = sampled(ht.parse_spec(POOLED), line_rows(5))
    framed = frame_patients(model_of(fit), fit.tree)
    posterior = posterior_of(fit.tree)
    found = integrate_effects(framed, population_points(framed.model, posterior)).log_likelihood
    rows = framed.model.cohort.rows
    for place in range(5):
        own = rows[rows["patient_index"] == place]
        line = posterior["intercept_typical"].values[..., None]
        line = line + posterior["slope_typical"].values[..., None] * own["time"].to_numpy()
        exact = norm.logpdf(own["value"].to_numpy(), line, posterior["sigma_y"].values[..., None])
        np.testing.assert_allclose(found[..., place], exact.sum(axis=-1), rtol=1e-9)


TWO_SCANS = """\
spec: 1
name: two_scans
title: Growth from two scans
mechanism: exponential_growth
time: {column: day, unit: day}
patient: {column: id}
parameters:
  V_0: {unit: cm^3, link: log, typical: "LogNormal(median=1, sd=1)", formula: "1"}
  r: {unit: 1/day, link: log, typical: "LogNormal(median=0.05, sd=1)", formula: "1 + (1 | patient)"}
random_effects:
  patient: {sd: "HalfNormal(1)"}
observations:
  V: {column: v, unit: cm^3, predicts: V, error: lognormal, sigma: "HalfNormal(0.3)"}
"""


@pytest.fixture(scope="module")
def two_scans() -> ht.Fit:
    """A long, flat lower tail: a tumor that hardly grows might as well not grow at all."""
    spec, rng, rows = ht.parse_spec(TWO_SCANS), np.random.default_rng(4), []
    for number in range(6):
        rate = 0.05 * np.exp(0.8 * rng.standard_normal())
        rows += [(f"p{number}", t, np.exp(rate * t + 0.2 * rng.standard_normal())) for t in (0.0, 5.0)]
    table = pd.DataFrame(rows, columns=["id", "day", "v"])
    model = ht.build(spec, ht.read_cohort(table, spec))
    return ht.sample(model, chains=2, warmup=200, draws=100, seed=1, device="cpu", progress=False)


def test_a_flat_tail_is_integrated_as_on_a_fine_grid(two_scans):
    framed = frame_patients(model_of(two_scans), two_scans.tree)
    posterior = posterior_of(two_scans.tree)
    found = integrate_effects(framed, population_points(framed.model, posterior)).log_likelihood
    cohort, z = framed.model.cohort, np.linspace(-12.0, 8.0, 4001)
    for at in [(0, 0), (0, 50), (1, 99), (1, 20)]:
        own = {name: float(values.values[at]) for name, values in posterior.items() if values.ndim == 2}
        omega = float(posterior["omega"].values[at][0])
        for place in range(6):
            rows = cohort.rows[cohort.rows["patient_index"] == place]
            rate = own["r_typical"] * np.exp(omega * z)
            log_volume = np.log(own["V_0_typical"]) + rate[:, None] * rows["time"].to_numpy()
            value = rows["value"].to_numpy()
            density = norm.logpdf(np.log(value), log_volume, own["sigma_V"]) - np.log(value)
            grid = logsumexp(density.sum(axis=1) + norm.logpdf(z)) + np.log(z[1] - z[0])
            assert found[(*at, place)] == pytest.approx(grid, abs=0.01)


class Steps:
    """Patients whose log likelihoods change by given amounts ``[point, patient]`` from one level to the next."""

    def __init__(self, effects: int, apart: np.ndarray):
        self.effects, self.apart, self.model, self.frames = effects, apart, self, self

    def size(self, dim: str) -> int:
        return self.apart.shape[1]

    def take(self, chosen: np.ndarray) -> Steps:
        return Steps(self.effects, self.apart[:, chosen])


STEPS = np.array([[0.1, 0.2, 0.05, 0.001], [0.0, 0.0, 0.05, 0.001], *[[0.0, 0.0, 0.05, 0.001]] * 14])


@pytest.mark.parametrize(("effects", "first", "last"), [(3, 3, 13), (4, 3, 7)])
def test_four_effects_are_settled_sooner(monkeypatch, effects, first, last):
    """One far draw of sixteen may move by 0.1, not by 0.2; all of them not by 0.05."""
    monkeypatch.setattr(marginals, "_product", lambda frames, count: count)
    levels = marginals._LEVELS[effects]
    monkeypatch.setattr(
        marginals, "rule_integrals", lambda model, count, points: levels.index(count) * model.apart
    )
    counts, moved = marginals._choose_counts(Steps(effects, STEPS), np.zeros((16, 1)))
    assert counts.tolist() == [first if effects == 4 else last, last, last, first]
    np.testing.assert_allclose(moved, STEPS.max(axis=0))
