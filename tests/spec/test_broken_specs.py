"""A table of broken specs: each row changes a sound spec and names the line and words of the answer."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from hierarchical_twin.errors import SpecError
from hierarchical_twin.spec import parse_spec

TUMOR = """\
spec: 1
name: tumor
title: Growth
mechanism: exponential_growth
time: {column: day, unit: day}
patient: {column: mouse}
parameters:
  V_0:
    unit: cm^3
    link: log
    typical: "LogNormal(median=3, sd=1)"
    formula: "1 + center(age) + (1 | patient)"
  r:
    unit: 1/day
    link: identity
    typical: "Normal(0, 0.2)"
    formula: "1 + (1 | patient)"
random_effects:
  patient:
    sd: "HalfNormal(1)"
    correlation: "LKJ(2)"
observations:
  volume:
    column: volume
    unit: cm^3
    predicts: V
    error: lognormal
    sigma: "HalfNormal(0.3)"
covariates:
  age: {unit: year}
derived:
  typical_at_60: {quantity: V_0, at: {age: 60}}
"""

LOSARTAN = """\
spec: 1
name: losartan
title: Activation
mechanism: {name: prodrug_activation, input: oral}
time: {column: h, unit: h}
patient: {column: id}
parameters:
  V: {unit: L, typical: "LogNormal(100, 1)"}
  k_el: {unit: 1/h, typical: "LogNormal(1, 1)"}
  k_act: {unit: 1/h, typical: "LogNormal(1, 1)", formula: "1 + alleles"}
  k_out: {unit: 1/h, typical: "LogNormal(1, 1)"}
  k_a: {unit: 1/h, typical: "LogNormal(1, 1)"}
doses: {amount: dose, unit: umol, time: 0}
observations:
  parent: {column: c, unit: nM, predicts: prodrug, error: combined, sigma: "HalfNormal(1)",
    sigma_proportional: "HalfNormal(1)", standard_error: {sd: sd, n: n}}
derived:
  fraction: {quantity: activated_fraction}
"""

CELLS = """\
spec: 1
name: cells
title: Threshold
mechanism: apoptosis_threshold
patient: {column: id}
parameters:
  K_apo: {unit: uM, typical: "LogNormal(2, 1)", formula: "1 + tp53 + (1 | patient)"}
  n: {typical: "LogNormal(1, 1)"}
random_effects:
  patient: {sd: "HalfNormal(1)"}
inputs:
  dose: {column: conc, unit: uM}
observations:
  viability: {column: viability, predicts: survival, error: normal, sigma: "HalfNormal(1)"}
derived:
  dose_90: {quantity: dose_for_kill, arguments: {target: 0.9}}
"""


class Broken(NamedTuple):
    """`old` becomes `new` in a sound spec; every one of `words` stands in a problem of `line`."""

    base: str
    old: str
    new: str
    line: int
    words: tuple[str, ...]


ROWS = {
    # keys
    "unknown top key": Broken(
        TUMOR, "title: Growth", "titel: Growth", 3, ("'titel'", "did you mean 'title'?")
    ),
    "missing title": Broken(TUMOR, "title: Growth\n", "", 1, ("no 'title'",)),
    "unknown parameter key": Broken(
        TUMOR, "    link: identity", "    lnk: identity", 15, ("parameters.r.lnk", "did you mean 'link'?")
    ),
    "unknown random effect key": Broken(
        TUMOR, "    correlation:", "    corelation:", 21, ("'corelation'", "did you mean 'correlation'?")
    ),
    "wrong version": Broken(TUMOR, "spec: 1", "spec: 2", 1, ("got 2", "expected 1")),
    "no version": Broken(TUMOR, "spec: 1\n", "", 1, ("no 'spec'", "spec: 1")),
    "name with a space": Broken(TUMOR, "name: tumor", "name: my tumor", 2, ("'my tumor'", "letters, digits")),
    "number as text": Broken(
        TUMOR, "column: mouse", "column: 7", 6, ("patient.column", "expected text", "quotes")
    ),
    "text as mapping": Broken(
        TUMOR, "patient: {column: mouse}", "patient: mouse", 6, ("'mouse'", "a mapping with column")
    ),
    "list for parameters": Broken(
        CELLS, "inputs:\n  dose:", "inputs:\n  - dose:", 11, ("inputs", "a mapping")
    ),
    "duplicate key": Broken(
        TUMOR, "    link: identity", "    unit: 1/h", 15, ("the key 'unit' again", "line 14")
    ),
    # mechanism
    "unknown mechanism": Broken(
        TUMOR, "exponential_growth", "exponental_growth", 4, ("did you mean 'exponential_growth'?",)
    ),
    "unknown option": Broken(
        LOSARTAN, "input: oral", "inptu: oral", 4, ("option 'inptu'", "did you mean 'input'?")
    ),
    "bad option word": Broken(
        LOSARTAN, "input: oral", "input: orl", 4, ("'orl'", "bolus, infusion, oral", "'oral'")
    ),
    "parameter of another option": Broken(
        LOSARTAN, ", input: oral", ", input: bolus", 12, ("'k_a'", "input: oral")
    ),
    "unknown parameter": Broken(TUMOR, "  V_0:", "  V0:", 8, ("parameter 'V0'", "did you mean 'V_0'?")),
    "missing parameter": Broken(TUMOR, "  V_0:", "  V0:", 7, ("no parameter 'V_0'", "size at time 0")),
    "unknown output": Broken(
        LOSARTAN, "predicts: prodrug", "predicts: prodrg", 15, ("did you mean 'prodrug'?",)
    ),
    "unknown input": Broken(
        CELLS, "  dose: {column: conc", "  doze: {column: conc", 12, ("did you mean 'dose'?",)
    ),
    "missing input": Broken(
        CELLS, "  dose: {column: conc", "  doze: {column: conc", 11, ("no input 'dose'",)
    ),
    "missing time": Broken(TUMOR, "time: {column: day, unit: day}\n", "", 1, ("no 'time'", "time: {column")),
    "time without need": Broken(
        CELLS, "patient:", "time: {column: t, unit: h}\npatient:", 5, ("'time'", "does not depend")
    ),
    "missing doses": Broken(LOSARTAN, "doses: {amount: dose, unit: umol, time: 0}\n", "", 1, ("no 'doses'",)),
    "doses without need": Broken(TUMOR, "derived:", "doses: {amount: d}\nderived:", 31, ("has no doses",)),
    "rate under oral input": Broken(
        LOSARTAN, "time: 0}", "time: 0, rate: x}", 13, ("'rate'", "input is oral")
    ),
    "infusion without rate": Broken(
        LOSARTAN, ", input: oral", ", input: infusion", 13, ("neither 'rate' nor 'duration'",)
    ),
    # parameters, links, priors
    "misspelt prior": Broken(
        TUMOR,
        "LogNormal(median=3, sd=1)",
        "LogNorml(3, 1)",
        11,
        ("'LogNorml(3, 1)'", "did you mean 'LogNormal'?"),
    ),
    "misspelt prior argument": Broken(TUMOR, "median=3", "meadian=3", 11, ("did you mean 'median'?",)),
    "prior without number": Broken(
        TUMOR, "LogNormal(median=3, sd=1)", "LogNormal(3)", 11, ("'sd' is missing",)
    ),
    "negative sd": Broken(
        TUMOR, "Normal(0, 0.2)", "Normal(0, -1)", 16, ("'sd' of Normal to be greater than 0",)
    ),
    "code as prior": Broken(TUMOR, "Normal(0, 0.2)", "exec('x')", 16, ("one of the priors",)),
    "prior is a number": Broken(TUMOR, '"Normal(0, 0.2)"', "0.2", 16, ("got 0.2", "a prior such as")),
    "nothing given": Broken(
        TUMOR, '    typical: "Normal(0, 0.2)"\n', "", 13, ("neither 'typical', 'value' nor",)
    ),
    "given twice": Broken(
        TUMOR, "    link: identity", "    value: 2", 13, ("'typical' and 'value'", "exactly one")
    ),
    "unknown link": Broken(
        TUMOR, "link: log", "link: lg", 10, ("log, logit, identity", "did you mean 'log'?")
    ),
    "identity on positive": Broken(TUMOR, "link: log", "link: identity", 10, ("V_0 is positive", "below 0")),
    "logit on real": Broken(TUMOR, "link: identity", "link: logit", 15, ("identity or log", "r is real")),
    "normal under log": Broken(
        TUMOR, "link: identity", "link: log", 16, ("Normal(mean=0, sd=0.2)", "link log needs")
    ),
    "LKJ as typical": Broken(TUMOR, "Normal(0, 0.2)", "LKJ(2)", 16, ("LKJ is for random_effects",)),
    "value out of support": Broken(
        CELLS, 'n: {typical: "LogNormal(1, 1)"}', "n: {value: -1}", 8, ("got -1", "greater than 0")
    ),
    "value is true": Broken(
        CELLS, 'n: {typical: "LogNormal(1, 1)"}', "n: {value: true}", 8, ("got true", "a number")
    ),
    "value is infinite": Broken(
        CELLS, 'n: {typical: "LogNormal(1, 1)"}', "n: {value: .inf}", 8, ("a finite number",)
    ),
    "effects on fixed": Broken(
        CELLS,
        'n: {typical: "LogNormal(1, 1)"}',
        'n: {value: 1, formula: "1 + (1 | patient)"}',
        8,
        ("beside 'value'",),
    ),
    "coefficients unused": Broken(
        CELLS,
        'n: {typical: "LogNormal(1, 1)"}',
        'n: {typical: "LogNormal(1, 1)", coefficients: "Normal(0, 1)"}',
        8,
        ("no covariates",),
    ),
    "coefficient of unknown term": Broken(
        CELLS,
        '"1 + tp53 + (1 | patient)"',
        '"1 + tp53 + (1 | patient)", coefficients: {tp35: "Normal(0, 1)"}',
        7,
        ("did you mean 'tp53'?",),
    ),
    # formulas and random effects
    "formula syntax": Broken(TUMOR, '"1 + (1 | patient)"', '"1 + (1 | patient"', 17, ("a formula such as",)),
    "formula function": Broken(
        TUMOR, "center(age)", "centre(age)", 12, ("one of the functions", "did you mean 'center'?")
    ),
    "formula attribute": Broken(TUMOR, "center(age)", "np.log(age)", 12, ("'.' has no meaning",)),
    "formula code": Broken(TUMOR, "center(age)", "__import__(age)", 12, ("a formula such as",)),
    "no intercept": Broken(TUMOR, '"1 + (1 | patient)"', '"0 + age"', 17, ("an intercept",)),
    "group without priors": Broken(
        TUMOR, '"1 + (1 | patient)"', '"1 + (1 | site)"', 18, ("no entry 'site'", "formula of r")
    ),
    "priors without group": Broken(
        TUMOR, "random_effects:", 'random_effects:\n  site: {sd: "HalfNormal(1)"}', 19, ("no formula uses",)
    ),
    "sd of unknown effect": Broken(
        TUMOR,
        'sd: "HalfNormal(1)"',
        'sd: {V_0: "HalfNormal(1)", rr: "HalfNormal(1)"}',
        20,
        ("effect 'rr'", "did you mean 'r'?"),
    ),
    "sd of too few effects": Broken(
        TUMOR, 'sd: "HalfNormal(1)"', 'sd: {V_0: "HalfNormal(1)"}', 20, ("no prior for r",)
    ),
    "sd not positive": Broken(
        TUMOR, 'sd: "HalfNormal(1)"', 'sd: "Normal(0, 1)"', 20, ("positive", "did you mean 'HalfNormal'?")
    ),
    "correlation of one": Broken(
        CELLS,
        '{sd: "HalfNormal(1)"}',
        '{sd: "HalfNormal(1)", correlation: "LKJ(2)"}',
        10,
        ("at least two effects",),
    ),
    "correlation not LKJ": Broken(TUMOR, "LKJ(2)", "Uniform(-1, 1)", 21, ("LKJ(2)",)),
    "parameterization": Broken(
        TUMOR,
        '    correlation: "LKJ(2)"',
        "    parameterization: noncentred",
        21,
        ("did you mean 'noncentered'?",),
    ),
    # observations
    "unknown error model": Broken(TUMOR, "lognormal", "lognorml", 27, ("did you mean 'lognormal'?",)),
    "sigma missing": Broken(
        TUMOR, '    sigma: "HalfNormal(0.3)"\n', "", 23, ("observations.volume.sigma", "no 'sigma'")
    ),
    "sigma not applicable": Broken(
        CELLS, "error: normal", "error: binomial, trials: 10", 14, ("'sigma'", "Binomial")
    ),
    "trials missing": Broken(CELLS, 'normal, sigma: "HalfNormal(1)"', "binomial", 14, ("no 'trials'",)),
    "normal without width": Broken(CELLS, ', sigma: "HalfNormal(1)"', "", 14, ("neither 'sigma' nor",)),
    "beta of a volume": Broken(TUMOR, "error: lognormal", "error: beta", 27, ("V is not a fraction",)),
    "sd without n": Broken(LOSARTAN, "{sd: sd, n: n}", "{sd: sd}", 16, ("'sd' and 'n'",)),
    "times reversed": Broken(
        TUMOR,
        "    predicts: V",
        "    from_time: 9\n    until_time: 3\n    predicts: V",
        27,
        ("more than 'from_time'",),
    ),
    # units
    "unknown unit": Broken(TUMOR, "unit: 1/day", "unit: 1/dya", 14, ("'1/dya'", "did you mean '1/day'?")),
    "unit without power": Broken(
        TUMOR, "    unit: cm^3\n    link", "    unit: cm3\n    link", 9, ("did you mean 'cm^3'?",)
    ),
    "wrong dimension": Broken(
        TUMOR, "unit: 1/day", "unit: cm", 14, ("parameters.r.unit", "converts to '1/day'")
    ),
    "no unit": Broken(TUMOR, "    unit: 1/day\n", "", 13, ("got '1'", "no unit was given")),
    "mass against amount": Broken(LOSARTAN, "unit: nM", "unit: ng/mL", 15, ("mass and amount",)),
    "time in metres": Broken(TUMOR, "unit: day}", "unit: m}", 5, ("a unit of time",)),
    # derived quantities and names
    "unknown quantity": Broken(
        LOSARTAN,
        "quantity: activated_fraction",
        "quantity: activ_fraction",
        18,
        ("did you mean 'activated_fraction'?",),
    ),
    "unknown argument": Broken(CELLS, "{target: 0.9}", "{taget: 0.9}", 16, ("did you mean 'target'?",)),
    "unknown covariate": Broken(TUMOR, "at: {age: 60}", "at: {aeg: 60}", 32, ("did you mean 'age'?",)),
    "ratio without at": Broken(
        TUMOR, "at: {age: 60}", "relative_to: {age: 60}", 32, ("'relative_to' without 'at'",)
    ),
    "reserved name": Broken(TUMOR, "  volume:", "  eta:", 23, ("a fit uses 'eta'",)),
    "name of a variable": Broken(TUMOR, "  typical_at_60:", "  r_typical:", 32, ("a fit uses 'r_typical'",)),
    "name taken": Broken(TUMOR, "  typical_at_60:", "  V_0:", 32, ("already a parameter",)),
    "covariate patient": Broken(
        TUMOR, "  age: {unit: year}", "  patient: {column: x}", 30, ("the patient column",)
    ),
}


@pytest.mark.parametrize("base", [TUMOR, LOSARTAN, CELLS], ids=["tumor", "losartan", "cells"])
def test_the_sound_specs_are_sound(base: str) -> None:
    assert parse_spec(base).name


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_broken_spec_is_answered_at_its_line(row: Broken) -> None:
    assert row.base.count(row.old) >= 1
    with pytest.raises(SpecError) as caught:
        parse_spec(row.base.replace(row.old, row.new, 1), "file.yaml")
    problems = [str(problem) for problem in caught.value.problems]
    here = [problem for problem in problems if problem.startswith(f"file.yaml:{row.line} ")]
    assert any(all(word in problem for word in row.words) for problem in here), "\n".join(problems)
    assert all(": got " in problem and "; expected " in problem for problem in problems)


def test_all_problems_of_a_file_come_together_whatever_stage_finds_them() -> None:
    text = TUMOR.replace("LogNormal(median=3, sd=1)", "LogNorml(3, 1)").replace("lognormal", "lognorml")
    text = (
        text.replace("unit: 1/day", "unit: kg")
        .replace("unit: cm^3", "unit: cm3", 1)
        .replace("at: {age: 60}", "at: {aeg: 60}")
    )
    text = text.replace("mechanism:", "mechanisms: x\nmechanism:")
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "f.yaml")
    found = [problem.where for problem in caught.value.problems]
    assert found == [
        "f.yaml:4 mechanisms",
        "f.yaml:10 parameters.V_0.unit",
        "f.yaml:12 parameters.V_0.typical",
        "f.yaml:15 parameters.r.unit",
        "f.yaml:28 observations.volume.error",
    ]  # the derived quantity depends on V_0 and waits until that is repaired


def test_one_fault_gives_one_problem() -> None:
    """A fault casts no shadows: what follows from it is not reported as well."""
    alone = ("misspelt prior", "unknown error model", "unknown random effect key", "unknown parameter key")
    for name in (*alone, "formula function", "unknown unit", "wrong dimension", "sd not positive"):
        row = ROWS[name]
        with pytest.raises(SpecError) as caught:
            parse_spec(row.base.replace(row.old, row.new, 1))
        assert len(caught.value.problems) == 1, (name, str(caught.value))
