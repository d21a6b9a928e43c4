"""Each patient's log likelihood as a quadratic in their link-scale predictors, by autodiff.

Patients are independent, so one Jacobian-vector product of the predictions for each parameter gives
every patient's matrix. Any mechanism and any likelihood will do; directions the data do not curve are
left out, which in the informed parameterization means non-centred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.dims import PATIENT, group_suffix
from hierarchical_twin.graph.evaluate import parameters_at, pointwise
from hierarchical_twin.graph.filtering import foresee
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.likelihood import JAX
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Observe, Solve
from hierarchical_twin.graph.operations import link, measurement_precision, unlink
from hierarchical_twin.graph.outcomes import measured
from hierarchical_twin.graph.solving import Values, solve
from hierarchical_twin.spec.population import link_of

Array = Any


def blank_information(model: Model) -> Information:
    """Nothing known of any patient: the informed model built from it is the non-centred one."""
    parameters, patients = _parameters(model), model.size(PATIENT)
    outcomes = [node.name for node in model.graph.observes]
    return Information(
        parameters,
        {outcome: np.zeros((len(parameters), len(parameters), patients)) for outcome in outcomes},
        {outcome: np.zeros((len(parameters), patients)) for outcome in outcomes},
    )


def quadratic_at(model: Model) -> Callable[[Array], tuple[dict[str, Array], dict[str, Array], Array]]:
    """The function that expands every patient's log likelihood around a flat point.

    Gauss and Newton's expansion: predictions to first order in the predictors, each measurement's log
    likelihood to second order in its prediction (its logarithm where the error is lognormal), or flat
    where it is not concave.

    Parameters
    ----------
    model : Model
        In any parameterization.

    Returns
    -------
    callable
        Flat point ``[size]`` to, by outcome, the curvature ``[parameter, parameter, patient]`` and the
        score ``[parameter, patient]`` there, and the predictors ``[parameter, patient]``.
    """
    (solution,) = (node for node in model.graph if isinstance(node, Solve))
    parameters = linked_parameters(model)

    def expect(values: Values) -> Values:
        solved = solve(solution, values)
        return solved if model.graph.filter is None else foresee(model.graph.filter, model.arrays, values)

    def at(flat: Array) -> tuple[dict[str, Array], dict[str, Array], Array]:
        values = parameters_at(model, flat)
        predictors = predictors_of(values, parameters, model.size(PATIENT))

        # Around what a filter expects a measurement errs by what it expects, too.
        values = values if model.graph.filter is None else {**values, **expect(values)}

        def predict(predictors: Array) -> dict[str, Array]:
            own = {
                source: unlink(JAX, row, name=word)
                for (source, word), row in zip(parameters, predictors, strict=True)
            }
            expected = expect({**values, **own})
            return {node.name: judged_prediction(model, node, expected) for node in model.graph.observes}

        basis = jnp.eye(len(parameters))[:, :, None] * jnp.ones(model.size(PATIENT))
        predicted, move = jax.linearize(predict, predictors)
        slopes = jax.vmap(move)(basis)
        curvature, score = {}, {}
        for node in model.graph.observes:
            pull, bend = _elementwise(model, node, values, predicted[node.name])
            jacobian = jnp.where(model.arrays[node.mask], slopes[node.name], 0.0)
            curvature[node.name] = jnp.einsum("ipt,pt,jpt->ijp", jacobian, bend, jacobian)
            score[node.name] = jnp.einsum("ipt,pt->ip", jacobian, pull)
        return curvature, score, predictors

    return at


def judged_prediction(model: Model, node: Observe, solved: Mapping[str, Array]) -> Array:
    """An outcome's prediction ``[patient, time]`` on the scale on which its error is symmetric."""
    if node.log_predicted is not None:
        return solved[node.log_predicted]
    predicted = jnp.where(model.arrays[node.mask], solved[node.predicted], 0.5)
    return jnp.log(predicted) if node.error == "lognormal" else predicted


def _elementwise(
    model: Model, node: Observe, values: Mapping[str, Array], predicted: Array
) -> tuple[Array, Array]:
    """First derivative of each log likelihood in its prediction, and minus the second, or 0 if negative."""

    def likelihood(predicted: Array) -> Array:
        moved = {**values, node.predicted: predicted}
        if node.error == "lognormal":
            moved |= {node.predicted: jnp.exp(predicted), node.log_predicted: predicted}
        return jnp.sum(pointwise(model, node, moved))

    pull, bend = jax.jvp(jax.grad(likelihood), (predicted,), (jnp.ones_like(predicted),))
    return pull, jnp.maximum(-bend, 0.0)


def make_information(
    model: Model,
    values: Mapping[str, Array],
    expanded: tuple[Mapping[str, Array], Mapping[str, Array], Array],
) -> Information:
    """What the informed parameterization needs, from an expansion of `quadratic_at`.

    Parameters
    ----------
    model : Model
    values : mapping
        Node values at the point of the expansion, natural scale.
    expanded : tuple
        What the function of `quadratic_at` returned.

    Returns
    -------
    Information
        Counting the patients whose data leave one of their effects undetermined.
    """
    names = _parameters(model)
    effects = model.cohort.effects.get(PATIENT, ())
    own = sorted({names.index(effect.parameter) for effect in effects})
    curvature, score = {}, {}
    known = np.zeros((len(own), model.size(PATIENT)))
    predictors = np.asarray(expanded[2])
    for node in model.graph.observes:
        matrix, slope = np.asarray(expanded[0][node.name]), np.asarray(expanded[1][node.name])
        is_usable = np.isfinite(matrix).all(axis=(0, 1)) & np.isfinite(slope).all(axis=0)
        matrix = np.where(is_usable, matrix, 0.0)
        known += np.einsum("iip->ip", matrix)[own]
        precision = float(precision_of(model, node.name, values))
        linear = np.where(is_usable, slope, 0.0) + np.einsum("ijp,jp->ip", matrix, np.nan_to_num(predictors))
        curvature[node.name], score[node.name] = matrix / precision, linear / precision
    return Information(names, curvature, score, fallbacks=int((known <= 0.0).any(axis=0).sum()))


def precision_of(model: Model, outcome: str, values: Mapping[str, Array]) -> Array:
    """Precision of a typical measurement of an outcome at a point's residual parameters."""
    how = measured(model.spec, model.cohort, outcome)
    return measurement_precision(JAX, *(values[name] for name in how.residuals), **dict(how.words))


def outer_choices(
    model: Model, values: Mapping[str, Array], information: Information
) -> dict[str, dict[str, str]]:
    """Centred where a level's data say more than its prior, non-centred elsewhere, by effect."""
    choices: dict[str, dict[str, str]] = {}
    for group, effects in model.cohort.effects.items():
        if group == PATIENT:
            continue
        levels = np.asarray(model.cohort.arrays[f"level_{group}"])
        omega = np.asarray(values[f"omega{group_suffix(group)}"])
        choices[group] = {}
        for position, effect in enumerate(effects):
            place = information.parameters.index(effect.parameter)
            own = sum(
                float(precision_of(model, outcome, values)) * curvature[place, place]
                for outcome, curvature in information.curvature.items()
            )
            between = _between_patients(model, effect.parameter, values)
            known = own / (1.0 + own * between)
            total = np.bincount(levels, weights=known, minlength=model.size(group))
            is_rich = np.median(total) * omega[position] ** 2 > 1.0
            choices[group][effect.label] = "centered" if is_rich and effect.term == "1" else "noncentered"
    return choices


def _between_patients(model: Model, parameter: str, values: Mapping[str, Array]) -> float:
    """Variance between patients of a parameter's predictor, given its level: 0 without patient effects."""
    effects = model.cohort.effects.get(PATIENT, ())
    own = [k for k, effect in enumerate(effects) if effect.parameter == parameter and effect.term == "1"]
    return float(np.asarray(values["omega"])[own[0]] ** 2) if own else 0.0


def _parameters(model: Model) -> tuple[str, ...]:
    """The estimated parameters, in the spec's order."""
    return tuple(name for name, words in model.spec.parameters.items() if words.typical is not None)


def linked_parameters(model: Model) -> tuple[tuple[str, str], ...]:
    """The estimated parameters, in the spec's order: the node the mechanism reads each from, and its link.

    The node is the patient's own where there is one, else the common one.
    """
    (solution,) = (node for node in model.graph if isinstance(node, Solve))
    sources = {parameter.source for parameter in solution.parameters}
    return tuple(
        (name if name in sources else f"{name}_typical", link_of(model.spec, name))
        for name in _parameters(model)
    )


def predictors_of(
    values: Mapping[str, Array], parameters: tuple[tuple[str, str], ...], patients: int
) -> Array:
    """Link-scale predictors ``[parameter, patient]`` of the parameters that `linked_parameters` names."""
    rows = [jnp.broadcast_to(link(JAX, values[name], name=word), (patients,)) for name, word in parameters]
    return jnp.stack(rows)
