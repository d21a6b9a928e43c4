"""A fit's numbers and labels are those of docs/fit.md, checked against formulas written down here."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import hierarchical_twin as ht
from hierarchical_twin.graph.evaluate import flat_size, score
from hierarchical_twin.inference.device import choose_place
from hierarchical_twin.inference.draws import unfold_draws
from hierarchical_twin.inference.label import variable_units
from inference.models import CASES

GROUPS = {
    "posterior",
    "sample_stats",
    "log_likelihood",
    "posterior_predictive",
    "observed_data",
    "no_pooling",
    "constant_data",
    "table",
    "adaptation",
}
ATTRIBUTES = {
    "spec",
    "spec_hash",
    "data_hash",
    "data_source",
    "data_report",
    "seed",
    "backend",
    "device",
    "parameterization",
    "created_at",
    "versions",
    "max_tree_depth",
    "target_accept",
    "warmup",
    "method",
    "thin",
    "patients",
    "command",
    "is_interrupted",
    "timings",
    "link",
    "unit",
    "error",
}


def predicted(fit: ht.Fit) -> np.ndarray:
    """Each patient's line at each measurement, ``[chain, draw, observation]``."""
    posterior, data = fit.tree["posterior"].to_dataset(), fit.tree["observed_data"].to_dataset()
    who, when = data["patient_reaction"].values, data["time_reaction"].values
    intercept, slope = (posterior[name].sel(patient=who).values for name in ("intercept", "slope"))
    return intercept + slope * when


def test_groups_and_attributes(sleep_fit):
    assert set(sleep_fit.tree.children) == GROUPS
    assert set(sleep_fit.tree.attrs) == ATTRIBUTES
    attributes = sleep_fit.attributes
    assert all(isinstance(value, str | int | float) for value in attributes.values())
    assert (attributes["seed"], attributes["backend"], attributes["device"]) == (1, "numpyro", "cpu")
    assert json.loads(attributes["link"]) == {"intercept": "identity", "slope": "identity"}
    assert json.loads(attributes["error"]) == {"reaction": "normal"}
    assert json.loads(attributes["parameterization"])["patient"] == {
        "intercept": "informed",
        "slope": "informed",
    }
    stages = {
        f"{stage}{word}" for stage in ("pilot", "plan", "effects", "unfold") for word in ("", "_compile")
    }
    clock = stages | {"compile", "sample", "warmup", "gradients"}
    assert clock == set(json.loads(attributes["timings"]))
    assert {"jax", "numpyro", "hierarchical_twin", "python"} <= set(json.loads(attributes["versions"]))
    assert ht.parse_spec(sleep_fit.spec_text) == ht.read_spec(ht.shipped_specs()["sleep"])


def test_posterior_dims_and_labels(sleep_fit, sleep):
    posterior = sleep_fit.tree["posterior"].to_dataset()
    expected = {
        "intercept": ("patient",),
        "slope": ("patient",),
        "intercept_typical": (),
        "slope_typical": (),
        "omega": ("effect",),
        "omega_correlation": ("effect", "effect_other"),
        "eta": ("patient", "effect"),
        "sigma_reaction": (),
    }
    for name, dims in expected.items():
        assert posterior[name].dims == ("chain", "draw", *dims), name
        assert posterior[name].dtype == np.float64
        assert np.isfinite(posterior[name].values).all()
    assert posterior["patient"].values.tolist() == list(sleep.cohort.patients)
    assert posterior["effect"].values.tolist() == ["intercept", "slope"]
    assert posterior.sizes["chain"] == 2 and posterior.sizes["draw"] == 600
    assert posterior["draw"].values.tolist() == list(range(600))


def test_the_parts_of_a_patient_add_up(sleep_fit):
    posterior = sleep_fit.tree["posterior"].to_dataset()
    for name in ("intercept", "slope"):
        sum_ = posterior[f"{name}_typical"] + posterior["eta"].sel(effect=name)
        assert posterior[name].values == pytest.approx(sum_.values)
    correlation = posterior["omega_correlation"].values
    assert correlation[..., 0, 0] == pytest.approx(1.0) and correlation[..., 1, 1] == pytest.approx(1.0)
    assert correlation[..., 0, 1] == pytest.approx(correlation[..., 1, 0])
    assert (np.abs(correlation[..., 0, 1]) <= 1).all() and (posterior["omega"].values > 0).all()


def test_units(sleep_fit, sleep):
    units = json.loads(sleep_fit.attributes["unit"])
    assert units == variable_units(sleep)
    assert units["slope"] == units["slope_typical"] == "ms/day"
    assert units["sigma_reaction"] == units["reaction"] == "ms"
    assert sleep_fit.tree["posterior"]["slope"].attrs["unit"] == "ms/day"
    table = sleep_fit.intervals()
    assert dict(zip(table["parameter"], table["unit"], strict=True))["intercept"] == "ms"


def test_the_measurements_are_those_of_the_table(sleep_fit):
    data = sleep_fit.tree["observed_data"].to_dataset()
    assert data["reaction"].dims == ("observation_reaction",) and data["reaction"].shape == (60,)
    table = pd.read_csv(CASES / "sleep" / "sleepstudy.csv")
    table = table[table["id"].isin(table["id"].unique()[:6])].reset_index(drop=True)
    rows = table.iloc[data["row_reaction"].values - 1]
    assert data["reaction"].values == pytest.approx(rows["reaction_ms"].to_numpy())
    assert data["patient_reaction"].values.tolist() == rows["id"].astype(str).tolist()
    assert data["time_reaction"].values == pytest.approx(rows["time_d"].to_numpy())


def test_log_likelihood_is_that_of_the_formula(sleep_fit):
    data, posterior = (sleep_fit.tree[name].to_dataset() for name in ("observed_data", "posterior"))
    sigma = posterior["sigma_reaction"].values[:, :, None]
    expected = norm.logpdf(data["reaction"].values, predicted(sleep_fit), sigma)
    found = sleep_fit.tree["log_likelihood"]["reaction"]
    assert found.dims == ("chain", "draw", "observation_reaction")
    assert found.values == pytest.approx(expected, rel=1e-9)


def test_log_likelihood_is_that_of_the_oracle(sleep):
    """At points that were never sampled, and over a batch that is not a whole number of batches."""
    points = 0.1 * np.random.default_rng(0).standard_normal((2, 507, flat_size(sleep)))
    unfolded = unfold_draws(sleep, points, choose_place("cpu", 2), seed=1)
    mask = sleep.cohort.arrays["mask_reaction"]
    for chain, draw in ((0, 0), (0, 506), (1, 250), (1, 506)):
        oracle = score(sleep, jnp.asarray(points[chain, draw]))
        likelihood = np.asarray(oracle.log_likelihood["reaction"])[mask]
        assert unfolded.log_likelihood["reaction"][chain, draw] == pytest.approx(likelihood, rel=1e-10)
        slope = np.asarray(oracle.values["slope"])
        assert unfolded.posterior["slope"][chain, draw] == pytest.approx(slope, rel=1e-10)


def test_replicates_are_plausible(sleep_fit):
    data, posterior = (sleep_fit.tree[name].to_dataset() for name in ("observed_data", "posterior"))
    drawn = sleep_fit.tree["posterior_predictive"]["reaction"].values
    noise = (drawn - predicted(sleep_fit)) / posterior["sigma_reaction"].values[:, :, None]
    assert noise.mean() == pytest.approx(0, abs=0.02) and noise.std() == pytest.approx(1, abs=0.02)
    pairs = np.corrcoef(noise.reshape(-1, noise.shape[-1]).T)[np.triu_indices(60, 1)]
    assert np.abs(pairs).max() < 0.2, "noise of one measurement does not follow another's"
    lower, upper = np.quantile(drawn, (0.025, 0.975), axis=(0, 1))
    inside = (data["reaction"].values >= lower) & (data["reaction"].values <= upper)
    assert inside.mean() > 0.85


def test_a_fit_survives_its_file(sleep_fit, tmp_path):
    opened = ht.open_fit(sleep_fit.save(tmp_path / "fit.nc"))
    for group in GROUPS - {"constant_data"}:  # this cohort has no covariates
        assert opened.tree[group].to_dataset().equals(sleep_fit.tree[group].to_dataset()), group
    assert dict(opened.attributes) == dict(sleep_fit.attributes)


def test_constant_data_is_there_without_covariates(sleep_fit):
    assert sleep_fit.tree["constant_data"].to_dataset().sizes["patient"] == 6
