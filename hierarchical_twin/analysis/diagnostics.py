"""Whether the draws can be trusted: every check, its threshold, what failed, and what to try.

Thresholds: R-hat <= 1.01 and 100 effective draws for each chain, at least 400 in all (Vehtari et al.
2021, doi:10.1214/20-BA1221); no divergence, E-BFMI > 0.3 (Betancourt 2016, arXiv:1604.00695;
2018, arXiv:1701.02434); fewer than 1 % of trajectories cut off at the greatest tree depth.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from hierarchical_twin.analysis.convergence import Convergence, convergence, energy_bfmi
from hierarchical_twin.analysis.patient_summary import (
    element_labels,
    statistics_of,
    stored_convergence,
)
from hierarchical_twin.analysis.variables import elements_of, posterior_of, summary_of
from hierarchical_twin.dims import CHAIN, DRAW, INTEGRALS, SAMPLE_STATS

RHAT_LIMIT = 1.01
ESS_PER_CHAIN = 100
ESS_TOTAL = 400
E_BFMI_LIMIT = 0.3
SATURATION_LIMIT = 0.01
_FEWEST_DRAWS = 4
_WIDEST = 60
_SILENT_WHEN_PASSED = ("length", "finite", "movement")


@dataclass(frozen=True)
class VariableCheck:
    """The worst values of one variable over its elements, and which element has them.

    `constant` and `not_finite` count elements that do not vary, and that hold a draw which is NaN
    or infinite; neither has an R-hat. `mcse_relative` is the Monte Carlo error of the mean in
    posterior standard deviations.
    """

    variable: str
    elements: int
    constant: int
    not_finite: int
    rhat: float
    rhat_at: str
    ess_bulk: float
    ess_bulk_at: str
    ess_tail: float
    ess_tail_at: str
    mcse: float
    mcse_relative: float


@dataclass(frozen=True)
class Check:
    """One check: passed (True), failed (False) or not recorded in this fit (None)."""

    name: str
    passed: bool | None
    found: str
    expected: str
    advice: str = ""


@dataclass(frozen=True)
class Diagnostics:
    """All sampling diagnostics of a fit. `str()` gives a block for people.

    Counts and fractions are NaN (or empty) where the sampler did not record them.
    """

    chains: int
    draws: int
    variables: tuple[VariableCheck, ...]
    divergences: float
    divergence_fraction: float
    tree_depth_saturation: float
    e_bfmi: tuple[float, ...]
    checks: tuple[Check, ...]

    @property
    def is_trustworthy(self) -> bool:
        """Whether every check that could be made has passed."""
        return all(check.passed is not False for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.passed is False)

    @property
    def verdict(self) -> str:
        """What was checked, what failed and what to try, in plain language."""
        length = f"{self.chains} chain{'s' * (self.chains != 1)} of {self.draws:,} draws"
        if self.is_trustworthy:
            told = [check for check in self.checks if check.passed and check.name not in _SILENT_WHEN_PASSED]
            passed = "; ".join(f"{check.name} {check.found}" for check in told)
            return f"These draws can be trusted ({length}): {passed}."
        failed = "; ".join(
            f"{check.name} {check.found} (expected {check.expected})" for check in self.failures
        )
        advice = "\n".join(f"  - {text}" for text in dict.fromkeys(check.advice for check in self.failures))
        return f"DO NOT TRUST these draws yet ({length}): {failed}.\nTry:\n{advice}"

    def table(self) -> pd.DataFrame:
        """One row for each variable: worst R-hat, least ESS, greatest Monte Carlo error."""
        return pd.DataFrame(list(self.variables), columns=list(VariableCheck.__dataclass_fields__))

    def __str__(self) -> str:
        words = {True: "ok", False: "FAIL", None: "--"}
        wide = max(len(check.name) for check in self.checks)
        # One that lists patients by name must not push the others apart.
        found = min(_WIDEST, max(len(check.found) for check in self.checks))
        lines = [
            f"  {words[check.passed]:<4}  {check.name:<{wide}}  {check.found:<{found}}  ({check.expected})"
            for check in self.checks
        ]
        return "\n".join(["Sampling diagnostics", *lines, "", self.verdict])


def diagnose(tree: xr.DataTree) -> Diagnostics:
    """Check every draw of every variable of a fit.

    Raises
    ------
    SamplingError
        The tree is not a fit.
    """
    posterior = posterior_of(tree)
    chains, draws = posterior.sizes[CHAIN], posterior.sizes[DRAW]
    variables = (*_check_posterior(posterior), *_check_summary(summary_of(tree)))
    stats = tree[SAMPLE_STATS].to_dataset() if SAMPLE_STATS in tree.children else xr.Dataset()
    diverging = _statistic(stats, "diverging")
    energy = _statistic(stats, "energy")
    e_bfmi = tuple(energy_bfmi(energy).tolist()) if energy is not None and draws >= 2 else ()
    saturation = _saturation(_statistic(stats, "tree_depth"), tree.attrs.get("max_tree_depth"))
    divergences = float("nan") if diverging is None else float(diverging.sum())
    checks = (
        _chains_check(chains, draws, is_interrupted=bool(tree.attrs.get("is_interrupted", 0))),
        _finite_check(variables),
        _movement_check(variables),
        _rhat_check(variables),
        *_ess_checks(variables, chains, draws),
        _divergence_check(divergences, chains * draws),
        _energy_check(e_bfmi),
        _depth_check(saturation),
        *_integrals_checks(tree),
    )
    fraction = divergences / max(1, chains * draws)
    return Diagnostics(chains, draws, variables, divergences, fraction, saturation, e_bfmi, checks)


def _integrals_checks(tree: xr.DataTree) -> tuple[Check, ...]:
    """Whether the effects were integrated out well enough, where they were."""
    if INTEGRALS not in tree.children:
        return ()
    found = tree[INTEGRALS].to_dataset()
    doubts = json.loads(found.attrs["doubts"])
    worst = float(np.nanmax(np.abs(found["shift_of_mean"].values), initial=0.0))
    told = (
        f"means off by at most {worst:.2f} SD"
        if not doubts
        else "; ".join(doubt.rstrip(".") for doubt in doubts)
    )
    advice = "sample the effects with the population: method='joint' (--method joint)"
    return (Check("integrals", not doubts, told, "errors that do not move the posterior", advice),)


def _check_posterior(posterior: xr.Dataset) -> Iterator[VariableCheck]:
    for name in map(str, posterior.data_vars):
        elements = elements_of(posterior, name)
        yield _check_variable(name, elements.labels, convergence(elements.draws))


def _check_summary(summary: xr.Dataset | None) -> Iterator[VariableCheck]:
    """The same of patients whose draws were not kept: their R-hat and ESS were."""
    for name in map(str, summary.data_vars if summary is not None else ()):
        quality = stored_convergence(statistics_of(summary, name))
        yield _check_variable(name, element_labels(summary, name), quality)


def _check_variable(name: str, labels: tuple[str, ...], quality: Convergence) -> VariableCheck:
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = quality.mcse / np.where(np.isnan(quality.mcse), np.nan, quality.sd)
    rhat, rhat_at = _worst(quality.rhat, labels, largest=True)
    bulk, bulk_at = _worst(quality.ess_bulk, labels, largest=False)
    tail, tail_at = _worst(quality.ess_tail, labels, largest=False)
    return VariableCheck(
        variable=name,
        elements=len(labels),
        constant=int(quality.is_constant.sum()),
        not_finite=int((~quality.is_finite).sum()),
        rhat=rhat,
        rhat_at=rhat_at,
        ess_bulk=bulk,
        ess_bulk_at=bulk_at,
        ess_tail=tail,
        ess_tail_at=tail_at,
        mcse=_worst(quality.mcse, labels, largest=True)[0],
        mcse_relative=_worst(relative, labels, largest=True)[0],
    )


def _worst(values: np.ndarray, labels: tuple[str, ...], *, largest: bool) -> tuple[float, str]:
    if np.isnan(values).all():
        return float("nan"), ""
    place = int(np.nanargmax(values) if largest else np.nanargmin(values))
    return float(values[place]), labels[place]


def _statistic(stats: xr.Dataset, name: str) -> np.ndarray | None:
    return stats[name].transpose(CHAIN, DRAW).values if name in stats else None


def _saturation(depth: np.ndarray | None, greatest: object) -> float:
    if depth is None or depth.size == 0 or not isinstance(greatest, int | float | np.number):
        return float("nan")
    return float((depth >= greatest).mean())


def _chains_check(chains: int, draws: int, *, is_interrupted: bool) -> Check:
    advice = "run four chains, so that they can be compared" if chains < 2 else ""
    if draws < _FEWEST_DRAWS:
        advice = f"let it run: nothing can be judged from {draws} draws a chain"
    return Check(
        "length",
        chains >= 2 and draws >= _FEWEST_DRAWS,
        f"{chains} x {draws:,} draws{', interrupted before its end' if is_interrupted else ''}",
        f"at least 2 chains of {_FEWEST_DRAWS} draws",
        advice,
    )


def _finite_check(variables: tuple[VariableCheck, ...]) -> Check:
    bad = [variable.variable for variable in variables if variable.not_finite]
    return Check(
        "finite",
        not bad,
        f"draws of {_some(bad)} are NaN or infinite" if bad else "every draw is finite",
        "no NaN or infinite draw",
        f"look at the priors of {_some(bad)}: they reach values where the mechanism is not defined",
    )


def _movement_check(variables: tuple[VariableCheck, ...]) -> Check:
    fixed = [
        variable.variable
        for variable in variables
        if variable.constant and variable.constant == variable.elements
    ]
    stuck = len(fixed) == len(variables)
    found = "nothing changed from draw to draw" if stuck else "the chains move"
    if fixed and not stuck:
        found += f" ({_some(fixed)} constant, not assessed)"
    return Check(
        "movement",
        not stuck,
        found,
        "draws that change",
        "check the initial values and the step size: the sampler never accepted a move",
    )


def _rhat_check(variables: tuple[VariableCheck, ...]) -> Check:
    known = [variable for variable in variables if not np.isnan(variable.rhat)]
    expected = f"at most {RHAT_LIMIT}"
    if not known:
        advice = "run at least two chains (better four) of more draws: R-hat compares chains"
        return Check("R-hat", False, "cannot be computed", expected, advice)
    worst = max(known, key=lambda variable: variable.rhat)
    above = sum(variable.rhat > RHAT_LIMIT for variable in known)
    also = f", and {above - 1} more variables" if above > 1 else ""
    return Check(
        "R-hat",
        worst.rhat <= RHAT_LIMIT,
        f"at most {worst.rhat:.3f} ({worst.rhat_at}{also})",
        expected,
        f"run a longer warm-up; if the chains still disagree on {worst.rhat_at}, the data may not "
        "determine it or the posterior has several modes: tighten its prior or simplify its random effects",
    )


def _ess_checks(variables: tuple[VariableCheck, ...], chains: int, draws: int) -> tuple[Check, Check]:
    needed = max(ESS_TOTAL, ESS_PER_CHAIN * chains)
    bulk = _least((variable.ess_bulk, variable.ess_bulk_at) for variable in variables)
    tail = _least((variable.ess_tail, variable.ess_tail_at) for variable in variables)
    advice = f"draw more than {draws} times a chain"
    if bulk and tail:
        longer = max(2, int(np.ceil(1.2 * needed / min(bulk[0], tail[0]))))
        advice = f"draw about {longer} times as long ({longer * draws:,} draws a chain), or reparameterize"
    return _ess_check("ESS bulk", bulk, needed, advice), _ess_check("ESS tail", tail, needed, advice)


def _ess_check(name: str, least: tuple[float, str] | None, needed: int, advice: str) -> Check:
    if least is None:
        return Check(name, False, "cannot be computed", f"at least {needed}", advice)
    return Check(
        name, least[0] >= needed, f"at least {least[0]:,.0f} ({least[1]})", f"at least {needed}", advice
    )


def _least(values: Iterable[tuple[float, str]]) -> tuple[float, str] | None:
    return min((value for value in values if not np.isnan(value[0])), default=None)


def _divergence_check(divergences: float, total: int) -> Check:
    if np.isnan(divergences):
        return Check("divergences", None, "not recorded", "0")
    share = f" ({100 * divergences / max(1, total):.2g}%)" if divergences else ""
    return Check(
        "divergences",
        divergences == 0,
        f"{divergences:.0f}{share}",
        "0",
        "raise the target acceptance to 0.99, "
        "or tighten the priors of the omegas: some part of the posterior was not explored",
    )


def _energy_check(e_bfmi: tuple[float, ...]) -> Check:
    expected = f"above {E_BFMI_LIMIT}"
    known = [value for value in e_bfmi if not np.isnan(value)]
    if not known:
        return Check("E-BFMI", None, "not recorded", expected)
    return Check(
        "E-BFMI",
        min(known) > E_BFMI_LIMIT,
        f"at least {min(known):.2f}",
        expected,
        "reparameterize the random effects or tighten the priors of the omegas: tails are explored slowly",
    )


def _depth_check(saturation: float) -> Check:
    expected = f"fewer than {100 * SATURATION_LIMIT:g}% of draws at the greatest depth"
    if np.isnan(saturation):
        return Check("tree depth", None, "not recorded", expected)
    return Check(
        "tree depth",
        saturation < SATURATION_LIMIT,
        f"{100 * saturation:.2g}% of draws at the limit",
        expected,
        "trajectories are cut off before they turn: look for a parameter that the data do not determine, or raise "
        "max_tree_depth of sample (in Python)",
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
