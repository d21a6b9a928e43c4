"""What a run is likely to cost, said before it starts: time and memory."""

from __future__ import annotations

from dataclasses import dataclass

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.device import Place
from hierarchical_twin.inference.memory import Memory, readable_bytes
from hierarchical_twin.inference.pilot import Pilot
from hierarchical_twin.inference.settings import Settings

GRADIENTS = {"joint": (7, 63), "blocked": (8, 16), "marginal": (1, 25)}
"""Gradients an iteration takes, at least and at most. Marginal: what preparing and drawing effects take, shared out."""


@dataclass(frozen=True)
class Estimate:
    """What a run is likely to cost.

    Attributes
    ----------
    parameters : int
        Unconstrained coordinates.
    gradient_seconds : float
        Wall time of one gradient.
    least_seconds, most_seconds : float
        Sampling time at the least and the most of `GRADIENTS`; compiling is not in it.
    """

    parameters: int
    gradient_seconds: float
    least_seconds: float
    most_seconds: float

    def __str__(self) -> str:
        gradient = f"{1e6 * self.gradient_seconds:,.0f} µs"
        span = _span(self.least_seconds, self.most_seconds)
        return f"{self.parameters:,} parameters, {gradient} a gradient: {span} of sampling"


def estimate_run(pilot: Pilot, settings: Settings, workers: int) -> Estimate:
    """Time of a run, from the pilot's gradient and the gradients an iteration of its method takes.

    Parameters
    ----------
    pilot : Pilot
    settings : Settings
        With the method chosen.
    workers : int
        Chains at once.
    """
    schedule = settings.schedule
    turns = -(-schedule.chains // workers) * schedule.iterations
    least, most = GRADIENTS[settings.method]
    seconds = turns * pilot.gradient_seconds
    return Estimate(pilot.position.size, pilot.gradient_seconds, least * seconds, most * seconds)


def announcement(
    pilot: Pilot, model: Model, settings: Settings, place: Place, memory: Memory, available: int | None
) -> str:
    """The line said before sampling: the plan, how effects are sampled, what it will take.

    Parameters
    ----------
    pilot : Pilot
    model : Model
        The model that will be sampled.
    settings : Settings
    place : Place
    memory : Memory
    available : int, optional
        Bytes, where the system says.
    """
    schedule = settings.schedule
    estimate = estimate_run(pilot, settings, schedule.chains if place.is_batched else place.workers)
    at_once = f"{place.workers} at once on the {place.kind.upper()}"
    chains = f"{schedule.chains} chain{'s' * (schedule.chains != 1)}"
    plan = f"{settings.method}: {chains} of {schedule.warmup} + {schedule.draws}, {at_once}, float64"
    there = "" if available is None else f" ({readable_bytes(available)} available)"
    lines = [f"{plan}; {estimate}; {memory}{there}"]
    fallbacks = model.information.fallbacks if model.information is not None else 0
    if fallbacks:
        instead = (
            "each effect is centred or not, for everybody"
            if model.information.choices.get(PATIENT)
            else "there the population's spread is used"
        )
        lines.append(
            f"the data of {fallbacks:,} patients leave effects undetermined near the pilot fit, or determine them "
            f"far from a Gaussian: {instead}"
        )
    return "\n".join(lines)


def _span(least: float, most: float) -> str:
    if most < 1:
        return "under a second"
    if least < 1:
        return f"up to {_readable(most)}"
    return f"about {_readable(least)} to {_readable(most)}"


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
