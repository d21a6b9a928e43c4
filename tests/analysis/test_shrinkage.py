"""Shrinkage against its definitions, and against a model where the answer is known."""

import json

import numpy as np
import pytest
import xarray as xr

from hierarchical_twin.inference.fit import Fit


def normal_means_fit(patients=4000, omega=2.0, error=1.5, draws=60, seed=3):
    """y_i ~ Normal(eta_i, error), eta_i ~ Normal(0, omega): the posterior is exact."""
    rng = np.random.default_rng(seed)
    keep = omega**2 / (omega**2 + error**2)
    y = rng.normal(size=patients) * np.hypot(omega, error)
    eta = keep * y + rng.normal(size=(4, draws, patients)) * omega * np.sqrt(1 - keep)
    posterior = xr.Dataset(
        {
            "m": (("chain", "draw", "patient"), eta),
            "omega": (("chain", "draw", "effect"), np.full((4, draws, 1), omega)),
            "eta": (("chain", "draw", "patient", "effect"), eta[..., None]),
        },
        {"patient": np.arange(patients), "effect": ["m"]},
    )
    tree = xr.DataTree.from_dict({"posterior": posterior})
    tree.attrs = {"link": json.dumps({"m": "identity"}), "unit": json.dumps({"m": "1"})}
    return Fit(tree), keep


def test_known_answer_in_both_definitions():
    fit, keep = normal_means_fit()
    frame = fit.shrinkage().set_index("definition")
    assert frame.loc["variance", "median"] == pytest.approx(1 - keep, abs=0.03)
    assert frame.loc["sd", "median"] == pytest.approx(1 - np.sqrt(keep), abs=0.02)
    own = fit.patient_shrinkage()["shrinkage"]
    assert own.mean() == pytest.approx(1 - keep, abs=0.01)


def test_rows_follow_the_definitions(fit):
    posterior = fit.tree["posterior"]
    eta_hat = posterior["eta"].mean(("chain", "draw")).sel(effect="r").values
    omega = posterior["omega"].sel(effect="r").values.ravel()
    frame = fit.shrinkage(prob=0.5)
    assert frame["effect"].tolist() == ["V_0", "V_0", "r", "r"]
    row = frame.query("effect == 'r' and definition == 'sd'").iloc[0]
    draws = 1 - eta_hat.std(ddof=1) / omega
    assert row["median"] == pytest.approx(np.median(draws))
    assert row["lower"] == pytest.approx(np.quantile(draws, 0.25))
    row = frame.query("effect == 'r' and definition == 'variance'").iloc[0]
    assert row["upper"] == pytest.approx(np.quantile(1 - eta_hat.var(ddof=1) / omega**2, 0.75))


def test_every_grouping_level_has_rows(fit):
    posterior = fit.tree["posterior"].to_dataset()
    rng = np.random.default_rng(0)
    dims = ("chain", "draw")
    posterior = posterior.assign(
        omega_site=((*dims, "effect_site"), np.full((4, 500, 1), 0.3)),
        eta_site=((*dims, "site", "effect_site"), rng.normal(size=(4, 500, 3, 1))),
    ).assign_coords(effect_site=["r"], site=["a", "b", "c"])
    fit.tree["posterior"].dataset = posterior
    assert fit.shrinkage()["group"].tolist() == ["patient"] * 4 + ["site"] * 2
    assert "omega_site[r]" in fit.population()["parameter"].tolist()
    assert not fit.population()["parameter"].str.startswith("eta").any()


def test_patient_shrinkage_is_tidy(fit):
    frame = fit.patient_shrinkage()
    assert list(frame.columns) == ["patient", "effect", "shrinkage"]
    assert len(frame) == 24
    assert frame.query("effect == 'V_0'")["shrinkage"].mean() == pytest.approx(0.01 / 0.25, rel=0.1)


def test_a_fit_without_random_effects_has_an_empty_table(fit):
    columns = list(fit.shrinkage().columns)
    fit.tree["posterior"].dataset = fit.tree["posterior"].to_dataset()[["V_0", "V_0_typical"]]
    assert fit.shrinkage().empty and fit.patient_shrinkage().empty
    assert list(fit.shrinkage().columns) == columns


def test_no_column_can_be_ruined_by_one_draw_of_omega_near_zero(fit):
    before = fit.shrinkage()
    posterior = fit.tree["posterior"].to_dataset().copy(deep=True)
    posterior["omega"].values[0, 0] = 1e-6
    fit.tree["posterior"].dataset = posterior
    after = fit.shrinkage()
    numbers = ["median", "lower", "upper"]
    assert "mean" not in after
    np.testing.assert_allclose(after[numbers], before[numbers], atol=0.01)


def test_a_patient_who_is_known_keeps_the_uncertainty_of_the_typical_value():
    """Two patients measured without error: their effects are unknown by the population's mean alone."""
    rng = np.random.default_rng(5)
    typical = rng.normal(size=(4, 500)) * 0.5
    eta = np.array([1.0, -1.0]) - typical[..., None]
    posterior = xr.Dataset(
        {
            "omega": (("chain", "draw", "effect"), np.ones((4, 500, 1))),
            "eta": (("chain", "draw", "patient", "effect"), eta[..., None]),
        },
        {"patient": ["a", "b"], "effect": ["m"]},
    )
    shares = Fit(xr.DataTree.from_dict({"posterior": posterior})).patient_shrinkage()["shrinkage"]
    assert shares.tolist() == pytest.approx([0.25, 0.25], rel=0.1)
