"""Which cells are run, in which order, and which are left out because smaller ones have settled them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cells import (
    ENGINES,
    ROOT,
    Cell,
    keep,
    missing,
    run_cell,
    single_threaded,
    stan_cache,
    table_path,
)
from benchmarks.problems import PROBLEMS

_MUCH_SLOWER = 4.0
"""Than its other parameterization: then a larger cohort, or a repeat, need not show it again."""
_FAR_BEHIND = 6.0
"""Than the best peer at the next smaller size."""
_NEAR_BEST = 1.5
"""Peers this near the best are repeated: the ratio is taken to the best of them."""
_ONE_REPEAT_FROM = 1000
_SMALL_ONLY = {
    "numpyro-run": "jitted as a whole is the stronger form",
    "stan-ode": "it is the slower program",
}
_WORDS = ("ess_per_second", "ess_per_second_sampling")


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    out: Path
    problems: Sequence[str]
    patients: Sequence[int]
    engines: Sequence[str]
    repeats: int | None
    limit_seconds: float
    is_everything: bool = False

    def repeats_at(self, patients: int) -> int:
        """Repeats of the cells of one size."""
        return self.repeats or (1 if patients >= _ONE_REPEAT_FROM else 3)


def run_cells(request: Request) -> None:
    """Run every cell of a request; results already there are replaced."""
    _compile_stan(request)
    for problem in request.problems:
        for patients in sorted(request.patients):
            need_table(request.out, problem, patients)
            for cell in _cells(request, problem, patients):
                reason = "" if request.is_everything else _settled(request, cell)
                if reason:
                    _say(cell, keep(cell, request.out, {"status": "left out", "note": reason}))
                    continue
                _say(cell, run_cell(cell, request.out, limit_seconds=request.limit_seconds))


def run_scaling(out: Path, *, limit_seconds: float, sizes: Sequence[int] = (1000, 10_000, 100_000)) -> None:
    """Time and memory of two methods of ours against the number of patients, on the growth model.

    A method that goes over its limit at one size is not run at a larger one.
    """
    folder = out / "scaling"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("growth-*.json"):
        old.unlink()
    for engine in ("ours-marginal", "ours-joint"):
        for patients in sizes:
            need_table(folder, "growth", patients)
            cell = Cell("growth", patients, engine, 1)
            result = run_cell(cell, folder, limit_seconds=limit_seconds)
            _say(cell, result)
            if result["status"] != "ok":
                break


def _cells(request: Request, problem: str, patients: int) -> Iterator[Cell]:
    # Repeats outermost: what a first repeat has settled, the others need not run again.
    for repeat in range(1, request.repeats_at(patients) + 1):
        for name in request.engines:
            if ENGINES[name].only in ("", problem):
                yield Cell(problem, patients, name, repeat)


def _settled(request: Request, cell: Cell) -> str:
    """Why a cell need not be run, or an empty string."""
    engine = ENGINES[cell.engine]
    if engine.is_ours:
        return _over_limit_before(request, cell) or _ours_by_itself(request, cell)
    if engine.family in _SMALL_ONLY and (cell.patients > min(request.patients) or cell.repeat > 1):
        return f"compared at the smallest size, once: {_SMALL_ONLY[engine.family]}"
    if cell.repeat > 1:
        return _not_near_best(request, cell)
    smaller = [size for size in request.patients if size < cell.patients]
    return _behind_at(request, cell, max(smaller)) if smaller else ""


def _over_limit_before(request: Request, cell: Cell) -> str:
    """What did not end within its limit once will not the next time."""
    is_over = cell.repeat > 1 and _first(request, cell).get("status") == "over limit"
    return "over the limit in the first repeat" if is_over else ""


def _ours_by_itself(request: Request, cell: Cell) -> str:
    """Of ours with its method named: the default's own method need not run twice, another one not be repeated."""
    method = cell.engine.removeprefix("ours").removeprefix("-")
    notes = _first(request, replace(cell, engine="ours")).get("notes")
    if not method or not notes:
        return ""
    if method in notes:
        return "the method that ours takes there by itself"
    return "not the method that ours takes: once" if cell.repeat > 1 else ""


def _first(request: Request, cell: Cell) -> dict:
    """What the first repeat of a cell came to; empty before it was run."""
    path = request.out / f"{replace(cell, repeat=1).name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _not_near_best(request: Request, cell: Cell) -> str:
    first = _first(request, cell)
    if first.get("status") == "left out":
        return str(first["note"])
    speeds = _first_speeds(request, cell.problem, cell.patients)
    own = speeds.get(cell.engine)
    if own is None:
        return ""
    best = [max(speed[place] for speed in speeds.values()) for place in range(len(_WORDS))]
    if any(mine * _NEAR_BEST >= top > 0 for mine, top in zip(own, best, strict=True)):
        return ""
    return f"not repeated: more than {_NEAR_BEST} times slower than the best peer in the first repeat"


def _behind_at(request: Request, cell: Cell, patients: int) -> str:
    first = _first(request, replace(cell, patients=patients))
    if first.get("status") == "left out":
        return str(first["note"])
    speeds = _first_speeds(request, cell.problem, patients)
    if cell.engine not in speeds:
        return ""
    own, family = speeds[cell.engine][0], ENGINES[cell.engine].family
    if own == 0.0:
        return f"over the limit or failed at {patients} patients"
    sibling = max(speed[0] for name, speed in speeds.items() if ENGINES[name].family == family)
    if sibling > _MUCH_SLOWER * own:
        return f"{sibling / own:.0f} times slower than its other parameterization at {patients} patients"
    best = max(speed[0] for speed in speeds.values())
    if best > _FAR_BEHIND * own:
        return f"{best / own:.0f} times slower than the best peer at {patients} patients"
    return ""


def _first_speeds(request: Request, problem: str, patients: int) -> dict[str, tuple[float, ...]]:
    """Both kinds of ESS per second of every peer's first repeat; 0 where it did not end."""
    found = {}
    for name in request.engines:
        path = request.out / f"{Cell(problem, patients, name, 1).name}.json"
        if ENGINES[name].is_ours or not path.exists():
            continue
        result = json.loads(path.read_text())
        if result["status"] in ("ok", "over limit", "failed"):
            found[name] = tuple(float(result.get(word, 0.0)) for word in _WORDS)
    return found


def _compile_stan(request: Request) -> None:
    from benchmarks.engines.stan import compile_program, program_of

    names = [name for name in request.engines if name.startswith("stan")]
    if not names or any(missing(name) for name in names):
        return
    for problem in request.problems:
        wanted = {"stan"} | ({"stan-ode"} if PROBLEMS[problem].has_ode else set())
        for family in sorted(wanted & {ENGINES[name].family for name in names}):
            is_ode = family == "stan-ode"
            begin = time.perf_counter()
            try:
                compile_program(program_of(problem, is_ode=is_ode), stan_cache(request.out))
            except subprocess.CalledProcessError as error:
                print(f"{family} {problem}: does not compile\n{error.stderr[-3000:]}", flush=True)
            print(f"{family} {problem}: compiled in {time.perf_counter() - begin:.0f} s", flush=True)


def need_table(out: Path, problem: str, patients: int) -> None:
    """Simulate a table unless it is there, in a process of its own: the runner stays without JAX."""
    if table_path(out, problem, patients).exists():
        return
    words = ["--problem", problem, "--patients", str(patients), "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks", "table", *words]
    subprocess.run(command, check=True, cwd=ROOT, env=single_threaded(os.environ))


def _say(cell: Cell, result: dict) -> None:
    if result["status"] == "ok":
        seconds = result["seconds"]
        told = (
            f"ESS/s {result['ess_per_second']:,.1f} (min ESS {result['ess_bulk_min']:,.0f}, "
            f"warm-up {seconds['warmup']:.2f} s, sampling {seconds['sampling']:.2f} s, "
            f"compile {seconds['compile']:.1f} s, R-hat {result['rhat_max']:.3f}, "
            f"divergences {result['divergences']}, wall {result['wall_seconds']:.0f} s)"
        )
    else:
        lines = result.get("note", "").strip().splitlines()
        told = f"{result['status']}: {lines[-1] if lines else ''}"
    print(f"{cell.name}: {told}", flush=True)
