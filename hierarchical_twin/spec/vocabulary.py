"""The closed tables of words a spec may use: priors, links, error models, choices.

A new prior is a word here, one row in `graph/distributions.py`, and one line in each backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Support = Literal["positive", "real", "unit", "interval", "correlation"]


@dataclass(frozen=True)
class PriorWords:
    """A prior's arguments in order, their defaults, and where it puts its mass.

    `positive` names the arguments that must be greater than zero.
    """

    arguments: tuple[str, ...]
    support: Support
    description: str
    defaults: Mapping[str, float] = field(default_factory=dict)
    positive: tuple[str, ...] = ()


PRIORS: Mapping[str, PriorWords] = {
    "Normal": PriorWords(("mean", "sd"), "real", "normal", positive=("sd",)),
    "StudentT": PriorWords(
        ("df", "mean", "sd"), "real", "Student's t with scale `sd`", {"mean": 0.0, "sd": 1.0}, ("df", "sd")
    ),
    "LogNormal": PriorWords(
        ("median", "sd"), "positive", "log-normal: log x ~ Normal(log median, sd)", positive=("median", "sd")
    ),
    "HalfNormal": PriorWords(("sd",), "positive", "normal folded at zero", positive=("sd",)),
    "HalfStudentT": PriorWords(
        ("df", "sd"), "positive", "Student's t folded at zero, scale `sd`", {"sd": 1.0}, ("df", "sd")
    ),
    "HalfCauchy": PriorWords(("scale",), "positive", "Cauchy folded at zero", positive=("scale",)),
    "Exponential": PriorWords(("mean",), "positive", "exponential with the given mean", positive=("mean",)),
    "Gamma": PriorWords(
        ("shape", "rate"), "positive", "gamma with mean shape/rate", positive=("shape", "rate")
    ),
    "InverseGamma": PriorWords(
        ("shape", "scale"),
        "positive",
        "inverse gamma with mode scale/(shape + 1)",
        positive=("shape", "scale"),
    ),
    "Beta": PriorWords(("a", "b"), "unit", "beta with mean a/(a + b)", positive=("a", "b")),
    "LogitNormal": PriorWords(
        ("median", "sd"), "unit", "logit x ~ Normal(logit median, sd)", positive=("median", "sd")
    ),
    "Uniform": PriorWords(("lower", "upper"), "interval", "uniform between two bounds"),
    "LKJ": PriorWords(
        ("concentration",), "correlation", "correlation matrix; 1 is uniform", positive=("concentration",)
    ),
}

LINKS: Mapping[str, Support] = {"log": "positive", "logit": "unit", "identity": "real"}
"""Link to the support of the natural scale."""


@dataclass(frozen=True)
class ErrorWords:
    """An error model's keys: priors it needs, priors it may have, other keys it needs or may have."""

    needs: tuple[str, ...]
    allows: tuple[str, ...]
    observed: Literal["real", "positive", "unit", "count"]
    description: str


_LIMITS = ("lower_limit", "upper_limit", "censored")
ERRORS: Mapping[str, ErrorWords] = {
    "normal": ErrorWords((), ("sigma", "standard_error", *_LIMITS), "real", "y ~ Normal(f, sigma)"),
    "lognormal": ErrorWords(("sigma",), _LIMITS, "positive", "log y ~ Normal(log f, sigma)"),
    "proportional": ErrorWords(("sigma",), ("standard_error", *_LIMITS), "real", "y ~ Normal(f, sigma f)"),
    "combined": ErrorWords(
        ("sigma", "sigma_proportional"),
        ("standard_error", *_LIMITS),
        "real",
        "y ~ Normal(f, sqrt(sigma^2 + (sigma_proportional f)^2))",
    ),
    "student_t": ErrorWords(("sigma",), ("degrees_of_freedom",), "real", "y ~ StudentT(df, f, sigma)"),
    "beta": ErrorWords(("concentration",), (), "unit", "y ~ Beta(f phi, (1 - f) phi)"),
    "binomial": ErrorWords(("trials",), (), "count", "y ~ Binomial(trials, f)"),
}

_VALUES = {"real": 1.0, "positive": 1.0, "unit": 0.5, "count": 0.0}
FILLERS: Mapping[str, float] = {name: _VALUES[words.observed] for name, words in ERRORS.items()}
"""What stands where nothing was measured: a value the error model has a density at."""

FILTERED = ("normal", "lognormal", "proportional", "combined")
"""Error models that are normal on some scale, which process noise needs."""

PARAMETERIZATIONS = ("auto", "informed", "noncentered", "centered")
"""How random effects are sampled; where a spec says nothing, the first."""

FORMULA_FUNCTIONS = (
    "center",
    "scale",
    "standardize",
    "log",
    "log2",
    "log10",
    "log1p",
    "exp",
    "sqrt",
    "abs",
    "C",
    "bs",
    "poly",
    "I",
)
"""The functions a formula may call. Anything else is refused before it is looked at."""
