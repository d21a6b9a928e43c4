"""The priors of a fit's population: their log density at each draw, and draws of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from hierarchical_twin.analysis.variables import population_variables, posterior_of
from hierarchical_twin.dims import CHAIN, DRAW, group_suffix
from hierarchical_twin.graph.derived import derived_values
from hierarchical_twin.graph.distributions import DISTRIBUTIONS
from hierarchical_twin.graph.evaluate import draw_prior
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.prediction.points import population_values
from hierarchical_twin.prediction.source import model_of

Array = Any
_AT_ONCE = 50


def population_log_prior(fit: Fit) -> np.ndarray:
    """Log density of the population's priors at every draw, for power-scaling.

    Returns
    -------
    np.ndarray, [chain, draw]
        Sum over typical values, coefficients, omegas, correlation matrices and residual parameters, each on
        its natural scale, up to a constant. Effects are no part of it: their distribution is the model.

    Raises
    ------
    SamplingError
        The fit keeps no table, or its draws lack a population variable of its spec.
    """
    model = model_of(fit)
    posterior = posterior_of(fit.tree)
    total = np.zeros((posterior.sizes[CHAIN], posterior.sizes[DRAW]))
    with compilation_cache(), float64_on(choose_place("cpu", 1)):
        natural = population_values(model, posterior)
        for node in model.graph.samples:
            if node.name not in natural or _is_of_effects(node.name, model):
                continue
            values = natural[node.name]
            arguments = {word: jnp.asarray(given) for word, given in node.arguments}
            elementwise = np.asarray(
                DISTRIBUTIONS[node.distribution].log_density(jnp.asarray(values), **arguments)
            )
            total += elementwise.reshape(*total.shape, -1).sum(axis=-1)
    return total + _correlation_prior(model, posterior)


def draw_population_prior(fit: Fit, *, draws: int = 1_000, seed: int = 0) -> xr.Dataset:
    """Draws of the population from its priors alone, named and labelled as the posterior's.

    Parameters
    ----------
    fit : Fit
    draws, seed : int

    Returns
    -------
    xr.Dataset
        Population variables with dims ``chain`` (one) and ``draw`` first.

    Raises
    ------
    SamplingError
        The fit keeps no table.
    """
    model = model_of(fit)
    posterior = posterior_of(fit.tree)
    names = population_variables(posterior)

    def one(key: Array) -> dict[str, Array]:
        values, _ = draw_prior(model, key)
        known = {**values, **derived_values(model, values)}
        return {name: known[name] for name in names if name in known}

    with compilation_cache(), float64_on(choose_place("cpu", 1)):
        keys = jax.random.split(jax.random.key(seed), draws)
        found = jax.jit(lambda given: jax.lax.map(one, given, batch_size=min(_AT_ONCE, draws)))(keys)
    return _labelled({name: np.asarray(found[name]) for name in names if name in found}, posterior)


def _is_of_effects(name: str, model: Model) -> bool:
    """Whether a random variable is effects of an outer level, or partial correlations, scored as a matrix."""
    suffixes = [group_suffix(group) for group in model.cohort.effects]
    return name in {f"{word}{suffix}" for suffix in suffixes for word in ("z", "omega_partial")}


def _correlation_prior(model: Model, posterior: xr.Dataset) -> np.ndarray | float:
    """LKJ log density ``[chain, draw]`` of the correlation matrices, up to a constant.

    Lewandowski, Kurowicka and Joe (2009), Journal of Multivariate Analysis 100(9), doi:10.1016/j.jmva.2009.04.008.
    """
    total: np.ndarray | float = 0.0
    for group, declared in model.spec.random_effects.items():
        name = f"omega_correlation{group_suffix(group)}"
        if name not in posterior or declared.correlation is None:
            continue
        matrix = posterior[name].transpose(CHAIN, DRAW, ...).values
        total = total + (declared.correlation["concentration"] - 1) * np.linalg.slogdet(matrix)[1]
    return total


def _labelled(found: Mapping[str, np.ndarray], posterior: xr.Dataset) -> xr.Dataset:
    variables, coords = {}, {}
    for name, values in found.items():
        own = tuple(str(dim) for dim in posterior[name].dims if dim not in (CHAIN, DRAW))
        variables[name] = ((CHAIN, DRAW, *own), values[None])
        coords |= {dim: posterior[dim].values for dim in own if dim in posterior.coords}
    return xr.Dataset(variables, coords)
