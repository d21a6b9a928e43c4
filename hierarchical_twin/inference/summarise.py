"""From flat draws to a summary: the population's draws by name, and statistics of every patient.

Patients come in batches, so that the draws of all of them never exist by name; where the sampler
draws patients' effects afterwards, they need not exist at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.analysis.patient_summary import STATISTICS, summarise_elements
from hierarchical_twin.dims import PATIENT, TIME
from hierarchical_twin.errors import Problem, SamplingError, nearest
from hierarchical_twin.graph.blocks import join_blocks, mark_population, patient_slots
from hierarchical_twin.graph.derived import derived_values
from hierarchical_twin.graph.evaluate import parameters_at, reported_values
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Data
from hierarchical_twin.inference.patients import take_patients

Array = Any
BATCH_BYTES = 1e8
"""About how much the draws of one batch of patients take."""
_POINTS_AT_ONCE = 200


PATIENTS = ("draws", "summary")


def check_patients(word: str) -> None:
    """Refuse a word for what is kept of patients that is not in `PATIENTS`.

    Raises
    ------
    SamplingError
        With the nearest word that is.
    """
    if word not in PATIENTS:
        expected = f"one of {', '.join(PATIENTS)}"
        raise SamplingError(Problem("sample patients", repr(word), expected, nearest(str(word), PATIENTS)))


class PatientBatch(Protocol):
    """Draws of some patients' effects, in the coordinates of the model.

    `patients` are their places in the model ``[patient]``; `effects` ``[chain, draw, effect, patient]``.
    """

    @property
    def patients(self) -> np.ndarray:
        """Places in the model."""
        ...

    @property
    def effects(self) -> np.ndarray:
        """Their draws."""
        ...


@dataclass(frozen=True, eq=False)
class EffectDraws:
    """A `PatientBatch` taken from flat draws."""

    patients: np.ndarray
    effects: np.ndarray


@dataclass(frozen=True)
class Summarised:
    """Draws by name where they are the population's, statistics where they are patients'.

    Attributes
    ----------
    population : mapping to ndarray, shape [chain, draw, ...]
    patients : mapping to ndarray, shape [statistic, patient, ...]
        Statistics in the order of `analysis.patient_summary.STATISTICS`.
    """

    population: Mapping[str, np.ndarray]
    patients: Mapping[str, np.ndarray]


def summarise_draws(model: Model, population: np.ndarray, batches: Iterable[PatientBatch]) -> Summarised:
    """Name the population's draws, and summarise every patient's.

    Parameters
    ----------
    model : Model
        The model that was sampled.
    population : ndarray, shape [chain, draw, coordinate]
        Draws of the population's block of the flat vector, as from `population_draws`.
    batches : iterable of PatientBatch
        Every patient, such as from `effect_batches` or `conditional.draw_effects`.
    """
    own, common = _names_of(model)
    points = population.reshape(-1, population.shape[-1])
    nobody = np.zeros((len(points), _effects_of(model), 1))
    found = _Naming(model, common)(points, EffectDraws(np.arange(1), nobody))
    kept = {name: value.reshape(*population.shape[:2], *value.shape[1:]) for name, value in found.items()}
    naming, summary = _Naming(model, own), {}
    for batch in batches:
        effects = np.asarray(batch.effects).reshape(len(points), *batch.effects.shape[2:])
        for name, values in naming(points, EffectDraws(batch.patients, effects)).items():
            draws = values.reshape(*population.shape[:2], -1)
            statistics = summarise_elements(draws).reshape(len(STATISTICS), *values.shape[1:])
            whole = (len(STATISTICS), model.size(PATIENT), *values.shape[2:])
            summary.setdefault(name, np.full(whole, np.nan))[:, batch.patients] = statistics
    return Summarised(kept, {name: summary[name] for name in own})


class _Naming:
    """Points of some patients to values by name; compiled once for each number of patients."""

    def __init__(self, model: Model, names: tuple[str, ...]) -> None:
        self.model, self.names = model, names
        self._compiled: dict[int, Callable[..., dict[str, Array]]] = {}

    def __call__(self, points: np.ndarray, batch: EffectDraws) -> dict[str, np.ndarray]:
        """Values ``[point, ...]`` at populations ``[point, coordinate]`` and effects ``[point, effect, patient]``."""
        some = take_patients(self.model, batch.patients)
        size = len(batch.patients)
        if size not in self._compiled:
            self._compiled[size] = self._compile(some)
        # Levels too, unlike in a density: no place of a parameter's depends on which there are.
        arrays = {name: some.arrays[name] for name in _needed_arrays(some)}
        found = self._compiled[size](jnp.asarray(points), jnp.asarray(batch.effects), arrays)
        return {name: np.asarray(found[name]) for name in self.names}

    def _compile(self, model: Model) -> Callable[..., dict[str, Array]]:
        reported = {node.name: node.dims for node in model.graph.reported}

        @jax.jit
        def evaluate(points: Array, effects: Array, arrays: Mapping[str, Array]) -> dict[str, Array]:
            own = model.with_arrays(arrays)

            def one(given: tuple[Array, Array]) -> dict[str, Array]:
                values = parameters_at(own, join_blocks(own, *given))
                named = {**reported_values(own, values), **derived_values(own, values)}
                # A derived quantity of parameters that are given is one number for everybody.
                sizes = {name: model.shape(reported[name]) for name in reported} | {
                    name: () if words.at is not None else (model.size(PATIENT),)
                    for name, words in model.spec.derived.items()
                }
                return {name: jnp.broadcast_to(named[name], sizes[name]) for name in self.names}

            return jax.lax.map(one, (points, effects), batch_size=_POINTS_AT_ONCE)

        return evaluate


def _needed_arrays(model: Model) -> tuple[str, ...]:
    """Arrays that parameters are made from: those along the patients, but not along their records."""
    return tuple(
        node.name
        for node in model.graph
        if isinstance(node, Data) and PATIENT in node.dims and TIME not in node.dims
    )


def effect_batches(model: Model, positions: np.ndarray) -> Iterator[EffectDraws]:
    """The patients' effects in flat draws ``[chain, draw, size]``, a batch of patients at a time."""
    chains, draws, _ = positions.shape
    patients, slots = model.size(PATIENT), patient_slots(model)
    numbers = max(1, _effects_of(model)) * chains * draws
    size = max(1, min(patients, int(BATCH_BYTES / 8 / numbers)))
    for start in range(0, patients, size):
        # The last batch is as long as the others, so that one shape is compiled.
        begin = max(0, min(start, patients - size))
        rows = []
        for slot in slots:
            width = int(np.prod(slot.shape[1:], dtype=int))
            at = slice(slot.start + begin * width, slot.start + (begin + size) * width)
            own = positions[..., at].reshape(chains, draws, size, width)
            rows.append(np.moveaxis(own, 3, 2))
        effects = np.concatenate(rows, axis=2) if rows else np.zeros((chains, draws, 0, size))
        yield EffectDraws(np.arange(begin, begin + size), effects)


def population_draws(model: Model, positions: np.ndarray) -> np.ndarray:
    """The population's block ``[chain, draw, coordinate]`` of flat draws."""
    return positions[..., mark_population(model)]


def _effects_of(model: Model) -> int:
    return sum(int(np.prod(slot.shape[1:], dtype=int)) for slot in patient_slots(model))


def _names_of(model: Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of what every patient has, and of what belongs to the population, in the spec's order."""
    own = {node.name: node.dims[:1] == (PATIENT,) for node in model.graph.reported}
    own |= {name: words.at is None for name, words in model.spec.derived.items()}
    return tuple(name for name in own if own[name]), tuple(name for name in own if not own[name])
