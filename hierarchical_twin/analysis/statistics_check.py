"""Posterior-predictive checks: is a statistic of the measurements like that of replicated ones?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval
from hierarchical_twin.analysis.limits import within_limits
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.residuals import outcome_places
from hierarchical_twin.errors import Problem, SamplingError, nearest

Statistic = Callable[[pd.DataFrame], float]
"""From rows (the columns of `Prediction.rows`, one outcome, ``DV`` filled) to a number."""


def _last(values: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """Mean over patients of each patient's last measurement."""
    along = (
        rows["time"].to_numpy(float)
        if np.isfinite(rows["time"].to_numpy(float)).all()
        else np.arange(len(rows))
    )
    ordered = rows.assign(place=np.arange(len(rows)), along=along).sort_values("along", kind="stable")
    last = ordered.groupby("patient", sort=False, observed=True)["place"].last().to_numpy()
    return values[:, last].mean(axis=1)


WORDS: Mapping[str, Callable[[np.ndarray, pd.DataFrame], np.ndarray]] = {
    "mean": lambda values, rows: values.mean(axis=1),
    "sd": lambda values, rows: values.std(axis=1, ddof=min(1, values.shape[1] - 1)),
    "min": lambda values, rows: values.min(axis=1),
    "max": lambda values, rows: values.max(axis=1),
    "median": lambda values, rows: np.median(values, axis=1),
    "last": _last,
}
"""Statistics that have a name: over all rows of an outcome; ``last`` is the mean of each patient's last."""

DEFAULT_STATISTICS: Mapping[str, str] = {word: word for word in WORDS}


def check_statistics(
    prediction: Prediction,
    statistics: Mapping[str, Statistic | str] | None = None,
    *,
    prob: float = DEFAULT_PROB,
) -> pd.DataFrame:
    """Compare statistics of the measurements with their posterior-predictive distributions.

    Parameters
    ----------
    prediction : Prediction
        Of measured rows: `ht.predict(fit)`.
    statistics : mapping, optional
        Label to a word (``mean sd min max median last``) or to a function of a frame with the rows of one
        outcome, such as ``lambda rows: rows.groupby("patient")["DV"].max().median()``. All words by default.
    prob : float
        Probability inside the interval of replicated values, equal-tailed.

    Returns
    -------
    pd.DataFrame
        ``outcome, statistic, replicated, observed, median, lower, upper, p_value, two_sided, draws``; one
        line for each outcome, statistic and kind of replication: ``same patients`` (new measurements of
        them) and ``new patients`` (with the same covariates and designs). ``p_value`` is the probability of
        a replicated value above the observed one, ties counted half; ``two_sided`` is twice the smaller tail.

    Raises
    ------
    SamplingError
        No measured row, an unknown word, or a function that fails or returns no number.

    Notes
    -----
    Censored measurements are at their limit, and replicated ones beyond it are put there too. The p-values
    are not uniform under a model that is right, since the data were used to fit it: of the same patients
    they stay nearer to 0.5. Close to 0 or 1 they say what the model does not reproduce.

    References
    ----------
    Gelman, Meng and Stern (1996), Statistica Sinica 6(4), 733-807. Replicating new patients too, not only new
    measurements: Marshall and Spiegelhalter (2003), Statistics in Medicine 22(10), doi:10.1002/sim.1403.
    """
    check_interval(prob, "equal-tailed")
    asked = DEFAULT_STATISTICS if statistics is None else statistics
    _check_words(asked)
    measured = np.flatnonzero(np.isfinite(prediction.rows["DV"].to_numpy(float)))
    if not len(measured):
        raise SamplingError(
            Problem("prediction", "no measured row", "a prediction of measured rows", "ht.predict(fit)")
        )
    own = prediction.take(measured)
    lines = []
    for outcome, places in outcome_places(own.rows).items():
        part = own.take(places)
        observed = within_limits(part.rows, part.rows["DV"].to_numpy(float))[None]
        replicated = {"same patients": part.replicates, "new patients": part.new_patients}
        for label, statistic in asked.items():
            seen = float(_apply(label, statistic, observed, part.rows)[0])
            for kind, values in replicated.items():
                drawn = _apply(label, statistic, within_limits(part.rows, values), part.rows)
                lines.append(
                    {"outcome": outcome, "statistic": label, "replicated": kind, **_line(seen, drawn, prob)}
                )
    return pd.DataFrame(lines)


def _check_words(asked: Mapping[str, Statistic | str]) -> None:
    if not asked:
        raise SamplingError(Problem("statistics", "none", f"a function, or one of {', '.join(WORDS)}"))
    problems = [
        Problem(f"statistic '{label}'", repr(word), f"a function, or one of {', '.join(WORDS)}", _near(word))
        for label, word in asked.items()
        if not callable(word) and word not in WORDS
    ]
    if problems:
        raise SamplingError(problems)


def _near(word: object) -> str:
    return nearest(str(word), WORDS)


def _apply(label: str, statistic: Statistic | str, values: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """The statistic of each trial ``[draw]`` of values ``[draw, row]``."""
    if isinstance(statistic, str):
        return WORDS[statistic](values, rows)
    found = np.empty(len(values))
    for draw, series in enumerate(values):
        try:
            found[draw] = float(statistic(rows.assign(DV=series)))
        except Exception as error:  # the user's own function may raise anything
            raise SamplingError(
                Problem(
                    f"statistic '{label}'",
                    f"{type(error).__name__}: {error}",
                    "a function of rows to a number",
                )
            ) from error
    return found


def _line(observed: float, drawn: np.ndarray, prob: float) -> dict[str, float]:
    finite = drawn[np.isfinite(drawn)]
    tail = (1 - prob) / 2
    lower, middle, upper = np.quantile(finite, [tail, 0.5, 1 - tail]) if finite.size else [np.nan] * 3
    above = np.mean(finite > observed) + 0.5 * np.mean(finite == observed) if finite.size else np.nan
    return {
        "observed": observed,
        "median": float(middle),
        "lower": float(lower),
        "upper": float(upper),
        "p_value": float(above),
        "two_sided": float(min(1.0, 2 * min(above, 1 - above))),
        "draws": int(finite.size),
    }
