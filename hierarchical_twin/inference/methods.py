"""The ways to sample a posterior: what each needs to run its chains, and what their draws mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.blocks import count_effects, mark_population
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.adaptation import Learned, geometry_from, population_names
from hierarchical_twin.inference.delayed import Walks, delayed_kernel
from hierarchical_twin.inference.device import Place
from hierarchical_twin.inference.emulator import Emulator
from hierarchical_twin.inference.geometry import Geometry, Starts, find_geometry, starts_in
from hierarchical_twin.inference.kernels import (
    Adaptation,
    Kernel,
    Numbers,
    blocked_kernel,
    joint_kernel,
    joint_potential,
    population_kernel,
    starts_along,
)
from hierarchical_twin.inference.label import Integrals
from hierarchical_twin.inference.marginal.conditional import PatientDraws, draw_effects, flat_draws
from hierarchical_twin.inference.marginal.density import Plan, log_prior, marginal_log_density, stand_in
from hierarchical_twin.inference.marginal.surrogate import GOOD_SPREAD, Surrogate
from hierarchical_twin.inference.marginal.verdict import Weights, estimate_shifts, judge
from hierarchical_twin.inference.pilot import Pilot
from hierarchical_twin.inference.settings import Settings
from hierarchical_twin.inference.summarise import PatientBatch, effect_batches, population_draws
from hierarchical_twin.inference.target import Target, make_target

_TRANSITIONS = 2
"""Of NUTS along polynomials between two draws: they cost a fraction of what the time was estimated by."""
_PATIENTS_PER_STEP = 20
"""Of all patients, for one more step that each then takes alone: the more, the likelier that one is misjudged."""
_DRAWS_PER_WALK = 2
"""Of the population, by integrals that cost far more than the polynomial."""
_NOTE = (
    "chains follow polynomials of each patient's mechanism, which cost less; where they end, the mechanism "
    "itself accepts or refuses, and then moves patients alone"
)


@dataclass(frozen=True)
class Run:
    """What the chains of a method are run with; `finish` reads the positions that they return, at a place.

    `note` is what a user should know of it, if anything.
    """

    kernel: Kernel
    starts: Any
    numbers: Any
    finish: Callable[[np.ndarray, Place], Finished]
    note: str = ""


@dataclass(frozen=True)
class Finished:
    """Draws of the posterior, as the whole or block by block.

    Attributes
    ----------
    population : ndarray, shape [chain, draw, coordinate]
    flat : callable
        To draws ``[chain, draw, size]`` of the model's flat vector.
    batches : callable
        To the patients' effects, some patients at a time.
    integrals : callable
        To how well the effects were integrated out, after either of the two; None where they were not.
    """

    population: np.ndarray
    flat: Callable[[], np.ndarray]
    batches: Callable[[], Iterable[PatientBatch]]
    integrals: Callable[[], Integrals | None] = field(default=lambda: None)


def prepare_run(
    density: Callable[[Model], Callable[..., Any]],
    pilot: Pilot,
    model: Model,
    settings: Settings,
    *,
    old: Learned | None,
    plan: Callable[[], Plan],
    emulator: Emulator | None = None,
) -> Run:
    """What a method's chains are run with.

    Parameters
    ----------
    density : callable
        A backend's `flat_log_density`; the marginal method integrates the oracle's.
    pilot : Pilot
    model : Model
        The model to sample.
    settings : Settings
        Its method no longer ``auto``.
    old : Learned, optional
        What an old fit learned of the posterior's shape.
    plan : callable
        Makes, or finds, how the effects are integrated out.
    emulator : Emulator, optional
        What stands in for the mechanism of a joint run.

    Returns
    -------
    Run
        The kernel, the arrays that it starts from and reads, and what its positions mean.
    """
    schedule = settings.schedule
    geometry = find_geometry(pilot, model)
    geometry = geometry if old is None else geometry_from(old, geometry, model)
    starts = starts_in(geometry, pilot, model, schedule.chains, schedule.seed)
    adaptation = Adaptation(schedule.warmup, settings.target_accept, settings.max_tree_depth)
    if settings.method == "marginal":
        planned, kernel, numbers = _population_kernel(plan(), geometry, adaptation)

        def finish(population: np.ndarray, place: Place) -> Finished:
            return _integrated(planned, population, schedule.seed, place)

        return Run(kernel, starts.whitened, numbers, finish)
    target = make_target(model, density)
    make = {"joint": joint_kernel, "blocked": blocked_kernel}[settings.method]
    run = _whole_run(target, model, make(target, adaptation), geometry=geometry, starts=starts)
    if emulator is None:
        return run
    return _emulated(run, target, emulator, adaptation)


def blank_run(density: Callable[[Model], Callable[..., Any]], model: Model, settings: Settings) -> Run:
    """A joint run with nothing in the place of what a pilot tells: to be compiled, not sampled."""
    schedule, population = settings.schedule, int(mark_population(model).sum())
    chains, shape = schedule.chains, (count_effects(model), model.size(PATIENT))
    geometry = Geometry(np.zeros(population), np.eye(population), np.zeros(shape), np.ones(shape))
    points = (np.zeros((chains, population)), np.zeros((chains, *shape)))
    starts = Starts(*points, np.zeros(chains), *points)
    adaptation = Adaptation(schedule.warmup, settings.target_accept, settings.max_tree_depth)
    target = make_target(model, density)
    return _whole_run(target, model, joint_kernel(target, adaptation), geometry=geometry, starts=starts)


def _whole_run(target: Target, model: Model, kernel: Kernel, *, geometry: Geometry, starts: Starts) -> Run:
    """A run whose positions are the model's flat vectors, patients in the target's order."""
    return Run(
        kernel,
        starts.ordered(target.order),
        Numbers(geometry.ordered(target.order), target.numbers),
        lambda positions, place: _whole(model, target, positions),
    )


class _Followed(NamedTuple):
    """The arrays of a model, and of what stands in for its mechanism."""

    model: Any
    emulator: Emulator


def _emulated(run: Run, target: Target, emulator: Emulator, adaptation: Adaptation) -> Run:
    """NUTS along the polynomials, its ends accepted by the target, then patients alone; the starts with slopes
    as NUTS will see them."""

    def density(flat: Any, numbers: _Followed) -> Any:
        return numbers.emulator.log_density(target.model.with_arrays(numbers.model), flat)

    def exact(flat: Any, numbers: Numbers) -> Any:
        return target.density(flat, numbers.model.model)

    def patients(flat: Any, numbers: Numbers) -> Any:
        return target.patients(flat, numbers.model.model)

    near = replace(target, density=density)
    numbers = Numbers(run.numbers.geometry, _Followed(target.numbers, emulator))
    steps = -(-target.model.size(PATIENT) // _PATIENTS_PER_STEP)
    kernel = delayed_kernel(
        joint_kernel(near, adaptation),
        exact,
        adaptation,
        transitions=_TRANSITIONS,
        walks=Walks("effects", steps, patients, partial(joint_potential, near)),
    )
    starts = starts_along(near, run.starts, numbers)
    return replace(run, kernel=kernel, starts=starts, numbers=numbers, note=_NOTE)


class _Integrated(NamedTuple):
    """The arrays of a plan's density and of a patient alone, and what stands in for it, if anything does."""

    plan: Any
    lone: Any
    surrogate: Surrogate | None


def _population_kernel(
    plan: Plan, geometry: Geometry, adaptation: Adaptation
) -> tuple[Plan, Kernel, Numbers]:
    """The kernel of a plan, with its arrays, and the plan with what it samples."""
    density, lone = marginal_log_density(plan), plan.lone
    fitted = stand_in(plan, geometry.center, geometry.root)

    def exact(population: Any, numbers: Numbers) -> Any:
        return density(population, numbers.model.plan)

    def whole(whitened: Any, numbers: Numbers) -> Any:
        return exact(numbers.geometry.population(whitened), numbers)

    def polynomial(whitened: Any, numbers: Numbers) -> Any:
        population = numbers.geometry.population(whitened)
        prior = log_prior(lone.with_arrays(numbers.model.lone), population)
        return prior + numbers.model.surrogate.at(population)

    def one(population: Any, numbers: Numbers) -> Any:
        return exact(population, numbers)[None]

    def potential(numbers: Numbers) -> Callable[[Any], Any]:
        return lambda z: -polynomial(z["population"], numbers)

    numbers = Numbers(geometry, _Integrated(plan.numbers, lone.numbers, fitted.surrogate))
    if fitted.surrogate is None:
        return plan, population_kernel(whole, adaptation), numbers
    if fitted.spread > GOOD_SPREAD:
        inner = population_kernel(polynomial, adaptation)
        walks = Walks("population", 1, one, potential, every=_DRAWS_PER_WALK)
        return plan, delayed_kernel(inner, exact, adaptation, walks=walks), numbers
    return replace(plan, surrogate=fitted.surrogate), population_kernel(polynomial, adaptation), numbers


def _whole(model: Model, target: Target, positions: np.ndarray) -> Finished:
    flat = target.restore(positions)
    return Finished(population_draws(model, flat), lambda: flat, lambda: effect_batches(model, flat))


def _integrated(plan: Plan, population: np.ndarray, seed: int, place: Place) -> Finished:
    """Population draws with the effects still to be drawn, patients in the model's order."""
    judged: list[PatientDraws] = []

    def batches() -> Iterator[PatientDraws]:
        judged.clear()
        for batch in draw_effects(plan, population, seed, place):
            judged.append(_without_draws(batch))
            yield batch

    def integrals() -> Integrals:
        order = np.argsort(np.concatenate([batch.patients for batch in judged]))
        weights = Weights(
            *(
                np.concatenate([getattr(batch, word) for batch in judged])[order]
                for word in ("k_hat", "largest", "efficiency")
            )
        )
        names = tuple(population_names(plan.model))
        shifts = estimate_shifts(plan, population)
        verdict = judge(plan, names, shifts, weights)
        return Integrals(weights.k_hat, names, shifts.mean, shifts.sd, verdict.lines)

    return Finished(population, lambda: flat_draws(plan, population, batches()), batches, integrals)


def _without_draws(batch: PatientDraws) -> PatientDraws:
    return replace(batch, effects=np.empty(0))
