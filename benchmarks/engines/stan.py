"""Stan's own C++ NUTS over a hand-written program: one process a chain, as CmdStan does it.

Everything but `main` comes from the httpstan wheel: stanc, headers and libraries. `stan_driver.cpp` is
the missing `main`. Programs are compiled with ``--O1`` and ``-march=native`` and kept in a cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.engines.stan_data import start_values, to_stan
from benchmarks.measure import Outcome, Settings
from benchmarks.tables import read_arrays

HERE = Path(__file__).parent
LIBRARIES = ("sundials_cvodes", "sundials_idas", "sundials_kinsol", "sundials_nvecserial", "tbb")


def program_of(key: str, *, is_ode: bool = False) -> Path:
    """The Stan file of a problem."""
    return HERE.parent / "models" / key / ("model_ode.stan" if is_ode else "model.stan")


def compile_program(source: Path, cache: Path) -> tuple[Path, dict[str, float]]:
    """Compile a Stan file, or find it compiled.

    Returns
    -------
    tuple
        The executable, and the seconds its compilation took (kept beside it): ``driver`` and ``model``.

    Raises
    ------
    subprocess.CalledProcessError
        stanc or the C++ compiler refused; its message is in `stderr`.
    """
    cache.mkdir(parents=True, exist_ok=True)
    driver, driver_seconds = _driver(cache)
    executable = cache / f"model-{_digest(_flags(), driver.name, source.read_text())}"
    note = executable.with_suffix(".json")
    if executable.exists() and note.exists():
        return executable, json.loads(note.read_text())
    begin = time.perf_counter()
    cpp, binary = executable.with_suffix(".cpp"), executable.with_suffix(".o")
    _run([_root() / "stanc", "--O1", "--name=peer_model", f"--output={cpp}", source])
    _run([_compiler(), *_flags(), "-c", cpp, "-o", binary])
    library = _root() / "lib"
    link = [f"-L{library}", f"-Wl,-rpath,{library}", *(f"-l{name}" for name in LIBRARIES)]
    _run([_compiler(), driver, binary, "-o", executable, *link])
    seconds = {"driver": driver_seconds, "model": time.perf_counter() - begin}
    note.write_text(json.dumps(seconds))
    return executable, seconds


def run(
    key: str,
    table: Path,
    settings: Settings,
    *,
    variant: str,
    cache: Path,
    scratch: Path,
    is_ode: bool = False,
) -> Outcome:
    """Sample one problem.

    `variant` is ``centered`` or ``noncentered``; compiled programs are kept in `cache`, and `scratch`
    is a folder to make, use and remove.
    """
    executable, compiled = compile_program(program_of(key, is_ode=is_ode), cache)
    scratch.mkdir(parents=True)
    begin = time.perf_counter()
    arrays = read_arrays(key, table)
    data = scratch / "data.json"
    data.write_text(json.dumps(to_stan(key, arrays) | {"centered": int(variant == "centered")}))
    rng = np.random.default_rng(settings.seed)
    for chain in range(1, settings.chains + 1):
        start = start_values(key, arrays, rng, is_centered=variant == "centered")
        (scratch / f"start{chain}.json").write_text(json.dumps(start))
    built = time.perf_counter() - begin
    begin = time.perf_counter()
    with ThreadPoolExecutor(settings.cores) as pool:
        chains = list(
            pool.map(
                lambda chain: _chain(executable, scratch, settings, chain), range(1, 1 + settings.chains)
            )
        )
    total = time.perf_counter() - begin
    shutil.rmtree(scratch)
    return _outcome(chains, settings, {"import": 0.0, "build": built, "compile": compiled["model"]}, total)


def _chain(executable: Path, folder: Path, settings: Settings, chain: int):
    out = folder / f"chain{chain}"
    words = {
        "data": folder / "data.json",
        "init": folder / f"start{chain}.json",
        "out": out,
        "chain": chain,
        "seed": settings.seed,
        "warmup": settings.warmup,
        "draws": settings.draws,
    }
    _run([executable, *(f"{word}={value}" for word, value in words.items())])
    meta = json.loads(Path(f"{out}.meta").read_text())
    names = Path(f"{out}.names").read_text().split("\n")[:-1]
    return meta, names, np.fromfile(f"{out}.draws").reshape(meta["rows"], meta["cols"])


def _outcome(chains, settings: Settings, seconds: dict[str, float], total: float) -> Outcome:
    names = chains[0][1]
    values = np.stack([drawn for _, _, drawn in chains])
    column = {name: values[..., place] for place, name in enumerate(names)}

    def block(*words: str) -> np.ndarray:
        found = [column[name] for word in words for name in names if name.split(".")[0] == word]
        return np.stack(found, axis=-1)

    draws = {name: block(name) for name in ("typical", "omega")}
    draws["sigma"] = block("sigma")
    draws |= {name: column[name] for name in ("rho", "beta") if name in column}
    effects = [word for word in EFFECTS if f"{word}.1" in column]
    draws["effects"] = np.stack([block(word) for word in effects], axis=-1)
    phases = [sum(meta[word] for meta, _, _ in chains) for word in ("warmup_s", "sampling_s")]
    steps = float(column["n_leapfrog__"].sum())
    # Warm-up steps are not kept; a gradient costs the same in both phases.
    gradients = {"warmup": steps * phases[0] / phases[1], "sampling": steps}
    seconds |= {"warmup": total * phases[0] / sum(phases), "sampling": total * phases[1] / sum(phases)}
    return Outcome(draws, int(column["divergent__"].sum()), seconds, gradients)


EFFECTS = (
    *("start", "slope", "threshold", "log_V", "log_k_act", "log_k_out"),
    *("log_G_0", "log_S_G", "log_S_I", "log_p_2"),
)
"""Transformed parameters that hold patients' values, in the order of ``effects``."""


def _root() -> Path:
    return Path(find_spec("httpstan").submodule_search_locations[0])


def _compiler() -> str:
    return os.environ.get("CXX", "g++")


def _flags() -> list[str]:
    words = ["-std=c++17", "-O3", "-march=native", "-D_REENTRANT", "-DBOOST_DISABLE_ASSERTS"]
    words += ["-DBOOST_PHOENIX_NO_VARIADIC_EXPRESSION", "-Wno-sign-compare", "-Wno-ignored-attributes"]
    return [*words, f"-I{_root() / 'include'}"]


def _driver(cache: Path) -> tuple[Path, float]:
    source = HERE / "stan_driver.cpp"
    target = cache / f"driver-{_digest(_flags(), source.read_text())}.o"
    begin = time.perf_counter()
    if not target.exists():
        partial = target.with_suffix(f".{os.getpid()}.o")
        _run([_compiler(), *_flags(), "-c", source, "-o", partial])
        partial.rename(target)
    return target, time.perf_counter() - begin


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def _run(command: list[object]) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, text=True, capture_output=True, check=True).stdout
