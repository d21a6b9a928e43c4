"""A spec as a statistician would write it: equations, distributions, priors. Plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from hierarchical_twin.dims import group_suffix
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.formula import read_formula
from hierarchical_twin.spec.population import (
    EffectWords,
    coefficient_prior,
    effects_of,
    is_estimated,
    link_of,
    without_levels,
)
from hierarchical_twin.spec.prior import Prior
from hierarchical_twin.spec.schema import Derived, Observation, RandomEffects, Spec
from hierarchical_twin.spec.units import diffusion_units, working_units

WIDTH = 100


def describe(spec: Spec) -> str:
    """The model in equations.

    Parameters
    ----------
    spec : Spec
        A spec that has passed `check_spec`.

    Returns
    -------
    str
        Plain Unicode text of at most 100 columns.
    """
    mechanism = MECHANISMS[spec.mechanism.name]
    options = "".join(f", {option}: {word}" for option, word in _options(spec).items())
    sections = [
        ("", [f"{spec.name}: {spec.title}"]),
        (f"Mechanism {mechanism.name}{options}", _equations(mechanism.equation)),
        ("Observations (patient i, record j; Normal takes mean and standard deviation)", _observations(spec)),
        ("Process noise", _process_noise(spec)),
        ("Parameters of patient i", _parameters(spec)),
        ("Random effects, on the link scale", _random_effects(spec)),
        ("Priors", _priors(spec)),
        ("Derived quantities", _derived(spec)),
        ("References", list(spec.references)),
    ]
    return "\n\n".join(_section(title, lines) for title, lines in sections if lines) + "\n"


def _section(title: str, lines: list[str]) -> str:
    indent = "  " if title else ""
    wrapped = [
        textwrap.fill(
            line, WIDTH, initial_indent=indent, subsequent_indent=indent + "    ", break_on_hyphens=False
        )
        for line in lines
    ]
    heading = textwrap.wrap(title, WIDTH) if title else []
    return "\n".join([*heading, *wrapped])


def _options(spec: Spec) -> dict[str, str]:
    return MECHANISMS[spec.mechanism.name].chosen(spec.mechanism.options)


def _equations(equation: str) -> list[str]:
    return [part.strip() for part in equation.split(",  ")]


def _unit(unit: str) -> str:
    return "" if unit == "1" else f" [{unit}]"


def _observations(spec: Spec) -> list[str]:
    lines = []
    mechanism = MECHANISMS[spec.mechanism.name]
    along = "(t_ij)" if mechanism.has_time else f"({', '.join(f'{name}_ij' for name in mechanism.inputs)})"
    for name, seen in spec.observations.items():
        lines.append(_likelihood(name, seen, f"{seen.predicts}_i{along}") + _unit(seen.unit))
        lines += [f"    {note}" for note in _notes(seen)]
    return lines


def _likelihood(name: str, seen: Observation, predicted: str) -> str:
    y, sigma, known = f"{name}_ij", f"σ_{name}", seen.standard_error is not None
    match seen.error:
        case "lognormal":
            return f"log {y} ~ Normal(log {predicted}, {sigma})"
        case "student_t":
            return f"{y} ~ StudentT(df = {seen.degrees_of_freedom:g}, {predicted}, {sigma})"
        case "beta":
            return f"{y} ~ Beta(φ f, φ (1 − f)),  f = {predicted},  φ = concentration_{name}"
        case "binomial":
            return f"{y} ~ Binomial({seen.trials}, {predicted})"
        case "normal" if known:
            spread = f"√({sigma}² + se_ij²)" if seen.sigma else "se_ij"
        case "normal":
            spread = sigma
        case "proportional":
            spread = f"√(({sigma} f)² + se_ij²)" if known else f"{sigma} f"
        case "combined":
            last = " + se_ij²" if known else ""
            spread = f"√({sigma}² + (σ_proportional_{name} f)²{last})"
    f = f",  f = {predicted}" if " f" in spread else ""
    return f"{y} ~ Normal({'f' if f else predicted}, {spread}){f}"


def _notes(seen: Observation) -> Iterator[str]:
    known = seen.standard_error
    if known is not None:
        yield "se_ij: " + (
            f"column {known.column}" if known.column else f"{known.sd}/√{known.n}, error of a mean"
        )
    if seen.where:
        yield "rows where " + ", ".join(_condition(column, value) for column, value in seen.where.items())
    if seen.lower_limit is not None:
        yield f"below {seen.lower_limit}: left-censored, contributes P(y < limit)"
    if seen.upper_limit is not None:
        yield f"above {seen.upper_limit}: right-censored, contributes P(y > limit)"
    if seen.censored is not None:
        yield f"censored where column {seen.censored} is 1 (left) or -1 (right)"
    if seen.from_time is not None:
        yield f"times from {seen.from_time:g}"
    if seen.until_time is not None:
        yield f"times until {seen.until_time:g}"


def _condition(column: str, wanted: object) -> str:
    return f"{column} = {' or '.join(map(str, wanted)) if isinstance(wanted, tuple) else wanted}"


def _process_noise(spec: Spec) -> list[str]:
    states, units = MECHANISMS[spec.mechanism.name].states, diffusion_units(spec)
    return [
        f"d{' log ' if states[state].is_log else ''}{state}_i = (mechanism) dt + diffusion_{state} dW_i"
        + _unit(units[state])
        for state in spec.process_noise
    ]


def _parameters(spec: Spec) -> list[str]:
    lines = []
    for name, parameter in spec.parameters.items():
        if parameter.value is not None:
            lines.append(f"{name} = {parameter.value:g}{_unit(parameter.unit)}, fixed")
        elif parameter.column is not None:
            lines.append(f"{name}_i from column {parameter.column}{_unit(parameter.unit)}, known")
        else:
            lines.append(_predictor(spec, name) + _unit(parameter.unit))
    words = MECHANISMS[spec.mechanism.name].parameters_under(spec.mechanism.options)
    left_out = [name for name in words if name not in spec.parameters]
    return lines + [f"{name} = {words[name].default:g}, the mechanism's default" for name in left_out]


def _predictor(spec: Spec, name: str) -> str:
    link = link_of(spec, name)
    formula = read_formula(spec.parameters[name].formula)
    left, first = (f"{name}_i", f"{name}_typical")
    if link != "identity":
        left, first = f"{link}({left})", f"{link}({first})"
    terms = [first, *(f"β_{name}[{term}]·{term}" for term in formula.terms)]
    for group in formula.groups:
        index = "i" if group.factor == "patient" else f"{group.factor}(i)"
        effect = f"η{group_suffix(group.factor)}[{index}, {EffectWords(name, group.expression).label}]"
        terms.append(effect if group.expression == "1" else f"{effect}·{group.expression}")
    return f"{left} = {' + '.join(terms)}"


def _random_effects(spec: Spec) -> list[str]:
    lines = []
    for group, effects in effects_of(spec).items():
        declared, suffix = spec.random_effects[group], group_suffix(group)
        index = "i" if group == "patient" else group
        labels = [effect.label for effect in effects]
        if declared.correlation is None:
            lines += [f"η{suffix}[{index}, {label}] ~ Normal(0, ω{suffix}[{label}])" for label in labels]
        else:
            lines.append(
                f"η{suffix}[{index}, ·] ~ Normal(0, diag(ω{suffix}) R{suffix} diag(ω{suffix}))  (covariance)"
            )
            lines.append(f"    over {', '.join(labels)}")
        lines.append(f"    sampled {_parameterization(declared, labels)}")
    return lines


def _parameterization(declared: RandomEffects, labels: list[str]) -> str:
    if isinstance(declared.parameterization, str):
        return declared.parameterization
    each = declared.parameterization
    return ", ".join(f"{label}: {each.get(label, 'auto')}" for label in labels)


def _priors(spec: Spec) -> list[str]:
    lines = []
    for name, parameter in spec.parameters.items():
        if not is_estimated(parameter):
            continue
        lines.append(f"{name}_typical ~ {parameter.typical}{_unit(parameter.unit)}")
        lines += _coefficients(spec, name)
    for group, effects in effects_of(spec).items():
        declared, suffix = spec.random_effects[group], group_suffix(group)
        if isinstance(declared.sd, Prior):
            lines.append(f"ω{suffix}[{', '.join(effect.label for effect in effects)}] ~ {declared.sd}")
        else:
            lines += [f"ω{suffix}[{label}] ~ {prior}" for label, prior in declared.sd.items()]
        if declared.correlation is not None:
            lines.append(f"R{suffix} ~ {declared.correlation}")
    for name, seen in spec.observations.items():
        symbols = {"sigma": f"σ_{name}", "sigma_proportional": f"σ_proportional_{name}"}
        symbols["concentration"] = f"concentration_{name}"
        lines += [f"{symbol} ~ {getattr(seen, key)}" for key, symbol in symbols.items() if getattr(seen, key)]
    return lines + [f"diffusion_{state} ~ {prior}" for state, prior in spec.process_noise.items()]


def _coefficients(spec: Spec, name: str) -> list[str]:
    parameter = spec.parameters[name]
    declared = parameter.coefficients
    lines = []
    for term in read_formula(parameter.formula).terms:
        columns = [term]
        if isinstance(declared, dict):  # a level's own prior, such as sex[M], stands beside its term
            columns = [key for key in declared if without_levels(key) == term] or [term]
        default = declared is None or (
            isinstance(declared, dict) and columns == [term] and term not in declared
        )
        note = " on the link scale" + (" (the default)" if default else "")
        lines += [f"β_{name}[{column}] ~ {coefficient_prior(parameter, column)}{note}" for column in columns]
    return lines


def _derived(spec: Spec) -> list[str]:
    units = working_units(spec).derived
    return [f"{name} = {_quantity(derived)}{_unit(units[name])}" for name, derived in spec.derived.items()]


def _quantity(derived: Derived) -> str:
    arguments = [f"{key} = {value:g}" for key, value in derived.arguments.items()]
    if derived.at is None:
        inside = f"({', '.join(arguments)})" if arguments else ""
        return f"{derived.quantity}{inside} of each patient"
    places = [derived.at] if derived.relative_to is None else [derived.at, derived.relative_to]
    return " / ".join(f"{derived.quantity}({_typical(arguments, values)})" for values in places)


def _typical(arguments: list[str], values: dict[str, str | int | float]) -> str:
    given = [*(f"{name} = {value}" for name, value in values.items()), *arguments]
    return f"typical at {', '.join(given)}" if given else "typical"
