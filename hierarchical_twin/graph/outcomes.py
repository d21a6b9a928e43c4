"""How an outcome is observed: its residual parameters, its likelihood, the precision of a measurement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.dims import diffusion_name
from hierarchical_twin.graph.nodes import Node, Observe, Sample, ahead_of
from hierarchical_twin.graph.parameterization import Measured
from hierarchical_twin.mechanisms import MECHANISMS
from hierarchical_twin.spec.schema import Observation, Spec
from hierarchical_twin.spec.units import working_units

RESIDUALS = ("sigma", "sigma_proportional", "concentration")
"""The residual parameters an observation may declare, in the order they are sampled."""


def declared_residuals(observation: Observation) -> tuple[str, ...]:
    """Words of the residual parameters an observation has."""
    return tuple(word for word in RESIDUALS if getattr(observation, word) is not None)


def residual_nodes(outcome: str, observation: Observation) -> list[Node]:
    """Priors of one outcome's residual parameters."""
    priors = {word: getattr(observation, word) for word in declared_residuals(observation)}
    return [Sample(f"{word}_{outcome}", (), prior.name, prior.arguments) for word, prior in priors.items()]


def observe_node(spec: Spec, cohort: Cohort, outcome: str) -> Observe:
    """The likelihood of one outcome."""
    observation = spec.observations[outcome]
    parameters: list[tuple[str, str | float]] = [
        (word, f"{word}_{outcome}") for word in declared_residuals(observation)
    ]
    if observation.error == "student_t":
        parameters.append(("degrees_of_freedom", float(observation.degrees_of_freedom)))

    def named(kind: str) -> str | None:
        return f"{kind}_{outcome}" if f"{kind}_{outcome}" in cohort.arrays else None

    return Observe(
        name=outcome,
        error=observation.error,
        predicted=f"{outcome}_predicted",
        parameters=tuple(parameters),
        observed=f"observed_{outcome}",
        mask=f"mask_{outcome}",
        censored=named("censored"),
        standard_error=named("standard_error"),
        trials=named("trials"),
        log_predicted=None if log_output(spec, outcome) is None else f"{outcome}_log_predicted",
    )


def filtered_node(measurement: Observe) -> Observe:
    """The likelihood of one outcome given the earlier measurements, as a `Filter` expects it."""
    natural, logarithm, sd = ahead_of(measurement.name)
    is_log = measurement.error == "lognormal"
    return replace(
        measurement,
        error="lognormal" if is_log else "normal",
        predicted=natural,
        log_predicted=logarithm if is_log else None,
        parameters=(("sigma", sd),),
        standard_error=None,
    )


def log_output(spec: Spec, outcome: str) -> str | None:
    """The mechanism's own logarithm of what an outcome predicts, where its error model takes one."""
    words = spec.observations[outcome]
    if words.error != "lognormal":
        return None
    return MECHANISMS[spec.mechanism.name].log_outputs.get(words.predicts)


def measured(spec: Spec, cohort: Cohort, outcome: str) -> Measured:
    """What the precision of an outcome's measurements is made from."""
    observation, arrays = spec.observations[outcome], cohort.arrays
    mask = arrays[f"mask_{outcome}"]
    error = arrays.get(f"standard_error_{outcome}")
    given = declared_residuals(observation)
    residuals = tuple(f"{word}_{outcome}" for word in given)
    mean_square = float(np.mean(arrays[f"observed_{outcome}"][mask] ** 2))
    wandered = _wandered_square(spec, cohort, outcome, mean_square)
    if wandered:
        given, residuals = (*given, "diffusion"), (*residuals, diffusion_name(observation.predicts))
    return Measured(
        error=observation.error,
        residuals=residuals,
        given=given,
        mean_square=mean_square,
        standard_error_square=0.0 if error is None else float(np.mean(error[mask] ** 2)),
        wandered_square=wandered,
    )


def _wandered_square(spec: Spec, cohort: Cohort, outcome: str, mean_square: float) -> float:
    """Variance that a unit of diffusion adds to an outcome from one measurement to the next; 0 without noise."""
    observation = spec.observations[outcome]
    state = MECHANISMS[spec.mechanism.name].states.get(observation.predicts)
    if state is None or observation.predicts not in spec.process_noise:
        return 0.0
    rows = cohort.rows[cohort.rows["outcome"] == outcome]
    gaps = rows.sort_values(["patient_index", "position"]).groupby("patient_index")["time"].diff()
    gap = float(gaps.mean()) if gaps.notna().any() else 1.0
    if not state.is_log:
        return gap * working_units(spec).outcome[outcome] ** 2
    return gap if observation.error == "lognormal" else gap * mean_square
