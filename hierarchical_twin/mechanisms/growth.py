"""Growth of one tumor from its size at time 0: exponential, logistic, Gompertz.

Closed forms only. Units of size and time are whatever the spec declares.
"""

from __future__ import annotations

import jax.numpy as jnp

from hierarchical_twin.mechanisms.divided_differences import phi
from hierarchical_twin.mechanisms.shapes import Elementwise, Parameter, PerRecord


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
        ``V`` : array [patient, time], tumor size.

    References
    ----------
    Verhulst PF (1838). Notice sur la loi que la population suit dans son accroissement.
    Correspondance mathematique et physique 10:113-121.
    """
    exponent = r * time
    # Top and bottom carry only the exponential that decays, so neither overflows at large |r t|.
    forward = jnp.exp(-jnp.where(exponent >= 0.0, exponent, 0.0))
    backward = jnp.exp(jnp.where(exponent >= 0.0, 0.0, exponent))
    return {"V": V_0 * K * backward / (V_0 * backward + (K - V_0) * forward)}


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
