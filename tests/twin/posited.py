"""Fits whose draws are chosen, not sampled: given one by one, all the same, or made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

import hierarchical_twin as ht
from hierarchical_twin.inference.label import Record, label_draws
from hierarchical_twin.spec.write import write_spec

CHAINS, DRAWS = 2, 30


def made_fit(spec: ht.Spec, table: pd.DataFrame, draws: Mapping[str, np.ndarray]) -> ht.Fit:
    """A fit of a table with one chain of the given draws ``[draw, ...]``."""
    model = _model_of(spec, table)
    return _fit_of(model, {name: np.asarray(value, dtype=float)[None] for name, value in draws.items()})


def known_fit(spec: ht.Spec, table: pd.DataFrame, population: Mapping[str, Any], draws: int = 100) -> ht.Fit:
    """A fit every draw of which has the same population; effects that are not given are 0."""
    model = _model_of(spec, table)
    found = {}
    for node in model.graph.reported:
        if node.name in population or node.name.startswith("eta"):
            value = np.asarray(population.get(node.name, 0.0), dtype=float)
            found[node.name] = np.broadcast_to(value, (1, draws, *model.shape(node.dims)))
    return _fit_of(model, found)


def posited(spec: ht.Spec, table: pd.DataFrame, seed: int = 0, *, without: tuple[str, ...] = ()) -> ht.Fit:
    """A fit of a table with draws near 1, positive where they must be, and correlations of 0.3.

    For what does not depend on their being right.
    """
    model = _model_of(spec, table)
    rng = np.random.default_rng(seed)
    posterior = {}
    for node in model.graph.reported:
        shape = (CHAINS, DRAWS, *model.shape(node.dims))
        if node.name.startswith("omega_correlation"):
            value = np.broadcast_to(0.7 * np.eye(shape[-1]) + 0.3, shape).copy()
        elif node.name.startswith("eta"):
            value = 0.3 * rng.standard_normal(shape)
        else:
            value = np.exp(0.1 * rng.standard_normal(shape))
        posterior[node.name] = value
    kept = {name: value for name, value in posterior.items() if name not in without}
    return _fit_of(model, kept, seed)


def _model_of(spec: ht.Spec, table: pd.DataFrame) -> ht.Model:
    return ht.build(spec, ht.read_cohort(table, spec), parameterization="noncentered")


def _fit_of(model: ht.Model, posterior: Mapping[str, np.ndarray], seed: int = 0) -> ht.Fit:
    """A fit of draws ``[chain, draw, ...]``."""
    attributes = {
        "spec": write_spec(model.spec),
        "data_hash": model.cohort.data_hash,
        "data_source": "posited",
        "seed": seed,
    }
    return ht.Fit(label_draws(model, Record(posterior, {}, {}, {}, {}), attributes))
