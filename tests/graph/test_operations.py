"""Operations of Compute nodes: links, and the correlation matrix whose prior is LKJ."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from agreement.declared import DECLARED
from agreement.densities import QUICKLY
from scipy import stats

from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.distributions import DISTRIBUTIONS
from hierarchical_twin.graph.likelihood import JAX
from hierarchical_twin.graph.operations import (
    OPERATIONS,
    correlation,
    informed_center,
    informed_frame,
    informed_scale,
    inverse_covariance,
    link,
    measurement_precision,
    unlink,
    vine_cholesky,
)
from hierarchical_twin.spec.vocabulary import LINKS

SIZES = pytest.mark.parametrize("size", [2, 3, 4])


def vine_shapes(size: int, concentration: float) -> np.ndarray:
    """Beta shapes of the partial correlations, from the original paper's tree numbers."""
    # Pair (row, column) lies in tree column + 1, given the variables before `column`.
    trees = [column + 1 for row in range(size) for column in range(row)]
    return np.array([concentration + (size - 1 - tree) / 2 for tree in trees])


@pytest.mark.parametrize("name", LINKS)
def test_links_invert(name: str) -> None:
    values = jnp.asarray([0.01, 0.4, 0.97])
    np.testing.assert_allclose(unlink(JAX, link(JAX, values, name=name), name=name), values, rtol=1e-14)


def test_links_are_what_they_say() -> None:
    assert float(link(JAX, jnp.asarray(np.e), name="log")) == pytest.approx(1.0)
    assert float(unlink(JAX, jnp.asarray(0.0), name="logit")) == pytest.approx(0.5)
    assert float(unlink(JAX, jnp.asarray(-3.0), name="identity")) == -3.0


@SIZES
def test_the_vine_gives_a_correlation_matrix(size: int) -> None:
    pairs = size * (size - 1) // 2
    unit = jax.random.uniform(jax.random.PRNGKey(0), (pairs,))
    cholesky = vine_cholesky(JAX, unit, size=size)
    matrix = correlation(JAX, cholesky)
    np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-14)
    np.testing.assert_array_equal(np.triu(cholesky, 1), 0.0)
    assert np.linalg.eigvalsh(np.asarray(matrix)).min() > 0


@SIZES
@pytest.mark.parametrize("concentration", [0.7, 1.0, 3.0])
def test_the_vine_s_density_is_lkj_s(size: int, concentration: float) -> None:
    """Beta densities of the partials over the Jacobian are the LKJ density of the matrix."""
    pairs = size * (size - 1) // 2
    below = np.tril_indices(size, -1)
    shapes = jnp.asarray(vine_shapes(size, concentration))

    def entries(unit: jax.Array) -> jax.Array:
        return correlation(JAX, vine_cholesky(JAX, unit, size=size))[below]

    def log_densities(unit: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_beta = jnp.sum(DISTRIBUTIONS["Beta"].log_density(unit, a=shapes, b=shapes))
        log_jacobian = jnp.linalg.slogdet(jax.jacfwd(entries)(unit))[1]
        matrix = correlation(JAX, vine_cholesky(JAX, unit, size=size))
        return log_beta - log_jacobian, dist.LKJ(size, concentration, validate_args=False).log_prob(matrix)

    unit = jax.random.uniform(jax.random.PRNGKey(0), (4, pairs), minval=0.1, maxval=0.9)
    found, expected = jax.jit(jax.vmap(log_densities), compiler_options=QUICKLY)(unit)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@SIZES
def test_marginal_correlations_are_beta(size: int) -> None:
    concentration, pairs = 2.0, size * (size - 1) // 2
    shapes = jnp.asarray(vine_shapes(size, concentration))

    def matrices_of(key: jax.Array) -> jax.Array:
        unit = jax.random.beta(key, shapes, shapes, (4000, pairs))
        return jax.vmap(lambda one: correlation(JAX, vine_cholesky(JAX, one, size=size)))(unit)

    matrices = jax.jit(matrices_of, compiler_options=QUICKLY)(jax.random.PRNGKey(1))
    shape = concentration - 1 + size / 2
    for row in range(size):
        for column in range(row):
            found = (np.asarray(matrices[:, row, column]) + 1) / 2
            assert stats.kstest(found, stats.beta(shape, shape).cdf).pvalue > 0.01


@pytest.mark.parametrize(("group", "concentration"), [("", 2.0), ("_site", 0.7)])
def test_a_model_s_partial_correlations_have_these_shapes(group: str, concentration: float) -> None:
    model = build(DECLARED["sites"].spec, DECLARED["sites"].cohort)
    [partial] = [node for node in model.graph.samples if node.name == f"omega_partial{group}"]
    shapes = dict(partial.arguments)
    np.testing.assert_allclose(shapes["a"], vine_shapes(3, concentration))
    assert shapes["a"] == shapes["b"]


@SIZES
def test_the_inverse_covariance_is_one(size: int) -> None:
    omega = np.linspace(0.2, 1.5, size)
    unit = jax.random.uniform(jax.random.PRNGKey(3), (size * (size - 1) // 2,))
    cholesky = vine_cholesky(JAX, unit, size=size)
    covariance = np.outer(omega, omega) * np.asarray(correlation(JAX, cholesky))
    found = inverse_covariance(JAX, omega, cholesky, size=size)
    np.testing.assert_allclose(found @ covariance, np.eye(size), atol=1e-11)
    alone = inverse_covariance(JAX, omega, size=size)
    np.testing.assert_allclose(alone, np.diag(1 / omega**2), rtol=1e-13)


def test_the_frame_is_the_conditional_of_a_gaussian_likelihood() -> None:
    """Against dense algebra, patient by patient: two parameters, the second with a slope in the middle."""
    generator = np.random.default_rng(0)
    parameter_of, design_of, patients = (0, 1, 1), (-1, 1, -1), 4
    roots = generator.normal(size=(2, 2, patients))
    curvature = np.einsum("ikp,jkp->ijp", roots, roots)
    score, design = generator.normal(size=(2, patients)), generator.normal(size=(patients, 3))
    locations = (0.3, generator.normal(size=patients))
    factor = generator.normal(size=(3, 3))
    prior = factor @ factor.T
    words = {"parameter_of": parameter_of, "design_of": design_of}
    frame = informed_frame(JAX, curvature, score, prior, *locations, design, **words)
    standard = generator.normal(size=(3, patients))
    columns: list[np.ndarray] = []
    for effect in range(3):
        center = informed_center(JAX, frame, *columns, effect=effect)
        columns.append(center + informed_scale(JAX, frame, effect=effect) * standard[effect])
    effects = np.stack(columns)
    for patient in range(patients):
        weights = np.zeros((2, 3))
        for effect, (own, column) in enumerate(zip(parameter_of, design_of, strict=True)):
            weights[own, effect] = 1.0 if column < 0 else design[patient, column]
        matrix = curvature[:, :, patient]
        location = np.array([locations[0], locations[1][patient]])
        precision = weights.T @ matrix @ weights + prior
        mean = np.linalg.solve(precision, weights.T @ (score[:, patient] - matrix @ location))
        away = effects[:, patient] - mean
        assert away @ precision @ away == pytest.approx(np.sum(standard[:, patient] ** 2), rel=1e-9)
        scales = [
            float(np.broadcast_to(informed_scale(JAX, frame, effect=k), patients)[patient]) for k in range(3)
        ]
        assert np.prod(scales) ** -2 == pytest.approx(np.linalg.det(precision), rel=1e-9)


@pytest.mark.parametrize(
    ("error", "parameters", "standard_error_square", "expected"),
    [
        ("normal", {"sigma": 0.5}, 0.0, 4.0),
        ("lognormal", {"sigma": 0.5}, 0.0, 4.0),
        ("student_t", {"sigma": 0.5}, 0.0, 4.0),
        ("normal", {"sigma": 3.0}, 16.0, 1 / 25),
        ("proportional", {"sigma": 0.5}, 0.0, 1 / 9),
        ("combined", {"sigma": 4.0, "sigma_proportional": 0.5}, 0.0, 1 / 25),
        ("beta", {"concentration": 20.0}, 0.0, 20.0),
        ("binomial", {}, 0.0, 1.0),
        ("normal", {}, 0.3, 1.0),
    ],
)
def test_the_precision_of_a_typical_measurement(
    error: str, parameters: dict[str, float], standard_error_square: float, expected: float
) -> None:
    """At a mean squared measurement of 36."""
    words = {"mean_square": 36.0, "standard_error_square": standard_error_square}
    found = measurement_precision(JAX, *parameters.values(), error=error, given=tuple(parameters), **words)
    assert float(found) == pytest.approx(expected)


def test_operations_are_named_as_themselves() -> None:
    assert all(name == operation.__name__ for name, operation in OPERATIONS.items())
