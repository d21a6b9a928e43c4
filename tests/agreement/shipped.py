"""One small table for every shipped spec, in the columns that spec reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd


def _growth() -> pd.DataFrame:
    days = {"m1": (0, 3, 7, 12), "m2": (0, 2, 5, 9, 14), "m3": (1, 4)}
    rates = {"m1": 0.1, "m2": 0.2, "m3": 0.05}
    rows = [(mouse, day, 0.2 * np.exp(rates[mouse] * day)) for mouse, own in days.items() for day in own]
    return pd.DataFrame(rows, columns=["id", "time_d", "volume_cm3"])


def _sleep() -> pd.DataFrame:
    rows = [
        (person, day, 250.0 + 10 * number + (5 + 3 * number) * day)
        for number, person in enumerate(("308", "309", "310"))
        for day in range(4 + number)
    ]
    return pd.DataFrame(rows, columns=["id", "time_d", "reaction_ms"])


def _cells(drug: str) -> pd.DataFrame:
    rows = [
        (sample, drug, dose, 1 / (1 + dose / threshold), tp53)
        for sample, threshold, tp53 in (("H1", 1.5, 0), ("H2", 8.0, 1), ("H3", 2.0, 0))
        for dose in (0.156, 0.625, 2.5, 10, 40)
    ]
    return pd.DataFrame(rows, columns=["id", "drug", "conc_uM", "viability", "tp53"])


def _glucose(patients: int) -> pd.DataFrame:
    minutes = np.array([0, 4, 8, 14, 22, 40, 70, 120, 180])
    rows = [
        (
            patient,
            minute,
            92 + 180 * np.exp(-0.004 * (5 + patient) * minute),
            11 + 90 * np.exp(-minute / 25),
            92,
            11,
        )
        for patient in range(1, patients + 1)
        for minute in minutes[: 10 - patient]
    ]
    measured = ["glucose_mg_per_dL", "insulin_uU_per_mL"]
    basal = ["basal_glucose_mg_per_dL", "basal_insulin_uU_per_mL"]
    return pd.DataFrame(rows, columns=["id", "time_min", *measured, *basal])


def _arms() -> pd.DataFrame:
    rows = [
        (
            genotype,
            genotype,
            people,
            analyte,
            hour,
            300 * scale * hour * np.exp(-hour / 3),
            40.0 * scale,
            108.46,
        )
        for genotype, people in (("*1/*1", 12), ("*1/*3", 6), ("*3/*3", 1))
        for analyte, scale in (("losartan", 1.0), ("e3174", 1.7))
        for hour in (0.0, 0.75, 1.5, 3.0, 6.0, 12.0)
    ]
    names = ["id", "genotype", "n", "analyte", "time_h", "mean_nM", "sd_nM", "dose_umol"]
    return pd.DataFrame(rows, columns=names)


TABLES: Mapping[str, Callable[[], pd.DataFrame]] = {
    "apoptosis_threshold": lambda: _cells("fludarabine"),
    "apoptosis_threshold_nutlin3": lambda: _cells("nutlin-3"),
    "glucose_minimal_model": lambda: _glucose(3),
    "glucose_minimal_model_single": lambda: _glucose(1),
    "prodrug_activation": _arms,
    "sleep": _sleep,
    "tumor_growth": _growth,
}
"""Name of each shipped spec to a maker of its small table."""
