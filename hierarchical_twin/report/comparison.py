"""Comparison picture: how far each model is behind the best, and which patients make the difference.

ArviZ's own comparison plot shows totals only; here every patient is seen beside them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hierarchical_twin.analysis.comparison import Comparison
from hierarchical_twin.errors import Problem, SamplingError, nearest
from hierarchical_twin.report.style import (
    OWN,
    POOLED,
    POPULATION,
    QUIET,
    Words,
    add_legend,
    calm,
    choose_shown,
    new_figure,
    shown_words,
)

_MOST_NAMED = 60
_WIDTH, _ROW, _FRAME = 8.4, 0.19, 1.9


def comparison_figure(comparison: Comparison, against: str | None = None) -> Figure:
    """Differences of elpd to the best model: of the sum, and of each patient.

    Parameters
    ----------
    comparison : Comparison
        Of two models or more.
    against : str, optional
        The model whose patients are set against the best one's; the second best by default.

    Raises
    ------
    SamplingError
        There is one model only, or `against` is none of the others.
    """
    first, *others = comparison.models
    if not others:
        raise SamplingError(Problem("comparison picture", f"one model, {first}", "two models or more"))
    second = others[0] if against is None else against
    if second not in others:
        expected = f"one of {', '.join(others)}"
        raise SamplingError(
            Problem("comparison picture against", repr(second), expected, nearest(second, others))
        )
    patients = comparison.patients
    own = patients[patients["model"] == second].sort_values("difference", ignore_index=True)
    caption = (
        f"Left: elpd ({comparison.method}) less that of {first}; lines: one and two standard errors of the "
        f"difference. Right: each patient's part of the difference between {second} and {first}; below 0 "
        f"{first} predicts the patient better."
    )
    caption += shown_words(len(own), "evenly spaced in this order")
    rows = max(min(len(own), _MOST_NAMED), 2 * len(comparison.models), 8)
    words = Words(f"{first} and {len(others)} other model{'s' * (len(others) > 1)}", caption)
    figure = new_figure(_WIDTH, _FRAME + _ROW * rows, words)
    left, right = figure.subplots(1, 2)
    handles = _totals(left, comparison.table()) + _patients(right, own)
    add_legend(figure, handles)
    return figure


def _totals(axes: Axes, table: pd.DataFrame) -> list[Artist]:
    rows = np.arange(len(table))[::-1]
    size, error = table["difference"].to_numpy(), table["se_difference"].to_numpy()
    for width, factor in ((1.0, 2.0), (2.6, 1.0)):
        lower, upper = size - factor * error, size + factor * error
        axes.hlines(rows, lower, upper, color=POOLED, linewidth=width, alpha=0.6)
    axes.plot(size, rows, "o", color=POOLED, markersize=5.5, markeredgewidth=0)
    axes.axvline(0.0, color=POPULATION, linewidth=1, alpha=0.6, zorder=0)
    axes.set_yticks(rows, list(table["model"]))
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.set_xlabel(f"elpd less that of {table['model'].iloc[0]}")
    _level(axes)
    return [Line2D([], [], color=POOLED, marker="o", markersize=5.5, linewidth=1.6, label="all patients")]


def _patients(axes: Axes, own: pd.DataFrame) -> list[Artist]:
    own = own.iloc[choose_shown(len(own))]
    rows, is_named = np.arange(len(own)), len(own) <= _MOST_NAMED
    exact = own["is_refit"].to_numpy(bool)
    size = 4.8 if is_named else 1.6
    kinds = [(~exact, OWN, "one patient"), (exact, "white", "one patient, by a fit without them")]
    handles: list[Artist] = []
    for chosen, face, label in kinds:
        if not chosen.any():
            continue
        look = {"color": OWN, "marker": "o", "linestyle": "none", "markersize": size}
        axes.plot(own["difference"].to_numpy()[chosen], rows[chosen], markerfacecolor=face, **look)
        handles.append(Line2D([], [], markerfacecolor=face, label=label, **{**look, "markersize": 4.8}))
    axes.axvline(0.0, color=POPULATION, linewidth=1, alpha=0.6, zorder=0)
    axes.set_ylim(-0.8, len(own) - 0.2)
    if is_named:
        axes.set_yticks(rows, list(own["patient"]))
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(own):,} patients, sorted", color=QUIET)
    axes.set_xlabel("the patient's part")
    _level(axes)
    return handles


def _level(axes: Axes) -> None:
    """Rows with names and nothing else beside them."""
    calm(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=7.5)
