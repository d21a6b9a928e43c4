"""A graph is words: no arrays in it, and another cohort of the same structure scores under it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from io import StringIO
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from agreement.declared import DECLARED, Declared
from agreement.densities import QUICKLY, points, with_choice
from agreement.shipped import TABLES

from hierarchical_twin.cohort import read_cohort
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import (
    draw_outcomes,
    draw_prior,
    flat_names,
    flat_size,
    join,
    layout,
    reported_values,
    score,
    split,
)
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Compute, Data, Filter, Observe, Sample, Solve
from hierarchical_twin.graph.operations import OPERATIONS
from hierarchical_twin.spec import read_spec
from hierarchical_twin.spec.shipped import shipped_specs

NAMES = pytest.mark.parametrize("name", DECLARED)
ALL = {name: build(declared.spec, declared.cohort) for name, declared in DECLARED.items()}
INFORMED = {
    f"{name} informed": with_choice(DECLARED[name].spec, DECLARED[name].cohort, "informed")
    for name in ("sites", "traits", "errors")
}
GRAPHS = pytest.mark.parametrize("model", [*ALL.values(), *INFORMED.values()], ids=[*ALL, *INFORMED])


def values_in(item: Any) -> list[Any]:
    """Everything a frozen value is made of."""
    if is_dataclass(item):
        return [inner for field in fields(item) for inner in values_in(getattr(item, field.name))]
    if isinstance(item, dict):
        return [inner for pair in item.items() for part in pair for inner in values_in(part)]
    if isinstance(item, tuple | list):
        return [inner for part in item for inner in values_in(part)]
    return [item]


@GRAPHS
def test_a_graph_holds_words_and_numbers(model: Model) -> None:
    assert {type(value) for value in values_in(model.graph)} <= {str, int, float, bool, type(None)}
    hash(model.graph.nodes)


@GRAPHS
def test_every_node_comes_after_what_it_names(model: Model) -> None:
    known: set[str] = set()
    for node in model.graph:
        match node:
            case Data():
                named: list[Any] = []
            case Sample():
                named = [given for _, given in node.arguments]
            case Compute():
                named = list(node.inputs)
                assert node.operation in OPERATIONS
            case Solve():
                named = [*node.exposure, *(parameter.source for parameter in node.parameters)]
            case Filter():
                named = list(node.inputs)
            case Observe():
                named = [node.predicted, node.observed, node.mask, *(given for _, given in node.parameters)]
                named.append(node.log_predicted)
        assert {word for word in named if isinstance(word, str)} <= known
        assert node.name not in known
        known.add(node.name)
        if isinstance(node, Solve):
            known |= {output.name for output in node.outputs}
        if isinstance(node, Filter):
            known |= set(node.outputs)


@NAMES
def test_values_have_the_declared_shapes(name: str) -> None:
    model = ALL[name]
    scored = jax.eval_shape(lambda flat: score(model, flat).values, jnp.zeros(flat_size(model)))
    for node in model.graph:
        if not isinstance(node, Solve | Filter | Observe):
            assert scored[node.name].shape == model.shape(node.dims), node.name


@NAMES
def test_the_flat_vector_splits_and_joins(name: str) -> None:
    model = ALL[name]
    flat = np.arange(float(flat_size(model)))
    np.testing.assert_array_equal(join(model, split(model, flat)), flat)
    slots = layout(model)
    assert [slot.start for slot in slots[1:]] == [slot.stop for slot in slots[:-1]]
    assert len(set(flat_names(model))) == flat_size(model)


@pytest.mark.parametrize("name", ["sites", "traits"])
def test_a_prior_draw_is_the_point_it_says(name: str) -> None:
    model = ALL[name]

    def compare(key: Any) -> tuple[Any, Any]:
        values, flat = draw_prior(model, key)
        return reported_values(model, values), reported_values(model, score(model, flat).values)

    drawn, scored = jax.jit(compare, compiler_options=QUICKLY)(jax.random.PRNGKey(2))
    assert set(drawn) >= set(model.spec.parameters) - {
        parameter for parameter, words in model.spec.parameters.items() if words.typical is None
    }
    for key, value in drawn.items():
        np.testing.assert_allclose(scored[key], value, rtol=1e-8, atol=1e-10, err_msg=key)


def renumbered(declared: Declared) -> Model:
    """The same graph over a cohort of other numbers, in other patients, and more of them."""
    frame = pd.read_csv(StringIO(declared.table))
    frame = pd.concat([frame, frame.assign(id=frame["id"].astype(str) + "_again")], ignore_index=True)
    cohort = read_cohort(frame, declared.spec)
    own = build(declared.spec, declared.cohort)
    other = Model(declared.spec, cohort, own.graph)
    assert cohort.size("patient") == 2 * declared.cohort.size("patient")
    assert other.graph.nodes == build(declared.spec, cohort).graph.nodes
    return other


@NAMES
def test_the_same_graph_scores_another_cohort(name: str) -> None:
    """Twice the patients have twice the log likelihood; masked places have none."""
    declared = DECLARED[name]
    own, other = ALL[name], renumbered(declared)
    parts = split(own, points(own)[-1])
    shapes = {slot.name: slot.shape for slot in layout(other)}
    doubled = {
        key: part if shapes[key] == part.shape else np.concatenate([part, part])
        for key, part in parts.items()
    }
    ran = {}
    for key, model, flat in (("own", own, join(own, parts)), ("other", other, join(other, doubled))):
        run = jax.jit(lambda flat, model=model: score(model, flat).log_likelihood, compiler_options=QUICKLY)
        ran[key] = {outcome: np.asarray(term) for outcome, term in run(flat).items()}
    for outcome, term in ran["own"].items():
        assert ran["other"][outcome].sum() == pytest.approx(2 * term.sum(), rel=1e-9)
        mask = declared.cohort.arrays[f"mask_{outcome}"]
        assert np.all(term[~mask] == 0.0) and np.all(term[mask] != 0.0)


def test_replicates_have_the_cohort_s_shape() -> None:
    model = ALL["traits"]

    def draw(key: Any) -> dict[str, Any]:
        return draw_outcomes(model, draw_prior(model, key)[0], key)

    drawn = jax.jit(draw, compiler_options=QUICKLY)(jax.random.PRNGKey(0))
    assert set(drawn) == set(model.spec.observations)
    for outcome, values in drawn.items():
        mask = model.cohort.arrays[f"mask_{outcome}"]
        assert values.shape == mask.shape
        assert np.isfinite(np.asarray(values)[mask]).all()


def test_every_covariate_effect_and_unit_reaches_the_parameter() -> None:
    """The linear predictor by hand: link, typical, design, patient, site and slope effects."""
    model = ALL["sites"]
    cohort = model.cohort
    values = {
        key: np.asarray(value) for key, value in score(model, jnp.asarray(points(model)[-1])).values.items()
    }
    level = cohort.arrays["level_site"]
    age = np.array([30.0, 45.0, 52.0, 61.0])
    male = np.array([1.0, 0.0, 0.0, 1.0])
    centred = age - age.mean()
    beta = dict(zip(cohort.coords["term_V_0"], values["beta_V_0"], strict=True))
    assert set(beta) == {"center(age)", "sex[m]", "center(age):sex[m]"}
    predictor = np.log(values["V_0_typical"]) + centred * beta["center(age)"] + male * beta["sex[m]"]
    predictor = predictor + centred * male * beta["center(age):sex[m]"]
    predictor = predictor + values["eta"][:, 0] + values["eta_site"][level, 0]
    np.testing.assert_allclose(values["V_0"], np.exp(predictor), rtol=1e-12)
    rate = (
        values["r_typical"] + male * values["beta_r"][0] + values["eta"][:, 1] + values["eta"][:, 2] * centred
    )
    rate = rate + values["eta_site"][level, 1] + values["eta_site"][level, 2] * male
    np.testing.assert_allclose(values["r"], rate, rtol=1e-12, atol=1e-14)
    # mm^3 to cm^3, and a rate in 1/day against hours.
    size = values["V_0"][:, None] / 1000 * np.exp(rate[:, None] / 24 * cohort.arrays["time"])
    np.testing.assert_allclose(values["volume_predicted"], size, rtol=1e-10)


@pytest.mark.parametrize("parameterization", ["centered", "noncentered"])
@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_fit_keeps_what_people_ask_for_and_not_what_the_sampler_needs(
    name: str, parameterization: str
) -> None:
    spec = read_spec(shipped_specs()[name])
    model = build(spec, read_cohort(TABLES[name](), spec), parameterization=parameterization)
    per_patient = {node.name for node in model.graph.reported if tuple(node.dims) == ("patient",)}
    estimated = {name for name, words in spec.parameters.items() if words.typical is not None}
    assert per_patient == estimated
    kept = {node.name for node in model.graph.reported}
    assert not any(name.startswith(("z", "centered_", "omega_partial")) for name in kept)
