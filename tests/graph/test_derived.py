"""Derived quantities of a draw: per patient, typical at covariates, and ratios."""

from __future__ import annotations

from io import StringIO

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from agreement.declared import DECLARED
from agreement.densities import QUICKLY, points

from hierarchical_twin.cohort import read_cohort
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.derived import derived_values
from hierarchical_twin.graph.evaluate import score
from hierarchical_twin.graph.model import Model
from hierarchical_twin.spec.schema import Derived, Parameter


def at_a_point(model: Model) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Node values and derived quantities at one point."""

    def run(flat: jax.Array) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        values = score(model, flat).values
        return values, derived_values(model, values)

    values, derived = jax.jit(run, compiler_options=QUICKLY)(jnp.asarray(points(model)[-1]))
    return {k: np.asarray(v) for k, v in values.items()}, {k: np.asarray(v) for k, v in derived.items()}


def model_with(name: str, derived: dict[str, Derived]) -> Model:
    """A written model with other derived quantities."""
    spec = DECLARED[name].spec.model_copy(update={"derived": derived})
    return build(spec, DECLARED[name].cohort)


def test_a_quantity_per_patient_runs_in_working_units() -> None:
    model = build(DECLARED["sites"].spec, DECLARED["sites"].cohort)
    values, derived = at_a_point(model)
    # r is in 1/day, time in hours: the doubling time is in hours.
    np.testing.assert_allclose(derived["doubling"], np.log(2) / (values["r"] / 24), rtol=1e-12)


def test_a_ratio_of_typical_values_is_the_coefficient() -> None:
    model = build(DECLARED["sites"].spec, DECLARED["sites"].cohort)
    values, derived = at_a_point(model)
    place = model.cohort.coords["term_V_0"].index("sex[m]")
    assert derived["women"].shape == ()
    assert float(derived["women"]) == pytest.approx(np.exp(-values["beta_V_0"][place]))


def test_a_ratio_of_a_mechanism_s_quantity() -> None:
    model = build(DECLARED["bolus"].spec, DECLARED["bolus"].cohort)
    values, derived = at_a_point(model)
    loss = values["k_el_typical"] / 24
    active = values["k_act_typical"] * np.exp(np.array([values["beta_k_act"][0], 0.0]))
    fraction = active / (active + loss)
    assert float(derived["slow_fraction"]) == pytest.approx(fraction[0] / fraction[1])
    expected = 2 * values["k_act"] / (values["k_act"] + loss) / (values["known_k_out"] * values["V"])
    np.testing.assert_allclose(derived["steady"], expected, rtol=1e-12)


def test_a_typical_value_alone_at_a_covariate() -> None:
    at = Derived(quantity="V_0", at={"sex": "m", "age": 50})
    model = model_with("sites", {"men": at})
    values, derived = at_a_point(model)
    beta = dict(zip(model.cohort.coords["term_V_0"], values["beta_V_0"], strict=True))
    years = 50 - 47.0
    predictor = (
        np.log(values["V_0_typical"])
        + beta["sex[m]"]
        + years * (beta["center(age)"] + beta["center(age):sex[m]"])
    )
    assert float(derived["men"]) == pytest.approx(np.exp(predictor))


def test_a_covariate_that_a_parameter_does_not_have_changes_nothing() -> None:
    model = model_with("bolus", {"volume": Derived(quantity="V", at={"slow": 1}, relative_to={"slow": 0})})
    assert float(at_a_point(model)[1]["volume"]) == pytest.approx(1.0)


def test_known_parameters_give_one_value_for_each_patient() -> None:
    declared = DECLARED["gompertz"]
    fixed = {name: Parameter(unit="1/day", value=value) for name, value in (("r", 0.2), ("a", 0.1))}
    changes = {
        "parameters": {**declared.spec.parameters, **fixed},
        "random_effects": {},
        "derived": {"plateau": Derived(quantity="plateau_ratio")},
    }
    spec = declared.spec.model_copy(update=changes)
    model = build(spec, read_cohort(pd.read_csv(StringIO(declared.table)), spec))
    _, derived = at_a_point(model)
    np.testing.assert_allclose(derived["plateau"], np.full(2, np.exp(2.0)))
