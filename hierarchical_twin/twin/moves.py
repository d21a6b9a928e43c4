"""How a patient's particles move: where they stand, where they may go, and how they are scored; in JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hierarchical_twin.graph.model import Model
from hierarchical_twin.twin.particles import Array, Arrays, Particles, centers, log_likelihoods

INDEPENDENT, WALK, STROLL, REFRESH = range(4)
"""Ways to go: to other parameters at random, by a long step, by a short one; to another draw."""
_FREEDOM = 4
"""Degrees of freedom of independent proposals: heavier tails than the posterior's."""


class Shared(NamedTuple):
    """What all patients of a population share.

    Attributes
    ----------
    draws : mapping to Array, shape [draw, ...]
        Population nodes.
    inverse : mapping to Array, shape [draw, effect, effect]
        Inverse of the lower Cholesky factor of the covariance of each level's effects, by node.
    members : mapping to Array, shape [draw, member, effect]
        Effects of the members that the fit knows, of each level above the patient, by node.
    """

    draws: Arrays
    inverse: Arrays
    members: Arrays


class Patient(NamedTuple):
    """What an update reads of one patient.

    Attributes
    ----------
    before, after : mapping to Array, shape [1, ...]
        Arrays without and with what is new.
    particles : Particles
    member : mapping to Array of int
        Place among the fit's members of each level above, by node; -1 for one it does not know.
    is_new : Array of bool
        Whether the population's draws know nothing of the patient.
    key : Array, shape [2]
    """

    before: Arrays
    after: Arrays
    particles: Particles
    member: Mapping[str, Array]
    is_new: Array
    key: Array


class Walk(NamedTuple):
    """Where particles stand: a draw, and parameters on the link scale (and free effects above)."""

    draw: Array
    place: Array


class Scores(NamedTuple):
    """Log prior of the effects, and log likelihood of the old and the new data ``[particle]``."""

    prior: Array
    before: Array
    after: Array


class Frame(NamedTuple):
    """The particles' weighted mean ``[place]`` and lower root of covariance; which places may move."""

    mean: Array
    root: Array
    is_free: Array


def frame_of(patient: Patient, walk: Walk, log_weights: Array) -> Frame:
    """The frame of weighted walkers."""
    outer = sorted(patient.particles.outer.items())
    own = jnp.ones(patient.particles.effects.shape[1], bool)
    is_free = jnp.concatenate(
        [own, *(jnp.broadcast_to(patient.member[name] < 0, value.shape[1:]) for name, value in outer)]
    )
    if not walk.place.shape[1]:
        return Frame(jnp.zeros(0), jnp.zeros((0, 0)), is_free)
    weights = jnp.exp(log_weights)[:, None]
    # Who has no weight may stand anywhere, at what is no number too.
    place = jnp.where(weights > 0, walk.place, 0.0)
    mean = jnp.sum(weights * place, axis=0)
    covariance = (weights * (place - mean)).T @ (place - mean)
    ridge = jnp.where(is_free, 1e-9 * jnp.diag(covariance) + 1e-300, 1.0)
    return Frame(mean, jnp.linalg.cholesky(covariance + jnp.diag(ridge)), is_free)


def propose(shared: Shared, frame: Frame, walk: Walk, kind: Array, key: Array) -> tuple[Walk, Array]:
    """Where each particle would go, and the log of what makes up for an uneven way there."""
    count, size = walk.place.shape
    free = jnp.sum(frame.is_free)
    noise_key, other_key = jax.random.split(key)

    def refresh(_: None) -> tuple[Walk, Array]:
        draws = len(next(iter(shared.draws.values())))
        return walk._replace(draw=jax.random.randint(other_key, (count,), 0, draws, walk.draw.dtype)), zeros

    zeros = jnp.zeros(count)
    if not size:
        return refresh(None)
    noise = jax.random.normal(noise_key, (count, size)) * frame.is_free

    def independent(_: None) -> tuple[Walk, Array]:
        # A chi-square variable of 4 degrees of freedom is minus twice the log of a product of two uniforms.
        chi_square = -2.0 * jnp.sum(jnp.log(jax.random.uniform(other_key, (2, count), minval=1e-12)), axis=0)
        there = noise * jnp.sqrt(_FREEDOM / chi_square)[:, None]
        here = jax.scipy.linalg.solve_triangular(frame.root, (walk.place - frame.mean).T, lower=True).T

        def log_density(standard: Array) -> Array:
            return -0.5 * (_FREEDOM + free) * jnp.log1p(jnp.sum(standard**2, axis=1) / _FREEDOM)

        proposal = walk._replace(place=frame.mean + there @ frame.root.T)
        return proposal, log_density(here) - log_density(there)

    def step(reach: float) -> Callable[[None], tuple[Walk, Array]]:
        return lambda _: (
            walk._replace(place=walk.place + reach / jnp.sqrt(free) * noise @ frame.root.T),
            zeros,
        )

    return jax.lax.switch(kind, (independent, step(2.4), step(0.8), refresh), None)


def particles_at(model: Model, shared: Shared, patient: Patient, walk: Walk, log_weights: Array) -> Particles:
    """Walkers as particles: effects are what parameters have beyond their centers."""
    size = patient.particles.effects.shape[1]
    outer, at = {}, size
    for name, value in sorted(patient.particles.outer.items()):
        free = walk.place[:, at : at + value.shape[1]]
        known = shared.members[name][walk.draw, patient.member[name]]
        outer[name] = jnp.where(patient.member[name] < 0, free, known)
        at += value.shape[1]
    nobody = Particles(walk.draw, jnp.zeros((len(walk.draw), size)), outer, log_weights)
    center = centers(model, shared.draws, patient.after, nobody)
    return nobody._replace(effects=walk.place[:, :size] - center)


def scores_of(
    model: Model, shared: Shared, patient: Patient, particles: Particles, progress: Array
) -> Scores:
    """Scores of particles; the old data's only where they still count and there are any."""
    masks = [jnp.any(jnp.asarray(patient.before[node.mask])) for node in model.graph.observes]
    is_needed = (progress < 1.0) & jnp.any(jnp.stack(masks))
    before = jax.lax.cond(
        is_needed,
        lambda own: log_likelihoods(model, shared.draws, patient.before, own),
        lambda own: jnp.zeros(own.draw.shape),
        particles,
    )
    after = log_likelihoods(model, shared.draws, patient.after, particles)
    prior = jnp.zeros(particles.draw.shape)
    levels = {name: (patient.member[name] < 0, value) for name, value in particles.outer.items()}
    if particles.effects.shape[1]:
        levels["eta"] = (jnp.asarray(True), particles.effects)
    for name, (is_free, effects) in levels.items():
        inverse = shared.inverse[name][particles.draw]
        standard = jnp.einsum("pij,pj->pi", inverse, effects)
        log_size = jnp.sum(jnp.log(jnp.diagonal(inverse, axis1=1, axis2=2)), axis=1)
        prior += jnp.where(is_free, log_size - 0.5 * jnp.sum(standard**2, axis=1), 0.0)
    return Scores(prior, before, after)


def tempered(scores: Scores, progress: Array) -> Array:
    """Log density part of the way from the old data to the new, up to a constant."""
    return scores.prior + (1.0 - progress) * scores.before + progress * scores.after
