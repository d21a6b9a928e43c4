"""Growth of one tumor from its size at time 0: exponential, logistic, Gompertz.

Closed forms only. Process noise acts on the logarithm of the size, which stays positive. Units of size
and time are whatever the spec declares.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from hierarchical_twin.mechanisms.divided_differences import phi
from hierarchical_twin.mechanisms.shapes import Elementwise, Parameter, PerRecord
from hierarchical_twin.mechanisms.state_space import Diffusions, StateSpace, Step, drifting, flat, with_start


def exponential_growth(time: PerRecord, *, V_0: Parameter, r: Parameter) -> dict[str, PerRecord]:
    """Solve ``dV/dt = r V, V(0) = V_0``: ``V(t) = V_0 exp(r t)``.

    Parameters
    ----------
    time : array [patient, time]
        Time since the clock of the spec starts; negative times are allowed.
    V_0 : array [patient, 1] or []
        Size at time 0, in the unit of `V`; greater than 0.
    r : array [patient, 1] or []
        Growth rate, 1/time; negative for a shrinking tumor. Valid for ``|r t| < 700``.

    Returns
    -------
    dict
        ``V`` : array [patient, time], tumor size; ``log_V`` its logarithm.

    References
    ----------
    Collins VP, Loeffler RK, Tivey H (1956). Observations on growth rates of human tumors.
    American Journal of Roentgenology 76:988-1000.
    """
    log_volume = jnp.log(V_0) + r * time
    return {"V": jnp.exp(log_volume), "log_V": log_volume}


def logistic_growth(time: PerRecord, *, V_0: Parameter, r: Parameter, K: Parameter) -> dict[str, PerRecord]:
    """Solve ``dV/dt = r V (1 - V/K), V(0) = V_0``: ``V = V_0 K / (V_0 + (K - V_0) exp(-r t))``.

    Parameters
    ----------
    time : array [patient, time]
        Time since the clock of the spec starts.
    V_0 : array [patient, 1] or []
        Size at time 0, in the unit of `V`; greater than 0, above or below `K`.
    r : array [patient, 1] or []
        Growth rate of a tumor far below `K`, 1/time. Any ``r t`` while ``V_0 < K``. A tumor that
        starts above `K` reaches infinity at ``r t = log(1 - K/V_0)``, a negative number: the
        solution holds after that point only, so there `r` and `time` must be of one sign.
    K : array [patient, 1] or []
        Carrying capacity, the size approached, in the unit of `V`; greater than 0.

    Returns
    -------
    dict
        ``V`` : array [patient, time], tumor size; ``log_V`` its logarithm.

    References
    ----------
    Verhulst PF (1838). Notice sur la loi que la population suit dans son accroissement.
    Correspondance mathematique et physique 10:113-121.
    """
    exponent = r * time
    # Top and bottom carry only the exponential that decays, so neither overflows at large |r t|.
    forward = jnp.exp(-jnp.where(exponent >= 0.0, exponent, 0.0))
    backward = jnp.exp(jnp.where(exponent >= 0.0, 0.0, exponent))
    bottom = V_0 * backward + (K - V_0) * forward
    log_volume = jnp.log(V_0) + jnp.log(K) + jnp.where(exponent >= 0.0, 0.0, exponent) - jnp.log(bottom)
    return {"V": V_0 * K * backward / bottom, "log_V": log_volume}


def gompertz_growth(time: PerRecord, *, V_0: Parameter, r: Parameter, a: Parameter) -> dict[str, PerRecord]:
    """Solve ``dV/dt = r exp(-a t) V, V(0) = V_0``: ``V = V_0 exp(r (1 - exp(-a t)) / a)``.

    Exponential growth is its limit as `a` goes to 0, and is reached without loss of accuracy.

    Parameters
    ----------
    time : array [patient, time]
        Time since the clock of the spec starts.
    V_0 : array [patient, 1] or []
        Size at time 0, in the unit of `V`; greater than 0.
    r : array [patient, 1] or []
        Growth rate at time 0, 1/time.
    a : array [patient, 1] or []
        Rate at which growth slows, 1/time; 0 or more. Valid while ``|r/a (1 - exp(-a t))| < 700``.

    Returns
    -------
    dict
        ``V`` : array [patient, time], tumor size; ``log_V`` its logarithm.

    References
    ----------
    Gompertz B (1825). Phil Trans R Soc London 115:513-583. doi:10.1098/rstl.1825.0026
    Laird AK (1964). Dynamics of tumor growth. Br J Cancer 18:490-502. doi:10.1038/bjc.1964.55
    Norton L (1988). A Gompertzian model of human breast cancer growth. Cancer Res 48:7067-7071.
    """
    mean_decay = phi(1, a * time)[0]
    log_volume = jnp.log(V_0) + r * time * mean_decay
    return {"V": jnp.exp(log_volume), "log_V": log_volume}


def doubling_time(r: Parameter) -> Elementwise:
    """Time in which a tumor growing at rate `r` (1/time) doubles: ``log(2) / r``; negative if it shrinks."""
    return jnp.log(2.0) / r


def plateau_ratio(r: Parameter, a: Parameter) -> Elementwise:
    """Final size over initial size of Gompertz growth, ``exp(r / a)``; `r` and `a` in 1/time."""
    return jnp.exp(r / a)


def exponential_growth_space(
    time: PerRecord, *, V_0: Parameter, r: Parameter, diffusions: Diffusions
) -> StateSpace:
    """``d log V = r dt + g dW``: `exponential_growth`, wandering. Linear-Gaussian in ``log V``."""
    return drifting(
        time,
        lambda at: exponential_growth(at, V_0=V_0, r=r)["log_V"],
        diffusions["V"],
        _read_log_volume,
    )


def gompertz_growth_space(
    time: PerRecord, *, V_0: Parameter, r: Parameter, a: Parameter, diffusions: Diffusions
) -> StateSpace:
    """``d log V = r exp(-a t) dt + g dW``: `gompertz_growth`, wandering. Linear-Gaussian in ``log V``."""
    return drifting(
        time,
        lambda at: gompertz_growth(at, V_0=V_0, r=r, a=a)["log_V"],
        diffusions["V"],
        _read_log_volume,
    )


def logistic_growth_space(
    time: PerRecord, *, V_0: Parameter, r: Parameter, K: Parameter, diffusions: Diffusions
) -> StateSpace:
    """``d log V = r (1 - V/K) dt + g dW``: `logistic_growth`, wandering. Extended Kalman in ``log V``.

    Between two records the size is carried by the closed form, and the noise that is added by the integral
    of the squared derivative of the flow along it, a closed form too. For `r` of 0 or more, or sizes
    below `K`: a larger one would grow without bound.
    """
    patients = time.shape[0]
    begun = with_start(time)
    rate, capacity = flat(r, patients), flat(K, patients)
    start = logistic_growth(begun[:, :1], V_0=V_0, r=r, K=K)["log_V"]

    def step(duration: Any, state: Array) -> Step:
        log_before = state[:, 0]
        before, decay = jnp.exp(log_before), rate * duration
        kept = jnp.exp(-decay)
        # What the size is divided by, over the capacity: size over capacity, and room left that decays.
        bottom = before / capacity + (1.0 - before / capacity) * kept
        log_after = log_before - jnp.log(bottom)
        after = jnp.exp(log_after)
        slope = kept / bottom
        full, room = after / capacity, (1.0 - before / capacity) * slope
        squared = full**2 * phi(1, 2.0 * decay)[0] + 2.0 * full * room * phi(1, decay)[0] + room**2
        added = diffusions["V"] ** 2 * duration * squared
        return Step(log_after[:, None], slope[:, None, None], added[:, None, None])

    return StateSpace(start, jnp.diff(begun, axis=1).T, step, _read_log_volume)


def _read_log_volume(state: Array) -> dict[str, Array]:
    return {"V": jnp.exp(state[..., 0]), "log_V": state[..., 0]}
