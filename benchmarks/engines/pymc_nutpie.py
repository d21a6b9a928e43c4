"""The hand-written PyMC model sampled by nutpie with numba gradients, at nutpie's own defaults of adaptation."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path

from benchmarks.measure import Outcome, Settings, split_by_gradients
from benchmarks.tables import read_arrays

QUANTITIES = ("typical", "beta", "omega", "rho", "sigma", "effects")


def run(key: str, table: Path, settings: Settings, *, variant: str) -> Outcome:
    """Sample one problem; `variant` is ``centered`` or ``noncentered``.

    Warm-up is nutpie's default length, shorter than the others', which is part of its design.
    """
    begin = time.perf_counter()
    import nutpie
    import pymc  # noqa: F401

    imported = time.perf_counter() - begin
    begin = time.perf_counter()
    module = import_module(f"benchmarks.models.{key}.pymc_model")
    model = module.build(read_arrays(key, table), is_centered=variant == "centered")
    built = time.perf_counter() - begin
    begin = time.perf_counter()
    compiled = nutpie.compile_pymc_model(model, backend="numba")
    compile_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    tree = nutpie.sample(
        compiled,
        draws=settings.draws,
        chains=settings.chains,
        cores=settings.cores,
        seed=settings.seed,
        progress_bar=False,
    )
    total = time.perf_counter() - begin
    posterior, stats = tree["posterior"], tree["sample_stats"]
    gradients = {
        "warmup": float(tree["warmup_sample_stats"]["n_steps"].sum()),
        "sampling": float(stats["n_steps"].sum()),
    }
    seconds = {"import": imported, "build": built, "compile": compile_seconds}
    return Outcome(
        {name: posterior[name].to_numpy() for name in QUANTITIES if name in posterior},
        int(stats["diverging"].sum()),
        seconds | split_by_gradients(total, gradients),
        gradients,
        split="by gradients",
        notes=(f"{tree['warmup_posterior'].sizes['draw']} warm-up iterations, nutpie's default",),
    )
