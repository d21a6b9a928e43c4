"""One cell of the benchmark: a problem, a cohort size, an engine, a repeat. Each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import Outcome, Settings, peak_megabytes, summarise

ROOT = Path.cwd()
"""The repository root, from which the benchmark is run."""
_START = "BENCHMARK_CELL_START"


@dataclass(frozen=True)
class Cell:
    """What to run; `repeat` is also the seed."""

    problem: str
    patients: int
    engine: str
    repeat: int

    @property
    def name(self) -> str:
        """Name of its result, without the suffix."""
        return f"{self.problem}-{self.patients}-{self.engine}-{self.repeat}"


@dataclass(frozen=True)
class Engine:
    """A way to sample: whose it is, what it needs installed, and how it runs.

    `family` groups the parameterizations of one engine; `settings` are its own where they differ.
    """

    family: str
    needs: tuple[str, ...]
    run: Callable[[Cell, Path, Settings, Path], Outcome]
    is_ours: bool = False
    only: str = ""
    settings: Settings | None = None


def _ours(method: str | None) -> Engine:
    def run(cell: Cell, table: Path, settings: Settings, out: Path) -> Outcome:
        from benchmarks.engines import ours

        return ours.run(cell.problem, table, settings, method=method)

    family = "ours" if method is None else f"ours-{method}"
    return Engine(family, ("jax", "numpyro"), run, is_ours=True)


def _numpyro(style: str, variant: str) -> Engine:
    def run(cell: Cell, table: Path, settings: Settings, out: Path) -> Outcome:
        from benchmarks.engines import numpyro_hand

        return numpyro_hand.run(cell.problem, table, settings, variant=variant, style=style)

    return Engine(f"numpyro-{style}", ("jax", "numpyro"), run)


def _nutpie(variant: str) -> Engine:
    def run(cell: Cell, table: Path, settings: Settings, out: Path) -> Outcome:
        from benchmarks.engines import pymc_nutpie

        return pymc_nutpie.run(cell.problem, table, settings, variant=variant)

    return Engine("nutpie", ("pymc", "nutpie", "numba"), run)


def _stan(variant: str, *, is_ode: bool = False) -> Engine:
    def run(cell: Cell, table: Path, settings: Settings, out: Path) -> Outcome:
        from benchmarks.engines import stan

        places = {"cache": stan_cache(out), "scratch": scratch_path(out, os.getpid())}
        return stan.run(cell.problem, table, settings, variant=variant, is_ode=is_ode, **places)

    if is_ode:
        # An adaptive solve costs so much that a run of full length would say "over the limit" only.
        short = Settings(warmup=150, draws=150)
        return Engine("stan-ode", ("httpstan",), run, only="minimal", settings=short)
    return Engine("stan", ("httpstan",), run)


ENGINES: Mapping[str, Engine] = {
    "ours": _ours(None),
    "ours-joint": _ours("joint"),
    "ours-marginal": _ours("marginal"),
    **{f"numpyro-jit-{word}": _numpyro("jit", word) for word in ("centered", "noncentered")},
    **{f"numpyro-run-{word}": _numpyro("run", word) for word in ("centered", "noncentered")},
    **{f"nutpie-{word}": _nutpie(word) for word in ("centered", "noncentered")},
    **{f"stan-{word}": _stan(word) for word in ("centered", "noncentered")},
    **{f"stan-ode-{word}": _stan(word, is_ode=True) for word in ("centered", "noncentered")},
}
"""Every engine by its name on the command line."""


def missing(engine: str) -> str:
    """How to install what an engine needs, or an empty string if it is there."""
    lacking = [module for module in ENGINES[engine].needs if find_spec(module) is None]
    return f"needs {', '.join(lacking)}: pip install 'hierarchical-twin[peers]'" if lacking else ""


def stan_cache(out: Path) -> Path:
    """Where compiled Stan programs are kept."""
    return out / "stan"


def table_path(out: Path, problem: str, patients: int) -> Path:
    """Where the table of a problem and a size is kept."""
    return out / "tables" / f"{problem}-{patients}.csv"


def scratch_path(out: Path, process: int) -> Path:
    """Where a cell's process keeps what it does not leave behind."""
    return out / "scratch" / str(process)


def run_cell(cell: Cell, out: Path, *, limit_seconds: float) -> dict:
    """Run a cell in a process of its own and keep its result as ``<out>/<cell>.json``.

    Returns
    -------
    dict
        With ``status``: ``ok``, ``over limit``, ``failed`` or ``not installed``.
    """
    if note := missing(cell.engine):
        return keep(cell, out, {"status": "not installed", "note": note})
    command = [sys.executable, "-m", "benchmarks", "cell", *cell_words(cell), "--out", str(out)]
    fresh = out / "scratch" / cell.name
    environment = single_threaded(os.environ) | without_caches(fresh) | {_START: repr(time.time())}
    log = out / "logs" / f"{cell.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            # Its own session: Stan's chains end with it.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            shutil.rmtree(scratch_path(out, process.pid), ignore_errors=True)
            return keep(cell, out, {"status": "over limit", "limit_seconds": limit_seconds})
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    path = out / f"{cell.name}.json"
    if process.returncode != 0 or not path.exists():
        tail = log.read_text()[-1500:]
        return keep(cell, out, {"status": "failed", "note": tail})
    return json.loads(path.read_text())


def cell_words(cell: Cell) -> list[str]:
    """A cell as options of ``python -m benchmarks cell``."""
    options = {"--problem": cell.problem, "--patients": cell.patients, "--engine": cell.engine}
    words = [str(word) for pair in options.items() for word in pair]
    return [*words, "--repeat", str(cell.repeat)]


def single_threaded(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which the two cores belong to chains, not to linear algebra."""
    words = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {**environment, **dict.fromkeys(words, "1"), "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}


def without_caches(fresh: Path) -> dict[str, str]:
    """Variables that make every engine compile anew: ours without its cache, the others in an empty folder."""
    return {
        "HIERARCHICAL_TWIN_CACHE": "off",
        "PYTENSOR_FLAGS": f"base_compiledir={fresh / 'pytensor'}",
        "NUMBA_CACHE_DIR": str(fresh / "numba"),
    }


def work(cell: Cell, out: Path) -> None:
    """The inside of a cell's process."""
    engine = ENGINES[cell.engine]
    base = engine.settings or Settings()
    settings = Settings(base.chains, base.warmup, base.draws, base.cores, cell.repeat)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings.cores])
    table = table_path(out, cell.problem, cell.patients)
    try:
        outcome = engine.run(cell, table, settings, out)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{(error.stderr or '')[-4000:]}")
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    wall = time.time() - float(os.environ.get(_START, "nan"))
    peak = outcome.peak_mb or peak_megabytes(settings.cores if engine.family.startswith("stan") else 0)
    found = {"status": "ok", "wall_seconds": wall, "peak_mb": peak, **summarise(outcome)}
    keep(cell, out, found | {"settings": asdict(settings)})


def keep(cell: Cell, out: Path, result: dict) -> dict:
    """Write a result beside its cell's description."""
    whole = {**asdict(cell), "family": ENGINES[cell.engine].family, **result}
    (out / f"{cell.name}.json").write_text(json.dumps(whole))
    return whole
