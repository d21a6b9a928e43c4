"""What a caller of `sample` may ask for, checked before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hierarchical_twin.dims import PATIENT
from hierarchical_twin.errors import BackendError, Problem, SamplingError, nearest
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Sample

BACKENDS = ("numpyro", "pymc")
METHODS = ("auto", "joint", "blocked", "marginal")
TARGET_ACCEPT = {"joint": 0.95, "blocked": 0.9, "marginal": 0.8}
"""One trajectory for everything must be right for the worst patient; the population alone is easy."""
WARMUP = {"joint": 500, "blocked": 300, "marginal": 200}
WARMUP_AGAIN = 100
"""Warm-up iterations by default: of each method from a pilot, and of any from an old fit."""
_MOST_INTEGRATED = 4
_MANY_EFFECTS = 300
"""From so many effects on, moving patients apart from the population beats one trajectory for all."""


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
        Problem(f"sample {word}", repr(value), f"a whole number from {least} to {most}")
        for word, value, least, most in (
            ("chains", schedule.chains, 1, 10_000),
            ("draws", schedule.draws, 1, 10_000_000),
            ("warmup", schedule.warmup, 1, 10_000_000),
            ("seed", schedule.seed, 0, 2**63 - 1),
            ("thin", schedule.thin, 1, 10_000),
            ("max_tree_depth", max_tree_depth, 1, 20),
        )
        if not (word == "warmup" and value is None)
        and (not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most)
    ]
    if not problems and schedule.kept == 0:
        got = f"{schedule.draws} draws, every {schedule.thin}th kept"
        problems.append(Problem("sample thin", got, "at least one draw kept"))
    is_rate = isinstance(target_accept, float | int | np.floating) and 0 < target_accept < 1
    if target_accept is not None and not is_rate:
        problems.append(Problem("sample target_accept", repr(target_accept), "a number between 0 and 1"))
    if method not in METHODS:
        expected = f"one of {', '.join(METHODS)}"
        problems.append(Problem("sample method", f"'{method}'", expected, nearest(str(method), METHODS)))
    if problems:
        raise SamplingError(problems)
    rate = None if target_accept is None else float(target_accept)
    return Settings(schedule, backend, method, rate, max_tree_depth)


def settle(settings: Settings, model: Model, is_near: Callable[[], bool]) -> Settings:
    """The settings with what was left open chosen for the model that will be sampled.

    Parameters
    ----------
    settings : Settings
    model : Model
        With its effects' parameterization settled.
    is_near : callable
        Whether its patients' posteriors are near enough to their frames to move them apart.
    """
    method = choose_method(settings.method, model)
    if settings.method == "auto" and method == "blocked" and not is_near():
        method = "joint"
    rate, schedule = settings.target_accept, settings.schedule
    rate = TARGET_ACCEPT[method] if rate is None else rate
    if schedule.warmup is None:
        schedule = replace(schedule, warmup=WARMUP[method])
    return replace(settings, schedule=schedule, method=method, target_accept=rate)


def choose_method(method: str, model: Model) -> str:
    """The method `auto` stands for on the model that will be sampled.

    Parameters
    ----------
    method : str
    model : Model
        With its effects' parameterization settled.

    Raises
    ------
    SamplingError
        A method that needs patient effects in informed frames on a model that has others or none.
    """
    own = [node for node in model.graph.samples if node.dims[:1] == (PATIENT,)]
    is_informed = bool(own) and all(node.distribution == "FramedNormal" for node in own)
    if method == "auto":
        return "blocked" if is_informed and _effects(model, own) >= _MANY_EFFECTS else "joint"
    effects = sum(int(np.prod(model.shape(node.dims[1:]))) for node in own)
    if method == "marginal" and effects > _MOST_INTEGRATED:
        hint = "use method='joint', or give fewer parameters a random effect"
        expected = f"at most {_MOST_INTEGRATED} to integrate over"
        raise SamplingError(Problem("sample method marginal", f"{effects} effects a patient", expected, hint))
    if method != "joint" and not is_informed:
        got = "effects that are sampled centered or noncentered" if own else "a model without patient effects"
        rest = "use method joint"
        hint = f"leave 'parameterization' out of the spec, or {rest}" if own else rest
        raise SamplingError(Problem(f"sample method {method}", got, "informed patient effects", hint))
    return method


def _effects(model: Model, own: list[Sample]) -> int:
    return sum(int(np.prod(model.shape(node.dims))) for node in own)
