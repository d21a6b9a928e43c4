"""The five posteriors of the benchmark: which spec, which quantities, and the truth their data come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One posterior.

    Attributes
    ----------
    key : str
        Its folder under ``benchmarks/models``.
    spec : str
        The shipped spec.
    links : mapping
        Every estimated parameter to its link, in the order of ``typical``.
    effects : tuple of str
        Parameters with a patient effect, in the order of ``omega`` and of the columns of ``effects``.
    sigmas : tuple of str
        Residual parameters, in the order of ``sigma``.
    beta : str
        Name of the covariate coefficient in our fits, if there is one.
    truth : mapping
        Population parameters that the cohorts are simulated from, in a fit's names.
    has_ode : bool
        Whether there is a second Stan program that solves the mechanism's ODE adaptively.
    """

    key: str
    spec: str
    links: Mapping[str, str]
    effects: tuple[str, ...]
    sigmas: tuple[str, ...]
    truth: Mapping[str, float | list[float]]
    beta: str = ""
    is_correlated: bool = False
    has_ode: bool = False


def _log(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "log")


PROBLEMS: Mapping[str, Problem] = {
    problem.key: problem
    for problem in (
        Problem(
            key="growth",
            spec="tumor_growth",
            links={"V_0": "log", "r": "identity"},
            effects=("V_0", "r"),
            sigmas=("sigma_volume",),
            is_correlated=True,
            truth={
                "V_0_typical": 0.144,
                "r_typical": 0.088,
                "omega": [0.35, 0.022],
                "omega_partial": [0.75],
                "sigma_volume": 0.18,
            },
        ),
        Problem(
            key="prodrug",
            spec="prodrug_activation",
            links=_log("V", "k_el", "k_act", "k_out", "k_a"),
            effects=("V", "k_act", "k_out"),
            sigmas=(
                "sigma_losartan",
                "sigma_proportional_losartan",
                "sigma_e3174",
                "sigma_proportional_e3174",
            ),
            beta="beta_k_act",
            truth={
                "V_typical": 118.0,
                "k_el_typical": 0.24,
                "k_act_typical": 0.5,
                "beta_k_act": [-0.8],
                "k_out_typical": 0.12,
                "k_a_typical": 1.6,
                "omega": [0.35, 0.4, 0.3],
                "sigma_losartan": 8.0,
                "sigma_proportional_losartan": 0.2,
                "sigma_e3174": 5.0,
                "sigma_proportional_e3174": 0.1,
            },
        ),
        Problem(
            key="apoptosis",
            spec="apoptosis_threshold",
            links=_log("K_apo", "n"),
            effects=("K_apo",),
            sigmas=("sigma_viability",),
            beta="beta_K_apo",
            truth={
                "K_apo_typical": 1.9,
                "beta_K_apo": [1.4],
                "n_typical": 1.0,
                "omega": [1.0],
                "sigma_viability": 0.11,
            },
        ),
        Problem(
            key="minimal",
            spec="glucose_minimal_model",
            links=_log("G_0", "S_G", "S_I", "p_2"),
            effects=("G_0", "S_G", "S_I", "p_2"),
            sigmas=("sigma_glucose",),
            has_ode=True,
            truth={
                "G_0_typical": 270.0,
                "S_G_typical": 0.020,
                "S_I_typical": 5e-4,
                "p_2_typical": 0.030,
                "omega": [0.10, 0.25, 0.60, 0.30],
                "sigma_glucose": 5.0,
            },
        ),
        Problem(
            key="linear",
            spec="sleep",
            links={"intercept": "identity", "slope": "identity"},
            effects=("intercept", "slope"),
            sigmas=("sigma_reaction",),
            is_correlated=True,
            truth={
                "intercept_typical": 251.0,
                "slope_typical": 10.5,
                "omega": [24.0, 6.0],
                "omega_partial": [0.5],
                "sigma_reaction": 25.0,
            },
        ),
    )
}
"""Every problem by its key."""
