"""A prodrug that is eliminated or activated, and its active drug. Closed form, any doses.

Doses superpose because the system is linear. What reaches the body, and when, is the `input`
option; everything after that is shared by the three.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from hierarchical_twin.errors import Problem, SpecError
from hierarchical_twin.mechanisms.divided_differences import (
    exp_difference,
    exp_second_difference,
    phi,
)
from hierarchical_twin.mechanisms.shapes import Elementwise, Parameter, PerDose, PerRecord
from hierarchical_twin.mechanisms.state_space import Diffusions, StateSpace, Step, flat, matrix

_ROOTS, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_NODES, _WEIGHTS = (_ROOTS + 1.0) / 2.0, _WEIGHTS / 2.0


class _Rates(NamedTuple):
    """Rates of the two compartments, 1/time, shaped to broadcast over ``[patient, time, dose]``."""

    loss: Array
    k_act: Array
    k_out: Array


class _Amounts(NamedTuple):
    """Amounts of both drugs in the body that each dose has left at each record."""

    prodrug: Array
    active: Array


def prodrug_activation(
    time: PerRecord,
    dose_time: PerDose,
    dose_amount: PerDose,
    dose_duration: PerDose,
    *,
    V: Parameter,
    k_el: Parameter,
    k_act: Parameter,
    k_out: Parameter,
    k_a: Parameter | None = None,
    t_lag: Parameter | float = 0.0,
    input: Literal["bolus", "infusion", "oral"] = "bolus",
) -> dict[str, PerRecord]:
    """Solve the two-compartment activation chain for any number of doses.

    Equations, with amounts P of prodrug and A of active drug in moles or mass of dose::

        dP/dt = u(t) - (k_el + k_act) P        prodrug = P / V
        dA/dt = k_act P - k_out A              active  = A / V

    and u(t) for a dose of size D given at time T::

        bolus      all of D enters P at T
        infusion   D / duration from T to T + duration; a duration of 0 is a bolus
        oral       k_a D exp(-k_a (t - T - t_lag)) from T + t_lag on; duration is not used

    A record at the time of a bolus holds the value after it. Both drugs are 0 before the first
    dose; an observation there has no logarithm. One molecule of prodrug gives one of active drug,
    and both concentrations refer to the one volume V: the two scales cannot be told apart.

    Parameters
    ----------
    time : array [patient, time]
        Times of the records, on the clock of `dose_time`.
    dose_time, dose_amount, dose_duration : array [patient, dose]
        When each dose starts, its amount, and how long it runs (0 or more). Padding has amount 0.
    V : array [patient, 1] or []
        Volume of distribution (apparent, V/F, for oral doses), volume; greater than 0.
    k_el, k_act, k_out : array [patient, 1] or []
        Rates, 1/time, 0 or more: loss of prodrug other than by activation, activation, and loss of
        active drug. Rates may coincide. Valid while each rate times elapsed time is below 700,
        beyond which the concentration is 0 in float64.
    k_a : array [patient, 1] or []
        First-order absorption rate, 1/time; needed by oral input only.
    t_lag : array [patient, 1] or []
        Time from an oral dose to the start of its absorption; 0 or more. A prediction has a kink,
        with finite one-sided slopes, where `t_lag` meets a record.
    input : {"bolus", "infusion", "oral"}
        How a dose reaches the body.

    Returns
    -------
    dict
        ``prodrug`` and ``active`` : array [patient, time], concentrations in amount/volume.

    Raises
    ------
    SpecError
        If `input` is none of the three words, or oral input has no `k_a`.

    References
    ----------
    Bateman H (1910). Solution of a system of differential equations occurring in the theory of
    radioactive transformations. Proc Camb Phil Soc 15:423-427.
    Gibaldi M, Perrier D (1982). Pharmacokinetics, 2nd ed. Marcel Dekker, New York.
    """
    k_act, k_out = _along_doses(k_act), _along_doses(k_out)
    rates = _Rates(_along_doses(k_el) + k_act, k_act, k_out)
    elapsed = time[..., None] - dose_time[..., None, :]
    amount, duration = dose_amount[..., None, :], dose_duration[..., None, :]
    match input:
        case "bolus":
            left = _after_bolus(elapsed, amount, rates)
        case "infusion":
            left = _after_infusion(elapsed, amount, duration, rates)
        case "oral" if k_a is not None:
            left = _after_oral(elapsed - _along_doses(t_lag), amount, _along_doses(k_a), rates)
        case "oral":
            raise SpecError(Problem("prodrug_activation k_a", "nothing", "an absorption rate for oral input"))
        case _:
            raise SpecError(Problem("prodrug_activation input", repr(input), "bolus, infusion or oral"))
    return {"prodrug": left.prodrug.sum(-1) / V, "active": left.active.sum(-1) / V}


def prodrug_activation_space(
    time: PerRecord,
    dose_time: PerDose,
    dose_amount: PerDose,
    dose_duration: PerDose,
    *,
    V: Parameter,
    k_el: Parameter,
    k_act: Parameter,
    k_out: Parameter,
    diffusions: Diffusions,
    k_a: Parameter | None = None,
    t_lag: Parameter | float = 0.0,
    input: Literal["bolus", "infusion", "oral"] = "bolus",
) -> StateSpace:
    """`prodrug_activation` with noise on either concentration, from the first dose on. Linear-Gaussian.

    With ``c = prodrug`` and ``a = active``; all arguments but `diffusions` as there::

        dc = (u(t)/V - (k_el + k_act) c) dt + g_c dW_c        da = (k_act c - k_out a) dt + g_a dW_a
    """
    patients = time.shape[0]
    doses = (dose_time, dose_amount, dose_duration)
    rates = {"k_el": k_el, "k_act": k_act, "k_out": k_out}
    solution = prodrug_activation(time, *doses, V=V, **rates, k_a=k_a, t_lag=t_lag, input=input)
    course = jnp.stack([solution["prodrug"].T, solution["active"].T], axis=-1)
    first_dose = jnp.min(jnp.where(dose_amount > 0.0, dose_time, jnp.inf), axis=1, keepdims=True)
    since = jnp.maximum(time - first_dose, 0.0)
    activation, out = flat(k_act, patients), flat(k_out, patients)
    loss = flat(k_el, patients) + activation
    squares = [diffusions.get(name, jnp.zeros(())) ** 2 for name in ("prodrug", "active")]

    def step(interval: Any, state: Array) -> Step:
        before, after, duration = interval
        passed = activation * duration * exp_difference(-loss * duration, -out * duration)
        kept = matrix(((jnp.exp(-loss * duration), 0.0), (passed, jnp.exp(-out * duration))), patients)
        moved = after + jnp.einsum("pij,pj->pi", kept, state - before)
        lost, left = -2.0 * loss * duration, -2.0 * out * duration
        shared = duration**2 * exp_second_difference(jnp.zeros_like(lost), lost, (lost + left) / 2.0)
        of_prodrug = squares[0] * duration * phi(1, -lost)[0]
        of_both = squares[0] * activation * shared
        of_active = squares[1] * duration * phi(1, -left)[0]
        of_active = of_active + squares[0] * activation**2 * duration**3 * _squared_passage(lost, left)
        return Step(moved, kept, matrix(((of_prodrug, of_both), (of_both, of_active)), patients))

    def read(state: Array) -> dict[str, Array]:
        return {"prodrug": state[..., 0], "active": state[..., 1]}

    nothing = jnp.zeros((1, patients, 2))
    duration = jnp.diff(since, axis=1, prepend=0.0).T
    intervals = (jnp.concatenate([nothing, course[:-1]]), course, duration)
    return StateSpace(nothing[0], intervals, step, read)


def _squared_passage(lost: Array, left: Array) -> Array:
    """Integral of ``((exp(lost s/2) - exp(left s/2)) / ((lost - left)/2))^2`` over s from 0 to 1.

    Twice the exponential's third divided difference over 0 and the two arguments and their middle.
    """
    middle, none = (lost + left) / 2.0, jnp.zeros_like(lost)
    is_small = jnp.maximum(jnp.abs(lost), jnp.abs(left)) < 1.0
    near = jnp.where(is_small, lost, 0.0), jnp.where(is_small, left, 0.0)
    small = sum(
        2.0 * weight * node**2 * exp_second_difference(node * near[0], node * sum(near) / 2.0, node * near[1])
        for node, weight in zip(_NODES, _WEIGHTS, strict=True)
    )
    # The difference of two second differences, over the larger argument: few digits are lost.
    larger = jnp.where(jnp.abs(lost) > jnp.abs(left), lost, left)
    smaller = jnp.where(jnp.abs(lost) > jnp.abs(left), left, lost)
    whole = exp_second_difference(lost, middle, left) - exp_second_difference(none, middle, smaller)
    return jnp.where(is_small, small, 2.0 * whole / jnp.where(is_small, 1.0, larger))


def activated_fraction(k_el: Parameter, k_act: Parameter) -> Elementwise:
    """Fraction of the prodrug that is activated, ``k_act / (k_act + k_el)``; rates in 1/time."""
    return k_act / (k_act + k_el)


def steady_state_active(
    V: Parameter, k_el: Parameter, k_act: Parameter, k_out: Parameter, *, rate: float = 1.0
) -> Elementwise:
    """Active drug at steady state under a constant infusion, in amount/volume.

    ``rate k_act / ((k_act + k_el) k_out V)``, the limit of `prodrug_activation` under a long
    infusion: proportional to `activated_fraction`.

    Parameters
    ----------
    V, k_el, k_act, k_out : array
        As in `prodrug_activation`; broadcast together.
    rate : float
        Infusion rate, amount/time.
    """
    return rate * activated_fraction(k_el, k_act) / (k_out * V)


def _along_doses(parameter: Parameter | float) -> Array:
    return jnp.asarray(parameter)[..., None]


def _after_bolus(elapsed: Array, amount: Array, rates: _Rates) -> _Amounts:
    given = jnp.where(elapsed >= 0.0, amount, 0.0)
    return _decayed(_Amounts(given, jnp.zeros_like(given)), jnp.maximum(elapsed, 0.0), rates)


def _after_infusion(elapsed: Array, amount: Array, duration: Array, rates: _Rates) -> _Amounts:
    """Fill during the infusion, then let what is there at its end decay: no difference is taken."""
    filling = jnp.clip(elapsed, 0.0, duration)
    is_infusion = duration > 0.0
    given_so_far = jnp.where(is_infusion, filling / jnp.where(is_infusion, duration, 1.0), 1.0)
    given = jnp.where(elapsed >= 0.0, amount * given_so_far, 0.0)
    prodrug = given * phi(1, rates.loss * filling)[0]
    chain = exp_second_difference(jnp.zeros_like(filling), -rates.loss * filling, -rates.k_out * filling)
    at_end = _Amounts(prodrug, given * rates.k_act * filling * chain)
    return _decayed(at_end, jnp.maximum(elapsed - duration, 0.0), rates)


def _after_oral(elapsed: Array, amount: Array, k_a: Array, rates: _Rates) -> _Amounts:
    since = jnp.where(elapsed > 0.0, elapsed, 0.0)
    absorption, loss, out = -k_a * since, -rates.loss * since, -rates.k_out * since
    prodrug = amount * k_a * since * exp_difference(absorption, loss)
    chain = exp_second_difference(absorption, loss, out)
    return _Amounts(prodrug, amount * k_a * rates.k_act * since**2 * chain)


def _decayed(start: _Amounts, since: Array, rates: _Rates) -> _Amounts:
    """Amounts after a time `since` without input."""
    loss, out = -rates.loss * since, -rates.k_out * since
    activated = start.prodrug * rates.k_act * since * exp_difference(loss, out)
    return _Amounts(start.prodrug * jnp.exp(loss), start.active * jnp.exp(out) + activated)
