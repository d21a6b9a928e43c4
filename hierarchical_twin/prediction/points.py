"""From what a fit stores of the population to the points a model is evaluated at.

A fit stores natural values under the names people read; a model's flat vector has unconstrained ones
of its random variables. Partial correlations are read off the correlation matrix, standardized effects of outer levels
off the effects.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import xarray as xr

from hierarchical_twin.dims import CHAIN, DRAW, PATIENT, group_suffix
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.graph.blocks import population_slots
from hierarchical_twin.graph.distributions import DISTRIBUTIONS, unconstrain
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Compute

_EDGE = 1e-12


def population_points(model: Model, posterior: xr.Dataset, most: int | None = None) -> np.ndarray:
    """The population's draws on the unconstrained scale of a model.

    Parameters
    ----------
    model : Model
        Of the spec that was fitted; levels above the patient non-centred, as in `inference.pilot.informed`. Its
        patients may be others.
    posterior : xr.Dataset
        Draws, as a fit holds them.
    most : int, optional
        At most so many draws in all, taken at equal distances from each chain.

    Returns
    -------
    ndarray, shape [chain, draw, coordinate]
        In the order of `graph.blocks.population_slots`.

    Raises
    ------
    SamplingError
        The draws are of another spec.
    """
    chains, draws = posterior.sizes[CHAIN], posterior.sizes[DRAW]
    step = 1 if most is None else max(1, -(-chains * draws // max(most, 1)))
    thinned = posterior.isel({DRAW: slice(None, None, step)})
    natural = population_values(model, thinned)
    distributions = {node.name: node for node in model.graph.samples}
    parts = []
    for slot in population_slots(model):
        node, value = distributions[slot.name], natural[slot.name]
        if value.shape[2:] != slot.shape:
            raise SamplingError(_other_spec(f"{slot.name} of shape {value.shape[2:]}"))
        arguments = {word: np.asarray(given) for word, given in node.arguments if not isinstance(given, str)}
        flat = unconstrain(DISTRIBUTIONS[node.distribution].support, jnp.asarray(value), arguments)
        parts.append(np.asarray(flat).reshape(*value.shape[:2], -1))
    return np.concatenate(parts, axis=2)


def population_values(model: Model, posterior: xr.Dataset) -> dict[str, np.ndarray]:
    """Natural values ``[chain, draw, ...]`` of the population's random variables."""
    stacked = {
        name: (node.name, place)
        for node in model.graph
        if isinstance(node, Compute) and node.operation == "stack_scalars"
        for place, name in enumerate(node.inputs)
    }
    outer = {f"z{group_suffix(group)}": group for group in model.cohort.effects if group != PATIENT}
    found = {}
    for slot in population_slots(model):
        name = slot.name
        if name in posterior:
            found[name] = _draws(posterior, name)
        elif name.startswith("omega_partial"):
            matrix = _draws(posterior, name.replace("omega_partial", "omega_correlation", 1))
            found[name] = partial_correlations(matrix)
        elif name in stacked:
            whole, place = stacked[name]
            found[name] = _draws(posterior, whole)[..., place]
        elif name in outer:
            found[name] = _standard_effects(posterior, group_suffix(outer[name]))
        else:
            raise SamplingError(_other_spec(f"no {name}"))
    return found


def partial_correlations(correlation: np.ndarray) -> np.ndarray:
    """Partial correlations on (0, 1), of which `graph.operations.vine_cholesky` makes a matrix's factor.

    Parameters
    ----------
    correlation : ndarray, shape [..., effect, effect]

    Returns
    -------
    ndarray, shape [..., pair]
        In row order of the lower triangle; kept off 0 and 1, where rounding would put nearly perfect ones.
    """
    return _vine(correlation)[0]


def _vine(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Partial correlations ``[..., pair]``, and the lower Cholesky factor ``[..., effect, effect]`` they make."""
    size = correlation.shape[-1]
    root = np.zeros_like(correlation)
    found = []
    for row in range(size):
        left = np.ones(correlation.shape[:-2])
        for column in range(row):
            inner = np.sum(root[..., row, :column] * root[..., column, :column], axis=-1)
            # Where an earlier effect is already fully determined, what is left of it says nothing.
            pivot = np.maximum(root[..., column, column] * left, np.finfo(float).tiny)
            partial = (correlation[..., row, column] - inner) / pivot
            partial = np.clip(partial, -1.0 + 2 * _EDGE, 1.0 - 2 * _EDGE)
            root[..., row, column] = partial * left
            left = left * np.sqrt(1.0 - partial**2)
            found.append((partial + 1.0) / 2.0)
        root[..., row, row] = left
    return np.stack(found, axis=-1), root


def _standard_effects(posterior: xr.Dataset, suffix: str) -> np.ndarray:
    """Effects of an outer level as independent standard normals ``[chain, draw, level, effect]``."""
    scaled = _draws(posterior, f"eta{suffix}") / _draws(posterior, f"omega{suffix}")[:, :, None]
    if f"omega_correlation{suffix}" not in posterior:
        return scaled
    root = _vine(_draws(posterior, f"omega_correlation{suffix}"))[1]
    return np.swapaxes(np.linalg.solve(root, np.swapaxes(scaled, 2, 3)), 2, 3)


def _draws(posterior: xr.Dataset, name: str) -> np.ndarray:
    if name not in posterior:
        raise SamplingError(_other_spec(f"no {name}"))
    return posterior[name].transpose(CHAIN, DRAW, ...).values


def _other_spec(got: str) -> Problem:
    return Problem("fit posterior", got, "the population's variables of the fit's own spec")
