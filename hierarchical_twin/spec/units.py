"""Units: what every declared unit is worth in the units the mechanism works in.

A mechanism is unit-free: each of its base words (`time`, `size`, `amount`) takes the unit of one
thing the spec declares, and everything else is converted to that by a factor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hierarchical_twin.errors import Problem, SpecError, nearest
from hierarchical_twin.mechanisms.table import MECHANISMS, Mechanism
from hierarchical_twin.spec.schema import Spec

# Words people write that pint reads otherwise; used for hints only.
_COMMON_UNITS = (
    *(
        "1",
        "%",
        "s",
        "min",
        "h",
        "day",
        "week",
        "month",
        "year",
        "ms",
        "mm",
        "cm",
        "mm^3",
        "cm^3",
        "mL",
        "dL",
        "L",
    ),
    *(
        "ug",
        "mg",
        "g",
        "kg",
        "nmol",
        "umol",
        "mmol",
        "mol",
        "nM",
        "uM",
        "mM",
        "mg/dL",
        "mg/L",
        "ng/mL",
        "mmol/L",
    ),
    *("uU/mL", "mU/L", "pmol/L", "1/day", "1/h", "1/min", "1/year", "mmHg", "kg/m^2", "L/h"),
)


@dataclass(frozen=True)
class WorkingUnits:
    """Factors between declared units and the mechanism's working units.

    Attributes
    ----------
    parameter, input : mapping of str to float
        Declared value times factor is the working value. Optional parameters left at their default
        are in working units already and are absent.
    outcome : mapping of str to float
        Working value of the predicted output times factor is in the observation's unit.
    dose, dose_rate, dose_time : float
        Amount, infusion rate (amount/time) and time of doses, declared to working.
    derived : mapping of str to str
        Unit of each derived quantity of the spec, as text.
    time : str
        Unit of time, ``"1"`` for mechanisms without time.
    """

    parameter: Mapping[str, float]
    outcome: Mapping[str, float]
    input: Mapping[str, float]
    dose: float
    dose_rate: float
    dose_time: float
    derived: Mapping[str, str]
    time: str


@dataclass(frozen=True)
class UnitProblem:
    """A unit that cannot be read or converted, at a path of the spec."""

    path: tuple[str, ...]
    got: str
    expected: str
    hint: str = ""


@dataclass
class _Resolver:
    """Working units of one spec as they are found out, with the problems met on the way."""

    spec: Spec
    problems: list[UnitProblem] = field(default_factory=list)
    bases: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def read(self, path: tuple[str, ...], text: str) -> Any:
        unit = parse_unit(text)
        if unit is None:
            self.problems.append(
                UnitProblem(path, f"'{text}'", "a unit such as '1/day', 'cm^3' or 'mg/dL'", unit_hint(text))
            )
        return unit

    def factor(self, path: tuple[str, ...], declared: str, expression: str) -> float:
        """Declared to working; 1 where either cannot be told, which is reported elsewhere."""
        unit, working = self.read(path, declared), self.working(expression)
        if unit is None or working is None:
            return 1.0
        factor = conversion_factor(unit, working)
        if factor is None:
            self.problems.append(
                UnitProblem(path, *_mismatch(declared, unit, working, expression, self.text(expression)))
            )
            return 1.0
        return factor

    def working(self, expression: str) -> Any:
        """Unit of an expression in base words, such as ``amount/volume``."""
        unit = _registry().dimensionless
        operator = "*"
        for token in re.split(r"([*/])", expression):
            if token in "*/":
                operator = token
            elif token != "1":
                if token not in self.bases:
                    return None
                base = self.bases[token][1]
                unit = unit * base if operator == "*" else unit / base
        return unit

    def text(self, expression: str) -> str:
        """An expression in the declared unit words: ``amount/volume`` is ``umol/L``."""
        if expression in self.bases:
            return self.bases[expression][0]
        words = []
        for token in re.split(r"([*/])", expression):
            declared = self.bases[token][0] if token in self.bases else token
            words.append(f"({declared})" if words and re.search(r"[*/ ]", declared[1:]) else declared)
        return "".join(words)


def working_units(spec: Spec) -> WorkingUnits:
    """Conversion factors of a spec.

    Parameters
    ----------
    spec : Spec

    Returns
    -------
    WorkingUnits

    Raises
    ------
    SpecError
        A unit cannot be read, or has the wrong dimension.
    """
    units, problems = resolve_units(spec)
    if problems:
        raise SpecError([Problem(".".join(p.path), p.got, p.expected, p.hint) for p in problems])
    return units


def output_units(spec: Spec) -> dict[str, str]:
    """Working unit of each output of a spec's mechanism, as text; a base that nothing declares by its name."""
    outputs = MECHANISMS[spec.mechanism.name].outputs
    resolver = _resolver(spec)
    return {name: resolver.text(words.unit) for name, words in outputs.items()}


def diffusion_units(spec: Spec) -> dict[str, str]:
    """Unit of each state's diffusion: the state's, by the square root of time's."""
    states, resolver = MECHANISMS[spec.mechanism.name].states, _resolver(spec)
    time = resolver.text("time")
    return {state: f"{resolver.text(states[state].unit)}/{time}^0.5" for state in spec.process_noise}


def resolve_units(spec: Spec) -> tuple[WorkingUnits, list[UnitProblem]]:
    """Conversion factors of a spec, and what is wrong with its units (for `spec.check`)."""
    mechanism = MECHANISMS[spec.mechanism.name]
    resolver = _resolver(spec)
    _check_time(resolver)
    parameters = {
        name: resolver.factor(("parameters", name, "unit"), parameter.unit, mechanism.parameters[name].unit)
        for name, parameter in spec.parameters.items()
        if name in mechanism.parameters
    }
    outcomes = {}
    for name, seen in spec.observations.items():
        if seen.predicts in mechanism.outputs:
            expression = "1" if seen.error == "binomial" else mechanism.outputs[seen.predicts].unit
            outcomes[name] = 1 / resolver.factor(("observations", name, "unit"), seen.unit, expression)
    inputs = {
        name: resolver.factor(("inputs", name, "unit"), given.unit, mechanism.inputs[name].unit)
        for name, given in spec.inputs.items()
        if name in mechanism.inputs
    }
    if spec.doses:
        resolver.read(("doses", "unit"), spec.doses.unit)
    for name, covariate in spec.covariates.items():
        resolver.read(("covariates", name, "unit"), covariate.unit)
    derived = {name: _derived_unit(resolver, mechanism, name) for name in spec.derived}
    time = spec.time.unit if spec.time else "1"
    # Doses and their times define the bases `amount` and `time`, so their factors are 1 by construction.
    return WorkingUnits(parameters, outcomes, inputs, 1.0, 1.0, 1.0, derived, time), resolver.problems


def _resolver(spec: Spec) -> _Resolver:
    """With what the spec declares of each base."""
    mechanism = MECHANISMS[spec.mechanism.name]
    resolver = _Resolver(spec)
    for base, item in mechanism.bases.items():
        source = _declared(spec, mechanism, base, item)
        unit = parse_unit(source[1]) if source else None
        if source and unit is not None:
            resolver.bases[base] = (source[1], unit)
    return resolver


def _declared(spec: Spec, mechanism: Mechanism, base: str, item: str) -> tuple[tuple[str, ...], str] | None:
    """The thing that gives a base its unit: path and unit text."""
    kind, _, name = item.partition(":")
    match kind:
        case "time":
            return (("time", "unit"), spec.time.unit) if spec.time else None
        case "dose":
            return (("doses", "unit"), spec.doses.unit) if spec.doses else None
        case "input":
            return (("inputs", name, "unit"), spec.inputs[name].unit) if name in spec.inputs else None
        case "parameter":
            return (
                (("parameters", name, "unit"), spec.parameters[name].unit)
                if name in spec.parameters
                else None
            )
        case "output":
            for outcome, seen in spec.observations.items():
                if seen.predicts == name:
                    return ("observations", outcome, "unit"), seen.unit
            # The output is not observed: a parameter measured in the base itself stands in.
            for parameter, words in mechanism.parameters.items():
                if words.unit == base and parameter in spec.parameters:
                    return ("parameters", parameter, "unit"), spec.parameters[parameter].unit
    return None


def _check_time(resolver: _Resolver) -> None:
    if resolver.spec.time is None:
        return
    path, text = ("time", "unit"), resolver.spec.time.unit
    unit = resolver.read(path, text)
    if unit is not None and not (unit.dimensionless or unit.dimensionality == {"[time]": 1}):
        resolver.problems.append(UnitProblem(path, f"'{text}'", "a unit of time, such as 'day' or 'min'"))


def _derived_unit(resolver: _Resolver, mechanism: Mechanism, name: str) -> str:
    derived = resolver.spec.derived[name]
    if derived.relative_to is not None:
        return "1"
    if derived.quantity in mechanism.derived:
        return resolver.text(mechanism.derived[derived.quantity].unit)
    if derived.quantity in resolver.spec.parameters:
        return resolver.spec.parameters[derived.quantity].unit
    return "1"


@lru_cache(maxsize=1)
def _registry() -> Any:
    from pint import UnitRegistry  # 0.3 s with its definitions: only when a spec is checked

    registry: Any = UnitRegistry()
    registry.define("@alias enzyme_unit = IU")  # insulin is given in either
    registry.define("cell = count")
    registry.define("@alias week = wk")
    return registry


@lru_cache(maxsize=512)
def parse_unit(text: str) -> Any:
    """A unit of pint, or None where the text is no unit."""
    # pint evaluates arithmetic: powers are kept short so that 9**9**9 is not.
    if len(text) > 80 or re.search(r"(\*\*|\^)\s*-?\s*\(?\s*-?\d*[^\d.)\s*/-]|(\*\*|\^)\D*\d{3}", text):
        return None
    if len(re.findall(r"\*\*|\^", text)) > 6 or re.search(r"(\*\*|\^)[^*^/ ]*(\*\*|\^)", text):
        return None
    if not text.strip():
        return None
    try:
        return _registry().parse_units(text)
    except Exception:  # pint's parser also raises AssertionError, KeyError, tokenize errors, ...
        return None


def conversion_factor(unit: Any, working: Any) -> float | None:
    """What a value in `unit` is multiplied by to be one in `working`; None where no factor does it."""
    registry = _registry()
    try:
        one, two = (registry.Quantity(number, unit).to(working).magnitude for number in (1.0, 2.0))
    except Exception:  # DimensionalityError, and OffsetUnitCalculusError for products of temperatures
        return None
    # A scale with an offset (Celsius to kelvin) is not a factor.
    return float(one) if abs(two - 2 * one) <= 1e-12 * abs(two) else None


def _mismatch(declared: str, unit: Any, working: Any, expression: str, plain: str) -> tuple[str, str, str]:
    got = f"'{declared}'"
    expected = f"a unit that converts to '{plain}'" + (f" ({expression})" if expression != "1" else "")
    sizes = {str(unit.dimensionality), str(working.dimensionality)}
    mass_and_amount = any("[mass]" in size for size in sizes) and any("[substance]" in size for size in sizes)
    if mass_and_amount:
        return got, expected, "mass and amount of substance do not convert: use one of them throughout"
    return got, expected, "no unit was given" if declared == "1" else ""


def unit_hint(text: str) -> str:
    """What was probably meant by a text that is no unit."""
    # cm3 and mm3 are written often; pint wants the power.
    powered = re.sub(r"(?<=[A-Za-z])([23])\b", r"^\1", text)
    if powered != text and parse_unit(powered) is not None:
        return f"did you mean '{powered}'?"
    without_powers = re.sub(r"(\*\*|\^)\s*[-+]?\d+", "", text)
    if set(re.findall(r"\d[\d.]*(?:e\d+)?", without_powers)) - {"1"}:
        return "a unit holds no number but 1: 10^9/L is 'cells/nL', 10^6/L is 'cells/uL'"
    return nearest(text, _COMMON_UNITS)
