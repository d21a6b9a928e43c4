"""Pictures of the draws as a sample: ranks, energy, pairs. ArviZ draws them; words and frame are ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hierarchical_twin.analysis.convergence import convergence
from hierarchical_twin.analysis.variables import elements_of, population_variables, posterior_of
from hierarchical_twin.dims import CHAIN, DRAW, POSTERIOR, SAMPLE_STATS
from hierarchical_twin.errors import Problem, SamplingError, nearest
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.style import INK, OWN, POOLED, QUIET, Words, add_words

MOST_RANKS, MOST_PAIRS = 16, 5
"""How many population quantities the pictures show unless told which."""
_PAIR_POINTS, _DIVERGENT_POINTS = 250, 150
_FEWEST_DRAWS = 8
_MOST_STEPS = 150  # of a chain's line: enough to see, and a tenth of the bytes
_FRAME, _PANEL_WIDTH, _PANEL_HEIGHT = 1.6, 2.3, 1.5
_CYCLE = (POOLED, OWN, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", QUIET, INK)


def rank_figure(fit: Fit, quantities: Sequence[str] | None = None) -> Figure:
    """ECDF of each chain's ranks less the uniform one: chains that mix have lines near 0.

    Parameters
    ----------
    fit : Fit
    quantities : sequence of str, optional
        Population quantities as the population table names them, such as ``omega[r]``; by default the 16 with the
        greatest R-hat.

    Raises
    ------
    SamplingError
        An unknown quantity, a single chain, or hardly any draws.

    References
    ----------
    Säilynoja, Bürkner and Vehtari (2022), Statistics and Computing 32, 32, doi:10.1007/s11222-022-10090-6.
    Vehtari et al. (2021), doi:10.1214/20-BA1221.
    """
    from arviz_plots import plot_rank

    draws = _quantities(fit, quantities)
    chains = next(iter(draws.values())).shape[0]
    if chains < 2:
        raise SamplingError(Problem("rank picture", "1 chain", "two chains or more, whose ranks can differ"))
    shown = draws if quantities is not None else _worst(draws)
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    size = (max(5.6, _PANEL_WIDTH * columns), _FRAME + _PANEL_HEIGHT * lines)
    with drawing():
        made = plot_rank(
            _tree(shown),
            backend="matplotlib",
            col_wrap=columns,
            figure_kwargs={"figsize": size, "figsize_units": "inches"},
        )
    caption = (
        f"Each line is a chain ({chains} of them): share of its draws up to each rank among all chains, less "
        "what is expected. Lines near 0: the chains have drawn from one distribution; a line far off: that "
        "chain was elsewhere. "
        "Marked points are where a test of all chains together finds departures."
        + (
            ""
            if quantities is not None or len(shown) == len(draws)
            else f" Shown: the {len(shown)} with the greatest R-hat of {len(draws)}."
        )
    )
    figure = framed(made, Words("Ranks of the chains", caption))
    for line in (line for axes in figure.axes for line in axes.lines):
        x, y = (np.asarray(values) for values in line.get_data())
        thin = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_STEPS)).round().astype(int))
        line.set_data(x[thin], y[thin])
    return figure


def energy_figure(fit: Fit) -> Figure:
    """Marginal energy beside the changes of energy, and E-BFMI of each chain.

    Raises
    ------
    SamplingError
        The sampler recorded no energy.

    References
    ----------
    Betancourt (2016), arXiv:1604.00695; (2018), arXiv:1701.02434.
    """
    from arviz_plots import plot_energy

    stats = fit.tree[SAMPLE_STATS].to_dataset() if SAMPLE_STATS in fit.tree.children else xr.Dataset()
    if "energy" not in stats or stats.sizes[DRAW] < _FEWEST_DRAWS:
        raise SamplingError(
            Problem("energy picture", "no energy of enough draws", "a fit that recorded the energy")
        )
    energy = stats[["energy"]].transpose(CHAIN, DRAW)
    tree = xr.DataTree.from_dict({SAMPLE_STATS: energy.load()})
    with drawing():
        made = plot_energy(
            tree,
            backend="matplotlib",
            kind="hist",
            figure_kwargs={"figsize": (7.0, 3.9), "figsize_units": "inches"},
        )
    caption = (
        "Left: estimated Bayesian fraction of missing information of each chain; below 0.3 (line) the sampler "
        "cannot reach the tails. Right: distribution of the energy and of its changes; changes much narrower than the "
        "energy mean the same."
    )
    return framed(made, Words("Energy of the sampler", caption))


def pair_figure(fit: Fit, quantities: Sequence[str] | None = None) -> Figure:
    """Population quantities against each other, with divergent draws marked.

    Parameters
    ----------
    fit : Fit
    quantities : sequence of str, optional
        Population quantities; by default the 5 that are most correlated with another one.

    Raises
    ------
    SamplingError
        An unknown quantity, fewer than two, or hardly any draws.
    """
    from arviz_plots import plot_pair

    draws = _quantities(fit, quantities)
    if len(draws) < 2:
        raise SamplingError(Problem("pair picture", f"{len(draws)} quantity", "two or more that vary"))
    shown = draws if quantities is not None else _most_correlated(draws)
    divergent = _divergent(fit.tree)
    total = next(iter(shown.values())).size
    kept = _kept_places(total, divergent)
    thin = {name: values.reshape(1, -1)[:, kept] for name, values in shown.items()}
    edge = max(5.6, 1.7 * len(shown) + 0.6)
    with drawing():
        made = plot_pair(
            _tree(thin, None if divergent is None else divergent.reshape(1, -1)[:, kept]),
            backend="matplotlib",
            visuals={
                "divergence": {"color": OWN, "alpha": 0.9},
                "scatter": {"color": POOLED, "alpha": 0.35, "size": 7},
            },
            marginal_kind="hist",
            figure_kwargs={"figsize": (edge, edge + 0.9), "figsize_units": "inches"},
        )
    count = 0 if divergent is None else int(divergent.sum())
    marked = (
        f" Orange: {min(count, _DIVERGENT_POINTS):,} of {count:,} divergent draws."
        if count
        else " No draw was divergent."
    )
    caption = (
        f"{len(kept):,} of {total:,} draws of the population. Narrow ridges and funnels are hard to sample; "
        f"divergent draws that crowd in a place say where.{marked}"
    )
    return framed(made, Words("Pairs of population quantities", caption))


@contextmanager
def drawing() -> Iterator[None]:
    """ArviZ's drawing with our colours and small type; its own warnings about layout are of no use here."""
    words: dict[Any, Any] = {
        "axes.prop_cycle": cycler(color=list(_CYCLE)),
        "font.size": 8,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": False,
        "figure.facecolor": "white",
    }
    with matplotlib.rc_context(words), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def framed(made: Any, words: Words) -> Figure:
    """The figure of an ArviZ plot with our words, released from pyplot."""
    from matplotlib import pyplot

    figure = made.get_viz("figure")
    figure = figure.item() if isinstance(figure, xr.DataArray) else figure
    pyplot.close(figure)
    FigureCanvasAgg(figure)
    add_words(figure, words)
    return figure


def _quantities(fit: Fit, asked: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Draws ``[chain, draw]`` of population quantities that vary, by label; those asked for, in that order."""
    posterior = posterior_of(fit.tree)
    if posterior.sizes[DRAW] < _FEWEST_DRAWS:
        raise SamplingError(
            Problem("picture of the chains", f"{posterior.sizes[DRAW]} draws", f"at least {_FEWEST_DRAWS}")
        )
    found: dict[str, np.ndarray] = {}
    for name in population_variables(posterior):
        elements = elements_of(posterior, name)
        for place, label in enumerate(elements.labels):
            values = np.asarray(elements.draws[:, :, place], dtype=float)
            if np.isfinite(values).all() and np.ptp(values) > 0:
                found[label] = values
    if asked is None:
        if not found:
            raise SamplingError(Problem("fit posterior", "no population quantity that varies", "one or more"))
        return found
    problems = [
        Problem("quantities", repr(label), f"one of {', '.join(found)}", nearest(str(label), found))
        for label in asked
        if label not in found
    ]
    if problems or not asked:
        raise SamplingError(
            problems or [Problem("quantities", "an empty list", f"one of {', '.join(found)}")]
        )
    return {label: found[label] for label in asked}


def _worst(draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    quality = convergence(np.stack(list(draws.values()), axis=2)).rhat
    worst = set(np.argsort(-np.nan_to_num(quality, nan=np.inf))[:MOST_RANKS].tolist())
    return {label: values for place, (label, values) in enumerate(draws.items()) if place in worst}


def _most_correlated(draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    flat = np.stack([values.ravel() for values in draws.values()])
    strength = np.abs(np.corrcoef(flat)) - 2 * np.eye(len(flat))
    chosen = set(np.argsort(-strength.max(axis=1))[:MOST_PAIRS].tolist())
    return {label: values for place, (label, values) in enumerate(draws.items()) if place in chosen}


def _divergent(tree: xr.DataTree) -> np.ndarray | None:
    """Whether each draw ``[chain, draw]`` was divergent, or None where that was not recorded."""
    if SAMPLE_STATS not in tree.children or "diverging" not in tree[SAMPLE_STATS]:
        return None
    return tree[SAMPLE_STATS]["diverging"].transpose(CHAIN, DRAW).values.astype(bool)


def _kept_places(total: int, divergent: np.ndarray | None) -> np.ndarray:
    """Draws a picture shows: evenly spaced ones, and divergent ones."""
    even = np.linspace(0, total - 1, min(total, _PAIR_POINTS)).round().astype(int)
    if divergent is None:
        return np.unique(even)
    return np.unique(np.concatenate([even, np.flatnonzero(divergent.ravel())[:_DIVERGENT_POINTS]]))


def _tree(draws: dict[str, np.ndarray], diverging: np.ndarray | None = None) -> xr.DataTree:
    groups = {POSTERIOR: xr.Dataset({label: ((CHAIN, DRAW), values) for label, values in draws.items()})}
    if diverging is not None:
        groups[SAMPLE_STATS] = xr.Dataset({"diverging": ((CHAIN, DRAW), diverging)})
    coords = {
        CHAIN: np.arange(next(iter(draws.values())).shape[0]),
        DRAW: np.arange(next(iter(draws.values())).shape[1]),
    }
    return xr.DataTree.from_dict({name: group.assign_coords(coords) for name, group in groups.items()})
