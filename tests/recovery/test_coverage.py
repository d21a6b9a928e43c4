"""Simulate, fit, look for the truth: 90 % intervals of patients hold it about 90 times in 100."""

from __future__ import annotations

import numpy as np
import pytest

import hierarchical_twin as ht
from recovery.designs import DESIGNS, Design

pytestmark = pytest.mark.slow

COVERAGE = (0.82, 0.97)
BINS = 5


def ranks(design: Design, seed: int) -> np.ndarray:
    """Where each patient's true value stands among their draws, 0 to 1, of one simulated cohort."""
    simulated = ht.simulate(design.model(), seed=seed, population=design.population)
    fit = ht.sample(simulated.model, chains=2, warmup=400, draws=400, seed=seed, device="cpu", progress=False)
    posterior = fit.tree["posterior"].to_dataset()
    return np.array(
        [
            (posterior[name].values < simulated.truth[name]).mean(axis=(0, 1)).tolist()
            for name in design.parameters
        ]
    )


@pytest.mark.parametrize("name", DESIGNS)
def test_intervals_hold_the_truth(name, capsys):
    design = DESIGNS[name]
    found = np.concatenate([ranks(design, seed) for seed in range(1, design.cohorts + 1)], axis=1)
    inside = (found > 0.05) & (found < 0.95)
    counts = np.histogram(found, bins=BINS, range=(0.0, 1.0))[0]
    with capsys.disabled():
        each = ", ".join(
            f"{parameter} {share:.0%}"
            for parameter, share in zip(design.parameters, inside.mean(axis=1), strict=True)
        )
        told = f"{inside.mean():.1%} of {inside.size} ({each}); ranks {counts.tolist()}"
        print(f"\n{name}: 90 % intervals hold {told}")
    # Patients of one cohort share its population's error, so their ranks are clustered: only told, not tested.
    assert COVERAGE[0] <= inside.mean() <= COVERAGE[1]
