"""What a comparison of fits says: expected log predictive densities, their differences, and doubts about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

PATIENT_WISE, OBSERVATION_WISE = "patient", "observation"
NEGLIGIBLE = 4.0
"""Differences of elpd below this are hardly a difference, whatever their standard error."""
_FEW = 100
_MEANING = {
    PATIENT_WISE: (
        "elpd is the sum over patients of the log density of a patient's measurements, predicted from all "
        "other patients and the patient's own covariates: how well a model predicts a new patient. Coding of "
        "covariates (centring, levels) was learned from all patients."
    ),
    OBSERVATION_WISE: (
        "elpd is the sum over measurements of the log density of each, predicted from all other measurements, "
        "the same patient's included: how well a model fills in measurements of patients it knows. It says "
        "nothing about new patients; for these leave out patients (by patient)."
    ),
}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Fits of several models to the same measurements, scored on what was left out.

    Attributes
    ----------
    by : {"patient", "observation"}
        What is left out.
    method : str
        In words, such as ``leave-one-patient-out``.
    pointwise : pandas.DataFrame
        One row for each model and left-out unit, units in the same order for every model: model, patient,
        (outcome, time and row by observation), measurements, elpd, lpd, mcse, k_hat, is_doubtful (the k-hat is
        too high), is_refit (elpd is of a fit without the unit).
    cautions : mapping of str to str
        Model to what speaks against its numbers; empty where nothing does.
    """

    by: str
    method: str
    pointwise: pd.DataFrame
    cautions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Names, the best first; equals in the order given."""
        names = list(dict.fromkeys(self.pointwise["model"]))
        totals = [float(self._of(name)["elpd"].sum()) for name in names]
        order = sorted(range(len(names)), key=lambda place: -np.nan_to_num(totals[place], nan=-np.inf))
        return tuple(names[place] for place in order)

    @property
    def meaning(self) -> str:
        """What the numbers are of, and what they are not."""
        return _MEANING[self.by]

    @property
    def patients(self) -> pd.DataFrame:
        """Each patient's elpd under each model: model, patient, measurements, elpd, difference, k_hat, is_refit.

        `difference` is to the best model's. By observation, elpd is the patient's sum and k_hat the largest.
        """
        grouped = self.pointwise.groupby(["model", "patient"], sort=False)
        found = grouped.agg(
            measurements=("measurements", "sum"),
            elpd=("elpd", "sum"),
            k_hat=("k_hat", "max"),
            is_refit=("is_refit", "any"),
        ).reset_index()
        best = found[found["model"] == self.models[0]].set_index("patient")["elpd"]
        difference = found["elpd"].to_numpy() - best.loc[found["patient"]].to_numpy()
        found.insert(4, "difference", difference)
        return found

    def table(self) -> pd.DataFrame:
        """One row for each model, the best first.

        Returns
        -------
        pandas.DataFrame
            model; elpd and its standard error `se` over units; `difference` to the best and `se_difference`, of the
            paired differences; `p_patients` (`p_loo` by observation), the effective number of parameters;
            `mcse`, the Monte Carlo error of elpd; `k_hat_max`; `k_hat_high`, how many were too high;
            `refits`, how many units have an elpd from a fit without them; warning.
        """
        best = self._of(self.models[0])["elpd"].to_numpy()
        return pd.DataFrame([self._row(name, best) for name in self.models])

    @property
    def verdict(self) -> str:
        """What the table says, a line for each model but the best."""
        table = self.table()
        first = self.models[0]
        return "\n".join(_compared(first, row) for _, row in table.iloc[1:].iterrows())

    @property
    def notes(self) -> tuple[str, ...]:
        """What holds for the whole table: what it means, and what to be careful about."""
        notes = [f"{self.method}: {self.meaning}"]
        units = len(self._of(self.models[0]))
        if self.by == PATIENT_WISE and len(self.models) > 1 and units < _FEW:
            notes.append(
                f"standard errors from {units} patients are rough, and rather too small: below about {_FEW} they do "
                "not settle a close call (Sivula, Magnusson, Matamoros and Vehtari 2020, arXiv:2008.10296)"
            )
        return tuple(notes)

    def __str__(self) -> str:
        shown = self.table().drop(columns="warning")
        lines = [shown.to_string(index=False, float_format=lambda value: f"{value:.2f}", na_rep="")]
        lines += [self.verdict] if len(self.models) > 1 else []
        lines += [f"WARNING {name}: {text}" for name, text in self.cautions.items() if text]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _of(self, name: str) -> pd.DataFrame:
        return self.pointwise[self.pointwise["model"] == name]

    def _row(self, name: str, best: np.ndarray) -> dict[str, object]:
        own = self._of(name)
        elpd = own["elpd"].to_numpy()
        number = "p_patients" if self.by == PATIENT_WISE else "p_loo"
        k_hat = own["k_hat"].to_numpy()
        return {
            "model": name,
            "elpd": elpd.sum(),
            "se": summed_error(elpd),
            "difference": (elpd - best).sum(),
            "se_difference": 0.0 if name == self.models[0] else summed_error(elpd - best),
            number: float((own["lpd"] - own["elpd"]).sum()),
            "mcse": float(np.sqrt((own["mcse"] ** 2).sum())),
            "k_hat_max": float(np.nanmax(k_hat)) if np.isfinite(k_hat).any() else np.nan,
            "k_hat_high": int(own["is_doubtful"].sum()),
            "refits": int(own["is_refit"].sum()),
            "warning": self.cautions.get(name, ""),
        }


def summed_error(values: np.ndarray) -> float:
    """Standard error ``sqrt(n var)`` of a sum of independent terms ``[unit]``."""
    return float(np.sqrt(len(values) * np.var(values, ddof=1))) if len(values) > 1 else float("nan")


def _compared(first: str, row: pd.Series) -> str:
    """One sentence: whether the best model is told apart from another."""
    size, error = -float(row["difference"]), float(row["se_difference"])
    said = f"{first} against {row['model']}: elpd higher by {size:.1f} (SE {error:.1f})"
    if size < NEGLIGIBLE:
        return f"{said}: hardly a difference (below {NEGLIGIBLE:g})"
    if not size > 2 * error:
        return f"{said}: within two standard errors, so these data do not tell them apart"
    return f"{said}: {first} predicts better"
