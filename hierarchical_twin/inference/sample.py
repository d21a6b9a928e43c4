"""The verb `sample`: from a model to a fit. Pilot, estimate, chains, unfolding, labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, nullcontext
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import jaxlib
import numpy as np

from hierarchical_twin.errors import BackendError, Problem, SamplingError
from hierarchical_twin.graph.evaluate import log_density
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.adaptation import learn, learned_from
from hierarchical_twin.inference.ahead import compiling_ahead, guess_loop, result_of
from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.checkpoint import GO_ON, open_checkpoint
from hierarchical_twin.inference.clock import Clock
from hierarchical_twin.inference.device import (
    Place,
    advice_on_scatter,
    choose_place,
    float64_on,
    preparing_place,
)
from hierarchical_twin.inference.draws import Unfolding, compile_unfolding, unfold_draws
from hierarchical_twin.inference.emulator_fit import fit_emulator
from hierarchical_twin.inference.estimate import announcement
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.inference.geometry import is_near_frames
from hierarchical_twin.inference.interrupt import remembered_interrupts
from hierarchical_twin.inference.keeper import Keeper
from hierarchical_twin.inference.label import Record, label_draws
from hierarchical_twin.inference.marginal.density import make_plan
from hierarchical_twin.inference.memory import available_bytes, check_memory, memory_needed
from hierarchical_twin.inference.methods import Finished, prepare_run
from hierarchical_twin.inference.no_pooling import no_pooling_estimates
from hierarchical_twin.inference.nuts import Draws, Progress, Watcher, run_chains
from hierarchical_twin.inference.pilot import (
    NOT_FINITE,
    Pilot,
    draw_starts,
    find_pilot,
    sampled_model,
    without_failing,
)
from hierarchical_twin.inference.provenance import provenance, timings
from hierarchical_twin.inference.resume import describe_run, kept_emulator, kept_pilot
from hierarchical_twin.inference.settings import WARMUP_AGAIN, Schedule, Settings, check_settings, settle
from hierarchical_twin.inference.summarise import check_patients, summarise_draws
from hierarchical_twin.inference.trial import gradient_trial


def sample(
    model: Model,
    *,
    backend: str = "numpyro",
    method: str = "auto",
    chains: int = 4,
    draws: int = 1000,
    warmup: int | None = None,
    thin: int = 1,
    patients: str = "draws",
    seed: int = 0,
    target_accept: float | None = None,
    max_tree_depth: int = 10,
    device: str = "auto",
    workers: int | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    start_from: Fit | None = None,
    progress: bool = True,
    announce: Callable[[str], None] | None = None,
) -> Fit:
    """Sample the posterior with NUTS.

    Parameters
    ----------
    model : Model
        From `build`.
    backend : {"numpyro", "pymc"}
        Whose log density NUTS takes. ``marginal``, the patients' moves of ``blocked``, cohorts cut into
        buckets by length, and polynomials in place of a costly mechanism use the oracle's. The posterior
        is the same.
    method : {"auto", "joint", "blocked", "marginal"}
        ``joint``: one trajectory for the population and all effects. ``blocked``: NUTS for the
        population, Metropolis moves for each patient. ``marginal``: NUTS with the effects integrated
        out, then draws of each patient's given the population. ``auto`` counts effects, patients times
        effects of each: from 200 on, if patients are nearly where a pilot fit puts them, it takes
        ``marginal`` where a trial finds the integrals accurate, else ``blocked`` from 300 on; all others
        are ``joint``.
    chains, draws, warmup : int
        Draws are per chain, after `warmup` iterations of adaptation. By default 500 for ``joint``, 300
        for ``blocked``, 200 for ``marginal``, and 100 with `start_from`.
    thin : int
        Of the draws every `thin`-th is kept: 1,000 draws with ``thin=5`` keep 200 a chain.
    patients : {"draws", "summary"}
        What is kept of each patient: draws, log likelihood and replicates, or statistics of the draws
        (mean, SD, quantiles, R-hat, ESS), which take far less memory in large cohorts.
    seed : int
        The same seed gives the same draws on the same machine, on any number of workers.
    target_accept : float, optional
        Acceptance rate the step size is adapted to; higher is more careful and slower. By default 0.95
        for ``joint`` (0.98 without patient effects), 0.9 for ``blocked``, 0.8 for ``marginal``.
    max_tree_depth : int
        A trajectory has at most ``2**max_tree_depth - 1`` steps.
    device : {"auto", "cpu", "gpu"}
        ``auto`` times a gradient of the whole model on both where JAX sees a GPU, takes the faster and
        says why.
    workers : int, optional
        Chains at once on a CPU; the cores available by default.
    checkpoint : path, optional
        A folder in which the run is saved every few seconds. Delete it once the fit is saved.
    resume : bool
        Go on with the unfinished run in `checkpoint`: the same call gives the draws, bit for bit, that it
        would have given had nothing stopped it.
    start_from : Fit, optional
        A fit of the same spec, to other data: its posterior's shape is where adaptation starts.
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
        The model has no finite density at its start, a number is out of range, `start_from` is a fit of
        another spec, or `checkpoint` is damaged, in use, or of a run that was asked something else.
    KeyboardInterrupt
        Ctrl-C before the first draw after warm-up, or a second one: nothing is kept but the checkpoint.

    Notes
    -----
    Runs in double precision and leaves JAX's global settings alone.
    """
    if not isinstance(model, Model):
        hint = "ht.build(spec, cohort) makes one"
        raise SamplingError(Problem("sample", f"a {type(model).__name__}", "a Model", hint))
    if warmup is None and start_from is not None:
        warmup = WARMUP_AGAIN
    schedule = Schedule(chains, warmup, draws, seed, thin)
    settings = check_settings(schedule, backend, method, target_accept, max_tree_depth)
    check_patients(patients)
    flat_log_density = _backend(backend)
    old = None if start_from is None else learned_from(start_from, model)
    tell = announce or (lambda line: None)
    clock = Clock()
    with ExitStack() as stack:
        is_interrupted = stack.enter_context(remembered_interrupts())
        keep = stack.enter_context(open_checkpoint(checkpoint, resume=resume))
        device = keep.device(device)
        place = choose_place(device, chains, workers)
        stack.enter_context(compilation_cache(tell))
        stack.enter_context(float64_on(place))
        asked, learned = settings, "none" if old is None else old.hash
        keep.begin(describe_run(model, asked, place, learned))
        ahead = stack.enter_context(compiling_ahead())
        guess = guess_loop(ahead, flat_log_density, model, settings, place=place)
        if guess is None and backend == "numpyro" and method in ("auto", "marginal"):
            # It takes a third of a second, and the marginal method's polynomial needs it.
            ahead.begin(place, lambda: import_module("scipy.stats"))
        with clock.stage("pilot"):
            pilot = kept_pilot(keep, model, find_pilot)
            _check_start(pilot)
            own = sampled_model(model, pilot)
        plan = cache(lambda: make_plan(own, pilot.center, pilot.root))
        with clock.stage("plan"), float64_on(preparing_place(place)):
            settings = settle(
                settings,
                own,
                is_near=lambda: is_near_frames(own, pilot),
                is_integrable=lambda: plan().meets_tolerance,
            )
            schedule = settings.schedule
        memory, available = memory_needed(own, settings, patients, place.workers), available_bytes()
        check_memory(memory, settings, patients, available)
        emulator = None
        if settings.method == "joint":
            with clock.stage("plan"), float64_on(preparing_place(place)):
                fit = partial(fit_emulator, pilot.model, pilot.center, pilot.root, preparing_place(place))
                emulator = kept_emulator(keep, pilot.model, fit)
                # One trajectory for all must not stick where one patient's frame fails.
                firm = without_failing(pilot)
                own, pilot = sampled_model(model, firm, whole=pilot), firm
        tell(announcement(pilot, own, settings, place, memory, available))
        with clock.stage("plan"), float64_on(preparing_place(place)):
            run = prepare_run(flat_log_density, pilot, own, settings, old=old, plan=plan, emulator=emulator)
        if run.note:
            tell(run.note)
        place = _tried_place(place, device, settings, pilot, own, tell)
        unfolding = None
        if patients == "draws":
            unfolding = ahead.begin(place, lambda: compile_unfolding(own, schedule.chains * schedule.kept))
        keep.begin(describe_run(model, asked, place, learned))  # a new run notes where it was tried to be
        stack.enter_context(float64_on(place))
        with _watcher(progress) as watch:
            heed = _heeding(watch, is_interrupted)
            drawn = run_chains(
                run.kernel,
                run.starts,
                run.numbers,
                schedule,
                place=place,
                watch=heed,
                keep=keep,
                # Waited for inside, where the wait counts as compiling.
                ahead=lambda: None if guess is None else guess.take(own, settings, place, run),
            )
        _check_drawn(drawn, schedule, keep, tell)
        with clock.stage("unfold"):
            finished = run.finish(drawn.positions, place)
            record = _record(pilot, own, finished, drawn.stats, clock, place, unfolding, seed=seed)
    attributes = {
        **provenance(own, settings, place),
        "patients": patients,
        "is_interrupted": int(drawn.is_interrupted),
        "timings": json.dumps(timings(clock, drawn.seconds)),
    }
    return Fit(label_draws(own, record, attributes))


def _record(
    pilot: Pilot,
    model: Model,
    finished: Finished,
    stats: Mapping[str, np.ndarray],
    clock: Clock,
    place: Place,
    unfolding: Future[Unfolding] | None,
    *,
    seed: int,
) -> Record:
    """The draws by name, with all that is made from them; statistics of patients if none are to be unfolded."""
    population = finished.population
    learned = learn(model, population, stats)
    if unfolding is None:
        found = summarise_draws(model, population, clock.each("effects", finished.batches()))
        alone = no_pooling_estimates(pilot, model, population, found.population)
        return Record(found.population, stats, {}, {}, alone, learned, finished.integrals(), found.patients)
    with clock.stage("effects"):
        flat = finished.flat()
    named = unfold_draws(model, flat, place, seed=seed, made=result_of(unfolding))
    alone = no_pooling_estimates(pilot, model, population, named.posterior)
    return Record(
        named.posterior, stats, named.log_likelihood, named.replicates, alone, learned, finished.integrals()
    )


def _tried_place(
    place: Place, device: str, settings: Settings, pilot: Pilot, model: Model, tell: Callable[[str], None]
) -> Place:
    """The device to sample on: for ``auto`` the faster in a trial, if there is more than one."""
    chains = settings.schedule.chains
    if device == "auto" and place.kind == "cpu":

        def density(flat: Any, numbers: Any) -> Any:
            return log_density(pilot.model.with_arrays(numbers))(flat)

        points = draw_starts(pilot, chains, settings.schedule.seed)
        trial = gradient_trial(density, pilot.model.numbers, points)
        place = choose_place("auto", chains, place.workers, trial)
    for line in (place.reason, advice_on_scatter(place, model.graph, jaxlib.__version__)):
        if line:
            tell(line)
    return place


def _check_drawn(drawn: Draws, schedule: Schedule, keep: Keeper, tell: Callable[[str], None]) -> None:
    kept = drawn.positions.shape[1]
    if drawn.is_interrupted and keep.is_kept:
        tell(f"INTERRUPTED: the run is saved; {GO_ON} to all {schedule.kept:,} draws")
    if kept == 0:
        raise KeyboardInterrupt("stopped during warm-up: there were no draws to keep")
    if drawn.is_interrupted:
        said = f"the {kept:,} of {schedule.kept:,} draws that every chain has made"
        tell(f"INTERRUPTED: keeping {said}; Ctrl-C again gives them up")


def _backend(name: str) -> Callable[[Model], Callable[..., Any]]:
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


def _watcher(is_shown: bool) -> Any:
    def silent(progress: Progress) -> None:
        del progress

    if not is_shown:
        return nullcontext(silent)
    return import_module("hierarchical_twin.inference.progress").progress_bar()


def _heeding(watch: Watcher, is_interrupted: Callable[[], bool]) -> Watcher:
    """The same, and a look at whether Ctrl-C was pressed and its exception lost."""

    def both(progress: Progress) -> None:
        watch(progress)
        if is_interrupted():
            raise KeyboardInterrupt

    return both
