"""CPU against GPU on this machine: ``python -m benchmarks.gpu_check`` writes ``docs/gpu_check.md``.

Gradients of 1, 4 and 64 chains, and sampling four, of two models at three sizes; every measurement
in a process of its own with a time limit. Where JAX sees no GPU it says so and writes nothing;
``--device cpu`` measures the CPU alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = {"growth": "tumor growth", "minimal": "minimal model"}
PATIENTS = (50, 1000, 10_000)
BATCHES = (1, 4, 64)
CHAINS = 4
OUT = Path("docs") / "gpu_check.md"

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes
    ----------
    devices : tuple of str
        ``cpu``, and ``gpu`` after it.
    models : tuple of str
        Keys of `MODELS`.
    patients : tuple of int
    iterations : int
        Of warm-up, and of draws after it, of each chain.
    limit_seconds : float
        Of one model, size and device.
    """

    devices: tuple[str, ...]
    models: tuple[str, ...]
    patients: tuple[int, ...]
    iterations: int
    limit_seconds: float


def main() -> None:
    """Parse, look for a GPU, measure, write."""
    given = _parser().parse_args()
    if given.measure:
        _measure(Path(given.measure[0]), given.measure[1], given.device, given.iterations)
        return
    if given.describe:
        print(json.dumps(_describe(given.device)))
        return
    device = _last(_child(["--describe", "--device", given.device], given.device, 120.0))
    if "name" not in device:
        print(
            "No GPU is visible to JAX: nothing was measured and nothing written. Run this on a machine with one "
            "(pip install 'hierarchical_twin[gpu]'), or add --device cpu to measure the CPU alone."
        )
        return
    devices = ("cpu", "gpu") if given.device == "gpu" else ("cpu",)
    request = Request(
        devices, tuple(given.models), tuple(given.patients), given.iterations, given.limit_seconds
    )
    out = given.out or (OUT if given.device == "gpu" else None)
    page = write_page(request, device, run(request))
    if out is None:
        print(page)
    else:
        out.write_text(page, encoding="utf-8")
        print(f"wrote {out}")


def run(request: Request) -> dict[tuple[str, int, str], Found]:
    """Measure every model, size and device in turn, each in a process of its own."""
    from benchmarks.cohorts import write_table

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in request.models:
            for patients in request.patients:
                table = write_table(model, patients, Path(folder) / f"{model}-{patients}.csv")
                for device in request.devices:
                    words = ["--measure", str(table), model, "--device", device]
                    words += ["--iterations", str(request.iterations)]
                    lines = _child(words, device, request.limit_seconds)
                    found[model, patients, device] = {
                        key: value for line in lines for key, value in line.items()
                    }
                    print(f"{model} {patients} {device}: {found[model, patients, device]}", flush=True)
    return found


def _child(words: list[str], device: str, limit: float) -> list[Found]:
    """What a process of its own prints, one JSON object a line; with ``stopped`` where it did not end well."""
    # Compile times are cold ones, and a process on the CPU must not take the GPU's memory.
    environment = {**os.environ, "HIERARCHICAL_TWIN_CACHE": "off"}
    if device == "cpu":
        environment["JAX_PLATFORMS"] = "cpu"
    command = [sys.executable, "-m", "benchmarks.gpu_check", *words]
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as errors:
        try:
            code = subprocess.run(
                command, cwd=ROOT, env=environment, timeout=limit, stdout=printed, stderr=errors, check=False
            ).returncode
            stopped = "" if code == 0 else f"failed ({_last_line(errors)})"
        except subprocess.TimeoutExpired:
            stopped = f"over {limit:.0f} s"
        printed.seek(0)
        lines = [json.loads(line) for line in printed if line.startswith("{")]
    return [*lines, {"stopped": stopped}] if stopped else lines


def _last_line(file) -> str:
    file.seek(0)
    lines = file.read().strip().splitlines()
    return lines[-1][:100] if lines else "no message"


def _last(lines: list[Found]) -> Found:
    return lines[0] if lines else {}


def _describe(platform: str) -> dict[str, str]:
    """The device's name, if JAX sees one of the platform."""
    import jax

    try:
        device = jax.devices(platform)[0]
    except RuntimeError:
        return {}
    return {"name": device.device_kind, "jaxlib": version("jaxlib")}


def _measure(table: Path, key: str, device: str, iterations: int) -> None:
    """Print gradients, then sampling, of one table on the device this process was given."""
    import numpy as np

    import hierarchical_twin as ht
    from benchmarks.problems import PROBLEMS
    from hierarchical_twin.backends.numpyro import flat_log_density
    from hierarchical_twin.graph.evaluate import central_point
    from hierarchical_twin.inference.device import choose_place, float64_on
    from hierarchical_twin.inference.trial import time_gradients

    spec = ht.read_spec(ht.shipped_specs()[PROBLEMS[key].spec])
    model = ht.build(spec, ht.read_cohort(table, spec))
    with float64_on(choose_place(device, 1)):
        start = np.asarray(central_point(model))
    for batch in BATCHES:
        place = choose_place(device, batch)
        timed = time_gradients(place, flat_log_density(model), model.numbers, np.tile(start, (batch, 1)))
        print(
            json.dumps({f"gradient_{batch}": timed["seconds"], f"compile_{batch}": timed["compile"]}),
            flush=True,
        )
    begin = time.perf_counter()
    fit = ht.sample(
        model, chains=CHAINS, warmup=iterations, draws=iterations, seed=1, device=device, progress=False
    )
    wall = time.perf_counter() - begin
    print(json.dumps(_of_fit(fit, wall)), flush=True)


def _of_fit(fit, wall: float) -> dict[str, float]:
    """Smallest bulk ESS over everything in the posterior, and where the time went."""
    import numpy as np

    from hierarchical_twin.analysis.convergence import convergence

    posterior = fit.tree["posterior"]
    smallest = []
    for name in posterior.data_vars:
        values = posterior[name].to_numpy()
        smallest.append(
            np.nanmin(np.append(convergence(values.reshape(*values.shape[:2], -1)).ess_bulk, np.inf))
        )
    timings = json.loads(fit.attributes["timings"])
    return {
        "ess": float(min(smallest)),
        "ess_per_second": float(min(smallest)) / timings["sample"],
        "sample": timings["sample"],
        "sample_compile": timings["compile"],
        "wall": wall,
    }


def write_page(request: Request, device: Found, found: Mapping[tuple[str, int, str], Found]) -> str:
    """The page in Markdown."""
    from benchmarks.machine import write_machine

    with tempfile.TemporaryDirectory() as folder:
        write_machine(Path(folder))
        machine = json.loads((Path(folder) / "machine.json").read_text())
    versions = {**machine["versions"], "jaxlib": device["jaxlib"]}
    listed = ", ".join(
        f"{name} {versions[name]}" for name in ("python", "hierarchical_twin", "jax", "jaxlib", "numpyro")
    )
    gpu = f"- GPU: {device['name']}" if "gpu" in request.devices else "- GPU: not measured (`--device cpu`)"
    lines = [
        "# CPU against GPU",
        "",
        f"Written by `python -m benchmarks.gpu_check` on {machine['date']}.",
        "",
        gpu,
        f"- CPU: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        f"- {listed}; float64; no compilation cache",
        "",
        "## A gradient of every chain",
        "",
        "On the CPU one chain a core at a time, on the GPU all chains as one batch; inside a compiled loop.",
        "",
        *_gradient_table(request, found),
        "",
        f"## Sampling {CHAINS} chains of {request.iterations} + {request.iterations}",
        "",
        "Smallest bulk effective sample size over all parameters and patients, by the second of warm-up and draws.",
        "",
        *_sampling_table(request, found),
        "",
    ]
    return "\n".join(lines)


def _gradient_table(request: Request, found: Mapping[tuple[str, int, str], Found]) -> list[str]:
    head = ["model", "patients", "chains"]
    for device in request.devices:
        head += [f"{device.upper()}", f"{device.upper()} compile"]
    rows = []
    for model in request.models:
        for patients in request.patients:
            for batch in BATCHES:
                row = [MODELS[model], f"{patients:,}", str(batch)]
                values = [found[model, patients, device] for device in request.devices]
                for own in values:
                    row += [_time(own, f"gradient_{batch}"), _time(own, f"compile_{batch}")]
                rows.append([*row, *_ratio(values, f"gradient_{batch}")])
    return _table([*head, *(["CPU / GPU"] if len(request.devices) > 1 else [])], rows)


def _sampling_table(request: Request, found: Mapping[tuple[str, int, str], Found]) -> list[str]:
    head = ["model", "patients", "device", "min ESS/s", "min ESS", "sampling", "compile", "whole call"]
    rows = []
    for model in request.models:
        for patients in request.patients:
            for device in request.devices:
                own = found[model, patients, device]
                row = [MODELS[model], f"{patients:,}", device.upper()]
                if "ess" in own:
                    row += [f"{own['ess_per_second']:,.0f}", f"{own['ess']:,.0f}"]
                    row += [_time(own, key) for key in ("sample", "sample_compile", "wall")]
                else:
                    row += [own.get("stopped", "not measured"), "–", "–", "–", "–"]
                rows.append(row)
    return _table(head, rows)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    ruler = ["---" if place == 0 else "---:" for place in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, ruler, *rows)]


def _time(own: Found, key: str) -> str:
    if key not in own:
        return own.get("stopped", "not measured")
    for scale, unit in ((1e6, "µs"), (1e3, "ms")):
        if own[key] * scale < 1000:
            return f"{own[key] * scale:.3g} {unit}"
    return f"{own[key]:,.3g} s"


def _ratio(values: list[Found], key: str) -> list[str]:
    if len(values) < 2:
        return []
    is_whole = all(key in own for own in values)
    return [f"{values[0][key] / values[1][key]:.2g}" if is_whole else "–"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument(
        "--device", choices=("gpu", "cpu"), default="gpu", help="gpu measures the CPU as well"
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--patients", nargs="+", type=int, default=list(PATIENTS))
    parser.add_argument("--iterations", type=int, default=500, help="of warm-up, and of draws, of a chain")
    parser.add_argument("--limit-seconds", type=float, default=900.0, help="of one model, size and device")
    parser.add_argument("--out", type=Path, help=f"default {OUT}; with --device cpu, printed")
    parser.add_argument("--measure", nargs=2, metavar=("TABLE", "MODEL"), help=argparse.SUPPRESS)
    parser.add_argument("--describe", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
