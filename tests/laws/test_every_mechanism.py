"""Promises that every mechanism keeps, under every option."""

from __future__ import annotations

import inspect
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierarchical_twin.mechanisms import MECHANISMS

from .cases import CASES, PADDING, PATIENTS, RECORDS, Case

ALL_CASES = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
ALL_MECHANISMS = pytest.mark.parametrize("name", MECHANISMS)


def test_every_mechanism_has_a_row_for_every_option() -> None:
    declared = {
        (name, words)
        for name, mechanism in MECHANISMS.items()
        for words in product(*mechanism.options.values())
    }
    assert {(case.mechanism, tuple(case.options.values())) for case in CASES.values()} == declared


@ALL_CASES
def test_a_row_names_every_parameter(case: Case) -> None:
    assert set(case.ranges) == set(case.declared.parameters_under(case.options))


@ALL_MECHANISMS
def test_the_function_is_what_the_table_declares(name: str) -> None:
    declared = MECHANISMS[name]
    given = inspect.signature(declared.solve()).parameters
    positional = [p.name for p in given.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = {p.name: p.default for p in given.values() if p.kind is p.KEYWORD_ONLY}
    assert positional == list(declared.exposure)
    expected = {option: words[0] for option, words in declared.options.items()}
    for parameter, words in declared.parameters.items():
        optional = None if words.options else inspect.Parameter.empty
        expected[parameter] = optional if words.default is None else words.default
    assert named == expected


@ALL_MECHANISMS
def test_every_derived_quantity_exists_with_its_declared_arguments(name: str) -> None:
    for quantity, words in MECHANISMS[name].derived.items():
        given = inspect.signature(MECHANISMS[name].derive(quantity)).parameters.values()
        assert tuple(p.name for p in given if p.kind is p.POSITIONAL_OR_KEYWORD) == words.parameters
        assert {p.name: p.default for p in given if p.kind is p.KEYWORD_ONLY} == dict(words.arguments)


@ALL_MECHANISMS
def test_the_docstrings_are_the_model(name: str) -> None:
    text = inspect.getdoc(MECHANISMS[name].solve())
    assert all(section in text for section in ("Parameters\n", "Returns\n", "References\n"))
    assert all(f"``{output}``" in text for output in MECHANISMS[name].outputs)
    assert all(inspect.getdoc(MECHANISMS[name].derive(quantity)) for quantity in MECHANISMS[name].derived)


@ALL_CASES
def test_outputs_are_declared_float64_and_run_along_the_records(case: Case) -> None:
    exposure, parameters = case.draw(0)
    for shape in ((PATIENTS, 1), ()):
        shaped = {name: jnp.zeros(shape) for name in parameters}
        outputs = jax.eval_shape(case.call, exposure, shaped)
        assert set(outputs) == {*case.declared.outputs, *case.declared.log_outputs.values()}
        for output in outputs.values():
            assert output.shape == (PATIENTS, RECORDS) and output.dtype == jnp.float64


@ALL_CASES
def test_agrees_with_the_reference(case: Case) -> None:
    exposure, parameters = case.draw(1)
    outputs = case.solve(exposure, parameters)
    for i in range(PATIENTS):
        row = {name: array[i] for name, array in exposure.items()}
        expected = case.reference(row, {name: float(array[i, 0]) for name, array in parameters.items()})
        for name in case.declared.outputs:
            output = outputs[name]
            scale = np.abs(expected[name]).max()
            absolute = case.tolerance if scale > 1.0 else case.tolerance * scale
            np.testing.assert_allclose(output[i], expected[name], rtol=case.tolerance, atol=absolute)


@ALL_CASES
def test_logarithms_are_those_of_the_outputs(case: Case) -> None:
    outputs = case.solve(*case.draw(2))
    for name, log in case.declared.log_outputs.items():
        np.testing.assert_allclose(outputs[log], np.log(outputs[name]), rtol=1e-12, atol=1e-12)


@ALL_CASES
def test_values_and_gradients_are_finite_over_the_range(case: Case) -> None:
    for seed in range(20):
        exposure, parameters = case.draw(seed)
        found = [*case.solve(exposure, parameters).values(), *case.gradient(exposure, parameters).values()]
        assert all(np.isfinite(array).all() for array in found)


@ALL_CASES
def test_gradients_are_those_of_the_values(case: Case) -> None:
    exposure, parameters = case.draw(2)
    gradient = case.gradient(exposure, parameters)

    def total(moved: dict[str, np.ndarray]) -> np.ndarray:
        return sum(output.sum(axis=1, keepdims=True) for output in case.solve(exposure, moved).values())

    for name, value in parameters.items():
        step = 1e-5 * np.maximum(np.abs(value), 1e-3)
        ahead, behind = total(parameters | {name: value + step}), total(parameters | {name: value - step})
        expected, size = (ahead - behind) / (2.0 * step), np.abs(ahead) / step
        np.testing.assert_allclose(gradient[name], expected, rtol=1e-6, atol=1e-11 * size.max())


@ALL_CASES
def test_a_patient_is_solved_alike_alone_or_among_others(case: Case) -> None:
    exposure, parameters = case.draw(3)
    together = case.solve(exposure, parameters)
    for i in range(PATIENTS):
        alone = case.solve(
            {name: np.repeat(array[i : i + 1], PATIENTS, 0) for name, array in exposure.items()},
            {name: np.repeat(array[i : i + 1], PATIENTS, 0) for name, array in parameters.items()},
        )
        for name, output in together.items():
            np.testing.assert_allclose(alone[name], np.tile(output[i], (PATIENTS, 1)), rtol=1e-13, atol=1e-15)


@ALL_CASES
def test_padding_changes_nothing_before_it(case: Case) -> None:
    exposure, parameters = case.draw(4)
    along_records = [name for name in exposure if not name.startswith("dose_")]
    longer = dict(exposure)
    for name in along_records:
        longer[name] = exposure[name].copy()
        longer[name][:, -PADDING:] += np.array([7.0, 15.0])
    padded, unpadded = case.solve(exposure, parameters), case.solve(longer, parameters)
    for name, output in padded.items():
        np.testing.assert_allclose(output[:, :-PADDING], unpadded[name][:, :-PADDING], rtol=1e-14)
        if "time" in exposure:
            np.testing.assert_allclose(output[:, -PADDING:], output[:, [-PADDING - 1] * PADDING], rtol=1e-14)
