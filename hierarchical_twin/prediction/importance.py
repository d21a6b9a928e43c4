"""Integrals over many effects of a patient by importance sampling from a Student t in their frame.

A rule of random nodes, the same at every draw of the population: what differs between draws is then the
integral and hardly the noise.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from hierarchical_twin.inference.marginal.quadrature import log_sum, moments
from hierarchical_twin.inference.marginal.rules import Frames, Rule
from hierarchical_twin.inference.marginal.tails import tail_shapes
from hierarchical_twin.inference.patients import Densities

_FREEDOM = 6.0
_WIDTH = 1.1
_PROPOSALS = 1_024
_ROUNDS, _FIRST_WIDTH, _TRIED = 3, 1.3, 4_096
_JUDGED = 8
_LEAST_VARIANCE = 1e-6


def sampling_rule(frames: Frames, seed: int) -> Rule:
    """Random nodes for each patient, with the weights that make their sum an integral.

    Parameters
    ----------
    frames : Frames
    seed : int
    """
    return _rule(Frames(frames.mean, _WIDTH * frames.root), _PROPOSALS, seed)


def judge_rule(densities: Densities, rule: Rule, points: np.ndarray) -> np.ndarray:
    """The worst tail shape ``[patient]`` of the importance weights over a few populations ``[point, coordinate]``."""
    chosen = np.linspace(0, len(points) - 1, min(_JUDGED, len(points))).astype(int)
    shapes = [tail_shapes(densities(points[at], rule.nodes) + rule.log_weights) for at in chosen]
    return np.max(shapes, axis=0)


def find_wide_frames(densities: Densities, population: np.ndarray, effects: int) -> Frames:
    """Mean and covariance of each patient's effects at one population ``[coordinate]``, by importance sampling.

    For numbers of effects that a product of rules does not reach.
    """
    patients = densities.patients
    unit = np.repeat(np.eye(effects)[:, :, None], patients, axis=2)
    frames = Frames(np.zeros((effects, patients)), _FIRST_WIDTH * unit)
    for turn in range(_ROUNDS):
        rule = _rule(frames, _TRIED, turn)
        log_weights = densities(population, rule.nodes) + rule.log_weights
        is_possible = np.isfinite(log_sum(log_weights))
        mean, covariance = moments(rule.nodes, np.where(is_possible, log_weights, 0.0))
        own = np.moveaxis(covariance, 2, 0) + _LEAST_VARIANCE * np.eye(effects)
        root = np.moveaxis(np.linalg.cholesky(own), 0, 2)
        width = 1.0 if turn == _ROUNDS - 1 else _FIRST_WIDTH
        frames = Frames(
            np.where(is_possible, mean, frames.mean), np.where(is_possible, width * root, frames.root)
        )
    return frames


def _rule(frames: Frames, count: int, seed: int) -> Rule:
    """So many draws ``[node, effect, patient]`` of a multivariate t in each patient's frame."""
    effects = len(frames.mean)
    generator = np.random.default_rng([seed, 0x1FA])
    normal = generator.standard_normal((count // 2, effects))
    stretch = np.sqrt(generator.chisquare(_FREEDOM, count // 2) / _FREEDOM)[:, None]
    # In pairs on both sides: what is odd in the effects cancels.
    standard = np.concatenate([normal / stretch, -normal / stretch])
    constant = gammaln((_FREEDOM + effects) / 2) - gammaln(_FREEDOM / 2)
    constant -= effects / 2 * np.log(_FREEDOM * np.pi)
    log_density = constant - (_FREEDOM + effects) / 2 * np.log1p(np.sum(standard**2, axis=1) / _FREEDOM)
    log_weights = -log_density - np.log(len(standard))
    return Rule(frames.place(standard), log_weights[:, None] + frames.log_volume)
