"""The checks with their lights: of the sampler, and of the model against the data it was fitted to."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from hierarchical_twin.analysis.bins import bin_edges, place_in_bins
from hierarchical_twin.analysis.diagnostics import Check, Diagnostics
from hierarchical_twin.analysis.limits import ABOVE, BELOW
from hierarchical_twin.report.page.numbers import p_words, percent, plain
from hierarchical_twin.report.page.sections import Gate, State

_SAMPLER = {
    "length": "How many draws were made, by how many chains.",
    "finite": "Whether every draw is a number.",
    "movement": "Whether the chains move from draw to draw.",
    "R-hat": "Whether chains that started apart agree on every quantity (rank-normalised split R-hat).",
    "ESS bulk": "How many independent draws the middle of each posterior is worth (effective sample size).",
    "ESS tail": "The same of the 5 % and 95 % quantiles, on which the limits of intervals rest.",
    "divergences": "Whether the sampler met regions it could not follow (divergent transitions).",
    "E-BFMI": "Whether the sampler moves freely between levels of energy, so that tails are reached.",
    "tree depth": "Whether trajectories ended by themselves or were cut off.",
    "integrals": "Whether integrating the patients' effects out kept the posterior.",
}
_LIGHTS: dict[bool | None, State] = {True: "passed", False: "failed", None: "unknown"}
LEVEL = 0.01
"""Tail probability below which a check asks to be read."""
_FEWEST_ROWS = 8
_MOST_SHRINKAGE = 0.5
_WORST_COVERAGE = 0.25
_COVERAGE_ADVICE = (
    "Measurements scatter more, or otherwise, than the model allows: look at the patients with most outside, "
    "at the error model (a student_t error for outliers), and at the mechanism."
)
_MOST_PARTS, _NOTICEABLE = 6, 0.05


def sampler_gates(diagnostics: Diagnostics) -> tuple[Gate, ...]:
    """Every sampling check of a fit, as a gate."""
    return tuple(_sampler_gate(check) for check in diagnostics.checks)


def _sampler_gate(check: Check) -> Gate:
    checked = _SAMPLER.get(check.name, f"Sampler: {check.name}.")
    advice = check.advice if check.passed is False else ""
    state = _LIGHTS[check.passed]
    return Gate(
        _title(check.name),
        state,
        check.found,
        expected=check.expected,
        checked=checked,
        advice=sentence(advice),
    )


def shrinkage_gate(shrinkage: pd.DataFrame) -> tuple[Gate, ...]:
    """Whether individual estimates are mostly the patients' own."""
    own = shrinkage[(shrinkage["definition"] == "sd") & (shrinkage["group"] == "patient")]
    own = own[np.isfinite(own["median"].to_numpy(float))]
    if own.empty:
        return ()
    worst = own.loc[own["median"].idxmax()]
    state: State = "passed" if worst["median"] <= _MOST_SHRINKAGE else "attention"
    return (
        Gate(
            "Shrinkage",
            state,
            f"at most {percent(float(worst['median']))} ({worst['effect']})",
            expected=f"at most {percent(_MOST_SHRINKAGE)}",
            checked="How far patients' estimates are pulled to the population (1 - sd(eta)/omega).",
            advice=(
                ""
                if state == "passed"
                else f"Read {worst['effect']} of a patient as what people like them have, not as measured: their data "
                "say little of it. More measurements of each patient would change that; a picture of estimates against "
                "covariates would mislead."
            ),
        ),
    )


def coverage_gates(rows: pd.DataFrame, prob: float) -> tuple[Gate, ...]:
    """Of each outcome: whether too few measurements lie inside the band of a new measurement.

    A band is that of a patient whose own measurements made it, so a right model has more than `prob` of them inside,
    the more the fewer a patient has: too many say nothing. A censored row is inside where its side of the limit
    and the band overlap.
    """
    if "lower_new" not in rows:
        return ()
    found = []
    for outcome, mine in rows.groupby("outcome", sort=False):
        if len(mine) < _FEWEST_ROWS:
            continue
        share, room = float(_in_band(mine).mean()), max(0.05, 3 * math.sqrt(prob * (1 - prob) / len(mine)))
        state: State = "passed" if share >= prob - room else "attention"
        if share < prob - max(_WORST_COVERAGE, room):
            state = "failed"
        found.append(
            Gate(
                f"Band of {outcome}",
                state,
                f"{percent(share)} of {len(mine):,} measurements inside",
                expected=f"at least {percent(max(0.0, prob - room))}",
                checked=(
                    f"Whether enough measurements of {outcome} lie in their {percent(prob)} bands. The bands were made "
                    "from the same measurements, so that more than that share lie inside if the model is right."
                ),
                advice="" if state == "passed" else _COVERAGE_ADVICE,
            )
        )
    return tuple(found)


def _in_band(rows: pd.DataFrame) -> np.ndarray:
    """Which rows ``[row]`` are, or if censored may be, in the band of a new measurement."""
    value, censored = rows["DV"].to_numpy(float), rows["censored"].to_numpy()
    is_low_enough = (value <= rows["upper_new"].to_numpy(float)) | (censored == BELOW)
    is_high_enough = (value >= rows["lower_new"].to_numpy(float)) | (censored == ABOVE)
    return is_low_enough & is_high_enough


def error_gates(rows: pd.DataFrame) -> tuple[Gate, ...]:
    """Of each outcome: whether NPDE look standard normal, and whether weighted residuals trend."""
    found = []
    for outcome, mine in rows.groupby("outcome", sort=False):
        if "NPDE" in mine:
            found += _npde_gate(str(outcome), mine["NPDE"].to_numpy(float))
        if "IWRES" in mine:
            found += _trend_gate(str(outcome), mine)
    return tuple(found)


def _npde_gate(outcome: str, values: np.ndarray) -> list[Gate]:
    """Tests of mean, variance and normality, jointly by Bonferroni (Comets 2008, doi:10.1016/j.cmpb.2007.12.002)."""
    values = values[np.isfinite(values)]
    if len(values) < _FEWEST_ROWS or np.ptp(values) == 0:
        return []
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    spread = stats.chi2(len(values) - 1)
    share = float(spread.cdf(sd**2 * (len(values) - 1)))
    tests = (
        float(stats.wilcoxon(values).pvalue),
        2 * min(share, 1 - share),
        float(
            stats.shapiro(values[np.linspace(0, len(values) - 1, min(len(values), 5000)).astype(int)]).pvalue
        ),
    )
    p = min(1.0, 3 * min(tests))
    is_far = abs(mean) > 0.5 or not 0.6 < sd < 1.6
    state: State = "passed" if p >= LEVEL else "failed" if is_far else "attention"
    return [
        Gate(
            f"NPDE of {outcome}",
            state,
            f"mean {plain(mean, 2)}, SD {plain(sd, 2)}, {p_words(p)}",
            expected=f"mean 0, SD 1, p at least {LEVEL:g}",
            checked=(
                "Whether measurements, seen against other patients simulated from the model and decorrelated within a "
                "patient, are standard normal: mean, variance and shape tested together."
            ),
            advice="" if state == "passed" else _npde_advice(mean, sd, tests),
        )
    ]


def _npde_advice(mean: float, sd: float, tests: tuple[float, float, float]) -> str:
    worst = int(np.argmin(tests))
    if worst == 0:
        side = "higher" if mean > 0 else "lower"
        return (
            f"Measurements are {side} than the model expects: look at the visual predictive check for when."
        )
    if worst == 1:
        word = "more" if sd > 1 else "less"
        return f"Measurements vary {word} than the model expects: look at the omegas and the error model."
    return "The shape differs, in the tails or by a mixture: look at the quantile plot and for outlying patients."


def _trend_gate(outcome: str, rows: pd.DataFrame) -> list[Gate]:
    """Whether residuals of some part of the record are off (Kruskal and Wallis 1952, doi:10.2307/2280779)."""
    known = rows[np.isfinite(rows["IWRES"].to_numpy(float))]
    place, residuals = known["place"].to_numpy(float), known["IWRES"].to_numpy(float)
    parts = min(_MOST_PARTS, len(known) // _FEWEST_ROWS)
    if parts < 2 or np.ptp(place) == 0 or np.ptp(residuals) == 0:
        return []
    number = place_in_bins(place, bin_edges(place, parts))
    groups = [residuals[number == part] for part in np.unique(number[number >= 0])]
    groups = [group for group in groups if len(group) > 1]
    if len(groups) < 2:
        return []
    found = stats.kruskal(*groups)
    share = (float(found.statistic) - len(groups) + 1) / max(1, sum(map(len, groups)) - len(groups))
    is_off = found.pvalue < LEVEL and share > _NOTICEABLE
    means = [float(group.mean()) for group in groups]
    signs = "".join("+" if mean > 0 else "−" for mean in means)
    advice = (
        f"Part by part, residuals are on average {signs} along the record: the mechanism bends otherwise than the "
        "data. See the residuals against time, and think of a mechanism that can bend so."
    )
    return [
        Gate(
            f"Residuals of {outcome}",
            "attention" if is_off else "passed",
            f"{p_words(float(found.pvalue))}, {percent(max(0.0, share))} of their variation is between the parts",
            expected=f"p at least {LEVEL:g}, or at most {percent(_NOTICEABLE)}",
            checked=f"Whether weighted residuals are off in any of {len(groups)} parts of the record (rank test).",
            advice=advice if is_off else "",
        )
    ]


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]


def sentence(text: str) -> str:
    """Words of advice with a capital and a full stop; nothing stays nothing."""
    return f"{text[:1].upper()}{text[1:]}." if text and not text.endswith(".") else text
