"""The page's other tables: whole scripts, scaling, and the cost of a step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.engines.ours import MOST_DRAWN
from benchmarks.page_tables import markdown, number, with_range
from benchmarks.results import Group, exponent, read_groups, read_json


def whole_table(folder: Path) -> str:
    """Wall seconds of every script, cold and warm, and ours against the fastest peer."""
    seconds = whole_seconds(folder)
    if not seconds:
        return ""
    scripts = list(dict.fromkeys(script for script, _ in seconds))
    ends = whole_seconds(folder, "seconds")
    rows = [
        [
            script,
            *(
                _spread(found.get((script, state), []))
                for state in ("cold", "warm")
                for found in (seconds, ends)
            ),
        ]
        for script in scripts
    ]
    header = ["script", "cold: intervals, s", "cold: end, s", "warm: intervals, s", "warm: end, s"]
    lines = [markdown(header, rows), ""]
    for state in ("cold", "warm"):
        peers = {
            script: np.median(seconds[script, state]) for script in scripts if seconds.get((script, state))
        }
        own = peers.pop("ours", None)
        if own is not None and peers:
            fastest = min(peers, key=lambda script: peers[script])
            ratio = peers[fastest] / own
            lines.append(
                f"- {state}: the fastest peer ({fastest}) takes **{number(ratio)}** times as long to its "
                "intervals as ours."
            )
    told = (
        "50 patients of tumor growth: read the table, sample, save NetCDF, print intervals of everything. Ours is "
        "`hierarchical-twin fit`, which then draws its pictures, until its end. Cold: no compiled program in "
        "any cache; warm: the same command again. numpyro is jitted as a whole and given JAX's own compilation "
        "cache; Stan's driver is compiled beforehand."
    )
    return f"{told}\n\n" + "\n".join(lines)


def whole_seconds(folder: Path, until: str = "intervals") -> dict[tuple[str, str], list[float]]:
    """Wall seconds of the runs that ended, until their intervals or their end, by script and state."""
    found: dict[tuple[str, str], list[float]] = {}
    for result in sorted(read_json(folder), key=lambda one: one["script"] != "ours"):
        own = found.setdefault((result["script"], result["state"]), [])
        own += [result[until]] if result.get(until) is not None else []
    return found


def _spread(values: list[float]) -> str:
    if not values:
        return "failed or over the limit"
    return f"{number(float(np.median(values)))} ({number(min(values))}–{number(max(values))})"


def scaling_table(folder: Path) -> str:
    """Ours from 1,000 to 100,000 patients of tumor growth, and the fitted exponents."""
    groups = read_groups(folder) if folder.exists() else []
    if not groups:
        return ""
    rows = [_scaling_row(group) for group in groups]
    header = ["patients", "method", "warm-up + sampling s", "shell to draws s", "peak MB"]
    header += ["ESS min", "ESS/s", "R-hat", "divergences"]
    lines = [markdown(header, rows), ""]
    for engine in dict.fromkeys(group.engine for group in groups):
        own = [group for group in groups if group.engine == engine and group.done]
        if len(own) > 1:
            sizes = [group.patients for group in own]
            time, wall = (exponent(sizes, values) for values in (_adaptation(own), _wall(own)))
            memory = exponent(sizes, [group.median("peak_mb") for group in own])
            lines.append(
                f"- {engine}: warm-up and sampling grow as patients to the power {time:.2f}, shell to draws "
                f"{wall:.2f}, peak memory {memory:.2f}."
            )
    lines += [
        "",
        f"Tumor growth. Draws of up to {MOST_DRAWN:,} patients are kept, of more their statistics "
        '(`patients="summary"`): ESS is then of the population alone.',
    ]
    return "\n".join(lines)


def _adaptation(groups: list[Group]) -> list[float]:
    return [group.median("seconds", "warmup") + group.median("seconds", "sampling") for group in groups]


def _wall(groups: list[Group]) -> list[float]:
    return [group.median("wall_seconds") for group in groups]


def _scaling_row(group: Group) -> list[str]:
    start = [f"{group.patients:,}", group.engine]
    if not group.done:
        return [*start, group.trouble, *[""] * 6]
    return [
        *start,
        number(_adaptation([group])[0]),
        number(group.median("wall_seconds")),
        number(group.median("peak_mb"), 4),
        with_range(group, "ess_bulk_min"),
        with_range(group, "ess_per_second"),
        f"{group.median('rhat_max'):.3f}",
        f"{group.median('divergences'):.0f}",
    ]


def step_table(folder: Path) -> str:
    """One leapfrog step inside NUTS against one gradient alone."""
    found = sorted(read_json(folder), key=lambda one: one["patients"])
    rows = [
        [
            f"{one['patients']:,}",
            "growth",
            number(one["gradient_us"]),
            number(one["step_us"]),
            number(one["ratio"]),
        ]
        for one in found
    ]
    header = ["patients", "posterior", "gradient, us", "step, us", "ratio"]
    return markdown(header, rows) if rows else ""
