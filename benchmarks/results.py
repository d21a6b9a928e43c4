"""Results read back: medians over repeats, the best peer, fitted exponents."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Result = Mapping[str, Any]
CONVERGED_RHAT = 1.05


@dataclass(frozen=True)
class Group:
    """All repeats of one problem, size and engine."""

    problem: str
    patients: int
    engine: str
    results: tuple[Result, ...]

    @property
    def family(self) -> str:
        """The engine without its parameterization."""
        return str(self.results[0]["family"])

    @property
    def done(self) -> tuple[Result, ...]:
        """Repeats that came to an end."""
        return tuple(result for result in self.results if result["status"] == "ok")

    @property
    def is_usable(self) -> bool:
        """Whether it ended, converged in the median repeat, and may stand in a ratio."""
        return bool(self.done) and self.median("rhat_max") <= CONVERGED_RHAT

    def values(self, *path: str) -> list[float]:
        """One number of each repeat that ended, such as ``("seconds", "warmup")``."""
        found = []
        for result in self.done:
            value: Any = result
            for word in path:
                value = value[word]
            found.append(float(value))
        return found

    def median(self, *path: str) -> float:
        """Median over repeats; NaN without any."""
        values = self.values(*path)
        return float(np.median(values)) if values else float("nan")

    @property
    def trouble(self) -> str:
        """Why there is no number: the first repeat's status and note."""
        first = self.results[0]
        if first["status"] == "over limit":
            return f"over {first['limit_seconds']:.0f} s"
        note = str(first.get("note", "")).strip().splitlines()
        return f"{first['status']}: {note[-1]}" if note else str(first["status"])


def read_groups(folder: Path) -> list[Group]:
    """Every cell's result in a folder, by problem, size and engine in the order of `ENGINES`."""
    from benchmarks.cells import ENGINES
    from benchmarks.problems import PROBLEMS

    found: dict[tuple[str, int, str], list[Result]] = defaultdict(list)
    for path in sorted(folder.glob("*-*-*-*.json")):
        result = json.loads(path.read_text())
        found[result["problem"], result["patients"], result["engine"]].append(result)
    groups = [Group(*key, tuple(results)) for key, results in found.items()]
    problems, engines = list(PROBLEMS), list(ENGINES)
    return sorted(groups, key=lambda g: (problems.index(g.problem), g.patients, engines.index(g.engine)))


def best_peer(groups: Sequence[Group], word: str) -> Group | None:
    """The peer with the highest median of `word` among those that converged, adaptive solvers apart."""
    peers = [group for group in groups if is_peer(group) and group.family != "stan-ode" and group.is_usable]
    return max(peers, key=lambda group: group.median(word), default=None)


def is_peer(group: Group) -> bool:
    """Whether it is somebody else's engine."""
    return not group.family.startswith("ours")


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log value against log size; NaN with fewer than two."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def read_json(folder: Path) -> list[dict[str, Any]]:
    """Every JSON file of a folder, by name; an empty list if it is not there."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
