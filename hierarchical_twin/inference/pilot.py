"""A pilot fit: where the posterior is, how wide, and what each patient's data say, before NUTS starts.

Effects and population are optimised in turn, never both at once, since the joint mode of a
hierarchical model is a poor place. Effects first, with their SDs held and then set from the effects
found; then, with every patient's likelihood expanded around their effects, the population at the
centre of the informed frames, which is Laplace's approximation of its marginal posterior; then both
again. The curvature there gives the scale on which chains start and move.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from hierarchical_twin.dims import PATIENT, diffusion_name, group_suffix
from hierarchical_twin.graph.blocks import mark_population
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import (
    Slot,
    central_point,
    convert_point,
    layout,
    log_density,
    parameters_at,
)
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.curvature import (
    blank_information,
    make_information,
    outer_choices,
    quadratic_at,
)
from hierarchical_twin.inference.frames import FrameCheck, centring, check_frames, without_frames

Numbers = Mapping[str, np.ndarray]
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]
Repeated = Callable[[jax.Array, int, Numbers], tuple[jax.Array, jax.Array]]

NOT_FINITE = 1e300
"""What the objective returns where minus log density is not finite."""
_OVERDISPERSION = 1.5
_LEAST_OMEGA, _MOST_OMEGA = 0.1, 3.0
_WIDEST = 2.0
_ROUNDS = 2


@dataclass(frozen=True)
class Pilot:
    """What the pilot fit found.

    Attributes
    ----------
    model : Model
        The model with every patient effect informed and outer levels non-centred.
    position : ndarray, shape [size]
        In that model's layout; effects at the centres of their frames.
    root : ndarray, shape [coordinate, coordinate]
        Of the population's approximate posterior covariance, ``root root'``.
    repeated : callable
        The compiled gradient of minus log density; `objective_of` wraps it.
    gradient_seconds : float
        Wall time of one gradient of the log density.
    check : FrameCheck
        Which frames hold.
    """

    model: Model
    position: np.ndarray
    root: np.ndarray
    repeated: Repeated
    gradient_seconds: float
    check: FrameCheck

    @property
    def center(self) -> np.ndarray:
        """The population ``[coordinate]``."""
        return self.position[mark_population(self.model)]

    @property
    def objective(self) -> Objective:
        """Flat point to minus log density and its gradient."""
        return objective_of(self.repeated, self.model.numbers)


def find_pilot(model: Model) -> Pilot:
    """Fit the population and every patient's effects approximately.

    Parameters
    ----------
    model : Model
        In any parameterization.
    """
    blank = informed(model, blank_information(model))
    repeated = repeated_gradient(blank)
    expand = _expansion(blank)
    position = _first_effects(blank, objective_of(repeated, blank.numbers))
    is_population = mark_population(blank)
    current = blank
    for _ in range(_ROUNDS):
        current = informed(model, expand(position, current))
        objective = objective_of(repeated, current.numbers)
        position = np.where(is_population, position, 0.0)
        position = optimise(objective, position, is_population, iterations=60)
        position = optimise(objective, position, ~is_population, iterations=60)
    current = informed(model, expand(position, current))
    objective = objective_of(repeated, current.numbers)
    position = np.where(is_population, position, 0.0)
    position = optimise(objective, position, is_population, iterations=60)
    root = _population_root(objective, position, is_population)
    check = check_frames(current, position, expand.raw)
    seconds = _gradient_seconds(repeated, position, current.numbers)
    return Pilot(current, position, root, repeated, seconds, check)


def without_failing(pilot: Pilot) -> Pilot:
    """The same pilot with the patients non-centred whose frames do not hold, and where these are most, with
    no frames: its model's information then says which effects are to be centred."""
    check = pilot.check
    if not check.failing.any():
        return pilot
    chosen = centring(pilot.model, check)
    known = without_frames(pilot.model.information, check.failing)
    if chosen:
        known = replace(known.blank(), fallbacks=known.fallbacks, choices={PATIENT: chosen})
    model = informed(pilot.model, known)
    convert = jax.jit(lambda flat: convert_point(pilot.model, model, flat))
    return replace(pilot, model=model, position=np.asarray(convert(jnp.asarray(pilot.position))))


def informed(model: Model, information: Information) -> Model:
    """The model with its patient effects informed, whatever is chosen, and outer levels non-centred."""
    chosen = {group: words for group, words in information.choices.items() if group == PATIENT}
    return build(
        model.spec,
        model.cohort,
        parameterization="informed",
        information=replace(information, choices=chosen),
    )


def sampled_model(model: Model, pilot: Pilot, *, whole: Pilot | None = None) -> Model:
    """The model to sample: the caller's, its `auto` and `informed` effects made from the pilot.

    `whole` is the pilot before frames were left out, if any were: by its information it is decided how levels
    above the patient are sampled.
    """
    known = pilot.model.information
    if any(group != PATIENT for group in model.cohort.effects):
        whole = pilot if whole is None else whole
        values = jax.jit(lambda flat: parameters_at(whole.model, flat))(jnp.asarray(whole.position))
        outer = outer_choices(whole.model, values, whole.model.information)
        known = replace(known, choices={**known.choices, **outer})
    return build(model.spec, model.cohort, parameterization=model.parameterization, information=known)


def draw_starts(pilot: Pilot, chains: int, seed: int) -> np.ndarray:
    """Overdispersed points ``[chain, size]`` around the pilot, in its layout, each of finite density."""
    generator = np.random.default_rng([seed, 0x57A27])
    is_population = mark_population(pilot.model)
    objective = pilot.objective
    points = []
    for _ in range(chains):
        step = generator.standard_normal(pilot.position.size)
        step[is_population] = _OVERDISPERSION * pilot.root @ step[is_population]
        points.append(_finite_point(objective, pilot.position, step))
    return np.stack(points)


def convert_points(pilot: Pilot, model: Model, points: np.ndarray) -> np.ndarray:
    """Points ``[point, size]`` of the pilot's layout in another parameterization's."""
    if layout(model) == layout(pilot.model):
        return points
    convert = jax.jit(jax.vmap(lambda point: convert_point(pilot.model, model, point)))
    return np.asarray(convert(jnp.asarray(points)))


def _finite_point(objective: Objective, position: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The pilot's position moved by `step`, or by as much of it as keeps the density finite."""
    for _ in range(20):
        if objective(position + step)[0] < NOT_FINITE:
            return position + step
        step = step / 2
    return position


def _first_effects(model: Model, objective: Objective) -> np.ndarray:
    """Effects and typical values from the middle of the priors, SDs and residual scales in their turn."""
    slots = layout(model)
    position = np.asarray(jax.jit(lambda: central_point(model))())
    residual = _residual_names(model)
    is_residual = mark_slots(slots, position.size, lambda name: name in residual)
    is_held = is_residual | mark_slots(slots, position.size, lambda name: name.startswith("omega"))
    position = optimise(objective, position, ~is_held, iterations=60)
    position = _with_moment_scales(model, position)
    # With the rest they would run to zero, wherever the effects can fit every measurement.
    position = optimise(objective, position, is_residual, iterations=30)
    return optimise(objective, position, ~is_held, iterations=100)


def repeated_gradient(model: Model) -> Repeated:
    """Minus log density and its gradient, computed `times` over in one compiled loop."""

    def repeated(flat: jax.Array, times: int, numbers: Numbers) -> tuple[jax.Array, jax.Array]:
        density = log_density(model.with_arrays(numbers))
        gradient = jax.value_and_grad(lambda flat: -density(flat))

        def again(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            # Each turn depends on the last, or the compiler would compute it once.
            return gradient(flat + 1e-300 * carry[1])

        return jax.lax.fori_loop(0, times, again, (jnp.zeros(()), jnp.zeros_like(flat)))

    return jax.jit(repeated)


def objective_of(repeated: Repeated, numbers: Numbers) -> Objective:
    """Minus log density and gradient over given arrays, as an optimiser wants them."""
    held = {name: jnp.asarray(value) for name, value in numbers.items()}

    def objective(position: np.ndarray) -> tuple[float, np.ndarray]:
        # NumPy's arrays as they are: to make them JAX's first takes as long as the rest of a call.
        value, slope = repeated(position, 1, held)
        value = float(value)
        if not np.isfinite(value):  # L-BFGS steps back from a wall, but not from NaN.
            return NOT_FINITE, np.zeros_like(position)
        return value, np.nan_to_num(np.asarray(slope))

    return objective


@dataclass(frozen=True)
class _Expansion:
    """From a flat point of an informed model to what its patients' data say there.

    `raw` gives node values and what `quadratic_at` returns.
    """

    raw: Callable[[np.ndarray, Model], tuple]

    def __call__(self, flat: np.ndarray, current: Model) -> Information:
        values, expanded = self.raw(flat, current)
        return make_information(current, values, expanded)


def _expansion(model: Model) -> _Expansion:

    @jax.jit
    def at(flat: jax.Array, numbers: Numbers) -> tuple:
        own = model.with_arrays(numbers)
        values = parameters_at(own, flat)
        kept = {
            name: value for name, value in values.items() if name.startswith(("omega", *_residual_names(own)))
        }
        return kept, quadratic_at(own)(flat)

    return _Expansion(lambda flat, current: at(jnp.asarray(flat), current.numbers))


def _gradient_seconds(repeated: Repeated, position: np.ndarray, numbers: Numbers) -> float:
    """Wall time of one gradient inside a compiled loop, where dispatch from Python does not count."""
    point = jnp.asarray(position)
    held = {name: jnp.asarray(value) for name, value in numbers.items()}

    def best(times: int) -> float:
        walls = []
        for _ in range(3):
            start = time.perf_counter()
            jax.block_until_ready(repeated(point, times, held))
            walls.append(time.perf_counter() - start)
        return min(walls)

    return max(best(11) - best(1), 1e-6) / 10


def _residual_names(model: Model) -> tuple[str, ...]:
    """Random variables that say how measurements err."""
    residual = [
        given for node in model.graph.measurements for _, given in node.parameters if isinstance(given, str)
    ]
    return (*residual, *(diffusion_name(state) for state in model.spec.process_noise))


def mark_slots(slots: tuple[Slot, ...], size: int, is_marked: Callable[[str], bool]) -> np.ndarray:
    """Boolean ``[size]``: the coordinates of the slots whose names are marked."""
    marked = np.zeros(size, dtype=bool)
    for slot in slots:
        marked[slot.start : slot.stop] = is_marked(slot.name)
    return marked


def optimise(objective: Objective, start: np.ndarray, is_free: np.ndarray, *, iterations: int) -> np.ndarray:
    """Minimise over the free coordinates by L-BFGS; the start itself where that fails."""
    if not is_free.any():
        return start

    def restricted(free: np.ndarray) -> tuple[float, np.ndarray]:
        position = start.copy()
        position[is_free] = free
        value, slope = objective(position)
        return value, slope[is_free]

    found = minimize(restricted, start[is_free], jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    end = start.copy()
    end[is_free] = found.x
    return end if np.isfinite(found.fun) and found.fun < NOT_FINITE else start


def _with_moment_scales(model: Model, position: np.ndarray) -> np.ndarray:
    """Set each effect's SD from the spread of the effects found, keeping the effects themselves."""
    starts = {slot.name: slot for slot in layout(model)}
    moved = position.copy()
    for group, effects in model.cohort.effects.items():
        suffix = group_suffix(group)
        for place, effect in enumerate(effects):
            omega = _coordinate(starts, f"omega{suffix}", place, f"omega{suffix}_{effect.label}")
            if group == PATIENT:
                slot = starts[f"eta_{effect.label}"]
                own = slice(slot.start, slot.stop)
            else:
                slot = starts[f"z{suffix}"]
                own = slice(slot.start + place, slot.stop, len(effects))
            ratio = np.clip(np.sqrt(np.mean(position[own] ** 2)), _LEAST_OMEGA, _MOST_OMEGA)
            moved[omega] += np.log(ratio)
            moved[own] /= ratio
    return moved


def _coordinate(slots: Mapping[str, Slot], vector: str, place: int, scalar: str) -> int:
    """Where one SD stands: in the vector of its level, or alone where the priors' families differ."""
    return slots[vector].start + place if vector in slots else slots[scalar].start


def _population_root(objective: Objective, position: np.ndarray, is_population: np.ndarray) -> np.ndarray:
    """Root of the population's covariance, from differences of gradients at the centre of the frames."""
    places = np.flatnonzero(is_population)
    step = 1e-3
    rows = []
    for index in places:
        moved = position.copy()
        moved[index] += step
        above = objective(moved)[1][places]
        moved[index] -= 2 * step
        rows.append((above - objective(moved)[1][places]) / (2 * step))
    curvature = np.clip(np.nan_to_num((np.array(rows) + np.array(rows).T) / 2), -1e30, 1e30)
    size, vectors = np.linalg.eigh(curvature)
    # A direction the data do not curve is as wide as a start should ever be.
    return vectors / np.sqrt(np.maximum(size, 1.0 / _WIDEST**2))
