"""Dimension words, group names and attribute names of a fit. Nothing else.

A patient's records (padded) run along `time` in the arrays a mechanism sees; the rows that
were really observed run along `observation_<outcome>` in a saved fit.
"""

from __future__ import annotations

CHAIN = "chain"
DRAW = "draw"
PATIENT = "patient"
TIME = "time"
DOSE = "dose"
EFFECT = "effect"
STATISTIC = "statistic"

POSTERIOR = "posterior"
PRIOR = "prior"
PATIENT_SUMMARY = "patient_summary"
"""Group of statistics of what every patient has, in a fit that does not keep their draws."""
SAMPLE_STATS = "sample_stats"
LOG_LIKELIHOOD = "log_likelihood"
POSTERIOR_PREDICTIVE = "posterior_predictive"
OBSERVED_DATA = "observed_data"
CONSTANT_DATA = "constant_data"
TABLE = "table"
"""Group of the rows the cohort was read from, so that a saved fit can predict."""
NO_POOLING = "no_pooling"
"""Group of per-patient estimates that ignore the population, for the shrinkage picture."""
INTEGRALS = "integrals"
"""Group of how well the marginal method integrated the patients' effects out."""
ADAPTATION = "adaptation"
"""Group of what a run learned of its posterior's shape, for a later run to start from."""
COORDINATE = "coordinate"
"""Dimension of the population's coordinates there."""


def observation_dim(outcome: str) -> str:
    """Dimension of the observed rows of one outcome in a fit."""
    return f"observation_{outcome}"


def term_dim(parameter: str) -> str:
    """Dimension of the covariate coefficients of one parameter."""
    return f"term_{parameter}"


def effect_dim(group: str) -> str:
    """Dimension of the random effects of one grouping level: `effect`, or `effect_site`."""
    return EFFECT if group == PATIENT else f"{EFFECT}_{group}"


def other_effect_dim(group: str) -> str:
    """Second axis of the correlation matrix of one grouping level."""
    return f"{effect_dim(group)}_other"


def diffusion_name(state: str) -> str:
    """Variable of a state's diffusion under process noise."""
    return f"diffusion_{state}"


def group_suffix(group: str) -> str:
    """Suffix of a grouping level's variables: none for patient, ``_site`` for site."""
    return "" if group == PATIENT else f"_{group}"
