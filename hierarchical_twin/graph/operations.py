"""The deterministic operations a `Compute` node may name, written once over an array namespace.

The oracle and NumPyro call them with JAX, PyMC with PyTensor; each operation uses only what both
offer, so the three programs cannot drift apart in what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Array = Any


@dataclass(frozen=True)
class Namespace:
    """The few array functions operations need, from JAX or from PyTensor."""

    exp: Callable[[Array], Array]
    log: Callable[[Array], Array]
    sqrt: Callable[[Array], Array]
    sigmoid: Callable[[Array], Array]
    stack: Callable[..., Array]
    ones: Callable[[tuple[int, ...]], Array]


def link(xp: Namespace, value: Array, *, name: str) -> Array:
    """From the natural scale to the link scale."""
    match name:
        case "log":
            return xp.log(value)
        case "logit":
            return xp.log(value) - xp.log(1.0 - value)
        case _:
            return value


def unlink(xp: Namespace, value: Array, *, name: str) -> Array:
    """From the link scale to the natural scale."""
    match name:
        case "log":
            return xp.exp(value)
        case "logit":
            return xp.sigmoid(value)
        case _:
            return value


def linear_predictor(xp: Namespace, typical: Array, design: Array, beta: Array) -> Array:
    """``typical + design beta``: ``[patient]`` from ``[]``, ``[patient, term]`` and ``[term]``."""
    return typical + design @ beta


def vine_cholesky(xp: Namespace, unit: Array, *, size: int) -> Array:
    """Cholesky factor of a correlation matrix from its partial correlations on (0, 1).

    ``2 unit - 1`` are the canonical partial correlations of a C-vine in row order; independent
    Beta variables there make the matrix LKJ (Lewandowski, Kurowicka and Joe 2009,
    doi:10.1016/j.jmva.2009.04.008).
    """
    rows, pair = [], 0
    for row in range(size):
        entries, left = [], 1.0
        for _ in range(row):
            partial = 2.0 * unit[pair] - 1.0
            entries.append(partial * left)
            left = left * xp.sqrt(1.0 - partial * partial)
            pair += 1
        entries.append(left + 0.0 * unit[0])
        entries.extend([0.0 * unit[0]] * (size - row - 1))
        rows.append(xp.stack(entries))
    return xp.stack(rows)


def correlation(xp: Namespace, cholesky: Array) -> Array:
    """Correlation matrix from its Cholesky factor."""
    return cholesky @ cholesky.T


def scale_effects(xp: Namespace, standard: Array, omega: Array) -> Array:
    """Independent effects ``[patient, effect]`` from standard normal ones."""
    return standard * omega


def correlate_effects(xp: Namespace, standard: Array, omega: Array, cholesky: Array) -> Array:
    """Correlated effects ``[patient, effect]`` from standard normal ones: ``z L' diag(omega)``."""
    return (standard @ cholesky.T) * omega


def conditional_sd(xp: Namespace, omega: Array, *cholesky: Array, effect: int) -> Array:
    """SD of one effect given the earlier ones: ``omega_k L_kk``."""
    return omega[effect] * cholesky[0][effect, effect] if cholesky else omega[effect]


def conditional_mean(xp: Namespace, omega: Array, cholesky: Array, *earlier: Array, effect: int) -> Array:
    """Mean of one effect given the earlier standardized ones: ``omega_k sum_j L_kj z_j``."""
    total = 0.0
    for position, standard in enumerate(earlier):
        total = total + cholesky[effect, position] * standard
    return omega[effect] * total


def divide(xp: Namespace, left: Array, right: Array) -> Array:
    """``left / right``."""
    return left / right


def multiply(xp: Namespace, left: Array, right: Array) -> Array:
    """``left right``."""
    return left * right


def rescale(xp: Namespace, standard: Array, location: Array, sd: Array) -> Array:
    """``location + sd standard``."""
    return location + sd * standard


def add(xp: Namespace, *terms: Array) -> Array:
    """Sum of the terms."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def subtract(xp: Namespace, left: Array, right: Array) -> Array:
    """``left - right``."""
    return left - right


def column(xp: Namespace, matrix: Array, *, position: int) -> Array:
    """One column of a matrix."""
    return matrix[:, position]


def weight(xp: Namespace, effect: Array, design: Array, *, position: int) -> Array:
    """A slope effect times its covariate, a column of the effect design."""
    return effect * design[:, position]


def at_level(xp: Namespace, effect: Array, level: Array) -> Array:
    """The effect of each patient's level (site): ``[patient]`` from ``[level]``."""
    return effect[level]


def stack_columns(xp: Namespace, *columns: Array) -> Array:
    """Columns ``[patient]`` joined into ``[patient, effect]``."""
    return xp.stack(columns, axis=1)


def stack_scalars(xp: Namespace, *scalars: Array) -> Array:
    """Scalars joined into a vector."""
    return xp.stack(scalars)


def for_each_patient(xp: Namespace, value: Array, records: Array) -> Array:
    """A common value repeated for every patient of an array ``[patient, ...]``."""
    return value * xp.ones((records.shape[0],))


_RIDGE = 1e-10


def weighted_sum(xp: Namespace, *pairs: Array) -> Array:
    """``sum_o weight_o value_o`` of weights and values that alternate."""
    return add(xp, *(weight * value for weight, value in zip(pairs[::2], pairs[1::2], strict=True)))


def measurement_precision(
    xp: Namespace,
    *parameters: Array,
    error: str,
    given: tuple[str, ...],
    mean_square: float,
    standard_error_square: float,
    wandered_square: float = 0.0,
) -> Array:
    """Precision of a typical measurement under the residual parameters named in `given`.

    `mean_square` is the mean squared measurement, `standard_error_square` the mean squared standard
    error, and `wandered_square` the variance that process noise of diffusion 1 adds between measurements.
    What does not vary (a binomial count, a known standard error alone) has precision 1.
    """
    if not parameters:
        return xp.ones(())
    named = dict(zip(given, parameters, strict=True))
    if error == "beta":
        return named["concentration"]
    sigma, proportional = named.get("sigma"), named.get("sigma_proportional")
    error = "normal" if error in ("lognormal", "student_t") else error
    standard_error = standard_error_square**0.5 if standard_error_square > 0.0 else None
    sd = residual_sd(xp, error, mean_square**0.5, sigma, proportional, standard_error)
    if "diffusion" not in named:
        return 1.0 / (sd * sd)
    return 1.0 / (sd * sd + wandered_square * named["diffusion"] * named["diffusion"])


def inverse_covariance(xp: Namespace, omega: Array, *cholesky: Array, size: int) -> Array:
    """Inverse covariance ``[effect, other_effect]`` of a level's effects, without a matrix solver."""
    root = [[1.0 if row == column else 0.0 for column in range(size)] for row in range(size)]
    for column in range(size if cholesky else 0):
        root[column][column] = 1.0 / cholesky[0][column, column]
        for row in range(column + 1, size):
            inner = sum(cholesky[0][row, k] * root[k][column] for k in range(column, row))
            root[row][column] = -inner / cholesky[0][row, row]
    rows = [
        xp.stack(
            [
                sum(root[k][row] * root[k][column] for k in range(max(row, column), size))
                / (omega[row] * omega[column])
                for column in range(size)
            ]
        )
        for row in range(size)
    ]
    return xp.stack(rows)


def informed_frame(
    xp: Namespace,
    curvature: Array,
    score: Array,
    inverse_prior: Array,
    *inputs: Array,
    parameter_of: tuple[int, ...],
    design_of: tuple[int, ...],
) -> tuple[tuple[tuple[Array, ...], ...], tuple[Array, ...]]:
    """Each patient's effects given the population, were their likelihood the pilot's Gaussian.

    The precision of the effects is ``P = Z' G Z + Omega^-1 = U U'`` and ``U y = Z' (b - G location)``,
    with `G` the likelihood's curvature ``[parameter, parameter, patient]`` over predictors, `b` its
    score ``[parameter, patient]`` at predictors of zero. `inputs` are the predictors' locations, one
    for each parameter, then the effect design if any effect has a column of it in `design_of` (else -1).
    Returns ``U`` (upper triangular, row by row) and ``y`` as columns ``[patient]``.
    """
    size, has_design = len(parameter_of), any(column >= 0 for column in design_of)
    locations = inputs[:-1] if has_design else inputs

    def weighed(effect: int, value: Array) -> Array:
        return value if design_of[effect] < 0 else value * inputs[-1][:, design_of[effect]]

    root: list[list[Array]] = [[None] * size for _ in range(size)]
    shift: list[Array] = [None] * size
    for column in reversed(range(size)):
        own = parameter_of[column]
        later = range(column + 1, size)
        for row in range(column + 1):
            entry = weighed(row, weighed(column, curvature[parameter_of[row], own]))
            if row == column:
                # A wide prior over data that do not determine all effects would leave a root of minus nothing.
                entry = entry * (1.0 + _RIDGE)
            entry = entry + inverse_prior[row, column]
            for k in later:
                entry = entry - root[row][k] * root[column][k]
            root[row][column] = xp.sqrt(entry) if row == column else entry
        # Dividing by a root is faster than multiplying by its inverse here: XLA computes that again
        # wherever it is used.
        for row in range(column):
            root[row][column] = root[row][column] / root[column][column]
        pull = score[own]
        for other, location in enumerate(locations):
            pull = pull - curvature[own, other] * location
        pull = weighed(column, pull)
        for k in later:
            pull = pull - root[column][k] * shift[k]
        shift[column] = pull / root[column][column]
    return tuple(tuple(row) for row in root), tuple(shift)


def informed_center(xp: Namespace, frame: Array, *earlier: Array, effect: int) -> Array:
    """Mean of one effect in its informed frame, given the earlier effects: ``[patient]``."""
    root, shift = frame
    total = shift[effect]
    for position, column in enumerate(earlier):
        total = total - root[position][effect] * column
    return total / root[effect][effect]


def informed_scale(xp: Namespace, frame: Array, *, effect: int) -> Array:
    """SD of one effect in its informed frame, given the earlier effects: ``[patient]``."""
    return 1.0 / frame[0][effect][effect]


OPERATIONS: Mapping[str, Callable[..., Array]] = {
    operation.__name__: operation
    for operation in (
        link,
        unlink,
        linear_predictor,
        vine_cholesky,
        correlation,
        scale_effects,
        correlate_effects,
        conditional_sd,
        conditional_mean,
        divide,
        multiply,
        rescale,
        add,
        subtract,
        column,
        weight,
        at_level,
        stack_columns,
        stack_scalars,
        for_each_patient,
        weighted_sum,
        measurement_precision,
        inverse_covariance,
        informed_frame,
        informed_center,
        informed_scale,
    )
}
"""Every operation a `Compute` node may name."""


def residual_sd(
    xp: Namespace,
    error: str,
    predicted: Array,
    sigma: Array | None,
    sigma_proportional: Array | None,
    standard_error: Array | None,
) -> Array:
    """Standard deviation of an observation under the normal family of error models.

    ``normal``: sigma; ``proportional``: sigma f; ``combined``: sqrt(sigma^2 + (sigma_proportional
    f)^2); a known standard error is added in quadrature.
    """
    parts = []
    if error == "proportional":
        parts.append(sigma * predicted)
    elif sigma is not None:
        parts.append(sigma)
    if error == "combined":
        parts.append(sigma_proportional * predicted)
    if standard_error is not None:
        parts.append(standard_error)
    if len(parts) == 1 and error != "proportional":
        return parts[0]
    return xp.sqrt(add(xp, *[part * part for part in parts]))
