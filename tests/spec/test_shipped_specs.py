"""Every model that ships: it reads, round-trips, describes itself and matches the published schema."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec import (
    MechanismChoice,
    Observation,
    Parameter,
    PatientColumn,
    RandomEffects,
    Spec,
    TimeColumn,
    check_spec,
    describe,
    json_schema,
    parse_prior,
    parse_spec,
    read_spec,
    write_spec,
)
from hierarchical_twin.spec.published_schema import schema_text
from hierarchical_twin.spec.schema import Words
from hierarchical_twin.spec.vocabulary import PRIORS

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "model_specs").glob("*.yaml"))
NAMES = [path.stem for path in SPECS]


def test_the_issue_s_models_ship() -> None:
    promised = {"tumor_growth", "prodrug_activation", "apoptosis_threshold", "glucose_minimal_model", "sleep"}
    assert promised <= set(NAMES)


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_round_trip(path: Path) -> None:
    spec = read_spec(path)
    text = write_spec(spec)
    assert parse_spec(text) == spec
    assert write_spec(parse_spec(text)) == text
    assert spec.name == path.stem


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_description_names_everything_and_fits_the_page(path: Path) -> None:
    spec = read_spec(path)
    text = describe(spec)
    assert max(map(len, text.splitlines())) <= 100
    assert all(f"{name}_typical ~ " in text for name, given in spec.parameters.items() if given.typical)
    assert all(f"{name}_ij ~ " in text for name in spec.observations)
    assert all(f"\n  {name} = " in text for name in spec.derived)


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_shipped_specs_name_their_schema_and_sources(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=../docs/spec.schema.json\n")
    assert read_spec(path).references


def test_description_of_tumor_growth_is_the_model_in_the_papers() -> None:
    text = describe(read_spec(ROOT / "model_specs" / "tumor_growth.yaml"))
    for line in (
        "  V(t) = V_0 exp(r t)",
        "  log volume_ij ~ Normal(log V_i(t_ij), σ_volume) [cm^3]",
        "  log(V_0_i) = log(V_0_typical) + η[i, V_0] [cm^3]",
        "  r_i = r_typical + η[i, r] [1/day]",
        "  R ~ LKJ(concentration=2)",
    ):
        assert line in text.splitlines()


def test_description_says_which_prior_is_a_default() -> None:
    text = write_spec(read_spec(ROOT / "model_specs" / "apoptosis_threshold.yaml"))
    without = text.replace("    coefficients: Normal(mean=0, sd=1)\n", "")
    assert "β_K_apo[tp53] ~ Normal(mean=0, sd=1) on the link scale\n" in describe(parse_spec(text))
    assert "β_K_apo[tp53] ~ Normal(mean=0, sd=1) on the link scale (the default)\n" in describe(
        parse_spec(without)
    )


def test_description_of_derived_quantities() -> None:
    text = write_spec(read_spec(ROOT / "model_specs" / "apoptosis_threshold.yaml"))
    text += "  typical_dose: {quantity: dose_for_kill, at: {}}\n"
    lines = describe(parse_spec(text)).splitlines()
    assert "  dose_90 = dose_for_kill(target = 0.9) of each patient [uM]" in lines
    assert "  tp53_ratio = K_apo(typical at tp53 = 1) / K_apo(typical at tp53 = 0)" in lines
    assert "  typical_dose = dose_for_kill(typical) [uM]" in lines


def test_spec_built_in_python_equals_the_file() -> None:
    effects = {"intercept": parse_prior("HalfNormal(100)"), "slope": parse_prior("HalfNormal(20)")}
    spec = Spec(
        name="sleep",
        title="Reaction time under sleep restriction",
        references=read_spec(ROOT / "model_specs" / "sleep.yaml").references,
        mechanism=MechanismChoice(name="linear"),
        time=TimeColumn(column="time_d", unit="day"),
        patient=PatientColumn(column="id"),
        parameters={
            "intercept": Parameter(
                unit="ms",
                link="identity",
                typical=parse_prior("Normal(300, 100)"),
                formula="1 + (1 | patient)",
            ),
            "slope": Parameter(
                unit="ms/day",
                link="identity",
                typical=parse_prior("Normal(0, 20)"),
                formula="1 + (1 | patient)",
            ),
        },
        random_effects={
            "patient": RandomEffects(sd=effects, correlation=parse_prior("LKJ(2)")),
        },
        observations={
            "reaction": Observation(
                column="reaction_ms",
                unit="ms",
                predicts="y",
                error="normal",
                sigma=parse_prior("HalfNormal(100)"),
            )
        },
    )
    check_spec(spec)
    assert spec == read_spec(ROOT / "model_specs" / "sleep.yaml")


def test_round_trip_keeps_awkward_text_and_numbers() -> None:
    text = write_spec(read_spec(ROOT / "model_specs" / "tumor_growth.yaml"))
    text = text.replace("column: id", 'column: "yes: 1 #µ"').replace(
        "Normal(mean=0, sd=0.2)", "Normal(0.1, 0.30000000000000004)"
    )
    text = text.replace("column: time_d", "column: '2020-01-01'").replace("column: volume_cm3", 'column: "7"')
    spec = parse_spec(text + "where: {arm: '1', dose: 1, deep: true, rate: 1e-07}\n")
    assert parse_spec(write_spec(spec)) == spec
    assert spec.parameters["r"].typical is not None
    assert spec.parameters["r"].typical["sd"] == 0.1 + 0.2
    assert spec.where == {"arm": "1", "dose": 1, "deep": True, "rate": 1e-07}
    assert spec.time is not None and spec.time.column == "2020-01-01"


def test_published_schema_is_the_one_the_code_gives() -> None:
    published = (ROOT / "docs" / "spec.schema.json").read_text()
    assert published == schema_text(), "write schema_text() of spec.published_schema to docs/spec.schema.json"


def test_schema_completes_what_the_tables_know() -> None:
    schema = json_schema()
    text, *mappings = schema["properties"]["mechanism"]["anyOf"]
    assert text["enum"] == list(MECHANISMS)
    assert [mapping["properties"]["name"]["const"] for mapping in mappings] == list(MECHANISMS)
    given = {
        part["if"]["properties"]["mechanism"]["anyOf"][0]["const"]: part["then"] for part in schema["allOf"]
    }
    for name, mechanism in MECHANISMS.items():
        assert list(given[name]["properties"]["parameters"]["properties"]) == list(mechanism.parameters)
    pattern = schema["$defs"]["RandomEffects"]["properties"]["correlation"]["pattern"]
    assert all(prior in pattern for prior in PRIORS)


def test_every_key_of_the_language_is_described() -> None:
    undescribed = [
        f"{part.__name__}.{key}"
        for part in Words.__subclasses__()
        for key, field in part.model_fields.items()
        if not field.description
    ]
    assert undescribed == []


def test_reading_a_spec_needs_neither_jax_nor_a_backend() -> None:
    code = (
        "import sys; from hierarchical_twin.spec import read_spec; "
        f"read_spec({str(ROOT / 'model_specs' / 'tumor_growth.yaml')!r}); "
        "print([name for name in ('jax', 'numpyro', 'pymc', 'xarray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
