"""The frozen values a spec is made of. Words only: no arrays, no JAX, no backend.

The same classes serve YAML (`spec.read`), Python, and the published JSON Schema, whose
descriptions are the docstrings below. Checks that need the mechanism table, units or formulas
live in `spec.check`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Strict,
    Tag,
    WithJsonSchema,
)

from hierarchical_twin.spec.prior import Prior, parse_prior
from hierarchical_twin.spec.vocabulary import PRIORS

NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
PRIOR_PATTERN = rf"^\s*({'|'.join(PRIORS)})\s*\([^()]*\)\s*$"
Name = Annotated[str, Field(pattern=NAME)]
Number = Annotated[int, Strict()] | Annotated[float, Field(strict=True, allow_inf_nan=False)]
Scalar = Annotated[bool, Strict()] | Number | str
PriorText = Annotated[
    Prior,
    BeforeValidator(parse_prior),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": PRIOR_PATTERN,
            "examples": ["LogNormal(median=3, sd=1)", "HalfNormal(0.5)", "Normal(0, 1)", "LKJ(2)"],
        }
    ),
]
ErrorName = Literal["normal", "lognormal", "proportional", "combined", "student_t", "beta", "binomial"]
LinkName = Literal["log", "logit", "identity"]
ParameterizationName = Literal["auto", "informed", "noncentered", "centered"]
InterpolationName = Literal["linear", "locf", "nocb"]


def _one_or_each(value: Any) -> str:
    return "each" if isinstance(value, dict) else "one"


def _one_or_more(value: Any) -> str:
    return "more" if isinstance(value, list | tuple) else "one"


def _number_as_text(value: Any) -> Any:
    """Labels are text: a level written 1 in YAML or Python is the label '1'."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _keys_as_text(value: Any) -> Any:
    return {_number_as_text(key): word for key, word in value.items()} if isinstance(value, dict) else value


Label = Annotated[str, BeforeValidator(_number_as_text)]
PriorOrEach = Annotated[
    Annotated[PriorText, Tag("one")] | Annotated[dict[str, PriorText], Tag("each")],
    Discriminator(_one_or_each),
]
OneOrMore = Annotated[
    Annotated[Scalar, Tag("one")] | Annotated[tuple[Scalar, ...], Field(min_length=1), Tag("more")],
    Discriminator(_one_or_more),
]
ParameterizationOrEach = Annotated[
    Annotated[ParameterizationName, Tag("one")] | Annotated[dict[str, ParameterizationName], Tag("each")],
    Discriminator(_one_or_each),
]


class Words(BaseModel):
    """Base of every part of a spec: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MechanismChoice(Words):
    """Which mechanism, and the options it is solved under."""

    name: Name
    """The mechanism's name."""
    options: dict[str, str] = {}
    """Choices of the mechanism, such as `input: oral`; may stand beside `name` as well."""


class TimeColumn(Words):
    """The column that holds time, and its unit."""

    column: str
    """Column of the table."""
    unit: str
    """Unit of the column; rates and times of the mechanism are solved in it."""


class PatientColumn(Words):
    """The column that identifies a patient."""

    column: str
    """Column of the table; `(1 | patient)` in a formula always means this column."""


class Parameter(Words):
    """A mechanism's parameter: estimated (`typical`), fixed (`value`) or known per patient (`column`)."""

    unit: str = "1"
    """Unit of the parameter, its prior and its estimates; converted to the mechanism's own."""
    link: LinkName | None = None
    """Scale on which covariates and random effects add up.

    Default: log for positive parameters, logit for fractions, identity otherwise.
    """
    typical: PriorText | None = None
    """Prior of the population-typical value, on the natural scale, in `unit`.

    Typical: random effects zero, covariates zero or at their reference level.
    """
    formula: str = "1"
    """Linear predictor on the link scale, such as `1 + center(age) + (1 | patient)`."""
    coefficients: PriorOrEach | None = None
    """Prior of every covariate coefficient on the link scale, or one for each term by name.

    Default: Normal(0, 1) under a log or logit link. Under identity there is none: it must be given.
    """
    value: Number | None = None
    """A known value, in `unit`; nothing is estimated."""
    column: str | None = None
    """A column that holds each patient's known value, in `unit`."""


class RandomEffects(Words):
    """Priors on the random effects of one grouping level, and how they are sampled."""

    sd: PriorOrEach
    """Prior of every effect's standard deviation on the link scale, or one for each effect (`r`, `r:age`)."""
    correlation: PriorText | None = None
    """LKJ prior of the effects' correlation matrix. Left out: effects are independent."""
    parameterization: ParameterizationOrEach = "auto"
    """How effects are sampled: the posterior is the same, the sampler's work is not. `auto` and `informed`
    measure each patient's effects from where a pilot fit of their own data puts them."""


class StandardError(Words):
    """Known measurement standard error of each row: a column, or ``sd/sqrt(n)`` of a mean."""

    column: str | None = None
    """Column of standard errors, in the observation's unit."""
    sd: str | None = None
    """Column of standard deviations between the people behind a mean."""
    n: str | None = None
    """Column of the number of people behind a mean."""


class Observation(Words):
    """One measured outcome: where it stands in the table, what it predicts, how it errs."""

    column: str
    """Column of the measured values (counts for `binomial`)."""
    predicts: Name
    """The mechanism's output it measures."""
    error: ErrorName
    """Error model."""
    unit: str = "1"
    """Unit of the column."""
    sigma: PriorText | None = None
    """Residual standard deviation: in `unit`, on the log scale for lognormal, relative for proportional."""
    sigma_proportional: PriorText | None = None
    """Relative part of the `combined` error."""
    concentration: PriorText | None = None
    """Concentration phi of the beta error."""
    degrees_of_freedom: Number = 4
    """Degrees of freedom of the student_t error."""
    trials: str | Annotated[int, Strict()] | None = None
    """Number of trials behind a binomial count: a column, or one number."""
    standard_error: StandardError | None = None
    """Known standard error of each row; adds to the residual variance, or is all of it."""
    lower_limit: str | Number | None = None
    """Lower limit of quantification, a column or a number: values below it are left-censored."""
    upper_limit: str | Number | None = None
    """Upper limit of quantification, a column or a number: values above it are right-censored."""
    censored: str | None = None
    """Column with 1 (left-censored at the value), -1 (right-censored) or 0."""
    where: dict[str, OneOrMore] = {}
    """Picks this outcome's rows of a long table, such as `{analyte: losartan}`; a list accepts any of its values."""
    from_time: Number | None = None
    """First time used, in the time column's unit."""
    until_time: Number | None = None
    """Last time used, in the time column's unit."""


class Input(Words):
    """A measured driver (series), or an experiment's coordinate, in a column of the table."""

    column: str
    """Column of the table."""
    unit: str = "1"
    """Unit of the column."""
    interpolation: InterpolationName = "linear"
    """Between samples of a series: linear, last observation carried forward, or next carried backward."""


class Doses(Words):
    """Doses: NONMEM-style event rows, or (with `time`) one dose for each patient.

    With `event` (EVID) or without it, rows whose amount is not zero and whose event is 1 (or absent)
    are doses at their own time. With `time` given as a number, the amount is read once per patient
    and given at that time.
    """

    amount: str | Number
    """Column of the amount, or one amount for everyone (needs `time`)."""
    unit: str = "1"
    """Unit of the amount."""
    time: Number | None = None
    """Time of each patient's single dose."""
    event: str | None = None
    """EVID column."""
    rate: str | None = None
    """Column of the infusion rate, amount per unit of time."""
    duration: str | Number | None = None
    """Duration of the infusion: a column, or one number."""
    additional: str | None = None
    """ADDL column: further doses (needs `interval`)."""
    interval: str | None = None
    """II column: time between doses."""


class Covariate(Words):
    """How a covariate's column is read: its unit, its levels (first is the reference), or a recoding."""

    column: str | None = None
    """Column of the table, when it differs from the covariate's name."""
    unit: str = "1"
    """Unit of the column."""
    levels: tuple[Label, ...] | None = None
    """Levels of a categorical covariate; the first is the reference."""
    values: Annotated[dict[str, str | Number] | None, BeforeValidator(_keys_as_text)] = None
    """Recoding: what stands in the column, to what the formula sees."""


class Derived(Words):
    """A quantity computed from the draws: a mechanism's derived quantity, or a parameter.

    Without `at` it is computed for every patient. With `at` it is the population-typical value at
    those covariates, and with `relative_to` the ratio of the two.
    """

    quantity: Name
    """A derived quantity of the mechanism, or a parameter."""
    arguments: dict[str, Number] = {}
    """The quantity's own numbers, such as `target: 0.9`."""
    at: dict[str, str | Number] | None = None
    """Covariate values at which the population-typical quantity is computed.

    Covariates it does not name stand at the cohort's mean, or at their reference level. That is not
    what `typical` means where a formula leaves a numeric covariate uncentred: there it is at zero.
    """
    relative_to: dict[str, str | Number] | None = None
    """Covariate values of the denominator, when a ratio is wanted."""


def _mechanism(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and "name" in value and "options" not in value:
        return {"name": value["name"], "options": {key: word for key, word in value.items() if key != "name"}}
    return value


class Spec(Words):
    """A whole model, as declared."""

    spec: Literal[1] = 1
    """Version of the language."""
    name: Name
    """Short name of the model."""
    title: str
    """One line that says what is modelled."""
    references: tuple[str, ...] = ()
    """Sources of the model and its priors."""
    mechanism: Annotated[MechanismChoice, BeforeValidator(_mechanism)]
    """How a body behaves: a mechanism by name, with its options."""
    time: TimeColumn | None = None
    """The time column; left out for mechanisms without time."""
    patient: PatientColumn
    """The column that identifies a patient."""
    where: dict[str, OneOrMore] = {}
    """Picks the rows used, such as `{drug: fludarabine}`; a list accepts any of its values."""
    parameters: dict[Name, Parameter]
    """The mechanism's parameters by name."""
    random_effects: dict[Name, RandomEffects] = {}
    """Grouping levels of the formulas, by name."""
    observations: dict[Name, Observation]
    """Outcomes by name."""
    inputs: dict[Name, Input] = {}
    """The mechanism's inputs by name."""
    process_noise: dict[Name, PriorText] = {}
    """Prior of the diffusion of each state that wanders away from the mechanism: the SD that one unit of time
    adds to it, in the state's unit, or relative where noise acts on its logarithm (a tumor's size)."""
    doses: Doses | None = None
    """Doses; only for mechanisms that have them."""
    covariates: dict[Name, Covariate] = {}
    """Covariates and grouping columns that need a column name, levels or a recoding."""
    derived: dict[Name, Derived] = {}
    """Quantities computed from the draws."""
