"""The picture of priors beside posteriors of the population. ArviZ draws it; words and frame are ours."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hierarchical_twin.analysis.sensitivity import PriorPosterior, prior_posterior_elements
from hierarchical_twin.dims import CHAIN, DRAW, POSTERIOR, PRIOR
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.chains import drawing, framed
from hierarchical_twin.report.style import OWN, POOLED, Words, add_legend

MOST_SHOWN = 24
_PANEL_WIDTH, _PANEL_HEIGHT, _FRAME = 2.3, 1.55, 1.75
_CENTRAL = (0.02, 0.98)


def prior_posterior_figure(fit: Fit, prior: xr.Dataset) -> Figure:
    """Densities of each population quantity before and after the data.

    Parameters
    ----------
    fit : Fit
    prior : xr.Dataset
        Prior draws, as in `sensitivity.prior_posterior`.

    Raises
    ------
    SamplingError
        No population quantity has prior draws.
    """
    from arviz_plots import plot_prior_posterior

    pairs = [pair for pair in prior_posterior_elements(fit.tree, prior) if _can_be_drawn(pair)]
    if not pairs:
        raise SamplingError(
            Problem("prior", "no variable of the fit's population that varies", "one or more")
        )
    shown = pairs[:MOST_SHOWN]
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    size = (max(5.6, _PANEL_WIDTH * columns), _FRAME + _PANEL_HEIGHT * lines)
    tree = xr.DataTree.from_dict(
        {
            PRIOR: _dataset({pair.label: _central(pair.prior) for pair in shown}),
            POSTERIOR: _dataset({pair.label: pair.posterior.ravel() for pair in shown}),
        }
    )
    with drawing():
        made = plot_prior_posterior(
            tree,
            kind="kde",
            backend="matplotlib",
            col_wrap=columns,
            aes={"color": ["group"]},
            color=[OWN, POOLED],
            figure_kwargs={"figsize": size, "figsize_units": "inches"},
        )
    caption = (
        "Where both curves agree, the data said little of the quantity; where the posterior lies in a tail of the "
        "prior, they disagree. Of each prior the central 96 % are drawn, and a frame may show less."
        + (f" Shown: the first {len(shown)} of {len(pairs)}." if len(pairs) > len(shown) else "")
    )
    figure = framed(made, Words("Priors and posteriors of the population", caption))
    for legend in [*figure.legends, *(axes.get_legend() for axes in figure.axes)]:
        if legend is not None:  # ours stands under the title
            legend.remove()
    for axes, pair in zip(figure.axes, shown, strict=False):
        _set_limits(axes, pair)
    handles = [
        Line2D([], [], color=color, linewidth=2, label=word)
        for word, color in (("prior", OWN), ("posterior", POOLED))
    ]
    add_legend(figure, handles)
    return figure


def _can_be_drawn(pair: PriorPosterior) -> bool:
    return all(np.isfinite(draws).all() and np.ptp(draws) > 0 for draws in (pair.prior, pair.posterior))


def _central(draws: np.ndarray) -> np.ndarray:
    """The central 96 % of prior draws: a density estimate cannot span a Cauchy's tails."""
    flat = np.sort(draws.ravel())
    return flat[int(_CENTRAL[0] * len(flat)) : int(np.ceil(_CENTRAL[1] * len(flat)))]


def _dataset(columns: dict[str, np.ndarray]) -> xr.Dataset:
    length = len(next(iter(columns.values())))
    variables = {label: ((CHAIN, DRAW), values[None]) for label, values in columns.items()}
    return xr.Dataset(variables, {CHAIN: [0], DRAW: np.arange(length)})


def _set_limits(axes: Axes, pair: PriorPosterior) -> None:
    """Show the whole posterior, and of the prior what lies within five times its width."""
    low, high = np.quantile(pair.posterior, [0.001, 0.999])
    reach = 2.5 * (high - low)
    before = np.quantile(pair.prior, [0.05, 0.95])
    axes.set_xlim(max(min(low, before[0]), low - reach), min(max(high, before[1]), high + reach))
