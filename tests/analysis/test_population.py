"""The population table: one row for each quantity, in order, with units and CV where it has a meaning."""

import numpy as np
import pytest

from hierarchical_twin.analysis.variables import unit_of


def test_rows_and_units(fit):
    frame = fit.population().set_index("parameter")
    assert list(frame.index) == [
        "V_0_typical",
        "r_typical",
        "beta_r[age]",
        "omega[V_0]",
        "omega[r]",
        "omega_correlation[V_0,r]",
        "sigma_volume",
        "ratio",
    ]
    assert frame["unit"].tolist() == ["cm^3", "1/day", "1/day", "1", "1/day", "1", "1", "1"]


def test_cv_only_for_log_link(fit):
    frame = fit.population(prob=0.8).set_index("parameter")
    omega = fit.tree["posterior"]["omega"].sel(effect="V_0").values.ravel()
    percent = 100 * np.sqrt(np.exp(omega**2) - 1)
    row = frame.loc["omega[V_0]"]
    assert row["cv_percent"] == pytest.approx(np.median(percent))
    assert row["cv_lower"] == pytest.approx(np.quantile(percent, 0.1))
    assert row["cv_upper"] == pytest.approx(np.quantile(percent, 0.9))
    assert frame["cv_percent"].notna().sum() == 1


def test_slope_effect_under_identity_has_the_parameters_unit():
    assert unit_of("omega[r:age]", {"r": "1/day"}, {"r": "identity"}) == "1/day"
    assert unit_of("omega[r:age]", {"r": "1/day"}, {"r": "log"}) == "1"
