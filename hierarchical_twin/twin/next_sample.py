"""The verb `next_sample`: how much narrower an interval becomes by one more measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval
from hierarchical_twin.analysis.statements import NUMBER
from hierarchical_twin.analysis.weighted import weighted_quantiles
from hierarchical_twin.cohort.inputs import coordinate_of
from hierarchical_twin.errors import DataError, Problem, SamplingError, nearest
from hierarchical_twin.graph.likelihood import Errors, draw_observation, log_likelihood
from hierarchical_twin.graph.nodes import Observe
from hierarchical_twin.inference.cache import compilation_cache
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.inference.label import variable_units
from hierarchical_twin.spec.conversion import unit_factor
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.twin.as_fit import resampled
from hierarchical_twin.twin.course import (
    Course,
    Plan,
    Track,
    follow,
    lay_track,
    read_times,
    unit_along,
    values_along,
)
from hierarchical_twin.twin.twin import Twin

Array = Any
SIMULATIONS = 200
"""Measurements that are simulated at each candidate, unless asked otherwise."""
_FEW = 50
_EDGE = 1e-12
_PERTURBATIONS, _PERTURBED = 16, 50
_MC_PROB_Z = 1.6448536269514722
_PLACE = re.compile(rf"(?P<name>\w+)\s+at\s+(?P<place>{NUMBER})\s*(?P<unit>[^\d.\s].*)?")


def next_sample(
    twin: Twin,
    of: str,
    candidates: Sequence[float] | np.ndarray,
    *,
    outcomes: Sequence[str] | None = None,
    prob: float = DEFAULT_PROB,
    plan: Plan | None = None,
    scenario: Mapping[str, Any] | None = None,
    simulations: int = SIMULATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """How much narrower an interval is expected to be after one more measurement, at each candidate time.

    Parameters
    ----------
    twin : Twin
    of : str
        What the interval is of: a parameter or derived quantity (``S_I``), or an outcome or state at a time
        (``volume at 90``, its true value there).
    candidates : sequence of float
        Times at which a measurement could be taken, in the spec's unit; values of the coordinate for a
        mechanism without time.
    outcomes : sequence of str, optional
        What could be measured; every outcome without it.
    prob : float
        Probability inside the interval.
    plan, scenario
        As in `forecast`.
    simulations : int
        Measurements simulated at each candidate.
    seed : int

    Returns
    -------
    pandas.DataFrame
        One row for each outcome and candidate: ``outcome, time, of, unit, width`` (now), ``expected`` (mean
        width after the measurement), ``ratio`` (of the two: small is good), ``error`` (Monte Carlo standard
        error of the ratio: of the simulations and of the particles), ``lower, upper`` (its limits with
        probability 0.9), ``effective`` (mean effective particles after a measurement), ``note``.

    Raises
    ------
    SamplingError
        `of` or an outcome is not known, or `prob` is not between 0 and 1.
    DataError
        The candidates are no numbers, `simulations` is no number from 1, or the plan cannot be read.

    Notes
    -----
    Preposterior analysis (Raiffa and Schlaifer 1961, Applied Statistical Decision Theory): measurements are
    simulated from the particles by their weights, and each reweights the particles but the one it came
    from. Precisions and trials of a new measurement are the cohort's median ones. Limits of quantification
    are not looked at.
    """
    check_interval(prob, "equal-tailed")
    spec, model = twin.population.model.spec, twin.population.model
    grid = read_times(candidates, "next_sample candidates")
    target = _target(twin, of)
    asked = grid if target.place is None else np.append(grid, target.place)
    track = lay_track(twin, asked, plan=plan, scenario=scenario)
    course = follow(track, twin.particles)
    values = (
        twin.parameters[target.name] if target.place is None else values_along(course, target.name)[:, -1]
    )
    tails = ((1 - prob) / 2, (1 + prob) / 2)
    low, high = weighted_quantiles(values, twin.weights, tails)
    if not high > low:
        expected = "a quantity whose interval has a width"
        raise SamplingError(Problem(f"next_sample of '{of}'", f"{low:g} for certain", expected))
    chosen = resampled(twin, _checked(simulations), seed)
    parts = []
    with compilation_cache(), float64_on(choose_place("cpu", 1)):
        for number, node in enumerate(_nodes(model.graph.measurements, outcomes)):
            known = _ordered(node, values, twin, chosen)
            keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), len(grid))
            for place, time in enumerate(grid):
                seen = _seen(node, track, course, (place, known.order))
                told = _row(_widths(known, seen, keys[place], node=node, tails=tails))
                note = _left_out(spec, node.name, float(time))
                if note:  # it would not be used
                    told |= {"expected": told["width"], "ratio": 1.0, "error": 0.0}
                    told |= {"lower": 1.0, "upper": 1.0, "note": note}
                parts.append({"outcome": node.name, "time": time, "of": of, "unit": target.unit, **told})
    return pd.DataFrame(parts)


class _Ordered(NamedTuple):
    """Particles in order of what an interval is of.

    `order` and `values` ``[particle]``; `chosen` ``[simulation]``, whose measurements are simulated;
    `log_weights` and the error model's `parameters` ``[particle]``; `others` ``[perturbation, particle]``.
    """

    order: Array
    values: Array
    chosen: Array
    log_weights: Array
    parameters: Mapping[str, Array]
    others: Array


class _Seen(NamedTuple):
    """A candidate: predictions ``[particle]``, their logarithms, and how precisely it is measured."""

    predicted: Array
    logs: Array
    precision: Mapping[str, Array]


class _Widths(NamedTuple):
    """Widths of an interval.

    `after` each simulated measurement and the `effective` particles then, ``[simulation]``; the width `now`;
    and how far `apart` mean ratios are over other particles that might have been drawn, as an SD.
    """

    after: Array
    effective: Array
    now: Array
    apart: Array


@dataclass(frozen=True)
class _Target:
    """What an interval is of, in its unit, and where where it is of something along time."""

    name: str
    unit: str
    place: float | None = None


def _target(twin: Twin, of: str) -> _Target:
    where, spec = f"next_sample of '{of}'", twin.population.model.spec
    if of in twin.parameters:
        return _Target(of, variable_units(twin.population.model).get(of, "1"))
    read = _PLACE.fullmatch(str(of).strip())
    if read is None:
        known = tuple(twin.parameters)
        expected = f"one of {', '.join(known)}; or an outcome or state at a time, such as 'volume at 90'"
        raise SamplingError(Problem(where, f"'{of}'", expected, nearest(str(of), known)))
    unit, place = unit_along(spec, read["name"], where), float(read["place"])
    if read["unit"]:
        coordinate = coordinate_of(spec)
        axis = spec.inputs[coordinate].unit if coordinate else spec.time.unit if spec.time else "1"
        place *= unit_factor(read["unit"], axis, where=where)
    return _Target(read["name"], unit, place)


def _checked(simulations: int) -> int:
    if not isinstance(simulations, int | np.integer) or isinstance(simulations, bool) or simulations < 1:
        expected = f"a whole number from 1, such as {SIMULATIONS}"
        raise DataError(Problem("next_sample simulations", repr(simulations), expected))
    return int(simulations)


def _nodes(observes: Sequence[Observe], outcomes: Sequence[str] | None) -> list[Observe]:
    known = {node.name: node for node in observes}
    asked = list(known) if outcomes is None else [outcomes] if isinstance(outcomes, str) else list(outcomes)
    problems = [
        Problem("next_sample outcomes", f"'{name}'", f"one of {', '.join(known)}", nearest(str(name), known))
        for name in asked
        if name not in known
    ]
    if problems or not asked:
        raise SamplingError(problems or [Problem("next_sample outcomes", "none", "at least one outcome")])
    return [known[name] for name in asked]


def _ordered(node: Observe, values: np.ndarray, twin: Twin, chosen: np.ndarray) -> _Ordered:
    """Particles in order of what the interval is of."""
    # Particles without weight stand above all others, where no quantile is drawn to them.
    counts = twin.weights > 0
    values = np.where(counts, values, values[counts].max())
    order = np.argsort(values)
    parameters = {
        word: twin.population.draws[given][twin.particles.draw[order]] if isinstance(given, str) else given
        for word, given in node.parameters
    }
    # Weights of a Bayesian bootstrap say what other particles might have said (Rubin 1981).
    others = np.random.default_rng(0xB007).exponential(size=(_PERTURBATIONS, len(values)))
    log_weights = np.where(counts, twin.particles.log_weights, -np.inf)[order]
    return _Ordered(order, values[order], np.argsort(order)[chosen], log_weights, parameters, np.log(others))


def _seen(node: Observe, track: Track, course: Course, at: tuple[int, np.ndarray]) -> _Seen:
    """A candidate, with particles in some order."""
    place, order = at
    predicted = course.predicted[node.name][order, place]
    # Without the mechanism's own logarithm, what it would be is never looked at.
    logs = course.log_predicted[node.name][order, place] if node.log_predicted else predicted
    position = track.position[node.name][place]
    precision = {
        word: track.arrays[name][0, position]
        for word, name in (("standard_error", node.standard_error), ("trials", node.trials))
        if name is not None
    }
    return _Seen(predicted, logs, precision)


@partial(jax.jit, static_argnames=("node", "tails"))
def _widths(
    known: _Ordered, seen: _Seen, key: Array, *, node: Observe, tails: tuple[float, float]
) -> _Widths:
    """Widths after simulated measurements of an outcome at a candidate."""

    def errors(at: Array | slice) -> Errors:
        own = {word: given[at] if jnp.ndim(given) else given for word, given in known.parameters.items()}
        return Errors(node.error, own, **seen.precision)

    def after(weights: Array) -> tuple[Array, Array]:
        share = jax.nn.softmax(weights)
        low, high = jnp.interp(jnp.asarray(tails), jnp.cumsum(share) - share / 2, known.values)
        return high - low, 1 / jnp.sum(share**2)

    def weights_after(value: Array, own: Array) -> Array:
        logs = None if node.log_predicted is None else seen.logs
        gain = log_likelihood(errors(slice(None)), value, seen.predicted, None, logs)
        return (known.log_weights + jnp.where(jnp.isnan(gain), -jnp.inf, gain)).at[own].set(-jnp.inf)

    def perturbed(weights: Array) -> Array:
        return jax.vmap(lambda more: after(weights + more)[0])(known.others)

    measured = draw_observation(errors(known.chosen), key, seen.predicted[known.chosen])
    if node.error == "beta":  # a draw may round to 0 or 1, where there is no density
        measured = jnp.clip(measured, _EDGE, 1 - _EDGE)
    simulated = (measured, known.chosen)
    first = jax.tree.map(lambda value: value[:_PERTURBED], simulated)
    others = jax.lax.map(lambda given: perturbed(weights_after(*given)), first, batch_size=5)
    apart = jnp.std(jnp.mean(others, axis=0) / perturbed(known.log_weights))
    widths, effective = jax.lax.map(lambda given: after(weights_after(*given)), simulated, batch_size=20)
    return _Widths(widths, effective, after(known.log_weights)[0], apart)


def _row(found: _Widths) -> dict[str, Any]:
    width = float(found.now)
    ratios = np.asarray(found.after) / width
    sure = np.isfinite(ratios)
    ratio = float(ratios[sure].mean()) if sure.any() else np.nan
    error = float(np.hypot(ratios[sure].std() / np.sqrt(max(sure.sum(), 1)), found.apart))
    few = float(np.mean(found.effective))
    note = f"about {few:.0f} effective particles are left: start the twin with more" if few < _FEW else ""
    return {
        "width": width,
        "expected": ratio * width,
        "ratio": ratio,
        "error": error,
        "lower": max(ratio - _MC_PROB_Z * error, 0.0),
        "upper": ratio + _MC_PROB_Z * error,
        "effective": few,
        "note": note,
    }


def _left_out(spec: Spec, outcome: str, time: float) -> str:
    """Why a measurement would not be used, if the spec leaves it out."""
    words = spec.observations[outcome]
    if words.from_time is not None and time < words.from_time:
        return f"the spec leaves out what is measured before {words.from_time:g}"
    if words.until_time is not None and time > words.until_time:
        return f"the spec leaves out what is measured after {words.until_time:g}"
    return ""
