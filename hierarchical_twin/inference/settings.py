"""What a caller of `sample` may ask for, checked before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.errors import BackendError, Problem, SamplingError, nearest
from hierarchical_twin.graph.blocks import mark_population
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Sample

BACKENDS = ("numpyro", "pymc")
METHODS = ("auto", "joint", "blocked", "marginal")
TARGET_ACCEPT = {"joint": 0.95, "blocked": 0.9, "marginal": 0.8}
"""One trajectory for everything must be right for the worst patient; the population alone is easy."""
_ALONE_ACCEPT = 0.98
"""Of a model without patient effects."""
WARMUP = {"joint": 500, "blocked": 300, "marginal": 200}
WARMUP_AGAIN = 100
"""Warm-up iterations by default: of each method from a pilot, and of any from an old fit."""
_MOST_INTEGRATED, _MOST_COORDINATES = 4, 20
"""Effects of a patient that can be integrated out, and coordinates of a population that a polynomial can follow."""
_SOME_EFFECTS, _MANY_EFFECTS = 200, 300
"""From so many effects on, integrating them out, or moving patients apart, beats one trajectory for all."""


@dataclass(frozen=True)
class Schedule:
    """How long to sample; of `draws` iterations after warm-up every `thin`-th is kept.

    `settle` puts a number in place of a `warmup` of None.
    """

    chains: int = 4
    warmup: int | None = 500
    draws: int = 1000
    seed: int = 0
    thin: int = 1

    @property
    def iterations(self) -> int:
        """Iterations of one chain."""
        assert self.warmup is not None
        return self.warmup + self.draws

    @property
    def kept(self) -> int:
        """Draws kept of one chain."""
        return self.draws // self.thin


@dataclass(frozen=True)
class Settings:
    """Everything a run is asked to do, apart from the model."""

    schedule: Schedule
    backend: str
    method: str
    target_accept: float | None
    max_tree_depth: int


def check_settings(
    schedule: Schedule, backend: str, method: str, target_accept: Any, max_tree_depth: Any
) -> Settings:
    """Settings with every number in range and every word known.

    Raises
    ------
    BackendError
        An unknown backend.
    SamplingError
        An unknown method, or a number out of range; all of them at once.
    """
    if backend not in BACKENDS:
        expected = f"one of {', '.join(BACKENDS)}"
        raise BackendError(Problem("backend", f"'{backend}'", expected, nearest(backend, BACKENDS)))
    problems = [
        Problem(f"sample {word}", repr(value), f"a whole number from {least} to {most}", hint)
        for word, value, least, most, hint in (
            ("chains", schedule.chains, 1, 10_000, "4, the default, let convergence be judged"),
            ("draws", schedule.draws, 1, 10_000_000, "1000 draws a chain are the default"),
            ("warmup", schedule.warmup, 1, 10_000_000, "left out, it is chosen to suit the method"),
            ("seed", schedule.seed, 0, 2**63 - 1, "any such number; the same one gives the same draws"),
            ("thin", schedule.thin, 1, 10_000, "1, the default, keeps every draw"),
            ("max_tree_depth", max_tree_depth, 1, 20, "10, the default, allows 1,023 steps a draw"),
        )
        if not (word == "warmup" and value is None)
        and (not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most)
    ]
    if not problems and schedule.kept == 0:
        got = f"{schedule.draws} draws, every {schedule.thin}th kept"
        problems.append(
            Problem("sample thin", got, "at least one draw kept", "more draws, or a smaller thin")
        )
    is_rate = isinstance(target_accept, float | int | np.floating) and 0 < target_accept < 1
    if target_accept is not None and not is_rate:
        hint = "left out, it is chosen to suit the method"
        problems.append(
            Problem("sample target_accept", repr(target_accept), "a number between 0 and 1", hint)
        )
    if method not in METHODS:
        expected = f"one of {', '.join(METHODS)}"
        problems.append(Problem("sample method", f"'{method}'", expected, nearest(str(method), METHODS)))
    if problems:
        raise SamplingError(problems)
    rate = None if target_accept is None else float(target_accept)
    return Settings(schedule, backend, method, rate, max_tree_depth)


def settle(
    settings: Settings, model: Model, is_near: Callable[[], bool], is_integrable: Callable[[], bool]
) -> Settings:
    """The settings with what was left open chosen for the model that will be sampled.

    Parameters
    ----------
    settings : Settings
    model : Model
        With its effects' parameterization settled.
    is_near : callable
        Whether its patients' posteriors are near their frames. Asked only where it matters, as is the other.
    is_integrable : callable
        Whether integrating them out meets its tolerance.
    """
    if settings.method == "auto":
        method = _best_method(settings, model, is_near, is_integrable)
    else:
        method = check_method(settings.method, model)
    rate, schedule = settings.target_accept, settings.schedule
    if rate is None:
        # Without patients' effects no frame straightens a ridge, and trajectories are short.
        rate = TARGET_ACCEPT[method] if _patient_nodes(model) else _ALONE_ACCEPT
    if schedule.warmup is None:
        schedule = replace(schedule, warmup=WARMUP[method])
    return replace(settings, schedule=schedule, method=method, target_accept=rate)


def _best_method(
    settings: Settings, model: Model, is_near: Callable[[], bool], is_integrable: Callable[[], bool]
) -> str:
    own = _patient_nodes(model)
    count = sum(int(np.prod(model.shape(node.dims))) for node in own)
    if count < _SOME_EFFECTS or not _is_informed(own) or not is_near():
        return "joint"
    # The integrals are the oracle's: who asks for the other backend's density gets it.
    is_candidate = settings.backend == "numpyro" and _effects(model) <= _MOST_INTEGRATED
    if is_candidate and mark_population(model).sum() <= _MOST_COORDINATES and is_integrable():
        return "marginal"
    return "blocked" if count >= _MANY_EFFECTS else "joint"


def check_method(method: str, model: Model) -> str:
    """The method, if the model can be sampled by it.

    Parameters
    ----------
    method : {"joint", "blocked", "marginal"}
    model : Model
        With its effects' parameterization settled.

    Raises
    ------
    SamplingError
        A method that needs patient effects in informed frames on a model that has others or none.
    """
    own, effects = _patient_nodes(model), _effects(model)
    if method == "marginal" and effects > _MOST_INTEGRATED:
        hint = "use method='joint', or give fewer parameters a random effect"
        expected = f"at most {_MOST_INTEGRATED} to integrate over"
        raise SamplingError(Problem("sample method marginal", f"{effects} effects a patient", expected, hint))
    if method != "joint" and not _is_informed(own):
        got = "effects that are sampled centered or noncentered" if own else "a model without patient effects"
        rest = "use method joint"
        hint = f"leave 'parameterization' out of the spec, or {rest}" if own else rest
        raise SamplingError(Problem(f"sample method {method}", got, "informed patient effects", hint))
    return method


def _patient_nodes(model: Model) -> list[Sample]:
    return [node for node in model.graph.samples if node.dims[:1] == (PATIENT,)]


def _is_informed(own: list[Sample]) -> bool:
    return bool(own) and all(node.distribution == "FramedNormal" for node in own)


def _effects(model: Model) -> int:
    """Effects of one patient."""
    return sum(int(np.prod(model.shape(node.dims[1:]))) for node in _patient_nodes(model))
