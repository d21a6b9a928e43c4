"""Rules for integrals over one patient's few effects, patients side by side; plain NumPy, no model.

Gauss-Hermite products for a first look, and Gauss rules made for each patient's own density: their
nodes and weights come from the density's moments (Golub and Welsch 1969,
doi:10.1090/S0025-5718-69-99647-1), so a skewed or long-tailed density needs no more nodes than a
Gaussian one.
"""

from __future__ import annotations

import itertools

import numpy as np

_LOG_2PI = float(np.log(2 * np.pi))


def hermite_product(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite product rule for the standard normal.

    Parameters
    ----------
    counts : tuple of int
        Nodes in each dimension.

    Returns
    -------
    nodes : ndarray, shape [node, effect]
    log_weights : ndarray, shape [node]
        Weights sum to 1.
    """
    if not counts:
        return np.zeros((1, 0)), np.zeros(1)
    rules = [np.polynomial.hermite_e.hermegauss(count) for count in counts]
    nodes = np.array(list(itertools.product(*(rule[0] for rule in rules))))
    weights = np.array(list(itertools.product(*(rule[1] / rule[1].sum() for rule in rules))))
    return nodes, np.log(weights).sum(axis=1)


def standard_grid(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The same nodes ``[node, effect]``, with the log ``[node]`` of what each integrates of the plane."""
    nodes, log_weights = hermite_product(counts)
    return nodes, log_weights + 0.5 * np.sum(nodes**2 + _LOG_2PI, axis=1)


def gauss_rules(points: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss rules of discrete measures on a line, many at once.

    Parameters
    ----------
    points : ndarray, shape [point]
        Common to all measures.
    weights : ndarray, shape [measure, point]
        Not negative, each row with a positive sum.
    count : int
        Nodes of each rule, fewer than there are points.

    Returns
    -------
    nodes : ndarray, shape [measure, node]
    weights : ndarray, shape [measure, node]
        Sum to 1. Exact for polynomials up to degree ``2 count - 1``.
    """
    total = weights / weights.sum(axis=1, keepdims=True)
    diagonal = np.zeros((len(total), count))
    beside = np.zeros((len(total), max(count - 1, 0)))
    before = np.zeros_like(total)
    own = np.ones_like(total)
    # Stieltjes' procedure on orthonormal polynomials: the Jacobi matrix of each measure.
    for order in range(count):
        diagonal[:, order] = np.sum(total * points * own**2, axis=1)
        if order == count - 1:
            break
        last = beside[:, order - 1][:, None] if order else 0.0
        following = (points - diagonal[:, order, None]) * own - last * before
        size = np.sqrt(np.sum(total * following**2, axis=1))
        # A measure on fewer points than nodes has no further polynomial: its rule ends there.
        is_alive = size > 1e-9
        beside[:, order] = np.where(is_alive, size, 0.0)
        before, own = own, np.where(is_alive[:, None], following / np.maximum(size, 1e-300)[:, None], 0.0)
    matrix = np.zeros((len(total), count, count))
    steps = np.arange(count)
    matrix[:, steps, steps] = diagonal
    matrix[:, steps[:-1], steps[1:]] = beside
    matrix[:, steps[1:], steps[:-1]] = beside
    nodes, vectors = np.linalg.eigh(matrix)
    return nodes, vectors[:, 0, :] ** 2


def moments(nodes: np.ndarray, log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of weighted nodes of each patient.

    Parameters
    ----------
    nodes : ndarray, shape [node, effect, patient]
    log_weights : ndarray, shape [node, patient]

    Returns
    -------
    mean : ndarray, shape [effect, patient]
    covariance : ndarray, shape [effect, effect, patient]
    """
    weights = np.exp(log_weights - log_weights.max(axis=0))
    weights /= weights.sum(axis=0)
    mean = np.einsum("qp,qkp->kp", weights, nodes)
    apart = nodes - mean
    return mean, np.einsum("qp,qip,qjp->ijp", weights, apart, apart)


def log_sum(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Log of the sum of exponentials along an axis; minus infinity counts nothing."""
    top = np.max(values, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.sum(np.exp(values - top), axis=axis)) + np.squeeze(top, axis)
