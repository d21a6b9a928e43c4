"""Evaluating a model of asked rows at a fit's draws, in plain JAX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.derived import derived_values
from hierarchical_twin.graph.evaluate import draw_measurements, draw_outcomes, wander
from hierarchical_twin.graph.given import predictions, residual_sds, values_given
from hierarchical_twin.graph.model import Model
from hierarchical_twin.prediction.given import Effects

Array = Any
_NUMBERS_AT_ONCE = 2_000_000


@dataclass(frozen=True, eq=False)
class RowValues:
    """What `Prediction` holds: ``[draw, row]``, and `parameters` ``[draw, patient]``."""

    individual: np.ndarray
    population: np.ndarray
    replicates: np.ndarray
    new_patients: np.ndarray
    residual_sd: np.ndarray
    parameters: Mapping[str, np.ndarray]


def evaluate_rows(
    model: Model, population: Mapping[str, np.ndarray], effects: Effects, seed: int
) -> RowValues:
    """Predict every row of a model's cohort at every draw.

    Parameters
    ----------
    model : Model
        Non-centred.
    population : mapping to ndarray, shape [draw, ...]
    effects : Effects
    seed : int
    """
    draws = len(next(iter(population.values())))
    levels = tuple((level.known, level.root) for level in effects.levels)
    keys = jax.random.split(jax.random.key(seed), draws)
    numbers = model.cohort.size(PATIENT) * model.cohort.size("time") * 12
    batch = int(np.clip(_NUMBERS_AT_ONCE // max(numbers, 1), 1, min(draws, 100)))
    one = _at_a_draw(model, effects)
    run = jax.jit(lambda given: jax.lax.map(one, given, batch_size=batch))
    found, parameters = run((dict(population), levels, keys))
    values = {name: np.asarray(value) for name, value in found.items()}
    order = [node.name for node in model.graph.reported] + list(model.spec.derived)
    named = {name: np.asarray(parameters[name]) for name in order if name in parameters}
    return RowValues(**values, parameters=named)


def _at_a_draw(model: Model, effects: Effects) -> Any:
    rows = model.cohort.rows
    place, position = rows["patient_index"].to_numpy(), rows["position"].to_numpy()
    own = {node.name: np.flatnonzero(rows["outcome"] == node.name) for node in model.graph.observes}
    reported = [node.name for node in model.graph.reported if node.dims == (PATIENT,)]
    derived = [name for name, words in model.spec.derived.items() if words.at is None]

    def at_rows(found: Mapping[str, Array]) -> Array:
        out = jnp.full(len(rows), jnp.nan)
        for name, at in own.items():
            out = out.at[at].set(found[name][place[at], position[at]])
        return out

    def predicted(values: Mapping[str, Array]) -> Array:
        return at_rows(predictions(model, values))

    def one(given: tuple[Any, Any, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        population, levels, key = given
        keys = jax.random.split(key, 2 + 2 * len(levels))
        theirs, nobody, others = {}, {}, {}
        for number, (level, (known, root)) in enumerate(zip(effects.levels, levels, strict=True)):
            fresh = _fresh(keys[2 + 2 * number], known.shape, root)
            theirs[level.name] = jnp.where(level.is_known[:, None], known, fresh)
            nobody[level.name] = jnp.zeros_like(known)
            # Another patient of the same site, not of another one.
            is_patient = level.name == "eta"
            another = _fresh(keys[3 + 2 * number], known.shape, root)
            others[level.name] = another if is_patient else theirs[level.name]
        # Where the state wanders, what a patient shows is read off one path of it.
        path_key = jax.random.fold_in(key, len(keys))
        values = wander(model, values_given(model, {**population, **theirs}), path_key, is_free=False)
        typical = values_given(model, {**population, **nobody})
        another = values_given(model, {**population, **others})
        found = {
            "individual": predicted(values),
            "population": predicted(typical),
            "replicates": at_rows(draw_measurements(model, values, keys[0])),
            "new_patients": at_rows(draw_outcomes(model, another, keys[1])),
            "residual_sd": at_rows(residual_sds(model, values)),
        }
        quantities = derived_values(model, values)
        size = (model.cohort.size(PATIENT),)
        named = {name: values[name] for name in reported}
        named |= {name: jnp.broadcast_to(quantities[name], size) for name in derived}
        return found, named

    return one


def _fresh(key: Array, shape: tuple[int, ...], root: Array) -> Array:
    """Effects ``[member, effect]`` of members nobody has seen."""
    return jax.random.normal(key, shape) @ root.T
