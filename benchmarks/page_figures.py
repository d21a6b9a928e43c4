"""The page's pictures, drawn from results alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.page_whole import whole_seconds
from benchmarks.problems import PROBLEMS
from benchmarks.results import Group, read_groups

COLOURS = {
    "ours": "#c0392b",
    "ours-joint": "#b7950b",
    "ours-marginal": "#e67e22",
    "numpyro-jit": "#2471a3",
    "numpyro-run": "#85c1e9",
    "nutpie": "#1e8449",
    "stan": "#7d3c98",
    "stan-ode": "#bb8fce",
}
"""One colour for each family, in every picture."""


def draw_figures(groups: Sequence[Group], out: Path, folder: Path) -> list[str]:
    """Draw what there are results for; returns the names without suffix."""
    # Otherwise every drawing of the same numbers is another file.
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    figures = {
        "ess_per_second": _ess_figure(groups),
        "whole": _whole_figure(out / "whole"),
        "scaling": _scaling_figure(out / "scaling"),
    }
    drawn = []
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            drawn.append(name)
    return drawn


def _ess_figure(groups: Sequence[Group]) -> Figure | None:
    problems = [key for key in PROBLEMS if any(group.problem == key and group.done for group in groups)]
    if not problems:
        return None
    figure = Figure(figsize=(max(7.0, 3.0 * len(problems)), 3.4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(problems), sharey=True))
    for place, (axis, problem) in enumerate(zip(axes, problems, strict=True)):
        for family, colour in COLOURS.items():
            own = [group for group in groups if group.problem == problem and group.family == family]
            _family_line(axis, [group for group in own if group.is_usable], family, colour)
        axis.set(title=problem, xscale="log", yscale="log", xlabel="patients")
        sizes = sorted({group.patients for group in groups if group.problem == problem})
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
        if place == 0:
            axis.set_ylabel("smallest ESS per second\nof warm-up and sampling")
        _plain(axis)
    handles = {line.get_label(): line for axis in axes for line in axis.get_lines()}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False
    )
    return figure


def _family_line(axis: Axes, groups: Sequence[Group], family: str, colour: str) -> None:
    """The better parameterization at each size, with the range of its repeats."""
    sizes = sorted({group.patients for group in groups})
    if not sizes:
        return
    best = [
        max(
            (group for group in groups if group.patients == size),
            key=lambda group: group.median("ess_per_second"),
        )
        for size in sizes
    ]
    middle = [group.median("ess_per_second") for group in best]
    low = [min(group.values("ess_per_second")) for group in best]
    high = [max(group.values("ess_per_second")) for group in best]
    axis.plot(sizes, middle, "o-", color=colour, label=family, markersize=4)
    axis.vlines(sizes, low, high, color=colour, linewidth=1)


def _whole_figure(folder: Path) -> Figure | None:
    seconds = whole_seconds(folder)
    scripts = list(dict.fromkeys(script for script, _ in seconds))
    if not scripts:
        return None
    figure = Figure(figsize=(6.0, 0.55 * len(scripts) + 1.2), layout="constrained")
    axis = figure.subplots()
    places = np.arange(len(scripts))
    for shift, state, alpha in ((-0.18, "cold", 1.0), (0.18, "warm", 0.5)):
        values = [float(np.median(seconds.get((script, state)) or [np.nan])) for script in scripts]
        colours = [COLOURS.get(script, COLOURS["numpyro-jit"]) for script in scripts]
        axis.barh(places + shift, values, 0.32, color=colours, alpha=alpha)
        for place, value in zip(places + shift, values, strict=True):
            if np.isfinite(value):
                axis.text(value, place, f" {value:.1f} {state}", va="center", fontsize=8)
    axis.set(yticks=places, yticklabels=scripts, xlabel="wall seconds, shell command to saved fit")
    axis.margins(x=0.15)
    axis.invert_yaxis()
    _plain(axis)
    return figure


def _scaling_figure(folder: Path) -> Figure | None:
    groups = [group for group in read_groups(folder) if group.done] if folder.exists() else []
    if not groups:
        return None
    figure = Figure(figsize=(6.5, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for engine in dict.fromkeys(group.engine for group in groups):
        own = [group for group in groups if group.engine == engine]
        sizes, colour = [group.patients for group in own], COLOURS[engine]
        left.plot(sizes, [group.median("wall_seconds") for group in own], "o-", color=colour, label=engine)
        right.plot(sizes, [group.median("peak_mb") / 1e3 for group in own], "o-", color=colour)
    left.set(xscale="log", yscale="log", xlabel="patients", ylabel="seconds, shell to draws")
    right.set(xscale="log", yscale="log", xlabel="patients", ylabel="peak memory, GB")
    left.legend(frameon=False)
    for axis in (left, right):
        axis.set_xticks(
            sizes := sorted({group.patients for group in groups}), [f"{size:,}" for size in sizes]
        )
        axis.set_yticks(_plain_ticks(axis), [f"{tick:,g}" for tick in _plain_ticks(axis)])
        axis.minorticks_off()
        _plain(axis)
    return figure


def _plain_ticks(axis: Axes) -> list[float]:
    """1, 2 and 5 times powers of ten within a logarithmic axis."""
    low, high = axis.get_ylim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
