"""Forest picture: one interval for each patient, sorted, against the population's typical value."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hierarchical_twin.analysis.intervals import (
    DEFAULT_PROB,
    Summary,
    choose_patient_variables,
    interval_words,
    patient_estimates,
    summarise,
)
from hierarchical_twin.analysis.variables import (
    elements_of,
    labels_of,
    links_of,
    patients_of,
    posterior_of,
    unit_of,
    units_of,
)
from hierarchical_twin.dims import PATIENT
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.style import (
    POOLED,
    POPULATION,
    Words,
    add_legend,
    calm,
    choose_shown,
    log_axis,
    new_figure,
    shown_words,
    with_unit,
)

_MOST_NAMED = 60
_WIDTH, _ROW, _FRAME = 6.4, 0.19, 1.9


def forest_figure(
    fit: Fit, parameter: str, *, prob: float = DEFAULT_PROB, kind: str = "equal-tailed"
) -> Figure:
    """Every patient's interval of one parameter or derived quantity.

    Patients are named up to sixty of them; beyond that they are only sorted; of very many, some are shown.

    Raises
    ------
    SamplingError
        The fit has no such quantity, or the probability or kind is unknown.
    """
    posterior, own = posterior_of(fit.tree), patients_of(fit.tree)
    (name,) = choose_patient_variables(own, parameter)
    links, units = links_of(fit.tree), units_of(fit.tree)
    summary = patient_estimates(fit.tree, name, prob=prob, kind=kind)
    patients = labels_of(own, PATIENT)
    typical = None
    if f"{name}_typical" in posterior:
        typical = summarise(elements_of(posterior, f"{name}_typical").draws, prob=prob, kind=kind)
    words = interval_words(prob, kind)
    caption = f"Patients are sorted by posterior median. Lines: {words} of each patient."
    if typical is not None:
        caption += f" Band: {words} of the typical value, at the reference covariates."
    caption += shown_words(len(patients), "evenly spaced in this order")
    rows = min(len(patients), _MOST_NAMED)
    title = f"{name} of {len(patients):,} patients"
    figure = new_figure(_WIDTH, _FRAME + _ROW * max(rows, 6), Words(title, caption))
    axes = figure.subplots()
    handles = _patient_lines(axes, summary, patients)
    if typical is not None:
        handles += _typical_band(axes, typical)
    axes.set_xlabel(with_unit(name, unit_of(name, units, links)))
    calm(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=7.5)
    # A derived quantity has no link: it is shown on a log axis where it is positive and spans a decade.
    spans_decade = summary.lower.min() > 0 and summary.upper.max() > 10 * summary.lower.min()
    if links.get(name) == "log" or (name not in links and spans_decade):
        log_axis(axes, "x")
    add_legend(figure, handles)
    return figure


def _patient_lines(axes: Axes, summary: Summary, patients: tuple[str, ...]) -> list[Artist]:
    order = np.argsort(summary.median, kind="stable")
    total, order = len(order), order[choose_shown(len(order))]
    rows = np.arange(len(order))
    is_named = len(order) <= _MOST_NAMED
    width, size = (2.0, 4.8) if is_named else (0.6, 1.4)
    axes.hlines(rows, summary.lower[order], summary.upper[order], color=POOLED, linewidth=width, alpha=0.45)
    axes.plot(summary.median[order], rows, "o", color=POOLED, markersize=size, markeredgewidth=0)
    axes.set_ylim(-0.8, len(order) - 0.2)
    if is_named:
        axes.set_yticks(rows, [patients[place] for place in order])
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{total:,} patients, sorted")
    return [
        Line2D(
            [],
            [],
            color=POOLED,
            marker="o",
            markersize=4.8,
            linewidth=1.6,
            label="patient, median and interval",
        )
    ]


def _typical_band(axes: Axes, typical: Summary) -> list[Artist]:
    axes.axvspan(typical.lower[0], typical.upper[0], color=POPULATION, alpha=0.10, linewidth=0, zorder=0)
    axes.axvline(typical.median[0], color=POPULATION, linewidth=1, alpha=0.7, zorder=0)
    return [
        Line2D([], [], color=POPULATION, linewidth=1, alpha=0.7, label="typical value, median"),
        Patch(color=POPULATION, alpha=0.10, linewidth=0, label="typical value, interval"),
    ]
