"""The verb `sample`: from a model to a fit. Pilot, estimate, NUTS, unfolding, labels."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from hierarchical_twin.dims import group_suffix
from hierarchical_twin.errors import BackendError, Problem, SamplingError, nearest
from hierarchical_twin.graph.build import Model
from hierarchical_twin.inference.device import Place, choose_place, float64_on
from hierarchical_twin.inference.draws import unfold_draws
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.inference.label import Record, label_draws
from hierarchical_twin.inference.no_pooling import no_pooling_estimates
from hierarchical_twin.inference.nuts import Draws, Progress, Schedule, run_nuts
from hierarchical_twin.inference.pilot import NOT_FINITE, Pilot, find_pilot, jittered_starts
from hierarchical_twin.spec.write import write_spec

BACKENDS = ("numpyro", "pymc")


@dataclass(frozen=True)
class Estimate:
    """What a run is likely to cost, said before it starts.

    Attributes
    ----------
    parameters : int
        Unconstrained coordinates.
    gradient_seconds : float
        Wall time of one gradient.
    least_seconds, most_seconds : float
        Sampling time if trajectories take 7, or 127, gradients; compiling is not in it.
    """

    parameters: int
    gradient_seconds: float
    least_seconds: float
    most_seconds: float

    def __str__(self) -> str:
        gradient = f"{1e6 * self.gradient_seconds:,.0f} µs"
        span = f"{_readable(self.least_seconds)} to {_readable(self.most_seconds)}"
        return f"{self.parameters:,} parameters, {gradient} a gradient: about {span} of sampling"


def sample(
    model: Model,
    *,
    backend: str = "numpyro",
    chains: int = 4,
    draws: int = 1000,
    warmup: int = 1000,
    seed: int = 0,
    target_accept: float = 0.95,
    max_tree_depth: int = 10,
    device: str = "auto",
    workers: int | None = None,
    progress: bool = True,
    announce: Callable[[str], None] | None = None,
) -> Fit:
    """Sample the posterior with NUTS.

    Parameters
    ----------
    model : Model
        From `build`.
    backend : {"numpyro", "pymc"}
        Whose log density is sampled; the posterior is the same.
    chains, draws, warmup : int
        Draws are per chain, after `warmup` iterations of adaptation.
    seed : int
        The same seed gives the same draws, on any number of workers.
    target_accept : float
        Acceptance rate the step size is adapted to; higher is more careful and slower.
    max_tree_depth : int
        A trajectory has at most ``2**max_tree_depth - 1`` steps.
    device : {"auto", "cpu", "gpu"}
        ``auto`` takes a GPU when JAX sees one.
    workers : int, optional
        Chains at once on a CPU; the cores available by default.
    progress : bool
        Show a progress bar on standard error.
    announce : callable, optional
        Called with a line of text before sampling: what it will cost; and after Ctrl-C: what is kept.

    Returns
    -------
    Fit
        Whatever its convergence: `Fit.diagnostics` says it. After Ctrl-C it holds what was drawn.

    Raises
    ------
    BackendError
        The backend or device is unknown or missing.
    SamplingError
        The model has no finite density at its start, or a number is out of range.
    KeyboardInterrupt
        Ctrl-C before the first draw after warm-up, or a second one: nothing is kept.

    Notes
    -----
    Runs in double precision and leaves JAX's global settings alone.
    """
    if not isinstance(model, Model):
        hint = "ht.build(spec, cohort) makes one"
        raise SamplingError(Problem("sample", f"a {type(model).__name__}", "a Model", hint))
    schedule = _schedule(chains, draws, warmup, seed, target_accept, max_tree_depth)
    flat_log_density = _backend(backend)
    place = choose_place(device, chains, workers)
    clock = {"start": time.perf_counter()}
    with float64_on(place):
        pilot = find_pilot(model)
        _check_start(pilot)
        clock["pilot"] = time.perf_counter()
        if announce is not None:
            announce(_announcement(pilot, schedule, place))
        starts = jittered_starts(pilot, model, chains, seed)
        with _watcher(progress) as watch:
            drawn = run_nuts(flat_log_density(model), starts, schedule, place=place, watch=watch)
        if drawn.positions.shape[1] == 0:
            raise KeyboardInterrupt("stopped during warm-up: there were no draws to keep")
        if drawn.is_interrupted and announce is not None:
            kept = f"the {drawn.positions.shape[1]:,} of {draws:,} draws that every chain has made"
            announce(f"INTERRUPTED: keeping {kept}; Ctrl-C again gives them up")
        clock["nuts"] = time.perf_counter()
        unfolded = unfold_draws(model, drawn.positions, seed=seed)
        alone = no_pooling_estimates(pilot, model, drawn.positions, unfolded.posterior)
    clock["unfold"] = time.perf_counter()
    record = Record(unfolded.posterior, drawn.stats, unfolded.log_likelihood, unfolded.replicates, alone)
    attributes = {
        **_provenance(model, backend, place, schedule),
        "is_interrupted": int(drawn.is_interrupted),
        "timings": json.dumps(_timings(clock, drawn)),
    }
    return Fit(label_draws(model, record, attributes))


def _schedule(
    chains: int, draws: int, warmup: int, seed: int, target_accept: float, max_tree_depth: int
) -> Schedule:
    problems = [
        Problem(f"sample {word}", repr(value), f"a whole number from {least} to {most}")
        for word, value, least, most in (
            ("chains", chains, 1, 10_000),
            ("draws", draws, 1, 10_000_000),
            ("warmup", warmup, 1, 10_000_000),
            ("seed", seed, 0, 2**63 - 1),
            ("max_tree_depth", max_tree_depth, 1, 20),
        )
        if not isinstance(value, int | np.integer) or not least <= value <= most
    ]
    if not isinstance(target_accept, float | int | np.floating) or not 0 < target_accept < 1:
        problems.append(Problem("sample target_accept", repr(target_accept), "a number between 0 and 1"))
    if problems:
        raise SamplingError(problems)
    return Schedule(chains, warmup, draws, int(seed), target_accept, max_tree_depth)


def _backend(name: str) -> Callable[[Model], Callable[[Any], Any]]:
    if name not in BACKENDS:
        raise BackendError(
            Problem("backend", f"'{name}'", f"one of {', '.join(BACKENDS)}", nearest(name, BACKENDS))
        )
    try:
        return import_module(f"hierarchical_twin.backends.{name}").flat_log_density
    except ImportError as error:
        raise BackendError(Problem(f"backend {name}", str(error), "an installed package")) from error


def _check_start(pilot: Pilot) -> None:
    value, _ = pilot.objective(pilot.position)
    if value < NOT_FINITE:
        return
    raise SamplingError(
        Problem(
            "start of sampling",
            "a log density that is not finite at the middle of the priors",
            "priors under which the data are possible",
            "try wider priors, or run 'hierarchical-twin check SPEC DATA'",
        )
    )


def _announcement(pilot: Pilot, schedule: Schedule, place: Place) -> str:
    gradients = schedule.chains * schedule.iterations / place.workers
    estimate = Estimate(
        pilot.position.size,
        pilot.gradient_seconds,
        7 * gradients * pilot.gradient_seconds,
        127 * gradients * pilot.gradient_seconds,
    )
    at_once = f"{place.workers} at once on the {place.kind.upper()}"
    plan = f"{schedule.chains} chains of {schedule.warmup} + {schedule.draws}, {at_once}, float64"
    return f"{plan}; {estimate}"


def _readable(seconds: float) -> str:
    if seconds < 1:
        return "under a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _watcher(is_shown: bool) -> Any:
    from contextlib import nullcontext

    def silent(progress: Progress) -> None:
        del progress

    if not is_shown:
        return nullcontext(silent)
    return import_module("hierarchical_twin.inference.progress").progress_bar()


def _provenance(model: Model, backend: str, place: Place, schedule: Schedule) -> dict[str, str | int | float]:
    text = write_spec(model.spec)
    packages = ("hierarchical_twin", "jax", "numpyro", "pymc", "arviz-stats", "xarray", "numpy")
    return {
        "spec": text,
        "spec_hash": sha256(text.encode()).hexdigest(),
        "data_hash": model.cohort.data_hash,
        "data_source": model.cohort.report.source,
        "data_report": str(model.cohort.report),
        "seed": schedule.seed,
        "backend": backend,
        "device": place.kind,
        "parameterization": json.dumps(sampled_parameterization(model)),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": json.dumps(
            {name: _version(name) for name in packages} | {"python": platform.python_version()}
        ),
        "max_tree_depth": schedule.max_tree_depth,
        "target_accept": schedule.target_accept,
        "warmup": schedule.warmup,
        "command": " ".join(sys.argv[1:]),
    }


def sampled_parameterization(model: Model) -> dict[str, dict[str, str]]:
    """How each random effect of a built model is sampled: group to effect to ``centered`` or not."""
    sampled = {node.name for node in model.graph.samples}
    return {
        group: {
            effect.label: "centered"
            if f"centered_{effect.label}{group_suffix(group)}" in sampled
            else "noncentered"
            for effect in effects
        }
        for group, effects in model.cohort.effects.items()
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _timings(clock: Mapping[str, float], drawn: Draws) -> dict[str, float]:
    return {
        "pilot": clock["pilot"] - clock["start"],
        "compile": drawn.seconds["compile"],
        "sample": drawn.seconds["sample"],
        "unfold": clock["unfold"] - clock["nuts"],
        "gradients": drawn.seconds["gradients"],
    }
