"""Fits without some of the patients: who is left out together, and the same sampling again without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hierarchical_twin.dims import ADAPTATION, CHAIN, DRAW, PATIENT
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.inference.patients import take_patients
from hierarchical_twin.inference.sample import sample
from hierarchical_twin.inference.settings import WARMUP_AGAIN

_SHARE_AGAIN = 5
"""A run from an old adaptation needs a warm-up so many times shorter."""


def leave_out(model: Model, patients: np.ndarray) -> Model:
    """The model of all other patients; covariate coding and levels stay those of all.

    Parameters
    ----------
    model : Model
    patients : ndarray of int
        Places of those left out.
    """
    kept = np.setdiff1d(np.arange(model.size(PATIENT)), patients)
    rows = model.cohort.rows
    rows = rows[rows["patient_index"].isin(kept)]
    rows = rows.assign(patient_index=np.searchsorted(kept, rows["patient_index"])).reset_index(drop=True)
    own = take_patients(model, kept)
    return replace(own, cohort=replace(own.cohort, rows=rows))


def refit_without(fit: Fit, model: Model, patients: np.ndarray, *, seed: int) -> Fit:
    """Sample the population again without some patients, as `fit` was sampled.

    Parameters
    ----------
    fit : Fit
        Whose settings and, if it keeps one, adaptation are used.
    model : Model
        Of all its patients.
    patients : ndarray of int
        Places of those left out.
    seed : int

    Returns
    -------
    Fit
        With statistics of the other patients only; as many draws as `fit`, thinned as it was.
    """
    told: dict[str, Any] = dict(fit.attributes)
    sizes = fit.tree["posterior"].sizes
    has_adaptation = ADAPTATION in fit.tree.children
    warmup, thin = told.get("warmup"), int(told.get("thin", 1))
    if warmup is not None and has_adaptation:
        # The fit may itself have gone on from another: its warm-up is then short already.
        warmup = max(int(warmup) // _SHARE_AGAIN, WARMUP_AGAIN)
    return sample(
        replace(leave_out(model, patients), parameterization="auto"),
        backend=str(told.get("backend", "numpyro")),
        method=str(told.get("method", "auto")),
        chains=int(sizes[CHAIN]),
        draws=int(sizes[DRAW]) * thin,
        warmup=None if warmup is None else int(warmup),
        thin=thin,
        patients="summary",
        seed=seed,
        target_accept=told.get("target_accept"),
        max_tree_depth=int(told.get("max_tree_depth", 10)),
        start_from=fit if has_adaptation else None,
        progress=False,
    )


def deal_folds(measurements: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Folds ``[patient]`` at random, each with its share of patients with many and with few measurements.

    Parameters
    ----------
    measurements : ndarray of int, shape [patient]
    folds : int
    seed : int
    """
    generator = np.random.default_rng([seed, 0xF01D])
    order = np.lexsort((generator.random(len(measurements)), measurements))
    dealt = np.empty(len(measurements), dtype=int)
    # Neighbours in the number of measurements go to different folds.
    for start in range(0, len(order), folds):
        block = order[start : start + folds]
        dealt[block] = generator.permutation(folds)[: len(block)]
    return dealt
