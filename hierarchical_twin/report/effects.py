"""Effects of the patients: their distribution beside the population's, and against covariates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import norm

from hierarchical_twin.analysis.bins import bin_edges, place_in_bins
from hierarchical_twin.analysis.patient_summary import statistics_of
from hierarchical_twin.analysis.shrinkage import effect_shrinkage
from hierarchical_twin.analysis.variables import (
    EffectGroup,
    covariate_units_of,
    effect_groups,
    labels_of,
    patients_of,
    posterior_of,
    summary_of,
)
from hierarchical_twin.dims import CHAIN, CONSTANT_DATA, DRAW, PATIENT
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.style import (
    FAINT,
    INK,
    OWN,
    POOLED,
    QUIET,
    Words,
    add_legend,
    calm,
    choose_shown,
    new_figure,
    shown_words,
    with_unit,
)

_PREFIX = "covariate_"
_PANEL, _FRAME = 2.2, 1.75
_TREND_ROWS, _MOST_TREND_BINS = 8, 8
_MOST_LEVELS = 12


def effect_estimates(fit: Fit) -> pd.DataFrame:
    """Posterior mean of every patient's effects on the link scale: one column for each, indexed by patient.

    Raises
    ------
    SamplingError
        The fit has no random effects of patients.
    """
    group = _patient_effects(fit.tree)
    own, stored = patients_of(fit.tree), summary_of(fit.tree)
    labels = labels_of(own, group.effect_dim)
    if stored is None:
        means = own[group.eta].mean((CHAIN, DRAW)).transpose(PATIENT, group.effect_dim).values
    else:
        # Labelled elements are patient after patient.
        means = statistics_of(stored, group.eta)["mean"].reshape(-1, len(labels))
    return pd.DataFrame(means, index=list(labels_of(own, PATIENT)), columns=list(labels))


def covariates_of(fit: Fit) -> pd.DataFrame:
    """Covariates of each patient as the formulas saw them, indexed by patient; without columns if there are none."""
    if CONSTANT_DATA not in fit.tree.children:
        return pd.DataFrame()
    constants = fit.tree[CONSTANT_DATA].to_dataset()
    names = [str(name) for name in constants.data_vars if str(name).startswith(_PREFIX)]
    columns = {name.removeprefix(_PREFIX): constants[name].values for name in names}
    return pd.DataFrame(columns, index=list(labels_of(constants, PATIENT)) if names else None)


def effects_figure(fit: Fit) -> Figure:
    """Each effect's posterior means beside the population's distribution, and against every covariate.

    A trend against a covariate that the model does not have, or has in another form, is what to look for.
    Where shrinkage is high, effects crowd around 0 and trends fade, so that their absence says little.

    Raises
    ------
    SamplingError
        The fit has no random effects of patients.

    References
    ----------
    Savic and Karlsson (2009), AAPS Journal 11(3), doi:10.1208/s12248-009-9133-0, on shrinkage in such pictures.
    """
    estimates, covariates = effect_estimates(fit), covariates_of(fit)
    effects, across = list(estimates.columns), list(covariates.columns)
    caption = (
        "Bars: posterior means of the patients' effects, link scale. Curve: the population's normal "
        "distribution at the posterior median of omega; bars much narrower than it are shrunken. "
        + (
            "Points: the same means against each covariate; orange: medians. "
            if across
            else "This fit has no covariates. "
        )
        + "With high shrinkage, the absence of a trend says little."
        + shown_words(len(estimates), "evenly spaced in their order")
    )
    columns = 1 + len(across)
    size = (max(5.6, _PANEL * columns + 0.8), _FRAME + _PANEL * len(effects))
    figure = new_figure(*size, Words("Effects of the patients", caption))
    grid = figure.subplots(len(effects), columns, squeeze=False)
    omegas, shrinkage = _omegas(fit.tree), _shrinkage_words(fit)
    units = covariate_units_of(fit.tree)
    for line, effect in enumerate(effects):
        _draw_distribution(grid[line, 0], estimates[effect].to_numpy(), omegas[effect])
        grid[line, 0].set(ylabel="density", xlabel=f"effect on {effect}")
        grid[line, 0].set_title(shrinkage.get(effect, ""), size=8, color=QUIET, loc="left")
        for column, name in enumerate(across, start=1):
            values = covariates.loc[estimates.index, name]
            _draw_against(grid[line, column], values, estimates[effect].to_numpy())
            grid[line, column].set(xlabel=with_unit(name, units.get(name, "")), ylabel=f"effect on {effect}")
    add_legend(figure, _legend(bool(across)))
    return figure


def _patient_effects(tree: xr.DataTree) -> EffectGroup:
    group = next((group for group in effect_groups(tree) if group.group == PATIENT), None)
    if group is None:
        raise SamplingError(Problem("fit", "no random effects of patients", "a fit with (1 | patient)"))
    return group


def _omegas(tree: xr.DataTree) -> dict[str, float]:
    group, posterior = _patient_effects(tree), posterior_of(tree)
    middle = posterior[group.omega].median((CHAIN, DRAW)).values
    return dict(zip(labels_of(posterior, group.effect_dim), map(float, middle), strict=True))


def _shrinkage_words(fit: Fit) -> dict[str, str]:
    table = effect_shrinkage(fit.tree)
    own = table.loc[(table["group"] == PATIENT) & (table["definition"] == "sd")]
    medians = zip(own["effect"], own["median"], strict=True)
    return {str(effect): f"SD shrinkage {median:.0%}" for effect, median in medians}


def _draw_distribution(axes: Axes, values: np.ndarray, omega: float) -> None:
    reach = max(3 * omega, 1.05 * float(np.abs(values).max()), 1e-12)
    bins = int(np.clip(np.sqrt(len(values)), 5, 30))
    axes.hist(
        values, bins=np.linspace(-reach, reach, 2 * bins + 1).tolist(), density=True, color=POOLED, alpha=0.35
    )
    along = np.linspace(-reach, reach, 201)
    axes.plot(along, norm.pdf(along, scale=max(omega, 1e-12)), color=INK, linewidth=1.2)
    axes.set_yticks([])
    calm(axes)


def _draw_against(axes: Axes, covariate: pd.Series, effect: np.ndarray) -> None:
    axes.axhline(0, color=FAINT, linewidth=1, zorder=1)
    shown = choose_shown(len(effect))
    is_number = covariate.dtype.kind in "iuf" and covariate.nunique() > 2
    if is_number:
        x = covariate.to_numpy(float)
        axes.plot(x[shown], effect[shown], "o", color=QUIET, markersize=3, alpha=0.6, markeredgewidth=0)
        _draw_trend(axes, x, effect)
    else:
        _draw_levels(axes, covariate.astype(str).to_numpy(), effect)
    calm(axes)


def _draw_trend(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    usable = np.isfinite(x)
    bins = min(_MOST_TREND_BINS, int(usable.sum()) // _TREND_ROWS)
    if bins < 2:
        return
    number = np.where(usable, place_in_bins(x, bin_edges(x[usable], bins)), -1)
    used = [place for place in np.unique(number) if place >= 0]
    middle = [float(np.median(x[number == place])) for place in used]
    axes.plot(middle, [float(np.median(y[number == place])) for place in used], color=OWN, linewidth=1.6)


def _draw_levels(axes: Axes, levels: np.ndarray, effect: np.ndarray) -> None:
    """Points of each level beside each other, spread without overlap by their order, and their median."""
    words = list(dict.fromkeys(sorted(levels)))[:_MOST_LEVELS]
    for place, word in enumerate(words):
        own = effect[levels == word]
        shown = own[choose_shown(len(own))]
        spread = ((np.arange(len(shown)) * 0.618) % 1 - 0.5) * 0.5
        axes.plot(place + spread, shown, "o", color=QUIET, markersize=3, alpha=0.6, markeredgewidth=0)
        axes.plot([place - 0.32, place + 0.32], [np.median(own)] * 2, color=OWN, linewidth=1.8)
    is_crowded = sum(map(len, words)) > 18
    axes.set_xticks(
        range(len(words)), words, rotation=40 if is_crowded else 0, ha="right" if is_crowded else "center"
    )
    axes.set_xlim(-0.6, len(words) - 0.4)


def _legend(has_covariates: bool) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [
        Patch(color=POOLED, alpha=0.35, linewidth=0, label="patients"),
        Line2D([], [], color=INK, linewidth=1.2, label="population"),
    ]
    if has_covariates:
        handles.append(Line2D([], [], color=OWN, linewidth=1.6, label="median"))
    return handles
