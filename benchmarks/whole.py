"""From a shell command to a saved fit and printed intervals: 50 patients of tumor growth, cold and warm.

Cold: every cache of compiled programs is an empty folder. Warm: the same command again, with what the
first left there. Python's own byte code and the file system's cache are warm in both.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.cells import ROOT, missing, single_threaded, stan_cache

PATIENTS = 50
NEEDS = {
    "ours": "ours",
    "numpyro": "numpyro-jit-centered",
    "nutpie": "nutpie-centered",
    "stan": "stan-centered",
}
"""Each script's engine in `ENGINES`, for what it needs installed."""
_SAVED = "saved; drawing"
"""What ours says once the fit is saved and its intervals are printed; the peers end there."""


def run_whole(out: Path, *, repeats: int, limit_seconds: float) -> None:
    """Time every script cold and warm; one JSON file for each under ``<out>/whole``."""
    from benchmarks.cells import table_path
    from benchmarks.plan import need_table

    folder = out / "whole"
    folder.mkdir(exist_ok=True)
    need_table(out, "growth", PATIENTS)
    table = table_path(out, "growth", PATIENTS)
    for repeat in range(1, repeats + 1):
        for script, engine in NEEDS.items():
            if note := missing(engine):
                print(f"whole {script}: {note}", flush=True)
                continue
            _cold_and_warm(script, table, out, repeat=repeat, limit_seconds=limit_seconds)


def _cold_and_warm(script: str, table: Path, out: Path, *, repeat: int, limit_seconds: float) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        cache.mkdir()
        if script == "stan":
            _keep_driver(out, cache)
        for state in ("cold", "warm"):
            command = _command(script, table, Path(scratch) / state, cache)
            log = out / "logs" / f"whole-{script}.txt"
            found = _timed(command, _environment(cache), limit_seconds, log)
            result = {"script": script, "state": state, "repeat": repeat, **found}
            (out / "whole" / f"{script}-{state}-{repeat}.json").write_text(json.dumps(result))
            told = "failed or over the limit"
            if found["seconds"] is not None:
                told = f"intervals after {found['intervals']:.1f} s, ended after {found['seconds']:.1f} s"
            print(f"whole {script} {state} {repeat}: {told}", flush=True)


def _command(script: str, table: Path, place: Path, cache: Path) -> list[str]:
    if script == "ours":
        verb = [sys.executable, "-c", "from hierarchical_twin.cli import main; main()"]
        return [*verb, "fit", "tumor_growth", str(table), "--out", str(place)]
    words = [str(table), f"{place}.nc", *([str(cache)] if script == "stan" else [])]
    return [sys.executable, "-m", f"benchmarks.scripts.growth_{script}", *words]


def _environment(cache: Path) -> dict[str, str]:
    """Every engine's cache in one folder; ours is told of it by its own name only."""
    return single_threaded(os.environ) | {
        "HIERARCHICAL_TWIN_CACHE": str(cache / "ours"),
        "PYTENSOR_FLAGS": f"base_compiledir={cache / 'pytensor'}",
        "NUMBA_CACHE_DIR": str(cache / "numba"),
    }


def _timed(
    command: Sequence[str], environment: Mapping[str, str], limit_seconds: float, log: Path
) -> dict[str, float | None]:
    """Wall seconds until intervals are printed and the fit is saved, and until the command's end."""
    words = dict(environment)
    if "growth_numpyro" in " ".join(command):
        # A hand-writer who knows of JAX's own cache: the stronger peer.
        words["JAX_COMPILATION_CACHE_DIR"] = str(Path(words["HIERARCHICAL_TWIN_CACHE"]).parent / "jax")
        words["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    limit = threading.Timer(limit_seconds, lambda: os.killpg(process.pid, signal.SIGKILL))
    limit.start()
    intervals = None
    assert process.stdout is not None
    with log.open("w") as stream:
        for line in process.stdout:
            stream.write(line)
            if line.startswith(_SAVED):
                intervals = time.perf_counter() - begin
    code = process.wait()
    limit.cancel()
    seconds = time.perf_counter() - begin
    # Our own exit code 3: done, but told not to trust the draws.
    if code not in (0, 3):
        return {"intervals": None, "seconds": None}
    return {"intervals": seconds if intervals is None else intervals, "seconds": seconds}


def _keep_driver(out: Path, cache: Path) -> None:
    """The driver does not depend on the model: CmdStan ships its own built, so it is not counted."""
    for driver in stan_cache(out).glob("driver-*.o"):
        shutil.copy(driver, cache / driver.name)
