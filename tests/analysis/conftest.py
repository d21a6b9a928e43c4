"""A small synthetic fit with known structure, built without JAX or a sampler."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from hierarchical_twin.inference.fit import Fit

SPEC_TEXT = "spec: 1\nname: synthetic\ntitle: Synthetic\n"
PATIENTS = tuple(f"p{number}" for number in range(12))
EFFECTS = ("V_0", "r")


def posterior_dataset(seed: int = 1, chains: int = 4, draws: int = 500) -> xr.Dataset:
    """Independent draws: log-normal `V_0`, normal `r`, effects, omegas, a coefficient, a residual."""
    rng = np.random.default_rng(seed)
    shape = (chains, draws)
    omega = np.abs(rng.normal([0.5, 0.2], [0.05, 0.02], (*shape, 2)))
    truth = rng.normal(size=(len(PATIENTS), 2)) * [0.5, 0.2]
    eta = truth + rng.normal(size=(*shape, len(PATIENTS), 2)) * [0.1, 0.15]
    correlation = np.broadcast_to(np.eye(2), (*shape, 2, 2)).copy()
    correlation[..., 0, 1] = correlation[..., 1, 0] = rng.uniform(-0.5, 0.9, shape)
    v_typical, r_typical = np.exp(rng.normal(1.0, 0.1, shape)), rng.normal(0.3, 0.05, shape)
    variables = {
        "V_0": (("chain", "draw", "patient"), v_typical[..., None] * np.exp(eta[..., 0])),
        "r": (("chain", "draw", "patient"), r_typical[..., None] + eta[..., 1]),
        "V_0_typical": (("chain", "draw"), v_typical),
        "r_typical": (("chain", "draw"), r_typical),
        "omega": (("chain", "draw", "effect"), omega),
        "omega_correlation": (("chain", "draw", "effect", "effect_other"), correlation),
        "beta_r": (("chain", "draw", "term_r"), rng.normal(0.1, 0.02, (*shape, 1))),
        "sigma_volume": (("chain", "draw"), np.abs(rng.normal(0.3, 0.02, shape))),
        "eta": (("chain", "draw", "patient", "effect"), eta),
        "doubling_time": (
            ("chain", "draw", "patient"),
            np.log(2) / np.abs(r_typical[..., None] + eta[..., 1]),
        ),
        "ratio": (("chain", "draw"), np.exp(rng.normal(0, 0.1, shape))),
    }
    coords = {
        "chain": np.arange(chains),
        "draw": np.arange(draws),
        "patient": list(PATIENTS),
        "effect": list(EFFECTS),
        "effect_other": list(EFFECTS),
        "term_r": ["age"],
    }
    return xr.Dataset(variables, coords)


def stats_dataset(seed: int = 2, chains: int = 4, draws: int = 500) -> xr.Dataset:
    """Sampler statistics of a run without trouble."""
    rng = np.random.default_rng(seed)
    dims = ("chain", "draw")
    return xr.Dataset(
        {
            "diverging": (dims, np.zeros((chains, draws), dtype=bool)),
            "tree_depth": (dims, rng.integers(2, 5, (chains, draws))),
            "energy": (dims, rng.normal(50, 3, (chains, draws))),
        },
        {"chain": np.arange(chains), "draw": np.arange(draws)},
    )


def make_fit(posterior: xr.Dataset, stats: xr.Dataset | None = None) -> Fit:
    """A fit around a posterior, with the root attributes every fit has."""
    groups = {"posterior": posterior} if stats is None else {"posterior": posterior, "sample_stats": stats}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "spec": SPEC_TEXT,
        "seed": 1,
        "max_tree_depth": 10,
        "link": json.dumps({"V_0": "log", "r": "identity"}),
        "unit": json.dumps(
            {"V_0": "cm^3", "r": "1/day", "doubling_time": "day", "sigma_volume": "1", "ratio": "1"}
        ),
    }
    return Fit(tree)


@pytest.fixture
def fit() -> Fit:
    """Twelve patients, two random effects, four chains of 500 independent draws."""
    return make_fit(posterior_dataset(), stats_dataset())
