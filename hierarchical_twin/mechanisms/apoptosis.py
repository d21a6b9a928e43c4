"""Death of cells whose drug signal passes a threshold, and the dose for a wanted kill.

One value of dose for each record (a well of an assay); nothing here runs in time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from hierarchical_twin.mechanisms.shapes import Elementwise, Parameter, PerRecord


def apoptosis_threshold(
    dose: PerRecord,
    *,
    K_apo: Parameter,
    n: Parameter,
    potency: Parameter | float = 1.0,
    top: Parameter | float = 1.0,
    floor: Parameter | float = 0.0,
) -> dict[str, PerRecord]:
    """Turn dose into survival through a signal, a threshold and a steepness.

    Equations::

        S        = potency dose
        death    = S^n / (K_apo^n + S^n)
        survival = floor + (top - floor) (1 - death)

    Parameters
    ----------
    dose : array [patient, time]
        Drug concentration of each record, in the declared unit; 0 or more. At 0 survival is `top`.
    K_apo : array [patient, 1] or []
        Apoptosis threshold: signal at which half die, in the unit of `dose`; greater than 0.
    n : array [patient, 1] or []
        Steepness (Hill coefficient), no unit; greater than 0. A population of cells with
        log-logistic thresholds of median `K_apo` has this curve, and `n` is how alike they are.
    potency : array [patient, 1] or []
        Signal for each unit of dose, no unit; greater than 0. Only ``K_apo / potency`` can be
        learned from one drug, so leave it at 1 unless two drugs share a threshold.
    top, floor : array [patient, 1] or []
        Survival without drug, and survival that no dose removes; ``0 <= floor < top <= 1``.

    Returns
    -------
    dict
        ``survival`` and ``death`` : array [patient, time]. Death is the probability that the
        signal kills, so survival is ``1 - death`` only while `top` is 1 and `floor` is 0.

    References
    ----------
    Hill AV (1910). The possible effects of the aggregation of the molecules of haemoglobin on
    its dissociation curves. J Physiol 40:iv-vii.
    Roux J, Hafner M, Bandara S, et al. (2015). Fractional killing arises from cell-to-cell
    variability in overcoming a caspase activity threshold. Mol Syst Biol 11:803.
    doi:10.15252/msb.20145584
    """
    is_dosed = dose > 0.0
    # The logarithm never sees a dose of 0, so its infinite slope cannot reach a gradient.
    log_signal = jnp.log(potency) + jnp.log(jnp.where(is_dosed, dose, 1.0))
    log_odds = n * (log_signal - jnp.log(K_apo))
    death = jnp.where(is_dosed, jax.nn.sigmoid(log_odds), 0.0)
    alive = jnp.where(is_dosed, jax.nn.sigmoid(-log_odds), 1.0)
    return {"survival": floor + (top - floor) * alive, "death": death}


def dose_for_kill(
    K_apo: Parameter, n: Parameter, potency: Parameter | float = 1.0, *, target: float = 0.9
) -> Elementwise:
    """Dose at which the probability of death is `target`; the inverse of `apoptosis_threshold`.

    ``dose = K_apo / potency (target / (1 - target))^(1/n)``, in the unit of `K_apo`. It is
    proportional to the threshold: six times the threshold needs six times the dose.

    Parameters
    ----------
    K_apo, n, potency : array
        As in `apoptosis_threshold`; broadcast together.
    target : float
        Wanted probability of death, between 0 and 1, both excluded.
    """
    log_odds = jnp.log(target) - jnp.log1p(-target)
    return K_apo / potency * jnp.exp(log_odds / n)
