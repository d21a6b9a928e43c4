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
    assert frame["unit"].tolist() == [
        "cm^3",
        "1/day",
        "1/day per unit",
        "1",
        "1/day",
        "1",
        "1",
        "1",
    ]


def test_cv_only_for_log_link(fit):
    frame = fit.population(prob=0.8).set_index("parameter")
    omega = fit.tree["posterior"]["omega"].sel(effect="V_0").values.ravel()
    percent = 100 * np.sqrt(np.exp(omega**2) - 1)
    row = frame.loc["omega[V_0]"]
    assert row["cv_percent"] == pytest.approx(np.median(percent))
    assert row["cv_lower"] == pytest.approx(np.quantile(percent, 0.1))
    assert row["cv_upper"] == pytest.approx(np.quantile(percent, 0.9))
    assert frame["cv_percent"].notna().sum() == 1


UNITS = {"r": "1/day", "i": "ms", "g": "1"}
COVARIATES = {"age": "year", "bmi": "kg/m^2", "gene": "1"}


@pytest.mark.parametrize(
    ("label", "unit"),
    [
        ("beta_i[age]", "ms/year"),
        ("beta_i[center(age)]", "ms/year"),
        ("beta_i[bmi]", "ms/(kg/m^2)"),
        ("beta_i[gene]", "ms per unit"),
        ("beta_i[weight]", "ms per unit"),
        ("beta_i[scale(age)]", "ms per unit"),
        ("beta_i[log(age)]", "ms per unit"),
        ("beta_i[sex[M]]", "ms"),
        ("beta_i[site[a:b]]", "ms"),
        ("beta_i[bs(age, df=4)[0]]", "ms"),
        ("beta_i[age:sex[M]]", "ms/year"),
        ("beta_i[age:bmi]", "ms/year/(kg/m^2)"),
        ("beta_i[age:weight]", "ms per unit"),
        ("beta_g[age]", "1/year"),
        ("beta_g[weight]", "1"),
        ("omega[i]", "ms"),
        ("omega[r:age]", "1/day/year"),
        ("omega_site[i:sex[M]]", "ms"),
        ("eta[anna,i]", "ms"),
    ],
)
def test_under_identity_a_coefficient_is_for_one_unit_of_its_covariate(label, unit):
    assert unit_of(label, UNITS, dict.fromkeys(UNITS, "identity"), COVARIATES) == unit
    assert unit_of(label, UNITS, dict.fromkeys(UNITS, "log"), COVARIATES) == "1"


@pytest.mark.parametrize("label", ["sigma_proportional_volume", "concentration_volume"])
def test_relative_errors_and_concentrations_are_pure_numbers(label):
    assert unit_of(label, UNITS, {}) == "1"


def test_the_unit_of_a_covariate_is_read_from_the_spec(fit):
    fit.tree.attrs["spec"] = "spec: 1\ncovariates: {age: {unit: year}, sex: {levels: [F, M]}, odd: }\n"
    assert fit.population().set_index("parameter").loc["beta_r[age]", "unit"] == "1/day/year"
    fit.tree.attrs["spec"] = "not: [a spec"
    assert fit.population().set_index("parameter").loc["beta_r[age]", "unit"] == "1/day per unit"
