"""What the hand-written programs read: a table as plain arrays, long for gathers or padded for patients.

pandas and NumPy only, so that a peer's script pays for nothing of ours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

Arrays = dict[str, np.ndarray]


def read_arrays(key: str, path: Path) -> Arrays:
    """The arrays of a problem's table.

    Long arrays are ``[row]`` with the patient's place in ``id``; padded ones end in ``_padded``, are
    ``[patient, time]`` and hold a measurement where ``mask`` is true.
    """
    return READERS[key](pd.read_csv(path))


def pad(patient: np.ndarray, values: np.ndarray, fill: float = 0.0) -> np.ndarray:
    """Long values ``[row]`` as ``[patient, time]``; rows of one patient are together."""
    counts = np.bincount(patient)
    place = np.arange(len(patient)) - np.repeat(np.cumsum(counts) - counts, counts)
    padded = np.full((len(counts), counts.max()), fill, dtype=float)
    padded[patient, place] = values
    return padded


def _places(table: pd.DataFrame) -> np.ndarray:
    return pd.factorize(table["id"])[0]


def _series(table: pd.DataFrame, x: str, y: np.ndarray) -> Arrays:
    patient, times = _places(table), table[x].to_numpy(float)
    return {
        "id": patient,
        "x": times,
        "y": y,
        "x_padded": pad(patient, times),
        "y_padded": pad(patient, y),
        "mask": pad(patient, np.ones(len(y))) > 0,
    }


def _growth(table: pd.DataFrame) -> Arrays:
    return _series(table, "time_d", np.log(table["volume_cm3"].to_numpy()))


def _linear(table: pd.DataFrame) -> Arrays:
    return _series(table, "time_d", table["reaction_ms"].to_numpy())


def _apoptosis(table: pd.DataFrame) -> Arrays:
    table = table.assign(x=np.log(table["conc_uM"]))
    first = table.drop_duplicates("id")
    return _series(table, "x", table["viability"].to_numpy()) | {"tp53": first["tp53"].to_numpy(float)}


_ALLELES = {"*1/*1": 0.0, "*1/*2": 1.0, "*1/*3": 1.0, "*3/*3": 2.0}
_LIMIT = 10.0


def _prodrug(table: pd.DataFrame) -> Arrays:
    table = table[table["time_h"] >= 0.25].reset_index(drop=True)
    table = table.assign(place=_places(table))
    first = table.drop_duplicates("id")
    found: Arrays = {
        "alleles": first["genotype"].map(_ALLELES).to_numpy(float),
        "dose": first["dose_umol"].to_numpy(float),
    }
    for analyte in ("losartan", "e3174"):
        own = table[table["analyte"] == analyte]
        patient, value = own["place"].to_numpy(), own["mean_nM"].to_numpy()
        columns = {
            "x": own["time_h"].to_numpy(float),
            "y": np.where(value < _LIMIT, _LIMIT, value),
            "se": (own["sd_nM"] / np.sqrt(own["n"])).to_numpy(),
            "below": (value < _LIMIT).astype(float),
        }
        found[f"id_{analyte}"] = patient
        for name, column in columns.items():
            found[f"{name}_{analyte}"] = column
            found[f"{name}_{analyte}_padded"] = pad(patient, column, 1.0 if name == "se" else 0.0)
        found[f"mask_{analyte}"] = pad(patient, np.ones(len(value))) > 0
    return found


def _minimal(table: pd.DataFrame) -> Arrays:
    patient, first = _places(table), table.drop_duplicates("id")
    time, glucose = table["time_min"].to_numpy(float), table["glucose_mg_per_dL"].to_numpy()
    used = ~np.isnan(glucose) & (time >= 8.0)
    counts = np.bincount(patient)
    place = np.arange(len(patient)) - np.repeat(np.cumsum(counts) - counts, counts)
    basal = first["basal_insulin_uU_per_mL"].to_numpy()
    found = {
        "id": patient[used],
        "record": place[used],
        "y": glucose[used],
        "count": counts,
        "time_padded": pad(patient, time),
        "insulin_padded": pad(patient, table["insulin_uU_per_mL"].to_numpy()),
        "y_padded": pad(patient, np.where(used, glucose, 0.0)),
        "mask": pad(patient, used.astype(float)) > 0,
        "G_b": first["basal_glucose_mg_per_dL"].to_numpy(),
        "I_b": basal,
    }
    # Records after a patient's last: time goes on, so that no interval has length 0.
    after = np.arange(counts.max()) - (counts[:, None] - 1)
    rows = np.arange(len(counts))
    last_time = found["time_padded"][rows, counts - 1]
    found["time_padded"] = np.where(after > 0, last_time[:, None] + after, found["time_padded"])
    found["insulin_padded"] = np.where(after > 0, basal[:, None], found["insulin_padded"])
    return found


READERS = {
    "growth": _growth,
    "prodrug": _prodrug,
    "apoptosis": _apoptosis,
    "minimal": _minimal,
    "linear": _linear,
}
"""Reader of each problem's table."""
