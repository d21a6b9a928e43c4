"""Residuals of single rows: weighted residuals, probability integral transforms, and draws of censored values.

What needs the rows of a patient together (NPDE) is in `npde`.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
import pandas as pd
from scipy.special import log_ndtr, ndtri_exp

_SEED = 20_121


def weighted_residuals(
    observed: np.ndarray, individual: np.ndarray, residual_sd: np.ndarray, *, is_log: bool
) -> np.ndarray:
    """IWRES: distance of a measurement from the patient's own prediction in residual SDs.

    Parameters
    ----------
    observed : np.ndarray, [row]
        NaN where nothing was measured.
    individual, residual_sd : np.ndarray, [draw, row]
        The patient's own prediction, and the SD of a measurement around it.
    is_log : bool
        Whether distance and SD are on the log scale (lognormal error).

    Returns
    -------
    np.ndarray, [row]
        (y - E[f | data]) / E[sd | data], with log y and log f under lognormal error: posterior means stand
        where NONMEM has the mode of the effects. NaN where the error model has no SD.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (np.log(observed), np.log(individual)) if is_log else (observed, individual)
        found = (values[0] - values[1].mean(axis=0)) / residual_sd.mean(axis=0)
    return np.where(np.isfinite(found), found, np.nan)


def integral_transform(rows: pd.DataFrame, replicates: np.ndarray) -> np.ndarray:
    """PIT: probability that a new measurement of the patient is below the one that was made.

    Parameters
    ----------
    rows : pd.DataFrame
        ``patient, outcome, DV, censored`` (0 measured, 1 below DV, -1 above it).
    replicates : np.ndarray, [draw, row]
        New measurements.

    Returns
    -------
    np.ndarray, [row]
        Between 0 and 1; NaN where nothing was measured. The rank among the draws is randomised within its
        step and among ties, so that it is uniform for counts and for few draws as well; a censored value is
        uniform on the mass beyond its limit. Random numbers belong to the patient and outcome, and are
        always the same.

    Notes
    -----
    The measurement took part in the fit, so these values are nearer to 0.5 than uniform ones, the more so
    the fewer rows a patient has; LOO-PIT and NPDE are not.

    References
    ----------
    Dawid (1984), JRSS A 147(2), doi:10.2307/2981683. Randomised, for counts: Czado, Gneiting and Held
    (2009), Biometrics 65(4), doi:10.1111/j.1541-0420.2009.01191.x.
    """
    observed, censored = rows["DV"].to_numpy(float), rows["censored"].to_numpy()
    usable = np.isfinite(replicates)
    with np.errstate(invalid="ignore"):
        below = ((replicates < observed) & usable).sum(axis=0)
        ties = ((replicates == observed) & usable).sum(axis=0)
    place = (censored, row_uniforms(rows, "PIT"))
    return np.where(np.isnan(observed), np.nan, randomised_rank(below, ties, usable.sum(axis=0), place))


def randomised_rank(
    below: np.ndarray, ties: np.ndarray, draws: np.ndarray | int, place: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Rank of a value among draws as a number that is uniform where the value is one of them.

    Parameters
    ----------
    below, ties : np.ndarray of int, [row]
        Number of draws below the value, and equal to it.
    draws : np.ndarray or int, [row]
    place : tuple of np.ndarray, [row]
        How the value is censored, and a uniform number.

    Returns
    -------
    np.ndarray, [row]
        Exact for any number of draws: of S draws and the value itself, each order is as likely as any other.
        Of a value below a limit, with b draws below that, the rank is one of 0 to b.
    """
    censored, uniform = place
    measured = (below + uniform * (ties + 1)) / (draws + 1)
    left = uniform * (below + 1) / (draws + 1)
    right = 1 - uniform * (draws - below - ties + 1) / (draws + 1)
    return np.where(censored > 0, left, np.where(censored < 0, right, measured))


def complete_censored(
    rows: pd.DataFrame, individual: np.ndarray, residual_sd: np.ndarray, is_log: np.ndarray
) -> np.ndarray:
    """The measurements ``[row]``, with a draw in place of each value that is only known to be beyond a limit.

    The draw is of the patient's own distribution beyond the limit, given everything that was measured: a
    draw of the posterior for each patient and outcome, then a truncated normal (on the log scale under
    lognormal error). So all values of a patient belong together.

    Parameters
    ----------
    rows : pd.DataFrame
        ``patient, outcome, DV, censored``.
    individual, residual_sd : np.ndarray, [draw, row]
    is_log : np.ndarray of bool, [row]

    References
    ----------
    Tanner and Wong (1987), JASA 82(398), doi:10.1080/01621459.1987.10478458.
    """
    values, censored = rows["DV"].to_numpy(float).copy(), rows["censored"].to_numpy()
    if not (censored != 0).any():
        return values
    uniform, chosen = row_uniforms(rows, "beyond"), _one_draw_each(rows, len(individual))
    at = np.flatnonzero(censored != 0)
    center, sd = individual[chosen[at], at], residual_sd[chosen[at], at]
    with np.errstate(invalid="ignore", divide="ignore"):
        center = np.where(is_log[at], np.log(center), center)
        limit = np.where(is_log[at], np.log(values[at]), values[at])
        # Above a limit is below it with all signs turned, which keeps far tails exact.
        sign = np.where(censored[at] > 0, 1.0, -1.0)
        mass = log_ndtr(sign * (limit - center) / sd)
        drawn = center + sign * sd * ndtri_exp(mass + np.log(uniform[at]))
        values[at] = np.where(is_log[at], np.exp(drawn), drawn)
    return values


def row_uniforms(rows: pd.DataFrame, purpose: str) -> np.ndarray:
    """Uniform numbers ``[row]`` that belong to the patient, outcome and purpose, whatever else is asked."""
    uniform = np.empty(len(rows))
    for (patient, outcome), places in row_groups(rows).items():
        uniform[places] = _numbers_of(patient, outcome, purpose).random(len(places))
    return uniform


def row_groups(rows: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Places of the rows of each patient and outcome, in their order."""
    grouped = rows.groupby(["patient", "outcome"], sort=False, observed=True)
    number, places = grouped.ngroup().to_numpy(), np.arange(len(rows))
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    patients, outcomes = rows["patient"].to_numpy(), rows["outcome"].to_numpy()
    groups = np.split(places[order], starts[1:]) if len(rows) else []
    return {(str(patients[own[0]]), str(outcomes[own[0]])): own for own in groups}


def outcome_places(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Places of the rows of each outcome, in their order."""
    names = rows["outcome"].to_numpy().astype(str)
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(names)}


def _one_draw_each(rows: pd.DataFrame, draws: int) -> np.ndarray:
    """One draw's place for each row, the same for all rows of a patient and outcome."""
    chosen = np.empty(len(rows), dtype=int)
    for (patient, outcome), places in row_groups(rows).items():
        chosen[places] = _numbers_of(patient, outcome, "draw").integers(draws)
    return chosen


def _numbers_of(*words: str) -> np.random.Generator:
    return np.random.default_rng([_SEED, *(crc32(word.encode()) for word in words)])
