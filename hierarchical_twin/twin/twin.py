"""The value that the verbs of this package take and give: a `Twin`, what it knows and how it came to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval
from hierarchical_twin.analysis.weighted import (
    effective_size,
    weighted_mean,
    weighted_quantiles,
    weighted_sd,
)
from hierarchical_twin.inference.label import variable_units
from hierarchical_twin.twin.particles import Particles
from hierarchical_twin.twin.population import Population

SURPRISING = 0.005
"""Predictive p-value below which a record is said not to fit."""


@dataclass(frozen=True)
class Surprise:
    """How a new measurement compares with what the twin expected of it.

    Attributes
    ----------
    record : str
    outcome : str
    time : float
        NaN where the mechanism has no time.
    value : float
        In the outcome's unit; the limit where censored.
    p_value : float
        Predictive probability of a value as far out, given all the twin knew before (of a correction: but the
        value that it replaces): two-sided; of being beyond the limit where censored. NaN where it is not
        known.
    """

    record: str
    outcome: str
    time: float
    value: float
    p_value: float

    @property
    def is_surprising(self) -> bool:
        """Whether the measurement does not fit the twin."""
        return self.p_value < SURPRISING


@dataclass(frozen=True)
class Doubt:
    """One thing that speaks against trusting an update; its text is what was found, and what to do.

    Attributes
    ----------
    kind : str
        The same for doubts of several updates that say one thing, with other numbers; as in docs/twin.md.
    found : str
    advice : str
        What to do; empty where nothing is known.
    is_lasting : bool
        Whether later updates do not mend it.
    """

    kind: str
    found: str
    advice: str
    is_lasting: bool

    def __str__(self) -> str:
        return f"{self.found}: {self.advice}" if self.advice else self.found


@dataclass(frozen=True, eq=False)
class Step:
    """One update of a twin.

    Attributes
    ----------
    added, corrected, repeated : tuple of str
        Records that were new, that replaced an earlier one, that said nothing new.
    unused : tuple of str
        Records with a measurement that is left out, new ones and earlier ones that no longer count: by the
        spec's filters, times or limits, or because an input or a dose that it needs is not known.
    surprises : tuple of Surprise
        One for each measurement that counts from now on, those of earlier records too.
    effective : float
        Effective particles after the update; copies of one count as one.
    effective_population : float
        Effective different draws of the population among them.
    k_hat : float
        Tail shape of the weights that one step without tempering would have given.
    stages : int
        Times that particles were resampled and moved.
    acceptance : float
        Of those moves; NaN without any.
    log_evidence : float
        Log ratio of the densities of all records after and before: where none was corrected, the predictive
        density of the new ones.
    parameters : pandas.DataFrame
        ``parameter, mean, sd, median, lower, upper`` after the update, 90 % equal-tailed.
    doubts : tuple of Doubt
        What speaks against trusting the update; empty if nothing does.
    error : float
        Monte Carlo error of the parameter for which it is largest, as a share of what is tolerated.
    """

    added: tuple[str, ...]
    corrected: tuple[str, ...]
    repeated: tuple[str, ...]
    unused: tuple[str, ...]
    surprises: tuple[Surprise, ...]
    effective: float
    effective_population: float
    k_hat: float
    stages: int
    acceptance: float
    log_evidence: float
    parameters: pd.DataFrame
    doubts: tuple[Doubt, ...] = ()
    error: float = float("nan")

    @property
    def is_trustworthy(self) -> bool:
        """Whether nothing speaks against the update."""
        return not self.doubts

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at, in plain words."""
        said = []
        for one in self.surprises:
            if one.is_surprising:
                when = "" if np.isnan(one.time) else f" at {one.time:g}"
                said.append(
                    f"{one.outcome} of {one.value:g}{when} does not fit this twin (p = {one.p_value:.2g}): "
                    "check the sample, the sensor and whose it is; if it is right, the patient has changed "
                    "or the model does not hold, and forecasts should not be used until that is settled"
                )
        if self.unused:
            said.append(
                f"measurements left out: {', '.join(self.unused)}; the spec's filters and times, or an input "
                "or dose that is not known, leave them out"
            )
        return (*said, *map(str, self.doubts))


@dataclass(frozen=True, eq=False)
class Twin:
    """A patient's posterior as weighted particles, with all that led to it. `update` gives the next one.

    Attributes
    ----------
    population : Population
        Shared by all twins of a fit.
    patient : str
    static : mapping
        Column to what is known of the patient: covariates, levels, known parameters.
    records : pandas.DataFrame
        ``record`` (identifier), the spec's columns, and `merging.FIRST` if any was corrected, in order of arrival.
    arrays : mapping to ndarray, shape [1, ...]
        The records as the model sees them, padded.
    particles : Particles
        NumPy arrays.
    parameters : mapping to ndarray, shape [particle]
        Parameters and derived quantities, in their units.
    steps : tuple of Step
        From the first update to the last.
    seed : int
    """

    population: Population
    patient: str
    static: Mapping[str, Any]
    records: pd.DataFrame
    arrays: Mapping[str, np.ndarray]
    particles: Particles
    parameters: Mapping[str, np.ndarray]
    steps: tuple[Step, ...] = field(default=())
    seed: int = 0

    @property
    def revision(self) -> int:
        """Number of updates so far."""
        return len(self.steps)

    @property
    def weights(self) -> np.ndarray:
        """Normalized weights ``[particle]``."""
        return np.exp(self.particles.log_weights)

    @property
    def effective(self) -> float:
        """Effective number of particles; copies of one count as one."""
        return effective_particles(self.particles)

    @property
    def effective_population(self) -> float:
        """Effective number of different draws of the population."""
        return effective_draws(self.particles)

    @property
    def standing_doubts(self) -> tuple[tuple[int, Doubt], ...]:
        """Doubts of its last update, lasting ones of all: in order, each with the number of its update."""
        return tuple(
            (number, doubt)
            for number, step in enumerate(self.steps, start=1)
            for doubt in step.doubts
            if doubt.is_lasting or number == self.revision
        )

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """What speaks against trusting the twin as it is, each once; ``str`` of one is in plain words."""
        return tuple(dict.fromkeys(doubt for _, doubt in self.standing_doubts))

    def intervals(self, prob: float = DEFAULT_PROB) -> pd.DataFrame:
        """The patient's parameters with equal-tailed credible intervals.

        Returns
        -------
        pandas.DataFrame
            ``patient, parameter, unit, mean, sd, median, lower, upper, prob, kind``.

        Raises
        ------
        SamplingError
            `prob` is not between 0 and 1.
        """
        check_interval(prob, "equal-tailed")
        table = summarise_particles(self.parameters, self.weights, prob)
        units = variable_units(self.population.model)
        table.insert(0, "patient", self.patient)
        table.insert(2, "unit", [units.get(name, "1") for name in table["parameter"]])
        return table.assign(prob=prob, kind="equal-tailed")


def effective_particles(particles: Particles) -> float:
    """Effective number of particles, those with the same draw and the same effects taken as one."""
    numbers = (particles.effects, *particles.outer.values())
    own = [column for value in numbers for column in value.T]
    order = np.lexsort((*own, particles.draw))
    is_other = np.zeros(len(order), dtype=bool)
    for column in (particles.draw, *own):
        is_other[1:] |= np.diff(column[order]) != 0
    return effective_size(np.bincount(np.cumsum(is_other), np.exp(particles.log_weights[order])))


def effective_draws(particles: Particles) -> float:
    """Effective number of different draws of the population among particles."""
    return effective_size(np.bincount(particles.draw, np.exp(particles.log_weights)))


def summarise_particles(
    parameters: Mapping[str, np.ndarray], weights: np.ndarray, prob: float = DEFAULT_PROB
) -> pd.DataFrame:
    """``parameter, mean, sd, median, lower, upper`` of weighted particles."""
    values = np.stack(list(parameters.values()), axis=1)
    mean, sd = weighted_mean(values, weights), weighted_sd(values, weights)
    median, lower, upper = weighted_quantiles(values, weights, (0.5, (1 - prob) / 2, (1 + prob) / 2))
    columns = {"mean": mean, "sd": sd, "median": median, "lower": lower, "upper": upper}
    return pd.DataFrame({"parameter": list(parameters), **columns})
