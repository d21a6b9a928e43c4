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
from hierarchical_twin.graph.operations import OPERATIONS, correlation, link, unlink, vine_cholesky
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


def test_operations_are_named_as_themselves() -> None:
    assert all(name == operation.__name__ for name, operation in OPERATIONS.items())
