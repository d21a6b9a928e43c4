"""Checks of what is measured and computed: time, observations, inputs, doses, derived quantities, names."""

from __future__ import annotations

import re
from math import isfinite

from hierarchical_twin.errors import nearest
from hierarchical_twin.mechanisms.table import DerivedWords, Mechanism
from hierarchical_twin.spec.check_population import check_positive_prior
from hierarchical_twin.spec.findings import Findings, Path
from hierarchical_twin.spec.formula import FormulaError
from hierarchical_twin.spec.population import covariates_of, is_estimated
from hierarchical_twin.spec.schema import Derived, Observation, Spec
from hierarchical_twin.spec.vocabulary import ERRORS

# Names that a fit gives to its own dims and variables (dims.py and the architecture page).
RESERVED = frozenset(
    (
        *(
            "chain",
            "draw",
            "patient",
            "time",
            "dose",
            "effect",
            "observation",
            "outcome",
            "covariate",
            "sample",
        ),
        *("eta", "omega", "omega_correlation", "z", "xi", "lp"),
    )
)
RESERVED_FORM = re.compile(
    r"^(beta|sigma|sigma_proportional|concentration|diffusion|omega|eta|z|term|effect|design|known|level|observation)_"
    r"|_typical$|_other$"
)
ERROR_KEYS = (
    "sigma",
    "sigma_proportional",
    "concentration",
    "degrees_of_freedom",
    "trials",
    "standard_error",
    "lower_limit",
    "upper_limit",
    "censored",
)


def check_data(spec: Spec, mechanism: Mechanism, findings: Findings) -> None:
    """Add to `findings` what is wrong outside the population part."""
    _check_time(spec, mechanism, findings)
    if not spec.observations:
        findings.add(("observations",), "no outcome", f"at least one, of {', '.join(mechanism.outputs)}")
    for name, seen in spec.observations.items():
        _check_observation(("observations", name), seen, mechanism, findings)
    _check_inputs(spec, mechanism, findings)
    _check_doses(spec, mechanism, findings)
    _check_covariates(spec, findings)
    for name, derived in spec.derived.items():
        _check_derived(("derived", name), derived, spec, mechanism, findings)
    _check_collisions(spec, findings)


def _check_time(spec: Spec, mechanism: Mechanism, findings: Findings) -> None:
    if mechanism.has_time and spec.time is None:
        findings.add(
            ("time",),
            "no 'time'",
            f"{mechanism.name} to have a time column",
            "add time: {column: …, unit: …}",
        )
    if not mechanism.has_time and spec.time is not None:
        findings.add(("time",), "'time'", f"none: {mechanism.name} does not depend on time")


def _check_observation(path: Path, seen: Observation, mechanism: Mechanism, findings: Findings) -> None:
    output = mechanism.outputs.get(seen.predicts)
    if output is None:
        findings.unknown((*path, "predicts"), "output", seen.predicts, mechanism.outputs)
    elif ERRORS[seen.error].observed in ("unit", "count") and output.support != "unit":
        expected = f"an error model for numbers, since {seen.predicts} is not a fraction"
        findings.add((*path, "error"), f"'{seen.error}'", expected)
    elif seen.error in ("lognormal", "proportional") and output.support == "real":
        expected = f"normal, combined or student_t, since {seen.predicts} may be negative"
        findings.add((*path, "error"), f"'{seen.error}'", expected)
    _check_error_keys(path, seen, findings)
    for key in ("sigma", "sigma_proportional", "concentration"):
        prior = getattr(seen, key)
        if prior is not None:
            check_positive_prior((*path, key), prior, findings)
    _check_standard_error((*path, "standard_error"), seen, findings)
    if seen.degrees_of_freedom <= 0:
        findings.add((*path, "degrees_of_freedom"), str(seen.degrees_of_freedom), "a number greater than 0")
    if isinstance(seen.trials, int) and seen.trials < 1:
        findings.add((*path, "trials"), str(seen.trials), "at least 1 trial")
    _check_bounds(path, "lower_limit", "upper_limit", seen.lower_limit, seen.upper_limit, findings)
    _check_bounds(path, "from_time", "until_time", seen.from_time, seen.until_time, findings)
    for key in ("from_time", "until_time"):
        if getattr(seen, key) is not None and not mechanism.has_time:
            findings.add((*path, key), f"'{key}'", f"none: {mechanism.name} does not depend on time")


def _check_error_keys(path: Path, seen: Observation, findings: Findings) -> None:
    words = ERRORS[seen.error]
    given = [key for key in ERROR_KEYS if key in seen.model_fields_set and getattr(seen, key) is not None]
    for key in words.needs:
        if key not in given:
            findings.add(
                (*path, key), f"no '{key}'", f"error {seen.error} to have '{key}': {words.description}"
            )
    applicable = (*words.needs, *words.allows)
    for key in given:
        if key not in applicable:
            findings.add(
                (*path, key),
                f"'{key}'",
                f"error {seen.error} ({words.description}) takes {', '.join(applicable)}",
            )
    if seen.error == "normal" and not {"sigma", "standard_error"} & set(given):
        expected = "error normal to have 'sigma' (a prior), 'standard_error' (known), or both"
        findings.add((*path, "sigma"), "neither 'sigma' nor 'standard_error'", expected)


def _check_standard_error(path: Path, seen: Observation, findings: Findings) -> None:
    known = seen.standard_error
    if known is None:
        return
    given = tuple(key for key in ("column", "sd", "n") if getattr(known, key) is not None)
    if given not in (("column",), ("sd", "n")):
        keys = ", ".join(given) or "no keys"
        findings.add(path, keys, "either 'column', or 'sd' and 'n' for the mean of n people")


def _check_bounds(
    path: Path, low_key: str, high_key: str, low: object, high: object, findings: Findings
) -> None:
    if isinstance(low, int | float) and isinstance(high, int | float) and low >= high:
        findings.add((*path, high_key), str(high), f"more than '{low_key}' ({low})")


def _check_inputs(spec: Spec, mechanism: Mechanism, findings: Findings) -> None:
    for name, given in spec.inputs.items():
        if name not in mechanism.inputs:
            findings.unknown(("inputs", name), "input", name, mechanism.inputs)
        elif mechanism.inputs[name].kind == "coordinate" and given.interpolation != "linear":
            findings.add(
                ("inputs", name, "interpolation"),
                f"'{given.interpolation}'",
                f"none: '{name}' has one value for each record",
            )
    for name, words in mechanism.inputs.items():
        if name not in spec.inputs:
            findings.add(
                ("inputs",), f"no input '{name}'", f"{mechanism.name} to have it: {words.description}"
            )


def _check_doses(spec: Spec, mechanism: Mechanism, findings: Findings) -> None:
    doses = spec.doses
    if doses is None:
        if mechanism.has_doses:
            findings.add(
                ("doses",), "no 'doses'", f"{mechanism.name} to have doses", "add doses: {amount: …, unit: …}"
            )
        return
    if not mechanism.has_doses:
        findings.add(("doses",), "'doses'", f"none: {mechanism.name} has no doses")
        return
    if doses.time is None and not isinstance(doses.amount, str):
        findings.add(("doses", "amount"), str(doses.amount), "a column, or a number together with 'time'")
    if not isinstance(doses.amount, str) and doses.amount < 0:
        findings.add(("doses", "amount"), str(doses.amount), "an amount of at least 0")
    if doses.time is not None:
        for key in ("event", "additional", "interval"):
            if getattr(doses, key) is not None:
                findings.add(
                    ("doses", key), f"'{key}' beside 'time'", "'time' (one dose each) or event rows, not both"
                )
    if (doses.additional is None) != (doses.interval is None):
        present = "additional" if doses.additional is not None else "interval"
        findings.add(("doses", present), f"'{present}' alone", "'additional' and 'interval' together")
    _check_infusion(spec, mechanism, findings)


def _check_infusion(spec: Spec, mechanism: Mechanism, findings: Findings) -> None:
    doses = spec.doses
    assert doses is not None
    if doses.rate is not None and doses.duration is not None:
        findings.add(("doses", "duration"), "'rate' and 'duration'", "one of them")
    if isinstance(doses.duration, int | float) and doses.duration <= 0:
        findings.add(("doses", "duration"), str(doses.duration), "a duration greater than 0")
    if "infusion" not in mechanism.options.get("input", ()):
        return
    route = spec.mechanism.options.get("input", mechanism.options["input"][0])
    given = [key for key in ("rate", "duration") if getattr(doses, key) is not None]
    if route == "infusion" and not given:
        findings.add(
            ("doses",),
            "neither 'rate' nor 'duration'",
            "one of them, since the mechanism's input is infusion",
        )
    for key in given if route != "infusion" else ():
        expected = f"none, since the mechanism's input is {route}"
        findings.add(("doses", key), f"'{key}'", expected, "set mechanism: {…, input: infusion}")


def _check_covariates(spec: Spec, findings: Findings) -> None:
    for name, covariate in spec.covariates.items():
        path = ("covariates", name)
        if name == "patient":
            findings.add(path, "covariate 'patient'", "another name: 'patient' is the patient column")
        if covariate.levels is not None and len(set(covariate.levels)) != max(len(covariate.levels), 2):
            findings.add(
                (*path, "levels"), f"{', '.join(covariate.levels) or 'none'}", "at least two different levels"
            )


def _check_derived(
    path: Path, derived: Derived, spec: Spec, mechanism: Mechanism, findings: Findings
) -> None:
    words = mechanism.derived.get(derived.quantity)
    if words is None and derived.quantity not in spec.parameters:
        known = [*mechanism.derived, *spec.parameters]
        findings.unknown((*path, "quantity"), "quantity", derived.quantity, known, ("parameters",))
        return
    if words is None and not is_estimated(spec.parameters[derived.quantity]):
        expected = "an estimated parameter, or a derived quantity of the mechanism"
        findings.add(
            (*path, "quantity"), f"'{derived.quantity}', which is known", expected, depends=("parameters",)
        )
    _check_arguments((*path, "arguments"), derived, words, findings)
    used = words.parameters if words else (derived.quantity,)
    known_by_patient = [
        name for name in used if name in spec.parameters and spec.parameters[name].column is not None
    ]
    if derived.at is not None and known_by_patient:
        expected = "a quantity whose parameters have a population-typical value"
        findings.add(
            (*path, "at"), f"{known_by_patient[0]} is read from a column", expected, "leave 'at' out"
        )
    if derived.relative_to is not None and derived.at is None:
        findings.add(
            (*path, "relative_to"), "'relative_to' without 'at'", "both, for a ratio of typical values"
        )
    if (
        derived.relative_to is not None
        and derived.at is not None
        and set(derived.at) != set(derived.relative_to)
    ):
        findings.add(
            (*path, "relative_to"),
            ", ".join(derived.relative_to) or "no covariates",
            f"the covariates of 'at': {', '.join(derived.at) or 'none'}",
        )
    for key in ("at", "relative_to"):
        _check_covariate_values((*path, key), getattr(derived, key) or {}, spec, findings)


def _check_arguments(path: Path, derived: Derived, words: DerivedWords | None, findings: Findings) -> None:
    for argument, value in derived.arguments.items():
        if words is None or argument not in words.arguments:
            findings.unknown((*path, argument), "argument", argument, words.arguments if words else ())
            continue
        low, high = words.between[argument]
        if not low < value < high:
            within = f"between {low:g} and {high:g}" if isfinite(high) else f"greater than {low:g}"
            findings.add((*path, argument), f"{value:g}", f"a number {within}")


def _check_covariate_values(
    path: Path, values: dict[str, str | int | float], spec: Spec, findings: Findings
) -> None:
    try:
        used = covariates_of(spec)
    except FormulaError:
        return
    for name, value in values.items():
        if name not in used:
            findings.unknown((*path, name), "covariate", name, used, ("parameters",))
            continue
        levels = spec.covariates[name].levels if name in spec.covariates else None
        if levels is not None and str(value) not in levels:
            findings.add(
                (*path, name),
                f"'{value}'",
                f"one of the levels {', '.join(levels)}",
                nearest(str(value), levels),
            )


def _check_collisions(spec: Spec, findings: Findings) -> None:
    taken: dict[str, str] = {name: "a parameter" for name in spec.parameters}
    sections = (
        ("observations", "an outcome", spec.observations),
        ("derived", "a derived quantity", spec.derived),
        ("random_effects", "a grouping level", spec.random_effects),
    )
    for section, kind, names in sections:
        for name in names:
            is_patient = section == "random_effects" and name == "patient"
            if (name in RESERVED or RESERVED_FORM.search(name)) and not is_patient:
                findings.add((section, name), f"'{name}'", f"another name: a fit uses '{name}' for its own")
            elif name in taken:
                findings.add((section, name), f"'{name}'", f"another name: '{name}' is already {taken[name]}")
            taken.setdefault(name, kind)
