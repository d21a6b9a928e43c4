"""The verb `compare`: how well each of several models predicts patients, or measurements, that were left out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.comparison import OBSERVATION_WISE, PATIENT_WISE, Comparison
from hierarchical_twin.analysis.left_out import Scores, leave_one_out
from hierarchical_twin.analysis.same_data import check_same_data, listed
from hierarchical_twin.analysis.variables import labels_of, patients_of
from hierarchical_twin.dims import LOG_LIKELIHOOD, PATIENT, observation_dim
from hierarchical_twin.errors import Problem, SamplingError, nearest
from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.prediction.left_out import Announce, LeftOut, Request, leave_patients_out
from hierarchical_twin.prediction.refits import deal_folds
from hierarchical_twin.prediction.wandering import refuse_wandering
from hierarchical_twin.spec import parse_spec

DRAWS = 2_000
"""Draws of the population that patients are scored with, by default."""
_BY = (PATIENT_WISE, OBSERVATION_WISE)


def compare(
    fits: Mapping[str, Fit],
    *,
    by: str = PATIENT_WISE,
    folds: int | None = None,
    seed: int = 0,
    refit: bool = True,
    draws: int = DRAWS,
    announce: Announce | None = None,
) -> Comparison:
    """Compare fits of several specs to the same measurements by how well they predict what is left out.

    Parameters
    ----------
    fits : mapping of str to Fit
        Name to fit.
    by : {"patient", "observation"}
        ``patient``: each patient's measurements are predicted from all other patients, the patient's own effects
        integrated out. ``observation``: pointwise leave-one-observation-out, each measurement predicted
        from all others, those of the same patient included; it says nothing about new patients.
    folds : int, optional
        K-fold by patient: every model is fitted again K times, each time without about 1/K of the patients.
        Without it, leave-one-patient-out by Pareto-smoothed importance sampling.
    seed : int
        Of the folds, the refits and, where a patient has many effects, the integrals.
    refit : bool
        Fit again without each patient whose importance weights have a k-hat that is too high.
    draws : int
        At most about so many draws of the population are used, evenly spaced.
    announce : callable, optional
        Called with a line of text before each refit.

    Returns
    -------
    Comparison
        `table()`, `patients`, `verdict`; `str()` is for people.

    Raises
    ------
    DataError
        The fits are not of the same measurements.
    SamplingError
        A fit keeps no table or no log likelihood, or a number or word is out of range.

    Notes
    -----
    A patient's log likelihood given a draw of the population is the integral over their effects, so the elpd is
    that of a new patient with these covariates. Effects of outer levels (a site) count as known from its other
    patients. Weights are smoothed as in Vehtari, Gelman and Gabry (2017, doi:10.1007/s11222-016-9696-4).
    """
    _check_asked(fits, by, folds, draws)
    measured = check_same_data({name: fit.tree for name, fit in fits.items()})
    if by == OBSERVATION_WISE:
        found = {name: _score_observations(name, fit, measured[name]) for name, fit in fits.items()}
        return _joined(by, "leave-one-observation-out", found)
    counts = _count_measurements(next(iter(fits.values())), next(iter(measured.values())))
    request = Request(_folds_of(counts, folds, seed), refit, draws, seed, announce or (lambda line: None))
    found = {}
    for name, fit in fits.items():
        with ExitStack() as stack:
            stack.enter_context(compilation_cache(announce))
            stack.enter_context(float64_on(choose_place("cpu", 1)))
            left = leave_patients_out(name, fit, request)
        found[name] = _patient_rows(name, left, counts), _with_verdict(fit, left.caution)
    method = "leave-one-patient-out" if folds is None else f"{folds}-fold cross-validation by patient"
    return _joined(by, method, found)


def _check_asked(fits: Mapping[str, Fit], by: str, folds: int | None, draws: int) -> None:
    problems = []
    if not isinstance(fits, Mapping) or not fits:
        raise SamplingError(Problem("compare fits", repr(fits), "a mapping of name to fit"))
    problems += [
        Problem(f"compare fits {name!r}", f"a {type(fit).__name__}", "a Fit", "ht.open_fit(path) opens one")
        for name, fit in fits.items()
        if not isinstance(fit, Fit)
    ]
    if by not in _BY:
        problems.append(Problem("compare by", repr(by), f"one of {', '.join(_BY)}", nearest(str(by), _BY)))
    if folds is not None and by == OBSERVATION_WISE:
        problems.append(
            Problem("compare folds", f"{folds} by observation", "folds of patients", "by='patient'")
        )
    if folds is not None and (not isinstance(folds, int) or isinstance(folds, bool) or folds < 2):
        problems.append(Problem("compare folds", repr(folds), "a whole number from 2, or None"))
    if not isinstance(draws, int) or isinstance(draws, bool) or draws < 1:
        problems.append(Problem("compare draws", repr(draws), "a whole number from 1"))
    if problems:
        raise SamplingError(problems)


def _count_measurements(fit: Fit, measured: pd.DataFrame) -> pd.Series:
    """Measurements of each patient, in the order of a fit's patients."""
    return measured.groupby("patient").size().loc[list(labels_of(patients_of(fit.tree), PATIENT))]


def _folds_of(counts: pd.Series, folds: int | None, seed: int) -> Mapping[str, int] | None:
    """Patient to fold, the same for every model."""
    if folds is None:
        return None
    if folds > len(counts):
        expected = f"at most {len(counts)}, one for each patient"
        raise SamplingError(Problem("compare folds", str(folds), expected))
    dealt = deal_folds(counts.to_numpy(), folds, seed)
    return dict(zip(map(str, counts.index), dealt.tolist(), strict=True))


def _patient_rows(name: str, left: LeftOut, counts: pd.Series) -> pd.DataFrame:
    """One row for each patient, in the order of `counts`."""
    rows = _unit_rows(name, left.scores, left.is_refit, left.is_doubtful).assign(
        patient=left.patients, measurements=counts.loc[list(left.patients)].to_numpy()
    )
    return rows.set_index("patient").loc[list(counts.index)].reset_index()


def _score_observations(name: str, fit: Fit, measured: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """One row for each measurement, and what speaks against the numbers."""
    spec = parse_spec(fit.spec_text, "the fit's spec")
    hint = "compare by patient: each measurement is judged given the earlier ones"
    refuse_wandering(spec, f"compare by observation, fit {name!r}", hint)
    if LOG_LIKELIHOOD not in fit.tree.children:
        got = f"fit {name!r} without log likelihoods (patients='summary')"
        expected = "a fit that keeps the log likelihood of each measurement"
        hint = "compare by patient, or fit again with patients='draws'"
        raise SamplingError(Problem("compare by observation", got, expected, hint))
    group = fit.tree[LOG_LIKELIHOOD].to_dataset()
    parts = [
        group[outcome]
        .transpose("chain", "draw", observation_dim(outcome))
        .values[:, :, own["place"].to_numpy()]
        for outcome, own in measured.groupby("outcome", sort=False)
    ]
    scores = leave_one_out(np.concatenate(parts, axis=2))
    doubtful = scores.is_doubtful
    never = np.zeros(len(doubtful), dtype=bool)
    rows = _unit_rows(name, scores, never, doubtful).assign(
        patient=measured["patient"].to_numpy(), measurements=1
    )
    for word in ("outcome", "time", "row"):
        rows[word] = measured[word].to_numpy()
    caution = ""
    if doubtful.any():
        caution = (
            f"k-hat above {scores.limit:.2f} for {int(doubtful.sum())} of {len(doubtful)} measurements: their elpd is "
            "not to be trusted"
        )
    return rows, _with_verdict(fit, caution)


def _unit_rows(name: str, scores: Scores, is_refit: np.ndarray, is_doubtful: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": name,
            "patient": "",
            "measurements": 0,
            "elpd": scores.elpd,
            "lpd": scores.lpd,
            "mcse": scores.mcse,
            "k_hat": scores.k_hat,
            "is_doubtful": is_doubtful,
            "is_refit": is_refit,
        }
    )


def _with_verdict(fit: Fit, caution: str) -> str:
    """The caution, with that of the fit's own draws ahead."""
    diagnostics = fit.diagnostics()
    if diagnostics.is_trustworthy:
        return caution
    failed = listed([check.name for check in diagnostics.failures])
    return "; ".join(filter(None, [f"the fit's own draws are not to be trusted ({failed})", caution]))


def _joined(by: str, method: str, found: Mapping[str, tuple[pd.DataFrame, str]]) -> Comparison:
    pointwise = pd.concat([rows for rows, _ in found.values()], ignore_index=True)
    return Comparison(by, method, pointwise, {name: caution for name, (_, caution) in found.items()})
