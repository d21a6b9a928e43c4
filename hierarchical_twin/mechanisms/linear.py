"""A straight line in time: the mechanism of the linear mixed-effects model."""

from __future__ import annotations

from hierarchical_twin.mechanisms.shapes import Parameter, PerRecord
from hierarchical_twin.mechanisms.state_space import Diffusions, StateSpace, drifting


def linear(time: PerRecord, *, intercept: Parameter, slope: Parameter | float = 0.0) -> dict[str, PerRecord]:
    """Draw the line ``y(t) = intercept + slope t``.

    Parameters
    ----------
    time : array [patient, time]
        Time, or whatever runs along the records (day, age, dose number).
    intercept : array [patient, 1] or []
        Response at time 0, in the unit of `y`; any real number.
    slope : array [patient, 1] or []
        Change of the response in one unit of time; any real number. 0 gives a random intercept alone.

    Returns
    -------
    dict
        ``y`` : array [patient, time], response.

    References
    ----------
    Laird NM, Ware JH (1982). Random-effects models for longitudinal data. Biometrics 38:963-974.
    doi:10.2307/2529876
    """
    return {"y": intercept + slope * time}


def linear_space(
    time: PerRecord, *, intercept: Parameter, slope: Parameter | float = 0.0, diffusions: Diffusions
) -> StateSpace:
    """``dy = slope dt + g dW``: `linear`, wandering. Linear-Gaussian; arguments as there."""
    return drifting(
        time,
        lambda at: linear(at, intercept=intercept, slope=slope)["y"],
        diffusions["y"],
        lambda state: {"y": state[..., 0]},
    )
