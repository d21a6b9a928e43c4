"""This package at its defaults: `read_spec`, `read_cohort`, `build`, `sample`."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.measure import Outcome, Settings, peak_megabytes
from benchmarks.problems import PROBLEMS, Problem

_MOST_PATIENTS = 5000
MOST_DRAWN = 20_000
"""Patients whose draws are kept: of more, the fit keeps statistics."""


def run(key: str, table: Path, settings: Settings, *, method: str | None = None) -> Outcome:
    """Sample one problem; `method` is passed on where it is given."""
    begin = time.perf_counter()
    import hierarchical_twin as ht

    imported = time.perf_counter() - begin
    words = {"chains": settings.chains, "seed": settings.seed, "progress": False}
    if method is not None:
        words["method"] = method
    begin = time.perf_counter()
    spec = ht.read_spec(ht.shipped_specs()[PROBLEMS[key].spec])
    model = ht.build(spec, ht.read_cohort(table, spec))
    built = time.perf_counter() - begin
    if model.size("patient") > MOST_DRAWN:
        words["patients"] = "summary"
    fit = ht.sample(model, **words)
    peak = peak_megabytes()
    return replace(_outcome(fit, PROBLEMS[key], {"import": imported, "build": built}), peak_mb=peak)


def _outcome(fit, problem: Problem, seconds: dict[str, float]) -> Outcome:
    posterior, stats = fit.tree["posterior"], fit.tree["sample_stats"]
    timings = json.loads(fit.attributes["timings"])
    sampling_steps = float(stats["n_steps"].sum()) if "n_steps" in stats else math.nan
    gradients = {"sampling": sampling_steps, "warmup": timings.get("gradients", math.nan) - sampling_steps}
    total, warmup, split = timings["sample"], timings.get("warmup"), "measured"
    if warmup is None:
        warmup = total * gradients["warmup"] / (gradients["warmup"] + gradients["sampling"])
        split = "by gradients"
    # Finding the pilot and preparing are adaptation, drawing effects is sampling: their arithmetic, that is.
    pilot, plan, effects = (
        timings[word] - timings[f"{word}_compile"] for word in ("pilot", "plan", "effects")
    )
    compiling = sum(timings[f"{word}_compile"] for word in ("pilot", "plan", "effects")) + timings["compile"]
    named = {"pilot": pilot, "plan": plan, "effects": effects, "compile": compiling}
    phases = {
        "warmup": warmup + pilot + plan,
        "sampling": total - warmup + effects,
        "unfold": timings["unfold"],
    }
    notes = [str(fit.attributes["method"])]
    if "patient" not in posterior.sizes:
        notes.append("ESS of the population: statistics of patients only")
    elif posterior.sizes["patient"] >= 2 * _MOST_PATIENTS:
        notes.append(f"ESS over about {_MOST_PATIENTS:,} evenly chosen patients")
    return Outcome(
        _draws(posterior, problem),
        int(stats["diverging"].sum()) if "diverging" in stats else 0,
        seconds | named | phases,
        gradients,
        split,
        tuple(notes),
    )


def _draws(posterior, problem: Problem) -> dict[str, np.ndarray]:
    step = max(1, posterior.sizes.get("patient", 0) // _MOST_PATIENTS)

    def linked(name: str, link: str) -> np.ndarray:
        chosen = posterior[name]
        # Every n-th patient of a very large cohort: comparing may not cost more memory than sampling.
        value = (chosen[..., ::step] if "patient" in chosen.dims else chosen).to_numpy()
        return np.log(value) if link == "log" else value

    def stacked(parts: list[np.ndarray]) -> np.ndarray:
        return np.stack(parts, axis=-1)

    draws = {
        "typical": stacked([linked(f"{name}_typical", link) for name, link in problem.links.items()]),
        "omega": posterior["omega"].to_numpy(),
        "sigma": stacked([posterior[name].to_numpy() for name in problem.sigmas]),
    }
    if "patient" in posterior.sizes:
        draws["effects"] = stacked([linked(name, problem.links[name]) for name in problem.effects])
    if problem.beta:
        draws["beta"] = posterior[problem.beta].to_numpy()
    if problem.is_correlated:
        draws["rho"] = posterior["omega_correlation"].to_numpy()[..., 1, 0]
    return draws
