"""Shrinkage pictures: from each patient's own data, to the hierarchical estimate, to the population.

Two random effects give the plane lme4 made familiar; otherwise one strip for each parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.special import expit, logit

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, patient_estimates
from hierarchical_twin.analysis.variables import (
    effect_groups,
    labels_of,
    links_of,
    patient_variables,
    patients_of,
    posterior_of,
    summary_of,
    unit_of,
    units_of,
)
from hierarchical_twin.dims import CHAIN, DRAW, NO_POOLING, PATIENT, STATISTIC
from hierarchical_twin.errors import Problem, SamplingError, nearest
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.style import (
    FAINT,
    OWN,
    POOLED,
    POPULATION,
    QUIET,
    Words,
    add_legend,
    calm,
    choose_shown,
    log_axis,
    new_figure,
    shown_words,
    with_unit,
)

_SPREADS = (0.5, 0.9)
LINKS = {"log": (np.log, np.exp), "logit": (logit, expit), "identity": (np.asarray, np.asarray)}


@dataclass(frozen=True)
class _Journey:
    """One parameter's three estimates of each patient, natural scale, ``[patient]``."""

    parameter: str
    label: str
    link: str
    own: np.ndarray
    pooled: np.ndarray
    population: np.ndarray


def shrinkage_figure(fit: Fit, parameters: str | Sequence[str] | None = None) -> Figure:
    """How each patient's estimate moves from their own data towards the population.

    Parameters
    ----------
    parameters : str or sequence of str, optional
        Parameters with a patient effect and an estimate without pooling; all by default. Exactly
        two are drawn as a plane with contours of the population; others as strips.

    Raises
    ------
    SamplingError
        The fit holds no unpooled estimates, or not of such a parameter.
    """
    journeys = tuple(_journey(fit, name) for name in _choose(fit, parameters))
    return _plane(fit, *journeys) if len(journeys) == 2 else _strips(fit, journeys)


def _choose(fit: Fit, parameters: str | Sequence[str] | None) -> tuple[str, ...]:
    if NO_POOLING not in fit.tree.children:
        raise SamplingError(
            Problem("fit", f"no group '{NO_POOLING}'", "a fit with estimates without pooling")
        )
    patients = patient_variables(patients_of(fit.tree))
    known = tuple(str(name) for name in fit.tree[NO_POOLING].data_vars if name in patients)
    asked = (
        known if parameters is None else (parameters,) if isinstance(parameters, str) else tuple(parameters)
    )
    problems = [
        Problem("parameters", repr(name), f"one of {', '.join(known)}", nearest(str(name), known))
        for name in asked
        if name not in known
    ]
    if problems or not asked:
        raise SamplingError(problems or Problem("parameters", "none", "a parameter with a patient effect"))
    return tuple(dict.fromkeys(asked))


def _journey(fit: Fit, parameter: str) -> _Journey:
    links, patients = links_of(fit.tree), patients_of(fit.tree)[PATIENT]
    own = fit.tree[NO_POOLING].to_dataset()[parameter].sel({PATIENT: patients})
    link = links.get(parameter, "identity")
    shown = choose_shown(patients.size)
    pooled = patient_estimates(fit.tree, parameter, prob=DEFAULT_PROB, kind="equal-tailed").median
    return _Journey(
        parameter=parameter,
        label=with_unit(parameter, unit_of(parameter, units_of(fit.tree), links)),
        link=link,
        own=np.asarray(own.values, dtype=np.float64)[shown],
        pooled=pooled[shown],
        population=population_values(fit, parameter, link, shown),
    )


def population_values(fit: Fit, parameter: str, link: str, shown: np.ndarray) -> np.ndarray:
    """Each patient's value with their own effect at zero: where they would go without data.

    Without patients' draws: the difference of medians on the link's scale for the median difference.
    """
    forward, back = LINKS[link]
    posterior = posterior_of(fit.tree)
    for group in effect_groups(fit.tree):
        if group.group != PATIENT or parameter not in labels_of(posterior, group.effect_dim):
            continue
        own, summary = patients_of(fit.tree).isel({PATIENT: shown}), summary_of(fit.tree)
        eta = own[group.eta].sel({group.effect_dim: parameter})
        if summary is not None:
            middle = {STATISTIC: "q50"}
            return back(forward(own[parameter].sel(middle).values) - eta.sel(middle).values)
        values = own[parameter].transpose(CHAIN, DRAW, PATIENT).values
        return np.median(back(forward(values) - eta.transpose(CHAIN, DRAW, PATIENT).values), axis=(0, 1))
    return np.full(len(shown), np.median(posterior[f"{parameter}_typical"].values))


def _plane(fit: Fit, across: _Journey, up: _Journey) -> Figure:
    x_limits, y_limits = _limits(across), _limits(up)
    outside = np.sum(_is_outside(across.own, x_limits) | _is_outside(up.own, y_limits))
    contours = _population_contours(fit, across, up)
    caption = (
        "Circles: each patient's own data, the pull of the population all but removed. Dots: posterior "
        "medians. Thin lines lead on to the population value at the patient's covariates."
    )
    if contours:
        shares = " and ".join(f"{100 * share:.0f}%" for share in _SPREADS)
        caption += f" Contours hold {shares} of the population at the posterior median."
    caption += _outside_words(int(outside)) + _shown_words(fit)
    words = Words(f"Shrinkage of {across.parameter} and {up.parameter}", caption)
    figure = new_figure(6.6, 6.0, words)
    axes = figure.subplots()
    for contour in contours:
        axes.plot(*contour, color=FAINT, linewidth=1, zorder=0)
    _join(
        axes, np.stack([across.pooled, across.population]), np.stack([up.pooled, up.population]), FAINT, 0.6
    )
    _join(axes, np.stack([across.own, across.pooled]), np.stack([up.own, up.pooled]), QUIET, 0.9)
    axes.plot(across.own, up.own, "o", markersize=6, markerfacecolor="white", color=OWN, markeredgewidth=1.3)
    axes.plot(across.pooled, up.pooled, "o", markersize=5.5, color=POOLED, markeredgewidth=0)
    axes.plot(across.population, up.population, "D", markersize=6, color=POPULATION, markeredgewidth=0)
    axes.set(xlim=x_limits, ylim=y_limits, xlabel=across.label, ylabel=up.label)
    calm(axes)
    if across.link == "log":
        log_axis(axes, "x")
    if up.link == "log":
        log_axis(axes, "y")
    add_legend(figure, _legend())
    return figure


def _strips(fit: Fit, journeys: tuple[_Journey, ...]) -> Figure:
    limits = [_limits(journey) for journey in journeys]
    outside = sum(
        int(_is_outside(journey.own, limit).sum()) for journey, limit in zip(journeys, limits, strict=True)
    )
    caption = (
        "Each line is one patient: the estimate from their own data (the pull of the population all but "
        "removed), the posterior median, and the population value at their covariates."
        + _outside_words(outside)
        + _shown_words(fit)
    )
    names = ", ".join(journey.parameter for journey in journeys)
    figure = new_figure(6.6, 1.5 + 1.75 * len(journeys), Words(f"Shrinkage of {names}", caption))
    for axes, journey, limit in zip(
        figure.subplots(len(journeys), squeeze=False).flat, journeys, limits, strict=True
    ):
        stops = np.stack([journey.own, journey.pooled, journey.population])
        heights = np.broadcast_to(np.array([[2.0], [1.0], [0.0]]), stops.shape)
        _join(axes, stops[:2], heights[:2], QUIET, 0.7)
        _join(axes, stops[1:], heights[1:], FAINT, 0.7)
        axes.plot(
            stops[0], heights[0], "o", markersize=5, markerfacecolor="white", color=OWN, markeredgewidth=1.1
        )
        axes.plot(stops[1], heights[1], "o", markersize=5, color=POOLED, markeredgewidth=0)
        axes.plot(stops[2], heights[2], "D", markersize=5, color=POPULATION, markeredgewidth=0)
        axes.set_yticks([2, 1, 0], ["own data", "shrunken", "population"])
        axes.set(xlim=limit, ylim=(-0.35, 2.35), xlabel=journey.label)
        calm(axes)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        if journey.link == "log":
            log_axis(axes, "x")
    add_legend(figure, _legend())
    return figure


def _join(axes: Axes, x: np.ndarray, y: np.ndarray, color: str, width: float) -> None:
    axes.plot(x, y, color=color, linewidth=width, zorder=1, solid_capstyle="round")


def _limits(journey: _Journey) -> tuple[float, float]:
    """Limits that show every shrunken estimate, and own estimates unless they are far away.

    A patient with two noisy measurements may have an own estimate ten times the cohort's range;
    showing it would hide everyone else, so it is left outside and counted in the caption.
    """
    forward, back = LINKS["log" if journey.link == "log" else "identity"]
    inner = forward(np.concatenate([journey.pooled, journey.population]))
    reach = max(float(np.ptp(inner)), 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = forward(journey.own)
    near = own[np.isfinite(own) & (own > inner.min() - 1.5 * reach) & (own < inner.max() + 1.5 * reach)]
    seen = np.concatenate([inner, near])
    margin = 0.06 * np.ptp(seen)
    lower, upper = back(np.array([seen.min() - margin, seen.max() + margin]))
    return float(lower), float(upper)


def _is_outside(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return ~((values >= limits[0]) & (values <= limits[1]))


def _outside_words(count: int) -> str:
    if count == 0:
        return ""
    whose = "1 estimate from own data is" if count == 1 else f"{count} estimates from own data are"
    return f" {whose} missing or outside the frame."


def _shown_words(fit: Fit) -> str:
    return shown_words(patients_of(fit.tree).sizes[PATIENT], "evenly spaced in their order")


def _population_contours(fit: Fit, across: _Journey, up: _Journey) -> list[tuple[np.ndarray, np.ndarray]]:
    """Contours of the population's distribution around the typical patient, natural scale."""
    posterior = posterior_of(fit.tree)
    group = next((group for group in effect_groups(fit.tree) if group.group == PATIENT), None)
    pair = [across.parameter, up.parameter]
    typical_names = [f"{name}_typical" for name in pair]
    if group is None or not set(pair) <= set(labels_of(posterior, group.effect_dim)):
        return []
    if not set(typical_names) <= set(posterior.data_vars):
        return []
    omega = [float(posterior[group.omega].sel({group.effect_dim: name}).median()) for name in pair]
    rho = _correlation(posterior, group.omega, pair)
    angle = np.linspace(0, 2 * np.pi, 181)
    circle = np.stack([np.cos(angle), rho * np.cos(angle) + np.sqrt(1 - rho**2) * np.sin(angle)])
    contours = []
    for share in _SPREADS:
        radius = np.sqrt(-2 * np.log(1 - share))
        points = []
        for journey, name, spread, unit in zip((across, up), typical_names, omega, circle, strict=True):
            forward, back = LINKS[journey.link]
            points.append(back(forward(np.median(posterior[name].values)) + spread * radius * unit))
        contours.append((points[0], points[1]))
    return contours


def _correlation(posterior: xr.Dataset, omega: str, pair: list[str]) -> float:
    name = omega.replace("omega", "omega_correlation", 1)
    if name not in posterior:
        return 0.0
    first, second = [dim for dim in posterior[name].dims if str(dim).startswith("effect")]
    return float(posterior[name].sel({first: pair[0], second: pair[1]}).median())


def _legend() -> list[Artist]:
    return [
        Line2D(
            [],
            [],
            marker="o",
            linestyle="",
            color=OWN,
            markerfacecolor="white",
            markersize=6,
            label="own data alone",
        ),
        Line2D(
            [], [], marker="o", linestyle="", color=POOLED, markersize=5.5, label="shrunken (hierarchical)"
        ),
        Line2D([], [], marker="D", linestyle="", color=POPULATION, markersize=5.5, label="population"),
    ]
