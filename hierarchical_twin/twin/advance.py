"""Sequential Monte Carlo for one patient: reweight, temper, resample, move; in JAX, many patients a call.

New data reweight the particles. Where the weights would collapse the data are let in by degrees, and in
between particles are resampled and moved (Chopin 2002, doi:10.1093/biomet/89.3.539; Del Moral, Doucet and
Jasra 2006, doi:10.1111/j.1467-9868.2006.00553.x). They move in the patient's parameters on the link scale
(a typical value plus an effect), by Metropolis steps of two kinds: other parameters under the same draw of
the population, and another draw of the population under the same parameters. Without the second kind
resampling would leave a few draws of the population only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hierarchical_twin.graph.model import Model
from hierarchical_twin.twin.cumulative import predictive_below
from hierarchical_twin.twin.moves import (
    INDEPENDENT,
    REFRESH,
    STROLL,
    WALK,
    Patient,
    Scores,
    Shared,
    Walk,
    frame_of,
    particles_at,
    propose,
    scores_of,
    tempered,
)
from hierarchical_twin.twin.particles import Array, Particles, centers, effective, parameters_of

_LEAST_SHARE = 0.5
"""Effective particles that each stage of tempering leaves."""
_LEAST_AT_END = 0.75
"""Effective particles below which they are resampled and moved when all data are in."""
_TURNS = (INDEPENDENT, REFRESH, WALK, INDEPENDENT, REFRESH, STROLL)
_HALVINGS = 30
_MOST_STAGES = 60


class Advanced(NamedTuple):
    """What an update gives.

    Attributes
    ----------
    particles : Particles
    parameters : mapping to Array, shape [particle]
        The patient's parameters and derived quantities.
    below : mapping of outcome to Array, shape [time]
        Predictive probability, before the update, of a value below the one measured; half of a tie.
    log_untempered : Array, shape [particle]
        Log weights that one step without tempering would have given, not normalized; minus infinity where
        the records are impossible.
    log_evidence : Array
        Log ratio of the densities of all records after and before: the predictive density of what was added.
    progress : Array
        Share of the new data that was let in: 1 unless there were too many stages.
    stages, acceptance : Array
        Times that particles were moved, and how often a move of their parameters was accepted.
    """

    particles: Particles
    parameters: Mapping[str, Array]
    below: Mapping[str, Array]
    log_untempered: Array
    log_evidence: Array
    progress: Array
    stages: Array
    acceptance: Array


class _State(NamedTuple):
    """Particles part of the way from the old data to the new."""

    progress: Array
    walk: Walk
    scores: Scores
    log_weights: Array
    key: Array
    log_evidence: Array
    stages: Array
    accepted: Array


def make_advance(model: Model) -> Callable[[Shared, Patient], Advanced]:
    """Compile the update of several patients.

    Parameters
    ----------
    model : Model
        Of one patient; its arrays are replaced by those of each patient.

    Returns
    -------
    callable
        `Shared` and a `Patient` with a leading dimension of patients to `Advanced` with the same one.
    """

    def advance(shared: Shared, patients: Patient) -> Advanced:
        return jax.lax.map(lambda patient: _advance_one(model, shared, patient), patients)

    return jax.jit(advance)


def _advance_one(model: Model, shared: Shared, patient: Patient) -> Advanced:
    particles = patient.particles
    below = predictive_below(model, shared.draws, patient.after, particles)
    scores = scores_of(model, shared, patient, particles, jnp.zeros(()))
    # Impossible at the end is impossible from the first step on.
    is_possible = jnp.isfinite(scores.after) & jnp.isfinite(scores.before)
    weights = jnp.where(is_possible, particles.log_weights, -jnp.inf)
    untempered = jnp.where(is_possible, weights + scores.after - scores.before, -jnp.inf)
    lost = jax.nn.logsumexp(weights)
    center = centers(model, shared.draws, patient.after, particles)
    outer = [
        jnp.where(patient.member[name] < 0, value, 0.0) for name, value in sorted(particles.outer.items())
    ]
    start = _State(
        jnp.zeros(()),
        Walk(particles.draw, jnp.concatenate([particles.effects + center, *outer], axis=1)),
        Scores(scores.prior, *(jnp.where(is_possible, value, 0.0) for value in scores[1:])),
        weights - lost,
        patient.key,
        lost,
        jnp.zeros((), int),
        jnp.zeros(()),
    )

    def is_unfinished(state: _State) -> Array:
        return (state.progress < 1.0) & (state.stages < _MOST_STAGES) & jnp.isfinite(lost)

    def step(state: _State) -> _State:
        state = _let_in(state)
        share = effective(state.log_weights) / len(state.log_weights)
        is_low = (state.progress < 1.0) | (share < _LEAST_AT_END)
        return jax.lax.cond(is_low, lambda s: _renew(model, shared, patient, s), lambda s: s, state)

    end = jax.lax.while_loop(is_unfinished, step, start)
    # Without a stage nobody has moved: the effects are what they were, to the last bit.
    moved = particles_at(model, shared, patient, end.walk, end.log_weights)
    has_moved = end.stages > 0
    kept = jax.tree.map(
        lambda new, old: jnp.where(has_moved, new, old),
        moved,
        particles._replace(log_weights=end.log_weights),
    )
    parameters = parameters_of(model, shared.draws, patient.after, kept)
    acceptance = end.accepted / jnp.maximum(end.stages, 1)
    return Advanced(
        kept, parameters, below, untempered, end.log_evidence, end.progress, end.stages, acceptance
    )


def _let_in(state: _State) -> _State:
    """Let in as much of the new data as leaves half of the particles effective."""
    gain = state.scores.after - state.scores.before
    weights = state.log_weights

    def moved(step: Array) -> Array:
        return weights + jnp.where(jnp.isfinite(weights), step * gain, 0.0)

    def is_enough(step: Array) -> Array:
        return effective(moved(step)) >= _LEAST_SHARE * len(weights)

    rest = 1.0 - state.progress

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        is_good = is_enough(middle)
        return jnp.where(is_good, middle, low), jnp.where(is_good, high, middle)

    def part(_: None) -> Array:
        return jax.lax.fori_loop(0, _HALVINGS, halve, (jnp.zeros(()), rest))[0]

    step = jax.lax.cond(is_enough(rest), lambda _: rest, part, None)
    size = jax.nn.logsumexp(moved(step))
    return state._replace(
        progress=jnp.where(step >= rest, 1.0, state.progress + step),
        log_weights=moved(step) - size,
        log_evidence=state.log_evidence + size,
    )


def _renew(model: Model, shared: Shared, patient: Patient, state: _State) -> _State:
    """Resample, and move the particles."""
    count = len(state.log_weights)
    key, own, turns = jax.random.split(state.key, 3)
    frame = frame_of(patient, state.walk, state.log_weights)
    weights = jnp.exp(state.log_weights)
    places = (jax.random.uniform(own) + jnp.arange(count)) / count
    chosen = jnp.clip(jnp.searchsorted(jnp.cumsum(weights), places), 0, count - 1)
    walk, scores = jax.tree.map(lambda value: value[chosen], (state.walk, state.scores))
    kinds = jnp.asarray(_TURNS if walk.place.shape[1] else [REFRESH] * len(_TURNS))
    # What a fit has seen of its own patient is in its draws, and in no other draw with these parameters.
    kinds = jnp.where((kinds == REFRESH) & ~patient.is_new, STROLL, kinds)
    keys = jax.random.split(turns, len(kinds))

    def turn(number: Array, carry: tuple[Walk, Scores, Array]) -> tuple[Walk, Scores, Array]:
        walk, scores, accepted = carry
        own, other = jax.random.split(keys[number])
        kind = kinds[number]
        proposal, log_ratio = propose(shared, frame, walk, kind, own)
        particles = particles_at(model, shared, patient, proposal, state.log_weights)
        then = scores_of(model, shared, patient, particles, state.progress)
        log_ratio += tempered(then, state.progress) - tempered(scores, state.progress)
        is_possible = jnp.isfinite(then.before) & jnp.isfinite(then.after) & jnp.isfinite(log_ratio)
        is_taken = is_possible & (jnp.log(jax.random.uniform(other, (count,))) < log_ratio)
        walk, scores = jax.tree.map(
            lambda new, old: jnp.where(is_taken.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            (proposal, then),
            (walk, scores),
        )
        return walk, scores, accepted + jnp.where(kind == REFRESH, 0.0, jnp.mean(is_taken))

    moved, scores, accepted = jax.lax.fori_loop(0, len(kinds), turn, (walk, scores, jnp.zeros(())))
    return state._replace(
        walk=moved,
        scores=scores,
        log_weights=jnp.full(count, -jnp.log(count)),
        key=key,
        stages=state.stages + 1,
        accepted=state.accepted + accepted / jnp.maximum(jnp.sum(kinds != REFRESH), 1),
    )
