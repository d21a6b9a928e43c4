"""Specs that were once accepted, or answered beside the point: what each of them is told now."""

from __future__ import annotations

import pytest
from test_broken_specs import CELLS, LOSARTAN, TUMOR, Broken

from hierarchical_twin.errors import SpecError
from hierarchical_twin.spec import describe, json_schema, parse_spec, working_units, write_spec

ON_R = 'typical: "Normal(0, 0.2)"\n    formula: "1 + (1 | patient)"'
STEADY = "steady: {quantity: steady_state_active, arguments: {rate: 2}}"


def on_r(formula: str, coefficients: str = "") -> str:
    given = f"\n    coefficients: {coefficients}" if coefficients else ""
    return f'typical: "Normal(0, 0.2)"\n    formula: "{formula}"{given}'


ROWS = {
    "no coefficient prior under identity": Broken(
        TUMOR,
        ON_R,
        on_r("1 + sex + age + (1 | patient)"),
        13,
        ("parameters.r.coefficients", "no prior for sex, age", "a prior in 1/day", "add coefficients: {sex:"),
    ),
    "one coefficient prior of two under identity": Broken(
        TUMOR,
        ON_R,
        on_r("1 + sex + age + (1 | patient)", '{age: "Normal(0, 0.01)"}'),
        18,
        ("no prior for sex",),
    ),
    "target of everybody": Broken(
        CELLS, "target: 0.9", "target: 1", 16, ("arguments.target", "got 1", "between 0 and 1")
    ),
    "target above everybody": Broken(CELLS, "target: 0.9", "target: 1.5", 16, ("got 1.5", "between 0 and 1")),
    "target of nobody": Broken(CELLS, "target: 0.9", "target: 0", 16, ("got 0", "between 0 and 1")),
    "no infusion": Broken(
        LOSARTAN,
        "fraction: {quantity: activated_fraction}",
        STEADY.replace("2", "0"),
        18,
        ("arguments.rate", "got 0", "greater than 0"),
    ),
    "an empty list of rows": Broken(
        TUMOR,
        "patient: {",
        "where: {drug: []}\npatient: {",
        6,
        ("where.drug", "got a list of 0", "at least one"),
    ),
    "a list of lists of rows": Broken(
        TUMOR,
        "patient: {",
        "where: {drug: [[a], b]}\npatient: {",
        6,
        ("where.drug.0", "got a list of 1", "a number or text"),
    ),
    "a number in a unit": Broken(TUMOR, "unit: year", "unit: 10^9/L", 30, ("no number but 1", "'cells/nL'")),
    "a number in exponent form": Broken(TUMOR, "unit: year", "unit: 1e9/L", 30, ("no number but 1",)),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_trap_is_answered_at_its_line(row: Broken) -> None:
    assert row.base.count(row.old) == 1
    with pytest.raises(SpecError) as caught:
        parse_spec(row.base.replace(row.old, row.new), "file.yaml")
    (problem,) = map(str, caught.value.problems)
    assert problem.startswith(f"file.yaml:{row.line} ")
    assert all(word in problem for word in row.words), problem


@pytest.mark.parametrize(
    ("formula", "coefficients"),
    [
        ("1 + sex + age + (1 | patient)", '"Normal(0, 0.01)"'),
        ("1 + sex + age + (1 | patient)", '{"sex[M]": "Normal(0, 0.1)", age: "Normal(0, 0.01)"}'),
        ("1 + (1 | patient) + (0 + age | patient)", ""),
    ],
)
def test_given_coefficients_serve_under_identity(formula: str, coefficients: str) -> None:
    assert parse_spec(TUMOR.replace(ON_R, on_r(formula, coefficients)))


def test_a_log_link_keeps_its_default_coefficients() -> None:
    spec = parse_spec(
        TUMOR.replace(ON_R, on_r("1 + sex + (1 | patient)"))
        .replace("identity", "log")
        .replace("Normal(0, 0.2)", "LogNormal(0.1, 1)")
    )
    assert "β_r[sex] ~ Normal(mean=0, sd=1) on the link scale (the default)" in describe(spec)


def test_arguments_inside_their_bounds_are_accepted() -> None:
    assert parse_spec(LOSARTAN.replace("fraction: {quantity: activated_fraction}", STEADY))
    assert parse_spec(CELLS.replace("target: 0.9", "target: 0.001"))


def test_a_list_of_accepted_values_is_read_described_and_written() -> None:
    text = TUMOR.replace("patient: {", "where: {arm: [1, b, true]}\npatient: {").replace(
        "    predicts: V", "    where: {drug: [x, y]}\n    predicts: V"
    )
    spec = parse_spec(text)
    assert spec.where == {"arm": (1, "b", True)}
    assert "rows where drug = x or y" in describe(spec)
    assert parse_spec(write_spec(spec)) == spec
    assert write_spec(parse_spec(write_spec(spec))) == write_spec(spec)
    accepted = json_schema()["properties"]["where"]["additionalProperties"]["oneOf"]
    assert any(branch.get("type") == "array" and branch["minItems"] == 1 for branch in accepted)


def test_a_misspelt_mechanism_is_told_beside_missing_keys() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec("spec: 1\nname: a\nmechanism: exponental_growth\n", "f.yaml")
    assert [problem.where for problem in caught.value.problems] == [
        *(f"f.yaml:1 {key}" for key in ("title", "patient", "parameters", "observations")),
        "f.yaml:3 mechanism",
    ]
    assert caught.value.problems[-1].hint == "did you mean 'exponential_growth'?"


def test_a_missing_title_hides_nothing_else_and_adds_nothing() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(TUMOR.replace("title: Growth\n", "").replace("unit: 1/day", "unit: 1/dya"), "f.yaml")
    assert [problem.where for problem in caught.value.problems] == [
        "f.yaml:1 title",
        "f.yaml:13 parameters.r.unit",
    ]


def test_cells_and_weeks_are_units() -> None:
    text = TUMOR.replace("unit: 1/day", "unit: 1/wk")
    text = text.replace("    unit: cm^3\n    link", "    unit: cells/uL\n    link")
    units = working_units(parse_spec(text.replace("unit: cm^3", "unit: cell/nL")))
    assert units.parameter["r"] == pytest.approx(1 / 7)
    assert units.parameter["V_0"] == pytest.approx(1e-3)
