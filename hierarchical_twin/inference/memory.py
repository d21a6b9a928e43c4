"""How much memory a run will need, and how much there is, before it starts.

Counts the arrays that grow with patients times draws; what does not is small beside them.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.graph.blocks import mark_population
from hierarchical_twin.graph.evaluate import flat_size
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.draws import batch_size
from hierarchical_twin.inference.emulator_fit import fitting_bytes
from hierarchical_twin.inference.settings import Settings
from hierarchical_twin.inference.summarise import BATCH_BYTES

MOST_OF_AVAILABLE = 0.7
"""Share of the available memory that a run may need."""
SAMPLER_DRAWS = 200
"""Draws that each chain at work holds besides those it has handed over."""
_BYTES = 8
_GATHERING = 3
"""Copies of the draws while the pieces of all chains are joined."""
_UNFOLDING = 12
"""Arrays of a batch's size that exist while it is unfolded: inputs, outputs, sorted copies."""
_ENOUGH_DRAWS = 500
_UNLIMITED = 2**60


@dataclass(frozen=True)
class Memory:
    """Bytes that a run needs for what grows with patients times draws.

    Attributes
    ----------
    positions : int
        Flat draws as the sampler keeps them.
    unfolded : int
        Parameters and effects by name; of the population alone where patients are summarised.
    log_likelihood, replicates : int
        One number for each measurement and draw.
    working : int
        Buffers of the sampler, and one batch while it is unfolded.
    peak : int
        The most that exists at one time.
    """

    positions: int
    unfolded: int
    log_likelihood: int
    replicates: int
    working: int
    peak: int

    def __str__(self) -> str:
        kept = self.unfolded + self.log_likelihood + self.replicates
        return f"about {readable_bytes(self.peak)} of memory at most, {readable_bytes(kept)} in the fit"


def memory_needed(model: Model, settings: Settings, patients: str, workers: int) -> Memory:
    """What a run will need.

    Parameters
    ----------
    model : Model
        The model that will be sampled.
    settings : Settings
        With the method chosen.
    patients : {"draws", "summary"}
    workers : int
        Chains at once.
    """
    schedule = settings.schedule
    points = schedule.chains * schedule.kept
    size, population = flat_size(model), int(mark_population(model).sum())
    sampled = population if settings.method == "marginal" else size
    positions = points * sampled * _BYTES
    measured = sum(int(model.cohort.arrays[node.mask].sum()) for node in model.graph.observes)
    own, common = _numbers_of(model)
    named = points * common * _BYTES
    buffers = min(workers, schedule.chains) * 2 * SAMPLER_DRAWS * sampled * _BYTES
    if patients == "summary":
        unfolded, per_measurement = named, 0
        batch = _UNFOLDING * int(min(BATCH_BYTES, points * (size - population) * _BYTES))
        drawn = 0
    else:
        unfolded, per_measurement = named + points * own * _BYTES, points * measured * _BYTES
        batch = _UNFOLDING * batch_size(model, points) * (own + 2 * measured) * _BYTES
        # The marginal method draws the effects last, into whole points.
        drawn = points * size * _BYTES if settings.method == "marginal" else 0
    unfolding = positions + drawn + unfolded + 2 * per_measurement + batch
    sampling = _GATHERING * positions + buffers
    fitting = fitting_bytes(model, workers) if settings.method == "joint" else 0.0
    return Memory(
        positions,
        unfolded,
        per_measurement,
        per_measurement,
        max(buffers, batch),
        max(sampling, unfolding, fitting),
    )


def check_memory(memory: Memory, settings: Settings, patients: str, available: int | None) -> None:
    """Refuse a run that needs more than most of the memory there is.

    Raises
    ------
    SamplingError
        With how much it needs, and what would need less.
    """
    if available is None or memory.peak <= MOST_OF_AVAILABLE * available:
        return
    advice = []
    if patients == "draws":
        advice.append("patients='summary' (--patients summary) keeps statistics in place of patients' draws")
    if settings.schedule.kept > _ENOUGH_DRAWS:
        thin = settings.schedule.thin * -(-settings.schedule.kept // _ENOUGH_DRAWS)
        advice.append(f"thin={thin} (--thin {thin}) keeps every {thin}th draw")
    if settings.method != "marginal" and (patients == "summary" or not advice):
        advice.append("method='marginal' (--method marginal) does not keep draws of effects")
    most = readable_bytes(MOST_OF_AVAILABLE * available)
    got = f"a run that needs {readable_bytes(memory.peak)} at its peak"
    expected = f"at most {most}, {100 * MOST_OF_AVAILABLE:.0f} % of the {readable_bytes(available)} available"
    raise SamplingError(Problem("memory", got, expected, "try less: " + "; ".join(advice)))


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory this process may still take: the machine's, or its control group's where that is less.

    None where the system does not say (it is not Linux). `root` is where ``proc`` and ``sys`` are.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        table = dict(line.split(":", 1) for line in lines if ":" in line)
        free = int(table["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    return min([free, *_group_limits(root)])


def _group_limits(root: Path) -> list[int]:
    """What is left of the limits of the control groups this process is in."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in groups:
        _, controllers, path = line.split(":", 2)
        is_second = controllers == ""
        if not is_second and "memory" not in controllers.split(","):
            continue
        base = root / ("sys/fs/cgroup" if is_second else "sys/fs/cgroup/memory")
        names = (
            ("memory.max", "memory.current")
            if is_second
            else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        )
        # Inside a container the group's own path may not be there: its root is mounted in its place.
        folder = base / path.lstrip("/")
        for place in (folder, *(parent for parent in folder.parents if parent.is_relative_to(base))):
            found = _left_of(place, *names)
            left += [] if found is None else [found]
    return left


def _left_of(folder: Path, limit: str, usage: str) -> int | None:
    try:
        most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
        table = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # "max" is no number: no limit
        return None
    # Files that were read count as used, and are given up when memory is asked for.
    cached = int(table.get("total_inactive_file", table.get("inactive_file", "0")))
    return max(most - used + cached, 0) if most < _UNLIMITED else None


def readable_bytes(count: float) -> str:
    """Bytes for people: ``320 MB``, ``6.4 GB``."""
    if count < 1e9:
        return f"{max(count / 1e6, 1):.0f} MB"
    return f"{count / 1e9:.1f} GB" if count < 1e11 else f"{count / 1e9:,.0f} GB"


def _numbers_of(model: Model) -> tuple[int, int]:
    """Numbers by name in one draw: the patients', and the population's."""
    own = common = 0
    for node in model.graph.reported:
        size = int(np.prod(model.shape(node.dims), dtype=int))
        own, common = (own + size, common) if PATIENT in node.dims else (own, common + size)
    for words in model.spec.derived.values():
        own, common = (own + model.size(PATIENT), common) if words.at is None else (own, common + 1)
    return own, common


def return_freed_memory() -> None:
    """Give what was freed back to the system, where the C library can be told to.

    The GNU allocator keeps what a thread freed for later threads: after eight runs whose programs are compiled
    in threads, a process held 1.2 GB of which 0.45 GB were in use.
    """
    with suppress(OSError, AttributeError, TypeError):  # of another C library, or of Windows
        ctypes.CDLL(None).malloc_trim(0)
