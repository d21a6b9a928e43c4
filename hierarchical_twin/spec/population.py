"""What the population part of a spec says once what was left out is filled in.

Links, coefficient priors and the list of random effects, for every reader of a spec to agree on.
"""

from __future__ import annotations

from dataclasses import dataclass

from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec.formula import read_formula
from hierarchical_twin.spec.prior import Prior
from hierarchical_twin.spec.schema import LinkName, Parameter, Spec

DEFAULT_LINKS: dict[str, LinkName] = {"positive": "log", "unit": "logit", "real": "identity"}
"""Link of an estimated parameter when the spec names none, by the parameter's support."""

DEFAULT_COEFFICIENT = Prior("Normal", (("mean", 0.0), ("sd", 1.0)))
"""Prior of a covariate coefficient on the log or logit scale when the spec names none."""


@dataclass(frozen=True)
class EffectWords:
    """One random effect of one grouping level: the parameter it moves and its term."""

    parameter: str
    expression: str

    @property
    def label(self) -> str:
        """Label on the `effect` dim: ``r`` for an intercept, ``r:age`` for a slope on age."""
        return self.parameter if self.expression == "1" else f"{self.parameter}:{self.expression}"


def is_estimated(parameter: Parameter) -> bool:
    """Whether the parameter has a prior, rather than a fixed value or a column."""
    return parameter.typical is not None


def link_of(spec: Spec, parameter: str) -> LinkName:
    """Link of one parameter: the declared one, or the default for its support."""
    declared = spec.parameters[parameter].link
    return declared or DEFAULT_LINKS[MECHANISMS[spec.mechanism.name].parameters[parameter].support]


def coefficient_prior(parameter: Parameter, term: str) -> Prior:
    """Prior of one covariate coefficient on the link scale.

    Parameters
    ----------
    parameter : Parameter
    term : str
        Column of the design, such as ``center(age)`` or ``sex[M]``; a prior given for ``sex``
        serves every level of it.
    """
    match parameter.coefficients:
        case None:
            return DEFAULT_COEFFICIENT
        case Prior() as prior:
            return prior
        case priors:
            return priors.get(term) or priors.get(without_levels(term)) or DEFAULT_COEFFICIENT


def without_levels(term: str) -> str:
    """A design column's term: ``sex[M]:site[B]`` is a column of ``sex:site``."""
    kept, depth = [], 0
    for character in term:
        depth += character == "["
        if depth == 0:
            kept.append(character)
        depth -= character == "]"
    return "".join(kept)


def effects_of(spec: Spec) -> dict[str, tuple[EffectWords, ...]]:
    """Grouping level to its random effects, in the order of the spec's parameters.

    Raises
    ------
    FormulaError
        A formula cannot be read.
    """
    effects: dict[str, tuple[EffectWords, ...]] = {}
    for name, parameter in spec.parameters.items():
        for group in read_formula(parameter.formula).groups:
            effects[group.factor] = (*effects.get(group.factor, ()), EffectWords(name, group.expression))
    return effects


def covariates_of(spec: Spec) -> tuple[str, ...]:
    """Covariates that any formula names, in order of first use."""
    named = [
        name for parameter in spec.parameters.values() for name in read_formula(parameter.formula).variables
    ]
    return tuple(dict.fromkeys(named))
