"""Individual fits: each patient's data over the posterior-predictive band, on pages of small multiples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, Summary, interval_words, summarise
from hierarchical_twin.analysis.variables import errors_of, spec_part, units_of
from hierarchical_twin.dims import CHAIN, DRAW, OBSERVED_DATA, POSTERIOR_PREDICTIVE, observation_dim
from hierarchical_twin.errors import Problem, SamplingError, nearest
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.style import (
    INK,
    PLAIN,
    POOLED,
    Words,
    add_legend,
    calm,
    log_axis,
    new_figure,
    share_labels,
    with_unit,
)

PATIENTS_PER_PAGE = 24
_PANEL_WIDTH, _PANEL_HEIGHT, _FRAME = 1.55, 1.3, 1.7


@dataclass(frozen=True)
class _Rows:
    """Observed rows of one outcome, and their predictive summary; every array is ``[row]``."""

    patient: np.ndarray
    coordinate: np.ndarray
    value: np.ndarray
    censored: np.ndarray
    predicted: Summary
    coordinate_label: str
    has_time: bool


def patients_figure(
    fit: Fit, outcome: str | None = None, *, page: int = 1, prob: float = DEFAULT_PROB
) -> Figure:
    """One page of individual fits: points, predictive mean, and an equal-tailed predictive band.

    The band holds a new measurement of the same patient (residual error included). The vertical
    axis is logarithmic where the error model is log-normal.

    Parameters
    ----------
    outcome : str, optional
        An outcome of the fit; the first by default.
    page : int
        From 1; a page holds 24 patients.

    Raises
    ------
    SamplingError
        No such outcome or page, or the fit holds no posterior predictive draws.
    """
    outcome = _choose_outcome(fit.tree, outcome)
    patients = tuple(dict.fromkeys(_row_patients(fit, outcome).tolist()))
    pages = _pages(len(patients))
    if page not in range(1, pages + 1):
        raise SamplingError(Problem("page", repr(page), f"a page from 1 to {pages}"))
    shown = patients[(page - 1) * PATIENTS_PER_PAGE : page * PATIENTS_PER_PAGE]
    rows = _observed_rows(fit, outcome, prob, shown)
    columns = min(len(shown), 6 if len(shown) > 12 else 4)
    lines = -(-len(shown) // columns)
    caption = (
        f"Points: observations. Line and band: posterior-predictive mean and "
        f"{interval_words(prob, 'equal-tailed')} of a new measurement in the same patient."
    )
    suffix = f" (page {page} of {pages})" if pages > 1 else ""
    words = Words(f"{outcome}: each patient's data and fit{suffix}", caption)
    figure = new_figure(max(5.6, 0.5 + _PANEL_WIDTH * columns), _FRAME + _PANEL_HEIGHT * lines, words)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    is_log = errors_of(fit.tree).get(outcome) == "lognormal"
    for place, axes in enumerate(grid.flat):
        if place < len(shown):
            _draw_patient(axes, rows, shown[place])
        else:
            axes.set_visible(False)
            # The panel above an empty place carries the time axis of its column.
            grid[place // columns - 1, place % columns].tick_params(labelbottom=True)
    _scale_axes(grid.flat[0], rows, is_log)
    unit = units_of(fit.tree).get(outcome, "")
    share_labels(figure, rows.coordinate_label, with_unit(outcome, unit))
    add_legend(figure, _legend(bool(rows.censored.any())))
    return figure


def count_pages(fit: Fit, outcome: str | None = None) -> int:
    """Number of pages `patients_figure` needs for an outcome."""
    outcome = _choose_outcome(fit.tree, outcome)
    observed = fit.tree[OBSERVED_DATA].to_dataset()
    return _pages(len(np.unique(observed[f"patient_{outcome}"].values)))


def _pages(patients: int) -> int:
    return -(-patients // PATIENTS_PER_PAGE)


def _choose_outcome(tree: xr.DataTree, outcome: str | None) -> str:
    for group in (OBSERVED_DATA, POSTERIOR_PREDICTIVE):
        if group not in tree.children:
            raise SamplingError(
                Problem("fit", f"no group '{group}'", "a fit with posterior predictive draws")
            )
    known = [
        str(name) for name in tree[POSTERIOR_PREDICTIVE].data_vars if name in tree[OBSERVED_DATA].data_vars
    ]
    if not known:
        raise SamplingError(
            Problem(f"fit {POSTERIOR_PREDICTIVE}", "no outcome", "draws of an observed outcome")
        )
    if outcome is None:
        return known[0]
    if outcome not in known:
        raise SamplingError(
            Problem("outcome", repr(outcome), f"one of {', '.join(known)}", nearest(outcome, known))
        )
    return outcome


def _row_patients(fit: Fit, outcome: str) -> np.ndarray:
    return fit.tree[OBSERVED_DATA].to_dataset()[f"patient_{outcome}"].values.astype(str)


def _observed_rows(fit: Fit, outcome: str, prob: float, patients: tuple[str, ...]) -> _Rows:
    """The rows of some patients; only their draws are looked at."""
    chosen = {observation_dim(outcome): np.flatnonzero(np.isin(_row_patients(fit, outcome), patients))}
    observed = fit.tree[OBSERVED_DATA].to_dataset()[outcome].isel(chosen)
    predictive = fit.tree[POSTERIOR_PREDICTIVE].to_dataset()[outcome].isel(chosen)
    draws = predictive.transpose(CHAIN, DRAW, observation_dim(outcome)).values
    word, coordinate = _coordinate(observed, outcome)
    has_time = word == "time"
    keys = ("time", "unit") if has_time else ("inputs", word, "unit")
    censored = observed.coords.get(f"censored_{outcome}")
    return _Rows(
        patient=observed[f"patient_{outcome}"].values.astype(str),
        coordinate=coordinate,
        value=observed.values,
        censored=np.zeros(observed.size) if censored is None else censored.values,
        predicted=summarise(draws, prob=prob),
        coordinate_label=with_unit(word, str(spec_part(fit.tree, *keys) or "")),
        has_time=has_time,
    )


def _coordinate(observed: xr.DataArray, outcome: str) -> tuple[str, np.ndarray]:
    """What the rows run along: time; without time the first input; without either their number."""
    ignored = ("patient", "row", "censored")
    for name, values in observed.coords.items():
        word = str(name).removesuffix(f"_{outcome}")
        if word in ignored or str(name) == observation_dim(outcome) or values.dtype.kind not in "iuf":
            continue
        # A mechanism without time records it as NaN.
        if np.isfinite(values.values).all():
            return word, values.values.astype(np.float64)
    return "row", np.arange(observed.size, dtype=np.float64)


def _draw_patient(axes: Axes, rows: _Rows, patient: str) -> None:
    mine = np.flatnonzero(rows.patient == patient)
    # Replicates share a coordinate and, up to Monte Carlo error, a prediction: the band takes the first.
    places, first = np.unique(rows.coordinate[mine], return_index=True)
    chosen = mine[first]
    predicted = rows.predicted
    if len(places) > 1:
        axes.fill_between(
            places, predicted.lower[chosen], predicted.upper[chosen], color=POOLED, alpha=0.18, linewidth=0
        )
        axes.plot(places, predicted.mean[chosen], color=POOLED, linewidth=1.4)
    else:
        axes.vlines(
            places, predicted.lower[chosen], predicted.upper[chosen], color=POOLED, alpha=0.25, linewidth=6
        )
        axes.plot(places, predicted.mean[chosen], "_", color=POOLED, markersize=9, markeredgewidth=1.4)
    # A censored value stands at its limit and points to where the true one lies.
    for side, marker, fill in ((0, "o", INK), (1, "v", "white"), (-1, "^", "white")):
        at = mine[rows.censored[mine] == side]
        axes.plot(
            rows.coordinate[at],
            rows.value[at],
            marker,
            color=INK,
            markerfacecolor=fill,
            markersize=3,
            markeredgewidth=0.6,
        )
    axes.set_title(patient, size=8, color=INK, loc="left", pad=2)
    calm(axes)
    axes.tick_params(labelsize=7.5)


def _scale_axes(axes: Axes, rows: _Rows, is_log: bool) -> None:
    """Scales for all panels, which share them."""
    if is_log and rows.value.min() > 0:
        log_axis(axes, "y")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    positive = rows.coordinate[rows.coordinate > 0]
    # Concentrations run over decades, often with a zero for the control well.
    if not rows.has_time and len(positive) and positive.max() > 30 * positive.min():
        if (rows.coordinate > 0).all():
            log_axis(axes, "x")
        else:
            axes.set_xscale("symlog", linthresh=positive.min(), linscale=0.5)
            axes.xaxis.set_major_formatter(PLAIN)


def _legend(has_censored: bool) -> list[Artist]:
    point = {"color": INK, "linestyle": "", "markersize": 4}
    handles = [
        Line2D([], [], marker="o", label="observed", **point),
        Line2D([], [], color=POOLED, linewidth=1.6, label="predictive mean"),
        Patch(color=POOLED, alpha=0.18, linewidth=0, label="predictive interval"),
    ]
    if has_censored:
        handles.insert(
            1, Line2D([], [], marker="v", markerfacecolor="white", label="beyond a limit", **point)
        )
    return handles
