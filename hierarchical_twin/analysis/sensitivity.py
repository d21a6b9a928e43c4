"""How much the population's posterior depends on the priors: power-scaling, and prior beside posterior."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval, summarise
from hierarchical_twin.analysis.variables import (
    Elements,
    covariate_units_of,
    elements_of,
    links_of,
    population_variables,
    posterior_of,
    unit_of,
    units_of,
)
from hierarchical_twin.dims import CHAIN, DRAW, LOG_LIKELIHOOD, POSTERIOR
from hierarchical_twin.errors import Problem, SamplingError

THRESHOLD = 0.05
"""A sensitivity from here on is a noticeable dependence (Kallioinen et al.)."""
_ALPHAS = (0.99, 1.01)
_LOG_PRIOR = "log_prior"
_QUARTILES_TO_SD = 1.349

NO_CONCERN = "neither stands out"
CONFLICT = "prior and data may disagree"
STRONG_PRIOR = "the prior decides: strong prior or little information"


def power_scaling(tree: xr.DataTree, log_prior: np.ndarray) -> pd.DataFrame:
    """Sensitivity of each population quantity to the strength of the priors and of the likelihood.

    Parameters
    ----------
    tree : xr.DataTree
        A fit with log likelihoods of rows.
    log_prior : np.ndarray, [chain, draw]
        Log density of the priors of the population at each draw: typical values, coefficients, omegas,
        correlations and residual parameters, on their natural scale. Effects are no part of it: their
        distribution is the model, not a prior to be weakened.

    Returns
    -------
    pd.DataFrame
        ``variable, unit, prior, likelihood, diagnosis``; sensitivities are about 0 where changing the strength
        changes nothing, and matter from 0.05 on.

    Raises
    ------
    SamplingError
        The fit keeps no log likelihood of rows, or `log_prior` is not finite or of another shape.

    Notes
    -----
    Prior or likelihood is raised to the powers 0.99 and 1.01 by Pareto-smoothed importance sampling, without
    fitting again; sensitivity is the change of the cumulative Jensen-Shannon distance with log2 of the power. Computed
    by `arviz_stats`.

    References
    ----------
    Kallioinen, Paananen, Bürkner and Vehtari (2024), Statistics and Computing 34, 57,
    doi:10.1007/s11222-023-10366-5.
    """
    posterior = posterior_of(tree)
    if LOG_LIKELIHOOD not in tree.children:
        raise SamplingError(
            Problem(
                "fit", f"no group '{LOG_LIKELIHOOD}'", "log likelihoods of rows", "fit with patients='draws'"
            )
        )
    shape = (posterior.sizes[CHAIN], posterior.sizes[DRAW])
    density = np.asarray(log_prior, dtype=float)
    if density.shape != shape or not np.isfinite(density).all():
        got = f"an array of shape {density.shape}, {np.sum(~np.isfinite(density))} not finite"
        raise SamplingError(Problem("log_prior", got, f"finite numbers [chain, draw], {shape}"))
    elements = _population_elements(posterior)
    found = _sensitivities(elements, density, _total(tree[LOG_LIKELIHOOD].to_dataset()))
    units, links, covariates = units_of(tree), links_of(tree), covariate_units_of(tree)
    return pd.DataFrame(
        {
            "variable": elements.labels,
            "unit": [unit_of(label, units, links, covariates) for label in elements.labels],
            "prior": found[0],
            "likelihood": found[1],
            "diagnosis": [_diagnosis(prior, data) for prior, data in zip(*found, strict=True)],
        }
    )


def prior_posterior(
    tree: xr.DataTree, prior: xr.Dataset, *, prob: float = DEFAULT_PROB, kind: str = "equal-tailed"
) -> pd.DataFrame:
    """Each population quantity before and after the data.

    Parameters
    ----------
    tree : xr.DataTree
        A fit.
    prior : xr.Dataset
        Prior draws of the population's variables, under their names in the posterior, with dims ``chain, draw``
        first. Variables it lacks are left out.
    prob, kind
        Of the intervals.

    Returns
    -------
    pd.DataFrame
        ``variable, unit, prior_median, prior_lower, prior_upper, median, lower, upper, contraction, shift, prob,
        kind``. ``contraction`` is 1 - (width after / width before)^2, near 1 where the data decide and near 0
        (or below) where the prior does; ``shift`` is the way from prior to posterior median in prior SDs. Both
        use the quartiles, since some priors have no variance, and logarithms where all draws are positive.

    References
    ----------
    Schad, Betancourt and Vasishth (2021), Psychological Methods 26(1), doi:10.1037/met0000275: contraction
    and z-score, there of variances and means.
    """
    check_interval(prob, kind)
    pairs = list(prior_posterior_elements(tree, prior))
    if not pairs:
        got = ", ".join(map(str, prior.data_vars)) or "no variables"
        raise SamplingError(Problem("prior", got, "variables of the fit's population"))
    units, links, covariates = units_of(tree), links_of(tree), covariate_units_of(tree)
    frames = []
    for pair in pairs:
        before = summarise(pair.prior[:, :, None], prob=prob, kind=kind)
        after = summarise(pair.posterior[:, :, None], prob=prob, kind=kind)
        contraction, shift = _learned(pair)
        line = {
            "variable": pair.label,
            "unit": unit_of(pair.label, units, links, covariates),
            "prior_median": before.median,
            "prior_lower": before.lower,
            "prior_upper": before.upper,
            "median": after.median,
            "lower": after.lower,
            "upper": after.upper,
            "contraction": contraction,
            "shift": shift,
        }
        frames.append(pd.DataFrame(line))
    return pd.concat(frames, ignore_index=True).assign(prob=float(prob), kind=kind)


def _learned(pair: PriorPosterior) -> tuple[float, float]:
    """Contraction and shift of one quantity; relative ones for what is positive throughout."""
    is_positive = min(pair.prior.min(), pair.posterior.min()) > 0
    before, after = (np.log(draws) if is_positive else draws for draws in (pair.prior, pair.posterior))
    first, middle, third = np.quantile(before, [0.25, 0.5, 0.75])
    low, center, high = np.quantile(after, [0.25, 0.5, 0.75])
    if third == first:
        return float("nan"), float("nan")
    return 1 - ((high - low) / (third - first)) ** 2, (center - middle) * _QUARTILES_TO_SD / (third - first)


@dataclass(frozen=True, eq=False)
class PriorPosterior:
    """Draws ``[chain, draw]`` of one population quantity before and after the data."""

    label: str
    prior: np.ndarray
    posterior: np.ndarray


def prior_posterior_elements(tree: xr.DataTree, prior: xr.Dataset) -> list[PriorPosterior]:
    """Every population quantity that has draws of both, in the order of the population table."""
    posterior = posterior_of(tree)
    found = []
    for name in population_variables(posterior):
        if name not in prior:
            continue
        after, before = elements_of(posterior, name), elements_of(prior, name)
        place = {label: number for number, label in enumerate(before.labels)}
        found += [
            PriorPosterior(label, before.draws[:, :, place[label]], after.draws[:, :, number])
            for number, label in enumerate(after.labels)
            if label in place
        ]
    return found


def _population_elements(posterior: xr.Dataset) -> Elements:
    parts = [elements_of(posterior, name) for name in population_variables(posterior)]
    labels = tuple(itertools.chain.from_iterable(part.labels for part in parts))
    return Elements(labels, np.concatenate([part.draws for part in parts], axis=2))


def _total(likelihood: xr.Dataset) -> np.ndarray:
    """Log likelihood of all rows ``[chain, draw]``."""
    totals = [
        values.transpose(CHAIN, DRAW, ...).values.sum(axis=-1) for values in likelihood.data_vars.values()
    ]
    return np.sum(totals, axis=0)


def _sensitivities(
    elements: Elements, prior: np.ndarray, likelihood: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity ``[element]`` to the prior, and to the likelihood."""
    # Imported here: it takes longer than opening a fit may.
    from arviz_stats.psense import psense

    sample = (CHAIN, DRAW)
    tree = xr.DataTree.from_dict(
        {
            POSTERIOR: xr.Dataset({"population": ((*sample, "element"), elements.draws)}),
            _LOG_PRIOR: xr.Dataset({"total": (sample, prior)}),
            LOG_LIKELIHOOD: xr.Dataset({"total": (sample, likelihood)}),
        }
    )
    found = []
    for component in ("prior", "likelihood"):
        with np.errstate(all="ignore"):
            result = psense(tree, group=component, alphas=_ALPHAS, sample_dims=list(sample))
        found.append(np.asarray(result["population"].values))
    return found[0], found[1]


def _diagnosis(prior: float, likelihood: float) -> str:
    if prior < THRESHOLD:
        return NO_CONCERN
    return CONFLICT if likelihood >= THRESHOLD else STRONG_PRIOR
