"""Informed effects: what exact information gives, what none gives, and that every choice is one model."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from io import StringIO
from itertools import permutations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from agreement.declared import DECLARED
from agreement.densities import MIXTURES, QUICKLY, random_information, with_choice
from agreement.shipped import TABLES

from hierarchical_twin.cohort import read_cohort
from hierarchical_twin.graph.blocks import mark_population
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import (
    convert_point,
    draw_prior,
    flat_names,
    flat_size,
    log_density,
    parameters_at,
    split,
)
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Sample
from hierarchical_twin.spec import parse_spec, read_spec
from hierarchical_twin.spec.shipped import shipped_specs

CHOICES = ("noncentered", "centered", "informed", "blank", *MIXTURES)


@lru_cache
def model_of(name: str, choice: str) -> Model:
    """A written spec's model under one parameterization."""
    return with_choice(DECLARED[name].spec, DECLARED[name].cohort, choice)


def some_points(model: Model, count: int = 3) -> np.ndarray:
    """Unconstrained points ``[point, size]`` around the origin."""
    return 0.5 * np.random.default_rng(3).normal(size=(count, flat_size(model)))


@pytest.mark.parametrize("name", ["sites", "errors", "bolus"])
def test_nothing_known_is_noncentred(name: str) -> None:
    """Coordinate for coordinate, correlated effects and slopes included."""
    declared = DECLARED[name]
    nothing = replace(random_information(declared.spec, declared.cohort).blank(), choices={})
    plain = model_of(name, "noncentered")
    blank = build(declared.spec, declared.cohort, parameterization="informed", information=nothing)

    def compare(flat: Any) -> tuple[Any, Any, Any, Any]:
        moved = convert_point(plain, blank, flat)
        columns = [split(blank, moved)[f"eta_{label}"] for label in blank.coords["effect"]]
        densities = log_density(plain)(flat), log_density(blank)(moved)
        return *densities, split(plain, flat)["z"], jnp.stack(columns, axis=1)

    run = jax.jit(jax.vmap(compare), compiler_options=QUICKLY)
    expected, found, standard, framed = run(jnp.asarray(some_points(plain)))
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_allclose(framed, standard, rtol=1e-9, atol=1e-11)


def test_points_convert_between_all_parameterizations() -> None:
    """Through any other choice and back: correlated effects, slopes, an outer level, mixtures."""
    models = {choice: model_of("sites", choice) for choice in CHOICES}
    assert len({flat_names(model) for model in models.values()}) >= 6

    plain = models["noncentered"]
    flat = jnp.asarray(some_points(plain, 1)[0])
    direct = {choice: convert_point(plain, model, flat) for choice, model in models.items()}
    np.testing.assert_allclose(direct["noncentered"], flat, rtol=1e-12, atol=1e-14)
    # Not compiled: each pair would be another program.
    for first, second in permutations(models, 2):
        found = convert_point(models[first], models[second], direct[first])
        pair = f"{first} to {second}"
        np.testing.assert_allclose(found, direct[second], rtol=1e-8, atol=1e-9, err_msg=pair)


@pytest.mark.parametrize("choice", ["informed", "noncentered_informed"])
def test_a_prior_draw_is_the_point_it_says(choice: str) -> None:
    """Draws come from the prior, not from the frame, and are told in the frame's coordinates."""
    model, plain = model_of("sites", choice), model_of("sites", "noncentered")

    def compare(key: Any) -> tuple[Any, Any, Any]:
        values, flat = draw_prior(model, key)
        again = parameters_at(model, flat)
        standard = split(plain, convert_point(model, plain, flat))["z"]
        return *({name: given[name] for name in ("eta", "V_0", "r")} for given in (values, again)), standard

    keys = jax.random.split(jax.random.PRNGKey(5), 400)
    drawn, again, standard = jax.jit(jax.vmap(compare), compiler_options=QUICKLY)(keys)
    for name, value in drawn.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-8, atol=1e-8, err_msg=name)
    standard = np.asarray(standard).reshape(400, -1)
    np.testing.assert_allclose(standard.mean(axis=0), 0.0, atol=0.2)
    np.testing.assert_allclose(standard.std(axis=0), 1.0, atol=0.15)


def gaussian_model(name: str) -> Model:
    """A model whose likelihood is Gaussian in the predictors, with its exact curvature, by hand."""
    if name == "sites":
        text = DECLARED[name].text.replace(", lower_limit: 0.4", "")
        spec, table = parse_spec(text), pd.read_csv(StringIO(DECLARED[name].table))
    else:
        spec, table = read_spec(shipped_specs()[name]), TABLES[name]()
    cohort = read_cohort(table, spec)
    [outcome] = spec.observations
    mask, times = cohort.arrays[f"mask_{outcome}"], cohort.arrays["time"]
    measured = np.where(mask, cohort.arrays[f"observed_{outcome}"], 1.0)
    if name == "sites":  # Hours against 1/day, cm^3 against mm^3.
        times, measured = times / 24.0, 1000.0 * measured
    if name != "sleep":
        measured = np.log(measured)
    slopes = np.stack([np.ones_like(times), times]) * mask
    curvature = {outcome: np.einsum("ipt,jpt->ijp", slopes, slopes)}
    score = {outcome: np.einsum("ipt,pt->ip", slopes, measured)}
    information = Information(tuple(spec.parameters), curvature, score)
    return build(spec, cohort, parameterization="informed", information=information)


@pytest.mark.parametrize("name", ["sleep", "tumor_growth", "sites"])
def test_a_gaussian_likelihood_leaves_standard_normal_effects(name: str) -> None:
    """At any population, any residual SD, correlation, slope and site: the gradient in xi is -xi."""
    model = gaussian_model(name)
    is_effect = ~mark_population(model)
    assert is_effect.sum() == model.size("patient") * model.size("effect")
    flat = some_points(model)
    gradient = jax.jit(jax.vmap(jax.grad(log_density(model))), compiler_options=QUICKLY)(jnp.asarray(flat))
    np.testing.assert_allclose(np.asarray(gradient)[:, is_effect], -flat[:, is_effect], rtol=1e-6, atol=1e-7)


def test_what_is_sampled() -> None:
    """An explicit choice stands beside informed ones; outer levels do as the information says."""
    sampled = {
        choice: {node.name: node.distribution for node in model_of("sites", choice).graph.samples}
        for choice in ("informed", "informed_centered", "noncentered_informed")
    }
    effects = ("V_0", "r", "r:center(age)")
    assert all(sampled["informed"][f"eta_{label}"] == "FramedNormal" for label in effects)
    outer = {"centered_V_0_site", "z_r_site", "centered_r:sex[m]_site"}
    assert outer <= set(sampled["informed"])
    framed = {f"eta_{label}" for label in effects} & set(sampled["informed_centered"])
    assert framed == {"eta_V_0", "eta_r:center(age)"} and "centered_r" in sampled["informed_centered"]
    framed = {f"eta_{label}" for label in effects} & set(sampled["noncentered_informed"])
    assert framed == {"eta_r"} and {"z_V_0", "z_r:center(age)"} <= set(sampled["noncentered_informed"])


def test_auto_waits_for_information() -> None:
    """Without any it is non-centred, with some informed, and an explicit choice stays as it is."""
    spec, cohort = DECLARED["gompertz"].spec, DECLARED["gompertz"].cohort
    known = random_information(spec, cohort)

    def sampled(parameterization: str | None, information: Information | None) -> set[str]:
        model = build(spec, cohort, parameterization=parameterization, information=information)
        return {node.name for node in model.graph.samples if isinstance(node, Sample) and node.dims}

    for word in ("auto", "informed"):
        assert sampled(word, None) == {"omega", "z"}
        assert sampled(word, known) == {"omega", "eta_r"}
    for word in (None, "centered"):
        assert sampled(word, known) == sampled(word, None) == {"omega", "centered_r"}


def test_the_arrays_are_named_by_outcome() -> None:
    spec, cohort = DECLARED["bolus"].spec, DECLARED["bolus"].cohort
    known = random_information(spec, cohort)
    assert set(known.arrays) == set(known.dims)
    assert {name for name in known.arrays if name.endswith("_parent")} == {"curvature_parent", "score_parent"}
    for name, array in known.arrays.items():
        assert array.ndim == len(known.dims[name]) and known.dims[name][-1] == "patient"
    model = with_choice(spec, cohort, "informed")
    assert set(known.arrays) <= set(model.numbers)
