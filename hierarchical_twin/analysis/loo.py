"""Leave-one-observation-out: how well a fit predicts one row of a patient from all others, theirs included.

Not how well it predicts a new patient: that is leave-one-patient-out, and is what fits are compared by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp

from hierarchical_twin.analysis.left_out import k_hat_limit, smooth_weights
from hierarchical_twin.analysis.residuals import row_uniforms
from hierarchical_twin.analysis.variables import has_process_noise
from hierarchical_twin.dims import (
    CHAIN,
    DRAW,
    LOG_LIKELIHOOD,
    OBSERVED_DATA,
    POSTERIOR_PREDICTIVE,
    observation_dim,
)
from hierarchical_twin.errors import Problem, SamplingError

NAME = "leave-one-observation-out"
NOTE = (
    "Leave-one-observation-out: each measurement predicted from all others, those of the same patient included. "
    "It says how well gaps in known patients are filled, and nothing about new patients; for those, "
    "compare fits by leave-one-patient-out."
)
_NUMBERS_AT_ONCE = 4_000_000  # rows are taken a block at a time, so that memory stays bounded


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Leave-one-observation-out of one fit.

    Attributes
    ----------
    rows : pd.DataFrame
        ``patient, outcome, time, row, DV, censored``, then ``elpd`` (log density, or log mass where
        censored, of the measurement given all others), ``p`` (log density given all less that),
        ``k_hat`` and ``LOO_PIT`` (probability of a measurement below this one, given all others).
        A k-hat is infinite where a single draw has all the weight.
    k_limit : float
        Above this k-hat a row's numbers are unreliable: min(1 - 1/log10(draws), 0.7).
    """

    rows: pd.DataFrame
    k_limit: float

    @property
    def elpd(self) -> float:
        """Sum of the rows' log predictive densities."""
        return float(self.rows["elpd"].to_numpy().sum())

    @property
    def se(self) -> float:
        """Standard error of `elpd` as a sum over rows taken to be independent (they are not, within a patient)."""
        count = len(self.rows)
        return float(np.sqrt(count * np.var(self.rows["elpd"], ddof=1))) if count > 1 else float("nan")

    @property
    def p_loo(self) -> float:
        """Effective number of parameters."""
        return float(self.rows["p"].to_numpy().sum())

    @property
    def unreliable(self) -> int:
        """Number of rows with a k-hat above the limit."""
        return int((self.rows["k_hat"].to_numpy() > self.k_limit).sum())

    @property
    def verdict(self) -> str:
        """The numbers, whether they can be trusted, and what they are not."""
        text = f"elpd {self.elpd:.1f} (se {self.se:.1f}), p_loo {self.p_loo:.1f}, {len(self.rows):,} rows. "
        if self.unreliable:
            text += (
                f"k-hat is above {self.k_limit:.2f} for {self.unreliable:,} rows: their numbers are unreliable, "
                "usually since a patient has few rows or a value is an outlier. "
            )
        return text + NOTE


def leave_one_observation_out(tree: xr.DataTree) -> LeaveOneOut:
    """Pointwise PSIS-LOO and LOO-PIT of every measurement of a fit.

    Parameters
    ----------
    tree : xr.DataTree
        A fit with log likelihoods and predictive draws of each row.

    Returns
    -------
    LeaveOneOut

    Raises
    ------
    SamplingError
        The fit keeps no log likelihood of rows (``patients="summary"``), or has process noise, under which a
        row's likelihood is given the earlier ones.

    Notes
    -----
    LOO-PIT weighs replicated measurements of the same patient; it is randomised among ties, and within the mass
    beyond the limit where a value is censored.

    References
    ----------
    Vehtari, Gelman and Gabry (2017), Statistics and Computing 27(5), doi:10.1007/s11222-016-9696-4.
    Vehtari, Simpson, Gelman, Yao and Gabry (2024), JMLR 25(72). LOO-PIT: Gelfand, Dey and Chang (1992), Bayesian
    Statistics 4, with Säilynoja, Bürkner and Vehtari (2022), doi:10.1007/s11222-022-10090-6, on how to look at it.
    """
    if has_process_noise(tree):
        got, expected = "a fit with process noise", "measurements that are independent given the parameters"
        hint = "compare by patient: each measurement is judged given the earlier ones"
        raise SamplingError(Problem(NAME, got, expected, hint))
    for group in (LOG_LIKELIHOOD, OBSERVED_DATA, POSTERIOR_PREDICTIVE):
        if group not in tree.children:
            hint = "fit with patients='draws'"
            raise SamplingError(
                Problem("fit", f"no group '{group}'", "a fit that keeps draws of each row", hint)
            )
    likelihood = tree[LOG_LIKELIHOOD].to_dataset()
    draws = likelihood.sizes[CHAIN] * likelihood.sizes[DRAW]
    frames = list(_outcome_frames(tree, likelihood))
    return LeaveOneOut(pd.concat(frames, ignore_index=True), k_limit=k_hat_limit(draws))


def _outcome_frames(tree: xr.DataTree, likelihood: xr.Dataset) -> Iterator[pd.DataFrame]:
    observed = tree[OBSERVED_DATA].to_dataset()
    replicated = tree[POSTERIOR_PREDICTIVE].to_dataset()
    for outcome in map(str, likelihood.data_vars):
        rows, dim = observed_rows(observed, outcome), observation_dim(outcome)
        step = max(1, _NUMBERS_AT_ONCE // (likelihood.sizes[CHAIN] * likelihood.sizes[DRAW]))
        uniform = row_uniforms(rows, "LOO-PIT")
        for start in range(0, len(rows), step):
            own = slice(start, start + step)
            values, new = (
                group[outcome].isel({dim: own}).transpose(CHAIN, DRAW, dim).values
                for group in (likelihood, replicated)
            )
            yield _left_out(rows.iloc[own], values, new, uniform[own])


def _left_out(
    rows: pd.DataFrame, log_likelihood: np.ndarray, replicated: np.ndarray, uniform: np.ndarray
) -> pd.DataFrame:
    """Some rows with their leave-one-out numbers, from ``[chain, draw, row]``."""
    log_weights, k_hat = smooth_weights(log_likelihood)
    log_weights = log_weights.T
    flat = log_likelihood.reshape(-1, len(rows))
    elpd = logsumexp(log_weights + flat, axis=0)
    density = logsumexp(flat, axis=0) - np.log(len(flat))
    pit = _weighted_transform(rows, replicated.reshape(flat.shape), np.exp(log_weights), uniform)
    return rows.assign(elpd=elpd, p=density - elpd, k_hat=k_hat, LOO_PIT=pit)


def observed_rows(observed: xr.Dataset, outcome: str) -> pd.DataFrame:
    """Rows of an outcome in a fit: ``patient, outcome, time, row, DV, censored``."""
    values = observed[outcome].values
    told = {"patient": observed[f"patient_{outcome}"].values.astype(str), "outcome": outcome}
    for word, missing in (("time", np.nan), ("row", 0), ("censored", 0)):
        name = f"{word}_{outcome}"
        told[word] = observed[name].values if name in observed.coords else np.full(len(values), missing)
    frame = pd.DataFrame(told).assign(DV=values)
    return frame.loc[:, ["patient", "outcome", "time", "row", "DV", "censored"]]


def _weighted_transform(
    rows: pd.DataFrame, replicated: np.ndarray, weights: np.ndarray, uniform: np.ndarray
) -> np.ndarray:
    observed, censored = rows["DV"].to_numpy(float), rows["censored"].to_numpy()
    below = np.sum(weights * (replicated < observed), axis=0)
    ties = np.sum(weights * (replicated == observed), axis=0)
    measured = below + uniform * ties
    found = np.where(censored > 0, uniform * below, measured)
    found = np.where(censored < 0, 1 - uniform * (1 - below - ties), found)
    return np.clip(found, 0.0, 1.0)
