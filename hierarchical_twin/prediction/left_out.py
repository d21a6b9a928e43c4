"""One model scored on patients that are left out: importance sampling first, exact refits where it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from hierarchical_twin.analysis.left_out import Scores, held_out, leave_one_out
from hierarchical_twin.analysis.same_data import listed
from hierarchical_twin.analysis.variables import posterior_of
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.prediction.marginals import (
    FramedPatients,
    frame_patients,
    integrate_effects,
)
from hierarchical_twin.prediction.points import population_points
from hierarchical_twin.prediction.refits import refit_without
from hierarchical_twin.prediction.source import model_of

_MANY_REFITS = 10

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What a comparison by patient asks of every model.

    Attributes
    ----------
    folds : mapping of patient to fold, or None for leave-one-patient-out
    refit : bool
    draws, seed : int
    announce : callable
    """

    folds: Mapping[str, int] | None
    refit: bool
    draws: int
    seed: int
    announce: Announce


@dataclass(frozen=True, eq=False)
class _Refitted:
    """What fits without patients say of them; NaN, or False, of those who were never left out of one.

    Attributes
    ----------
    elpd, mcse : ndarray, shape [patient]
    is_rough : ndarray of bool, shape [patient]
        Whose integral over the effects, at the draws of the fit without them, is not exact.
    failed : tuple of str
        Who was left out together where the draws are not to be trusted.
    """

    elpd: np.ndarray
    mcse: np.ndarray
    is_rough: np.ndarray
    failed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Scores of one model's patients, in the model's order.

    Attributes
    ----------
    patients : tuple of str
    scores : Scores
    is_doubtful : ndarray of bool, shape [patient]
        Whose k-hat is too high.
    is_refit : ndarray of bool, shape [patient]
        Whose elpd is from a fit without them.
    caution : str
        What speaks against the numbers, or nothing.
    """

    patients: tuple[str, ...]
    scores: Scores
    is_doubtful: np.ndarray
    is_refit: np.ndarray
    caution: str


def leave_patients_out(name: str, fit: Fit, request: Request) -> LeftOut:
    """Score every patient of a fit given all others.

    Parameters
    ----------
    name : str
        Of the model, for what is announced.
    fit : Fit
    request : Request

    Raises
    ------
    SamplingError
        The fit keeps no table.
    """
    model = model_of(fit)
    patients = tuple(map(str, model.cohort.patients))
    framed = frame_patients(model, fit.tree)
    points = population_points(framed.model, posterior_of(fit.tree), request.draws)
    whole = integrate_effects(framed, points, seed=request.seed)
    scores = leave_one_out(whole.log_likelihood)
    if request.folds is None:
        is_doubtful = scores.is_doubtful
        groups = [np.array([place]) for place in np.flatnonzero(is_doubtful)] if request.refit else []
        if len(groups) > _MANY_REFITS:
            request.announce(f"{name}: {len(groups)} refits; folds=10 would need 10")
    else:
        # With folds nobody is scored by importance sampling.
        scores = replace(scores, k_hat=np.full(len(patients), np.nan))
        is_doubtful = np.zeros(len(patients), dtype=bool)
        own = np.array([request.folds[patient] for patient in patients])
        groups = [np.flatnonzero(own == fold) for fold in np.unique(own)]
    exact = _score_exactly(name, fit, (model, framed), groups, request)
    is_refit = ~np.isnan(exact.elpd)
    scores = replace(
        scores,
        elpd=np.where(is_refit, exact.elpd, scores.elpd),
        mcse=np.where(is_refit, exact.mcse, scores.mcse),
    )
    is_rough = np.where(is_refit, exact.is_rough, whole.is_rough)
    cautions = [_k_hat_words(scores, patients, is_doubtful, is_refit), _integral_words(is_rough, patients)]
    if exact.failed:
        cautions.append(f"the draws of the refit without {listed(exact.failed)} are not to be trusted")
    return LeftOut(patients, scores, is_doubtful, is_refit, "; ".join(filter(None, cautions)))


def _score_exactly(
    name: str, fit: Fit, models: tuple[Model, FramedPatients], groups: list[np.ndarray], request: Request
) -> _Refitted:
    """Score each group of patients by a fit without them."""
    model, framed = models
    patients = tuple(map(str, model.cohort.patients))
    exact, failed = np.full((2, len(patients)), np.nan), []
    is_rough = np.zeros(len(patients), dtype=bool)
    for turn, group in enumerate(groups):
        left = listed([patients[place] for place in group])
        request.announce(f"{name}: fitting without {left} ({turn + 1} of {len(groups)})")
        again = refit_without(fit, model, group, seed=request.seed + 1 + turn)
        if not again.diagnostics().is_trustworthy:
            failed.append(left)
        own = framed.take(group)
        points = population_points(own.model, posterior_of(again.tree), request.draws)
        found = integrate_effects(own, points, seed=request.seed)
        exact[:, group], is_rough[group] = held_out(found.log_likelihood), found.is_rough
    return _Refitted(exact[0], exact[1], is_rough, tuple(failed))


def _k_hat_words(
    scores: Scores, patients: tuple[str, ...], is_doubtful: np.ndarray, is_refit: np.ndarray
) -> str:
    left = is_doubtful & ~is_refit
    if not left.any():
        return ""
    who = listed([patients[place] for place in np.flatnonzero(left)])
    return (
        f"k-hat above {scores.limit:.2f} for {int(left.sum())} of {len(patients)} patients ({who}): their elpd is not "
        "to be trusted; refit without them (refit=True), or use folds"
    )


def _integral_words(is_rough: np.ndarray, patients: tuple[str, ...]) -> str:
    if not is_rough.any():
        return ""
    who = listed([patients[place] for place in np.flatnonzero(is_rough)])
    return f"the integral over the effects of {who} is rough: it still moved with the most nodes, or its k-hat is high"
