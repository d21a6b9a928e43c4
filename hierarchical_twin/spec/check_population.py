"""Checks of parameters, links, priors, formulas and random effects against the mechanism."""

from __future__ import annotations

from collections.abc import Mapping

from hierarchical_twin.errors import nearest
from hierarchical_twin.mechanisms.table import Mechanism, ParameterWords
from hierarchical_twin.spec.findings import Findings, Path
from hierarchical_twin.spec.formula import Formula, FormulaError, read_formula
from hierarchical_twin.spec.population import DEFAULT_LINKS, EffectWords, is_estimated, without_levels
from hierarchical_twin.spec.prior import Prior
from hierarchical_twin.spec.schema import Parameter, RandomEffects, Spec
from hierarchical_twin.spec.vocabulary import LINKS

ALLOWED_LINKS: Mapping[str, tuple[str, ...]] = {
    "positive": ("log", "logit", "identity"),
    "unit": ("logit",),
    "real": ("identity", "log"),
}


def check_population(spec: Spec, mechanism: Mechanism, findings: Findings) -> None:
    """Add to `findings` what is wrong with the parameters and their population."""
    _check_names(spec, mechanism, findings)
    effects: dict[str, list[EffectWords]] = {}
    for name, parameter in spec.parameters.items():
        path = ("parameters", name)
        formula = _formula(path, parameter, findings)
        if name in mechanism.parameters:
            _check_parameter(path, parameter, mechanism.parameters[name], formula, findings)
        if formula and is_estimated(parameter):
            for group in formula.groups:
                effects.setdefault(group.factor, []).append(EffectWords(name, group.expression))
    for group, words in effects.items():
        if group not in spec.random_effects:
            users = ", ".join(dict.fromkeys(effect.parameter for effect in words))
            findings.add(
                ("random_effects",),
                f"no entry '{group}'",
                f"priors for the effects (… | {group}) in the formula of {users}",
                nearest(group, spec.random_effects) or f'add {group}: {{sd: "HalfNormal(1)"}}',
                ("parameters",),
            )
    for group, declared in spec.random_effects.items():
        _check_group(("random_effects", group), declared, effects, findings)


def _check_names(spec: Spec, mechanism: Mechanism, findings: Findings) -> None:
    expected = mechanism.parameters_under(spec.mechanism.options)
    for name in spec.parameters:
        if name not in mechanism.parameters:
            findings.unknown(("parameters", name), "parameter", name, expected)
        elif name not in expected:
            needed = " and ".join(
                f"{option}: {' or '.join(words)}"
                for option, words in mechanism.parameters[name].options.items()
            )
            findings.add(
                ("parameters", name),
                f"parameter '{name}'",
                f"only parameters of the chosen options: {', '.join(expected)}",
                f"'{name}' belongs to the option {needed}",
            )
    for name, words in expected.items():
        if name not in spec.parameters and words.default is None:
            findings.add(
                ("parameters",),
                f"no parameter '{name}'",
                f"every parameter of {mechanism.name}: {words.description}",
            )


def _formula(path: Path, parameter: Parameter, findings: Findings) -> Formula | None:
    try:
        return read_formula(parameter.formula)
    except FormulaError as error:
        findings.add((*path, "formula"), f"'{parameter.formula}'", error.expected, error.hint)
        return None


def _check_parameter(
    path: Path, parameter: Parameter, words: ParameterWords, formula: Formula | None, findings: Findings
) -> None:
    given = [key for key in ("typical", "value", "column") if getattr(parameter, key) is not None]
    if len(given) != 1:
        findings.add(
            path,
            " and ".join(f"'{key}'" for key in given) or "neither 'typical', 'value' nor 'column'",
            "exactly one of typical (a prior), value (a known number) or column (known for each patient)",
        )
    if len(given) == 1 and not is_estimated(parameter):
        _check_known(path, parameter, words, formula, findings)
    if is_estimated(parameter):
        has_terms = bool(formula and (formula.groups or formula.terms))
        _check_link(path, parameter, words, has_terms, findings)
        _check_coefficients(path, parameter, formula, findings)
        _require_coefficients(path, parameter, words, formula, findings)


def _check_known(
    path: Path, parameter: Parameter, words: ParameterWords, formula: Formula | None, findings: Findings
) -> None:
    how = "value" if parameter.value is not None else "column"
    for key in ("link", "coefficients"):
        if getattr(parameter, key) is not None:
            findings.add(
                (*path, key), f"'{key}' beside '{how}'", f"'{key}' only on parameters estimated by 'typical'"
            )
    if formula and (formula.terms or formula.groups):
        findings.add(
            (*path, "formula"),
            f"'{parameter.formula}' beside '{how}'",
            "covariates and random effects only on parameters estimated by 'typical'",
        )
    value = parameter.value
    if value is None:
        return
    lowest_allowed = value > 0 or (value == 0 and words.default == 0)
    if words.support == "positive" and not lowest_allowed:
        findings.add(
            (*path, "value"), f"{value}", f"a number {'at least' if words.default == 0 else 'greater than'} 0"
        )
    if words.support == "unit" and not 0 <= value <= 1:
        findings.add((*path, "value"), f"{value}", "a number between 0 and 1")


def _check_link(
    path: Path, parameter: Parameter, words: ParameterWords, has_terms: bool, findings: Findings
) -> None:
    name, prior = path[-1], parameter.typical
    assert prior is not None
    link = parameter.link or DEFAULT_LINKS[words.support]
    allowed = ALLOWED_LINKS[words.support]
    if link not in allowed:
        findings.add((*path, "link"), f"'{link}'", f"{' or '.join(allowed)}, since {name} is {words.support}")
        return
    if words.support == "positive" and link == "identity" and has_terms:
        findings.add(
            (*path, "link"),
            "'identity'",
            f"log: {name} is positive, and effects added on the natural scale could take it below 0",
        )
        return
    if not check_prior_is_a_number((*path, "typical"), prior, findings):
        return
    needed = words.support if link == "identity" else LINKS[link]
    if not prior.lies_within(needed):
        why = (
            f"link {link}" + ("" if parameter.link else " (the default)") if link != "identity" else f"{name}"
        )
        findings.add((*path, "typical"), f"'{prior}'", _prior_for(needed), f"{why} needs {_meaning(needed)}")


def _meaning(support: str) -> str:
    return {"positive": "a typical value above 0", "unit": "a typical value between 0 and 1"}[support]


def _prior_for(support: str) -> str:
    if support == "unit":
        return "a prior on 0 to 1, such as Beta(a, b), LogitNormal(median, sd) or Uniform(0, 1)"
    return "a prior on positive numbers, such as LogNormal(median, sd)"


def check_prior_is_a_number(path: Path, prior: Prior, findings: Findings) -> bool:
    """Refuse a correlation prior where a number is meant."""
    if prior.support == "correlation":
        findings.add(
            path, f"'{prior}'", "a prior of a number", "LKJ is for random_effects.….correlation only"
        )
        return False
    return True


def check_positive_prior(path: Path, prior: Prior, findings: Findings) -> None:
    """Require a prior on positive numbers: of a standard deviation or a concentration."""
    if check_prior_is_a_number(path, prior, findings) and not prior.lies_within("positive"):
        hint = nearest(f"Half{prior.name}", ("HalfNormal", "HalfStudentT", "HalfCauchy"))
        findings.add(path, f"'{prior}'", "a prior on positive numbers, such as HalfNormal(sd)", hint)


def _check_coefficients(
    path: Path, parameter: Parameter, formula: Formula | None, findings: Findings
) -> None:
    if parameter.coefficients is None or formula is None:
        return
    path = (*path, "coefficients")
    if not formula.terms:
        findings.add(
            path,
            "coefficients",
            "none, since the formula has no covariates",
            "add the covariate to 'formula'",
        )
        return
    if isinstance(parameter.coefficients, Prior):
        check_prior_is_a_number(path, parameter.coefficients, findings)
        return
    for term, prior in parameter.coefficients.items():
        if without_levels(term) not in formula.terms:
            findings.unknown((*path, term), "term", term, formula.terms)
        check_prior_is_a_number((*path, term), prior, findings)


def _require_coefficients(
    path: Path, parameter: Parameter, words: ParameterWords, formula: Formula | None, findings: Findings
) -> None:
    """Under the identity link a coefficient has the parameter's unit: no default serves ms and 1/day alike."""
    link = parameter.link or DEFAULT_LINKS[words.support]
    if formula is None or words.support != "real" or link != "identity":
        return
    if isinstance(parameter.coefficients, Prior):
        return
    given = {without_levels(term) for term in parameter.coefficients or ()}
    lacking = [term for term in formula.terms if term not in given]
    if lacking:
        unit = "units of the response" if parameter.unit == "1" else parameter.unit
        findings.add(
            (*path, "coefficients"),
            f"no prior for {', '.join(lacking)}",
            f"a prior in {unit}: there is no default under the identity link, whose scale is the parameter's",
            f'add coefficients: {{{lacking[0]}: "Normal(mean=0, sd=…)"}} with an sd of your own',
        )


def _check_group(
    path: Path, declared: RandomEffects, effects: Mapping[str, list[EffectWords]], findings: Findings
) -> None:
    group = path[-1]
    labels = [effect.label for effect in effects.get(group, ())]
    if not labels:
        findings.add(
            path,
            f"'{group}', which no formula uses",
            f"a grouping level of the formulas ({', '.join(effects) or 'there is none'})",
            nearest(group, effects) or f"add (1 | {group}) to the formula of a parameter",
            ("parameters",),
        )
        return
    if isinstance(declared.sd, Prior):
        check_positive_prior((*path, "sd"), declared.sd, findings)
    else:
        _check_labels((*path, "sd"), declared.sd, labels, findings)
        for label, prior in declared.sd.items():
            check_positive_prior((*path, "sd", label), prior, findings)
        absent = [label for label in labels if label not in {without_levels(given) for given in declared.sd}]
        if absent:
            expected = "a prior for every effect of the group"
            findings.add(
                (*path, "sd"), f"no prior for {', '.join(absent)}", expected, depends=("parameters",)
            )
    if isinstance(declared.parameterization, dict):
        _check_labels((*path, "parameterization"), declared.parameterization, labels, findings)
    if declared.correlation is not None:
        _check_correlation((*path, "correlation"), declared.correlation, labels, findings)


def _check_labels(path: Path, given: Mapping[str, object], labels: list[str], findings: Findings) -> None:
    for label in given:
        if without_levels(label) not in labels:
            findings.unknown((*path, label), "effect", label, labels, ("parameters",))


def _check_correlation(path: Path, prior: Prior, labels: list[str], findings: Findings) -> None:
    if prior.support != "correlation":
        findings.add(path, f"'{prior}'", "a prior of a correlation matrix, such as LKJ(2)")
    elif len(labels) < 2:
        findings.add(
            path,
            f"'{prior}' for one effect ({labels[0]})",
            "a correlation between at least two effects",
            "leave 'correlation' out",
            ("parameters",),
        )
