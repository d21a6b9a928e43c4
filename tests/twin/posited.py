"""Fits whose draws are made up, not sampled: for what does not depend on their being right."""

from __future__ import annotations

import numpy as np
import pandas as pd

import hierarchical_twin as ht
from hierarchical_twin.inference.label import Record, label_draws
from hierarchical_twin.spec.write import write_spec

CHAINS, DRAWS = 2, 30


def posited(spec: ht.Spec, table: pd.DataFrame, seed: int = 0, *, without: tuple[str, ...] = ()) -> ht.Fit:
    """A fit of a table with draws near 1, positive where they must be, and correlations of 0.3."""
    cohort = ht.read_cohort(table, spec)
    model = ht.build(spec, cohort, parameterization="noncentered")
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
    attributes = {
        "spec": write_spec(spec),
        "data_hash": cohort.data_hash,
        "data_source": "posited",
        "seed": seed,
    }
    return ht.Fit(label_draws(model, Record(kept, {}, {}, {}, {}), attributes))
