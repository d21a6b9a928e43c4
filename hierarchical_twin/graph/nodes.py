"""The closed set of node kinds a model is made of.

A node names arrays and dims; it never holds data. Arrays and the encodings learned from data stay
with the cohort, so the same graph over another cohort is a prediction, a new patient or an update.
Whoever reads a graph (the oracle, NumPyro, PyMC) is one exhaustive ``match`` over these kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Value = float | tuple[float, ...] | str
"""An argument: a number, one number for each element, or the name of an earlier node."""


Word = str | int | float | tuple[int, ...] | tuple[str, ...]
"""An operation's own setting."""


@dataclass(frozen=True)
class Data:
    """An array of the cohort, under its own name."""

    name: str
    dims: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """A random variable: a prior on the population, or the patients' effects.

    `distribution` is a key of `graph.distributions.DISTRIBUTIONS`; elements along `dims` are
    independent given the arguments. `is_reported` is false for what only the sampler needs: the
    standardized or centred form of effects, partial correlations.
    """

    name: str
    dims: tuple[str, ...]
    distribution: str
    arguments: tuple[tuple[str, Value], ...]
    is_reported: bool = True


@dataclass(frozen=True)
class Compute:
    """A deterministic value: an operation of `graph.operations.OPERATIONS` on earlier nodes.

    `words` are the operation's own settings (a link's name, a column's position).
    `is_reported` marks what a user wants to see: it becomes a named deterministic of the
    backends' programs and a variable of the fit.
    """

    name: str
    dims: tuple[str, ...]
    operation: str
    inputs: tuple[str, ...]
    words: tuple[tuple[str, Word], ...] = ()
    is_reported: bool = False


@dataclass(frozen=True)
class SolveParameter:
    """A mechanism's argument: an earlier node or a number, times its unit conversion."""

    argument: str
    source: str | float
    factor: float = 1.0


@dataclass(frozen=True)
class SolveOutput:
    """A predicted outcome ``[patient, time]``: a mechanism's output times its unit conversion.

    With `is_log` the output is a logarithm, and its conversion is added.
    """

    name: str
    output: str
    factor: float = 1.0
    is_log: bool = False


@dataclass(frozen=True)
class Solve:
    """The mechanism, solved for every patient along their records."""

    name: str
    mechanism: str
    options: tuple[tuple[str, str], ...]
    exposure: tuple[str, ...]
    parameters: tuple[SolveParameter, ...]
    outputs: tuple[SolveOutput, ...]


@dataclass(frozen=True)
class Observe:
    """The likelihood of one outcome over ``[patient, time]``, where its mask is true.

    `parameters` are the error model's own (``sigma``), as earlier nodes or numbers.
    `log_predicted` names the logarithm of `predicted` where the mechanism gives it and the error model
    wants it. `censored`, `standard_error` and `trials` name arrays of the cohort, or are None.
    """

    name: str
    error: str
    predicted: str
    parameters: tuple[tuple[str, str | float], ...]
    observed: str
    mask: str
    censored: str | None = None
    standard_error: str | None = None
    trials: str | None = None
    log_predicted: str | None = None


@dataclass(frozen=True)
class Filter:
    """What to expect of each measurement given the earlier ones, where process noise moves the state.

    `diffusions` gives each wandering state its diffusion, an earlier node or a number; `measurements` are
    the outcomes as they were declared. The `Observe` nodes after it judge each measurement by what this
    node expected of it.
    """

    name: str
    solve: Solve
    diffusions: tuple[tuple[str, str | float], ...]
    measurements: tuple[Observe, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The nodes it reads, apart from exposure: parameters, diffusions and residual parameters."""
        given = [parameter.source for parameter in self.solve.parameters]
        given += [value for _, value in self.diffusions]
        given += [value for measurement in self.measurements for _, value in measurement.parameters]
        return tuple(dict.fromkeys(name for name in given if isinstance(name, str)))

    @property
    def outputs(self) -> tuple[str, ...]:
        """What it gives, each ``[patient, time]``; a logarithm only where an error is lognormal."""
        found = []
        for measurement in self.measurements:
            natural, logarithm, sd = ahead_of(measurement.name)
            found += [natural, logarithm, sd] if measurement.error == "lognormal" else [natural, sd]
        return tuple(found)


def ahead_of(outcome: str) -> tuple[str, str, str]:
    """What a `Filter` expects of an outcome: its value, the value's logarithm, and a measurement's SD around it."""
    return f"{outcome}_ahead", f"{outcome}_log_ahead", f"{outcome}_ahead_sd"


Node = Data | Sample | Compute | Solve | Filter | Observe


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which each comes after all it names.

    `coords` gives the labels of every dimension the nodes use that a cohort does not already
    label: pairs of effects.
    """

    nodes: tuple[Node, ...]
    coords: Mapping[str, tuple[str, ...]]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The random variables, in order: the layout of the flat vector."""
        return tuple(node for node in self.nodes if isinstance(node, Sample))

    @property
    def reported(self) -> tuple[Sample | Compute, ...]:
        """What a user wants to see of a draw, in order."""
        return tuple(node for node in self.nodes if isinstance(node, Sample | Compute) and node.is_reported)

    @property
    def filter(self) -> Filter | None:
        """The filter, where the spec has process noise."""
        return next((node for node in self.nodes if isinstance(node, Filter)), None)

    @property
    def measurements(self) -> tuple[Observe, ...]:
        """The outcomes as declared, in order: how each errs around the patient's true value."""
        return self.observes if self.filter is None else self.filter.measurements

    @property
    def observes(self) -> tuple[Observe, ...]:
        """The likelihoods, in order."""
        return tuple(node for node in self.nodes if isinstance(node, Observe))
