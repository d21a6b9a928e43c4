"""Normalised prediction distribution errors: are a patient's measurements, taken together, like simulated ones?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtri

from hierarchical_twin.analysis.residuals import randomised_rank, row_groups, row_uniforms

_FEWEST_DRAWS = 10
_LEAST_SHRINKAGE = 1e-9
_TIE = 1e-9


def decorrelated_errors(
    rows: pd.DataFrame, completed: np.ndarray, simulated: np.ndarray, is_log: np.ndarray
) -> np.ndarray:
    """NPDE of each row: standard normal and uncorrelated within a patient, where the model is right.

    The measurements of a patient and simulated measurements of others with the same covariates and
    design are decorrelated alike; the rank of each measurement among the simulated ones is read
    as a normal score.

    Parameters
    ----------
    rows : pd.DataFrame
        ``patient, outcome``; rows of one patient and outcome are taken together, in their order.
    completed : np.ndarray, [row]
        Measurements; NaN where there are none. A censored one is replaced by a draw beforehand
        (`residuals.complete_censored`).
    simulated : np.ndarray, [draw, row]
        Measurements of other patients; in a draw, all rows of a patient are of the same one.
    is_log : np.ndarray of bool, [row]
        Rows that are decorrelated as logarithms (lognormal error): ranks do not change by it,
        but a covariance then says nearly all there is to say.

    Returns
    -------
    np.ndarray, [row]
        NaN where nothing was measured, or fewer than 10 draws are finite.

    Notes
    -----
    Two departures from the R package npde, both so that the values are standard normal for any number of
    draws and not only for very many. The measured series is one of the pool from which mean and
    covariance are estimated, and ranks are randomised within their step: under the model, series are
    then exchangeable, whatever the decorrelation. The correlation matrix is shrunk to the identity by
    the share of it that is noise (Schäfer and Strimmer), which is next to nothing unless draws are few
    or rows hardly correlated. The population is drawn anew for each simulated patient, so that its
    uncertainty counts. Where values are censored, those are drawn given the patient's others; Nguyen,
    Comets and Mentré draw them uniformly in the censored mass, which loosens them from the others.

    References
    ----------
    Brendel, Comets, Laffont, Laveille and Mentré (2006), Pharmaceutical Research 23(9),
    doi:10.1007/s11095-006-9067-5. Comets, Brendel and Mentré (2008), Computer Methods and Programs in
    Biomedicine 90(2), doi:10.1016/j.cmpb.2007.12.002. Nguyen, Comets and Mentré (2012), Journal of
    Pharmacokinetics and Pharmacodynamics 39(5), doi:10.1007/s10928-012-9264-2. Schäfer and Strimmer
    (2005), Statistical Applications in Genetics and Molecular Biology 4(1), doi:10.2202/1544-6115.1175.
    """
    errors = np.full(len(rows), np.nan)
    uniform = row_uniforms(rows, "NPDE")
    for places in row_groups(rows).values():
        at = places[np.isfinite(completed[places])]
        if not len(at):
            continue
        pool = np.vstack([completed[at], simulated[:, at]])
        if is_log[at[0]]:
            with np.errstate(invalid="ignore", divide="ignore"):
                pool = np.log(pool)
        usable = np.isfinite(pool).all(axis=1)
        if not usable[0] or usable.sum() <= _FEWEST_DRAWS:
            continue
        free = _decorrelated(pool[usable])
        distance = free[1:] - free[0]
        below, ties = (distance < -_TIE).sum(axis=0), (np.abs(distance) <= _TIE).sum(axis=0)
        measured = np.zeros(len(at), dtype=int)
        errors[at] = ndtri(randomised_rank(below, ties, len(distance), (measured, uniform[at])))
    return errors


def _decorrelated(pool: np.ndarray) -> np.ndarray:
    """A pool of series ``[series, row]``, each row standardised given the rows before it.

    Cholesky's factor, as in npde: the first row keeps its meaning, and each later one is what it adds.
    """
    spread = pool.std(axis=0, ddof=1)
    standard = (pool - pool.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    count, size = standard.shape
    correlation = standard.T @ standard / (count - 1)
    off = correlation[~np.eye(size, dtype=bool)]
    noise = np.sum((1 - off**2) ** 2) / (count - 1)
    signal = np.sum(off**2)
    share = np.clip(noise / signal, _LEAST_SHRINKAGE, 1.0) if signal > 0 else 1.0
    shrunk = (1 - share) * correlation
    # Also where a row does not vary, and its variance is 0.
    np.fill_diagonal(shrunk, 1.0)
    # The factor is small and far from singular; its inverse costs a fraction of a solve with every draw.
    return standard @ np.linalg.inv(np.linalg.cholesky(shrunk)).T
