"""How every picture looks: colours, axes, title, legend and caption, without global state.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers; shape differs too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

INK = "#333333"
QUIET = "#767676"
FAINT = "#C9C9C9"
OWN = "#D55E00"
"""A patient's data alone (no pooling)."""
POOLED = "#0072B2"
"""The hierarchical estimate."""
POPULATION = "#222222"
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
"""Ticks as plain numbers, 0.01 and not a power of ten."""

_INCH_TITLE, _INCH_CAPTION_LINE, _INCH_EDGE = 0.62, 0.17, 0.12
_CHARACTERS_PER_INCH = 16.5


_MOST_SHOWN = 2_000
_SEVERAL_DECADES = 30.0


@dataclass(frozen=True)
class Words:
    """The text around a picture."""

    title: str
    caption: str


def choose_shown(patients: int) -> np.ndarray:
    """Places of the patients a picture shows: all, or some that are evenly spaced among very many."""
    return np.linspace(0, patients - 1, min(patients, _MOST_SHOWN)).round().astype(int)


def shown_words(patients: int, spacing: str) -> str:
    """What a caption says where not all patients are shown; nothing where they are."""
    return "" if patients <= _MOST_SHOWN else f" Shown: {_MOST_SHOWN:,} of {patients:,} patients, {spacing}."


def new_figure(width: float, height: float, words: Words) -> Figure:
    """A figure of `width` x `height` inches with its title above and its caption below.

    Axes added later share what is left in between.
    """
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    add_words(figure, words)
    return figure


def add_words(figure: Figure, words: Words) -> None:
    """Put a title above and a caption below a figure, and its axes, present and later, in between."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(words.caption, int(width * _CHARACTERS_PER_INCH))
    bottom = _INCH_CAPTION_LINE * len(lines) + 2 * _INCH_EDGE
    inside = (0.0, bottom / height, 1.0, 1 - (bottom + _INCH_TITLE) / height)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=inside, w_pad=0.06, h_pad=0.06))
    left = _INCH_EDGE / width
    figure.text(left, 1 - _INCH_EDGE / height, words.title, size=12, weight="bold", color=INK, va="top")
    figure.text(
        left, _INCH_EDGE / height, "\n".join(lines), size=8, color=QUIET, va="bottom", linespacing=1.35
    )


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """One legend for the whole figure, in a row under the title, away from all data."""
    width, height = figure.get_size_inches()
    figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(_INCH_EDGE / 2 / width, 1 - 0.33 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handletextpad=0.5,
        columnspacing=1.6,
        borderaxespad=0,
    )


def share_labels(figure: Figure, across: str, up: str) -> None:
    """One label below and one beside all panels, between the panels and the caption."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    left, bottom, width, height = engine.get()["rect"]
    room = 0.24 / figure.get_size_inches()[1]
    # A label with a position of its own is left out of the layout, so its room is taken from the panels.
    figure.supxlabel(across, y=bottom, va="bottom", size=9.5, color=INK)
    figure.supylabel(up, y=bottom + (height + room) / 2, size=9.5, color=INK)
    engine.set(rect=(left, bottom + room, width, height - room))


def calm(axes: Axes, *, grid: Literal["x", "y"] | None = None) -> None:
    """Quiet axes: two spines, small ticks, and grid lines along `grid` (none by default)."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(which="both", colors=QUIET, labelcolor=INK, labelsize=8.5, length=3)
    axes.tick_params(which="minor", length=0, labelsize=7)
    axes.xaxis.label.set(size=9.5, color=INK)
    axes.yaxis.label.set(size=9.5, color=INK)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color="#EEEEEE", linewidth=0.8)


def with_unit(name: str, unit: str) -> str:
    """A label and its unit: ``volume (cm³)``; nothing for a pure number."""
    pretty = unit.replace("^2", "²").replace("^3", "³").replace("**2", "²").replace("**3", "³")
    return name if pretty in ("", "1") else f"{name} ({pretty})"


def spans_decades(lowest: float, highest: float) -> bool:
    """Whether positive values range so far that only a logarithmic axis spreads them."""
    return lowest > 0 and highest > _SEVERAL_DECADES * lowest


def log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make one axis logarithmic, with plain numbers at 1, 2, 5; call it once everything is drawn."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    # Limits chosen on the linear scale may be negative: only those of the new scale tell the range.
    lower, upper = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis = axes.xaxis if which == "x" else axes.yaxis
    if upper < 6 * lower:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if upper < 200 * lower else (1,), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(PLAIN)
