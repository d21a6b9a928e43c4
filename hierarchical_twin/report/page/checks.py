"""The checks that come with pictures: visual predictive check, replicated statistics, residuals, chains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hierarchical_twin.analysis.loo import LeaveOneOut, leave_one_observation_out
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.statistics_check import check_statistics
from hierarchical_twin.analysis.visual_check import VisualCheck, visual_check
from hierarchical_twin.dims import LOG_LIKELIHOOD, OBSERVED_DATA, POSTERIOR_PREDICTIVE
from hierarchical_twin.errors import TwinError
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.page.check_pictures import (
    outcome_pictures,
    patient_pictures,
    sampler_pictures,
    visual_picture,
)
from hierarchical_twin.report.page.gates import LEVEL
from hierarchical_twin.report.page.numbers import percent, plain
from hierarchical_twin.report.page.predicted import Predicted
from hierarchical_twin.report.page.sections import Absent, ChecksSection, Gate, State

_BANDS = 0.95  # the field's habit for visual predictive checks
_MOST_LEFT_OUT = 5_000
_DESIGNS_DIFFER = 0.1
_MOST_DECISIVE = 0.15  # with a handful of measurements each, some always are


def gather_checks(fit: Fit, predicted: Predicted, gates: tuple[Gate, ...]) -> ChecksSection:
    """All gates, those given first, and the pictures behind them.

    Parameters
    ----------
    fit : Fit
    predicted : Predicted
    gates : tuple of Gate
        Of the sampler, of bands, residuals and priors.
    """
    found, pictures, absent = list(gates), [], []
    left_out, gate, missing = _left_out(fit)
    if predicted.measured is None:
        absent.append(Absent("Visual predictive check, NPDE and residuals", predicted.why_not))
    else:
        for outcome in dict.fromkeys(predicted.measured.rows["outcome"]):
            for check in _visual_checks(predicted.measured, str(outcome)):
                found.append(visual_gate(check))
                pictures.append(visual_picture(fit, check))
        found += _statistics_gates(predicted.measured)
        pictures += outcome_pictures(fit, predicted, None if left_out is None else left_out.rows)
    found += gate
    absent += missing
    pictures += patient_pictures(fit)
    return ChecksSection(tuple(found), tuple(pictures), tuple(sampler_pictures(fit)), tuple(absent))


def _visual_checks(measured: Prediction, outcome: str) -> Iterator[VisualCheck]:
    """The plain check, and the prediction-corrected one where designs in a bin differ."""
    try:
        plain_check = visual_check(measured, outcome, prob=_BANDS)
    except TwinError:  # nothing to bin along: a mechanism without time and without inputs
        return
    yield plain_check
    typical = measured.select(outcome).population.mean(axis=0)
    middle = plain_check.points["coordinate"].to_numpy(float)
    if len(typical) != len(middle):
        return
    for _, one in plain_check.bins.iterrows():
        inside = typical[(middle >= one["lower_edge"]) & (middle <= one["upper_edge"])]
        narrow = middle[(middle >= one["lower_edge"]) & (middle <= one["upper_edge"])]
        # Where all in a bin are measured at one time, only doses and covariates can tell predictions apart.
        if np.ptp(narrow) == 0 and inside.std() > _DESIGNS_DIFFER * abs(inside.mean()):
            yield visual_check(measured, outcome, prob=_BANDS, corrected=True)
            return


def visual_gate(check: VisualCheck) -> Gate:
    """Whether more percentiles are outside their bands than in nearly all of the simulated trials."""
    total, outside = len(check.percentiles), check.outside
    state: State = "passed"
    if check.tail_probability < LEVEL:
        state = "failed" if outside > total / 2 else "attention"
    elif check.without_band or outside > total / 2:
        # Percentiles that move together can all be outside in one trial in twenty.
        state = "attention"
    found = f"{outside} of {total} percentiles outside their {percent(check.prob)} bands"
    if check.without_band:
        found += f", {check.without_band} of them without a band"
    if np.isfinite(check.tail_probability):
        whose = "of the others, so many" if check.without_band else "so many"
        found += f"; {whose} or more in {plain(100 * check.tail_probability, 2)} % of the simulated trials"
    kind = "Prediction-corrected visual check" if check.is_corrected else "Visual check"
    return Gate(
        f"{kind} of {check.outcome}",
        state,
        found,
        expected=f"so many or more in at least {percent(LEVEL)} of the simulated trials",
        checked=(
            f"Whether the 5th, 50th and 95th percentiles of {check.outcome}, bin by bin, are like those of "
            f"{check.draws:,} simulated trials of new patients."
        ),
        advice="" if state == "passed" else _visual_advice(check),
    )


def _visual_advice(check: VisualCheck) -> str:
    if check.without_band and not check.tail_probability < LEVEL:
        return (
            "Values are not numbers in some bins: look at what the mechanism does there, and at its priors."
        )
    wrong = check.percentiles[check.percentiles["is_outside"]]
    shares = wrong.groupby("percentile").size()
    worst = float(shares.idxmax())
    if worst == 50.0:
        return "The middle is off: the mechanism or its covariates miss a trend; see where in the picture."
    return f"The {worst:g}th percentile is off: look at the omegas, at outlying patients, and at the error model."


def _statistics_gates(measured: Prediction) -> Iterator[Gate]:
    """Of each outcome: whether replicated data have its mean, SD, extremes and last values."""
    found = check_statistics(measured)
    for outcome, lines in found.groupby("outcome", sort=False):
        words = sorted({str(word) for word in lines.loc[lines["two_sided"] < LEVEL, "statistic"]})
        state: State = "attention" if words else "passed"
        known = list(dict.fromkeys(lines["statistic"]))
        told = f"{', '.join(words)} not reproduced" if words else f"all {len(known)} reproduced"
        advice = f"Do not use this model for what depends on the {' or '.join(words)} of {outcome}."
        yield Gate(
            f"Statistics of {outcome}",
            state,
            told,
            expected=f"two-sided tail probabilities of at least {LEVEL:g}",
            checked=f"Whether replicated measurements have the {', '.join(known)} of the real ones.",
            advice=advice if words else "",
        )


def _left_out(fit: Fit) -> tuple[LeaveOneOut | None, list[Gate], list[Absent]]:
    """Whether single measurements decide the fit: Pareto k-hat of leave-one-observation-out."""
    what = "Leave-one-observation-out"
    groups = fit.tree.children
    if not {LOG_LIKELIHOOD, OBSERVED_DATA, POSTERIOR_PREDICTIVE} <= set(groups):
        why = "This fit keeps no log likelihood of its rows (patients='summary')."
        return None, [], [Absent(what, why)]
    observed = groups[OBSERVED_DATA].to_dataset()
    if sum(values.size for values in observed.data_vars.values()) > _MOST_LEFT_OUT:
        why = f"Pages of more than {_MOST_LEFT_OUT:,} measurements leave it out: ask for it in Python."
        return None, [], [Absent(what, why)]
    try:
        found = leave_one_observation_out(fit.tree)
    except TwinError as error:
        return None, [], [Absent(what, str(error))]
    state: State = "attention" if found.unreliable > max(1, _MOST_DECISIVE * len(found.rows)) else "passed"
    told = f"{found.unreliable:,} of {len(found.rows):,} have a k-hat above {found.k_limit:.2f}"
    advice = (
        "Some measurements decide their patient's estimate alone: look at them in the row table. They may be "
        "mistakes, or of patients with few measurements."
    )
    gate = Gate(
        "Single measurements",
        state,
        told,
        expected=f"at most {percent(_MOST_DECISIVE)}",
        checked="Whether single measurements decide the estimates (Pareto k-hat of leave-one-observation-out).",
        advice="" if state == "passed" else advice,
    )
    return found, [gate], []
