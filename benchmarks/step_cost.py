"""The cost of one leapfrog step inside NUTS against one gradient alone, on the growth model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SIZES = (50, 1000, 10_000)
_SECONDS = 1.0


def run_steps(out: Path) -> None:
    """Measure every size in a process of its own; one JSON file for each under ``<out>/steps``."""
    from benchmarks.cells import ROOT, single_threaded, table_path
    from benchmarks.plan import need_table

    (out / "steps").mkdir(exist_ok=True)
    for patients in SIZES:
        need_table(out, "growth", patients)
        table, target = table_path(out, "growth", patients), out / "steps" / f"growth-{patients}.json"
        command = [sys.executable, "-m", "benchmarks.step_cost", str(table), str(target)]
        code = subprocess.run(command, cwd=ROOT, env=single_threaded(os.environ), check=False).returncode
        print(f"steps {patients}: {target.read_text() if code == 0 else 'failed'}", flush=True)


def measure(table: Path) -> dict[str, float]:
    """Microseconds of a gradient alone and of a leapfrog step, one joint chain on one core.

    Both are of the density that `sample` would sample, in its parameterization. The step includes
    everything around the gradient: the kernel's tree, its random numbers, keeping the draw.
    """
    import hierarchical_twin as ht
    from hierarchical_twin.inference.device import choose_place, float64_on

    spec = ht.read_spec(ht.shipped_specs()["tumor_growth"])
    model = ht.build(spec, ht.read_cohort(table, spec))
    # Enough steps at every size for a second or so.
    draws = max(100, 200_000 // len(model.cohort.patients))
    words = {"chains": 1, "workers": 1, "device": "cpu", "progress": False}
    fit = ht.sample(model, method="joint", warmup=100, draws=draws, **words)
    timings = json.loads(fit.attributes["timings"])
    step = timings["sample"] / timings["gradients"]
    with float64_on(choose_place("cpu", 1, 1)):
        gradient = _seconds_a_gradient(*_sampled_density(model))
    return {
        "patients": len(model.cohort.patients),
        "gradient_us": 1e6 * gradient,
        "step_us": 1e6 * step,
        "ratio": step / gradient,
        "gradients": timings["gradients"],
    }


def _sampled_density(model):
    """Value and gradient of the log density that `sample` samples, at its middle, with its arrays."""
    import jax
    import numpy as np

    from hierarchical_twin.backends.numpyro import flat_log_density
    from hierarchical_twin.graph.evaluate import layout
    from hierarchical_twin.inference.pilot import find_pilot, sampled_model
    from hierarchical_twin.inference.target import make_target

    pilot = find_pilot(model)
    target = make_target(sampled_model(model, pilot), flat_log_density)
    middle = np.zeros(layout(target.model)[-1].stop)
    return jax.value_and_grad(target.density), middle, target.numbers


def _seconds_a_gradient(gradient, start, numbers) -> float:
    """Wall time of one gradient inside a compiled loop: dispatch from Python is not in it."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def many(point, times, numbers):
        def again(_, state):
            value, slope = gradient(state, numbers)
            # Depends on both, so that neither is left out; too small to move.
            return state + 1e-30 * (slope + value)

        return jax.lax.fori_loop(0, times, again, point)

    times, point, held = 1, jnp.asarray(start), jax.tree.map(jnp.asarray, numbers)
    while True:
        jax.block_until_ready(many(point, times, held))
        begin = time.perf_counter()
        jax.block_until_ready(many(point, times, held))
        elapsed = time.perf_counter() - begin
        if elapsed > _SECONDS / 2:
            return elapsed / times
        times = int(times * min(10.0, 1.2 * _SECONDS / max(elapsed, 1e-6)) + 1)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(measure(Path(sys.argv[1]))))
