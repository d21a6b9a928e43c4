"""What a prediction is: draws of every asked row, and the row table of the field made from them.

Values only; how they are drawn is the business of `prediction.predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.intervals import DEFAULT_PROB, summarise
from hierarchical_twin.analysis.npde import decorrelated_errors
from hierarchical_twin.analysis.residuals import (
    complete_censored,
    integral_transform,
    weighted_residuals,
)
from hierarchical_twin.errors import Problem, SamplingError, nearest

ROW_COLUMNS = ("patient", "is_new", "outcome", "time", "DV", "censored")
"""Columns that the rows of every prediction have."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Draws of what patients would show at asked rows, joint over rows and parameters.

    Attributes
    ----------
    rows : pd.DataFrame
        One line for each row: ``patient, is_new, outcome, time``, the inputs, ``DV`` (the measurement, NaN
        where there is none; the limit where censored) and ``censored`` (0 measured, 1 below, -1 above).
    individual : np.ndarray, [draw, row]
        The patient's own prediction, without noise, in the outcome's unit.
    population : np.ndarray, [draw, row]
        The prediction with all effects at 0.
    replicates : np.ndarray, [draw, row]
        A new measurement of this patient.
    new_patients : np.ndarray, [draw, row]
        A measurement of another patient with the same covariates and design; in a draw, all rows of a
        patient are of the same other patient.
    residual_sd : np.ndarray, [draw, row]
        SD of a measurement around `individual`: in the outcome's unit, on the log scale under
        lognormal error; NaN where the error model has none.
    patients : pd.DataFrame
        ``patient, is_new``, in the order of `parameters`.
    parameters : mapping to np.ndarray, [draw, patient]
        Parameters and derived quantities of each patient, in their units.
    units : mapping
        Of outcomes, parameters and derived quantities.
    errors : mapping
        Outcome to error model.
    """

    rows: pd.DataFrame
    individual: np.ndarray
    population: np.ndarray
    replicates: np.ndarray
    new_patients: np.ndarray
    residual_sd: np.ndarray
    patients: pd.DataFrame
    parameters: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    errors: Mapping[str, str]

    @property
    def draws(self) -> int:
        """Number of draws."""
        return self.individual.shape[0]

    def select(self, outcome: str) -> Prediction:
        """The same prediction with the rows of one outcome.

        Raises
        ------
        SamplingError
            No row is of this outcome.
        """
        known = list(dict.fromkeys(self.rows["outcome"]))
        if outcome not in known:
            hint = nearest(str(outcome), known)
            raise SamplingError(Problem("outcome", repr(outcome), f"one of {', '.join(known)}", hint))
        return self.take(np.flatnonzero(self.rows["outcome"].to_numpy() == outcome))

    def take(self, places: np.ndarray) -> Prediction:
        """The same prediction with the rows at some places, in that order."""
        return replace(
            self,
            rows=self.rows.iloc[places].reset_index(drop=True),
            individual=self.individual[:, places],
            population=self.population[:, places],
            replicates=self.replicates[:, places],
            new_patients=self.new_patients[:, places],
            residual_sd=self.residual_sd[:, places],
        )

    def table(self, prob: float = DEFAULT_PROB, kind: str = "equal-tailed") -> pd.DataFrame:
        """One line for each row, in the field's names.

        Parameters
        ----------
        prob : float
            Probability inside the intervals.
        kind : {"equal-tailed", "hdi"}

        Returns
        -------
        pd.DataFrame
            The columns of `rows`, then

            - ``PRED``, ``IPRED``: posterior means of the prediction with effects at 0, and of the
              patient's own; ``EPRED``: mean of measurements of other patients with the same
              covariates and design;
            - ``lower``, ``upper``: credible interval of the patient's own prediction;
              ``lower_new``, ``upper_new``: predictive interval of a new measurement of the patient;
            - ``RES`` = DV - PRED, ``IRES`` = DV - IPRED, ``IWRES``: see `residuals.weighted_residuals`;
            - ``NPDE``: see `npde.decorrelated_errors`; ``PIT``: see `residuals.integral_transform`;
            - ``prob``, ``kind`` of the intervals.

            Residuals are NaN where nothing was measured; RES, IRES and IWRES also where censored.
        """
        own = summarise(self.individual[None], prob=prob, kind=kind)
        new = summarise(self.replicates[None], prob=prob, kind=kind)
        with np.errstate(invalid="ignore"):  # a draw may be infinite, where a mechanism explodes
            typical, expected = self.population.mean(axis=0), self.new_patients.mean(axis=0)
        measured = self.measured
        return self.rows.assign(
            PRED=typical,
            IPRED=own.mean,
            lower=own.lower,
            upper=own.upper,
            lower_new=new.lower,
            upper_new=new.upper,
            EPRED=expected,
            RES=measured - typical,
            IRES=measured - own.mean,
            IWRES=self.weighted_residuals(),
            NPDE=self.decorrelated_errors(),
            PIT=self.integral_transform(),
            prob=float(prob),
            kind=kind,
        )

    def weighted_residuals(self) -> np.ndarray:
        """IWRES of each row ``[row]``; see `residuals.weighted_residuals`."""
        found = [
            weighted_residuals(self.measured, self.individual, self.residual_sd, is_log=is_log)
            for is_log in (False, True)
        ]
        return np.where(self.is_log, found[1], found[0])

    def integral_transform(self) -> np.ndarray:
        """PIT of each row ``[row]``, of a new measurement of the patient; see `residuals`."""
        return integral_transform(self.rows, self.replicates)

    def decorrelated_errors(self) -> np.ndarray:
        """NPDE of each row ``[row]``; see `npde.decorrelated_errors`."""
        completed = complete_censored(self.rows, self.individual, self.residual_sd, self.is_log)
        return decorrelated_errors(self.rows, completed, self.new_patients, self.is_log)

    @property
    def measured(self) -> np.ndarray:
        """DV where a value was measured, NaN where there is none or it is only known to be beyond a limit."""
        observed = self.rows["DV"].to_numpy(float)
        return np.where(self.rows["censored"].to_numpy() == 0, observed, np.nan)

    @property
    def is_log(self) -> np.ndarray:
        """Which rows ``[row]`` have lognormal error."""
        return np.array([self.errors.get(name) == "lognormal" for name in self.rows["outcome"]], dtype=bool)
