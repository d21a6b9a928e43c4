"""The checks on real fits: of data the model made they find nothing, also in patients it never saw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

import hierarchical_twin as ht
from hierarchical_twin.analysis.loo import leave_one_observation_out
from hierarchical_twin.analysis.statistics_check import check_statistics
from hierarchical_twin.analysis.visual_check import visual_check
from prediction.models import LINE, line_rows

TRUTH = {
    "intercept_typical": 5.0,
    "slope_typical": 1.0,
    "beta_slope": [0.05],
    "omega": [3.0, 0.8],
    "omega_site": [0.3],
    "sigma_y": 1.0,
}


def simulated(patients: int, seed: int) -> pd.DataFrame:
    """A table whose measurements the model made."""
    spec, rows = ht.parse_spec(LINE), line_rows(patients)
    made = ht.simulate(ht.build(spec, ht.read_cohort(rows, spec)), seed=seed, population=TRUTH).rows
    rows.loc[made["table_row"].to_numpy() - 1, "y"] = made["value"].to_numpy()
    return rows


def test_checks_of_a_small_fit_have_numbers_everywhere(line_fit: ht.Fit):
    prediction = ht.predict(line_fit, draws=100)
    table = prediction.table()
    assert np.isfinite(table[["PRED", "IPRED", "EPRED", "IWRES", "NPDE", "PIT"]].to_numpy()).all()
    assert visual_check(prediction).percentiles["is_outside"].mean() < 0.5
    assert visual_check(prediction, corrected=True, stratify="outcome").is_corrected
    assert check_statistics(prediction)["two_sided"].min() > 0.001
    loo = leave_one_observation_out(line_fit.tree)
    assert np.isfinite(loo.rows[["elpd", "LOO_PIT"]].to_numpy()).all() and loo.p_loo > 5


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["", "lower_limit: 4, "], ids=["all measured", "censored"])
def test_of_data_the_model_made_the_checks_find_nothing(limit: str):
    """Neither in the half of the patients it was fitted to, nor in the half it never saw."""
    spec = ht.parse_spec(LINE.replace("error: normal, ", f"error: normal, {limit}"))
    rows = simulated(240, seed=5)
    is_even = rows["id"].str[1:].astype(int) % 2 == 0
    model = ht.build(spec, ht.read_cohort(rows[is_even], spec))
    fit = ht.sample(model, chains=2, draws=400, seed=2, device="cpu", progress=False)
    prediction = ht.predict(fit)
    errors = prediction.table()["NPDE"].to_numpy()
    if limit:
        assert 0.1 < (prediction.rows["censored"] == 1).mean() < 0.7
    assert abs(errors.mean()) < 0.15 and abs(errors.var() - 1) < 0.2
    assert kstest(errors, "norm").pvalue > 0.001
    assert visual_check(prediction).percentiles["is_outside"].mean() < 0.3
    assert visual_check(prediction, corrected=True).percentiles["is_outside"].mean() < 0.3
    assert kstest(leave_one_observation_out(fit.tree).rows["LOO_PIT"], "uniform").pvalue > 0.001
    unseen = ht.predict(fit, rows=rows[~is_even])
    assert unseen.rows["is_new"].all()
    table = unseen.table()
    assert abs(table["NPDE"].mean()) < 0.25 and abs(table["NPDE"].var() - 1) < 0.25
    # Of patients nothing is known of, a new measurement of theirs is one of anybody's: PIT is not drawn to 0.5.
    assert abs(np.var(table["PIT"]) - 1 / 12) < 0.02
    first, second = (table.groupby("patient")["NPDE"].nth(place).to_numpy() for place in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.3
