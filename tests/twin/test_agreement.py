"""A patient who was kept out of a fit and came later, record by record, is what the joint fit says of them.

`benchmarks.twins` does the same for every shipped cohort.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from hierarchical_twin.analysis.scoring import TWIN

CASES = Path(__file__).parents[2] / "case_studies"
COHORTS = {
    "sleep": ("sleep/sleepstudy.csv", ("308", "335")),
    "tumor_growth": ("tumor_growth/lung_xenograft_control.csv", ("40", "140")),
}
MEAN, ENDS = 0.15, 0.25
"""The bars, in SDs of the joint fit: the mean, and the ends of the 90 % interval."""


def fitted(spec: ht.Spec, table: pd.DataFrame, draws: int = 2000) -> ht.Fit:
    model = ht.build(spec, ht.read_cohort(table, spec))
    return ht.sample(model, chains=2, warmup=500, draws=draws, seed=7, device="cpu", progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", COHORTS)
def test_a_twin_that_was_updated_agrees_with_the_joint_fit(name) -> None:
    file, labels = COHORTS[name]
    spec, table = ht.read_spec(ht.shipped_specs()[name]), pd.read_csv(CASES / file)
    joint = fitted(spec, table).intervals().set_index(["patient", "parameter"])
    for label in labels:
        is_own = table["id"].astype(str) == label
        own = table[is_own].sort_values("time_d")
        twin = ht.start_twin(fitted(spec, table[~is_own]), patient=label, covariates={})
        for place in range(len(own)):
            twin = ht.update(twin, own.iloc[[place]])
        assert twin.revision == len(own)
        found = twin.intervals().set_index("parameter")
        told = joint.loc[label].loc[found.index]
        off = (
            (found[["mean", "lower", "upper"]] - told[["mean", "lower", "upper"]])
            .abs()
            .div(told["sd"], axis=0)
        )
        assert not twin.doubts
        assert off["mean"].max() < MEAN, off
        assert off[["lower", "upper"]].max().max() < ENDS, off


@pytest.mark.slow
def test_forecasts_cover_what_comes() -> None:
    """90 % intervals of later measurements of 500 patients simulated from the truth that the fit was made of."""
    rng = np.random.default_rng(5)

    def simulated(labels: list[str], days: np.ndarray) -> pd.DataFrame:
        line = rng.standard_normal((2, len(labels))) * [[25.0], [6.0]] + [[250.0], [10.0]]
        values = line[0][:, None] + line[1][:, None] * days
        values += 25 * rng.standard_normal(values.shape)
        return pd.DataFrame(
            {
                "id": np.repeat(labels, len(days)),
                "time_d": np.tile(days, len(labels)),
                "reaction_ms": values.ravel(),
            }
        )

    spec = ht.read_spec(ht.shipped_specs()["sleep"])
    fit = fitted(spec, simulated([f"f{number}" for number in range(40)], np.arange(8.0)), 1000)
    rows = simulated([f"n{number}" for number in range(500)], np.arange(8.0))
    found = ht.score_forecasts(fit, rows, ks=(4,)).rows
    found = found[found["method"] == TWIN]
    assert found["patient"].nunique() == 500 and len(found) == 2000
    assert 0.86 < found["is_covered"].mean() < 0.94
    assert found.loc[~found["is_trustworthy"], "patient"].nunique() < 10
