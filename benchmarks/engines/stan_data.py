"""What the Stan programs are given: data with places from 1, and a start near the priors' medians."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def to_stan(key: str, arrays: Arrays) -> dict[str, Any]:
    """The data block of a problem's Stan program."""
    match key:
        case "prodrug":
            found = _prodrug(arrays)
        case "minimal":
            found = _minimal(arrays)
        case _:
            found = {"N": len(arrays["y"]), "P": int(arrays["id"].max()) + 1, "id": arrays["id"] + 1}
            found |= {name: arrays[name] for name in ("x", "y", "tp53") if name in arrays}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


def _prodrug(arrays: Arrays) -> dict[str, Any]:
    found: dict[str, Any] = {"P": len(arrays["dose"]), "dose": arrays["dose"], "alleles": arrays["alleles"]}
    for place, analyte in (("1", "losartan"), ("2", "e3174")):
        below = arrays[f"below_{analyte}"] > 0
        measured, censored = np.flatnonzero(~below) + 1, np.flatnonzero(below) + 1
        found[f"N{place}"], found[f"M{place}"] = len(below), len(measured)
        found[f"C{place}"] = len(censored)
        found[f"measured{place}"], found[f"censored{place}"] = measured, censored
        found[f"id{place}"] = arrays[f"id_{analyte}"] + 1
        for name in ("x", "y", "se"):
            found[f"{name}{place}"] = arrays[f"{name}_{analyte}"]
    return found


def _minimal(arrays: Arrays) -> dict[str, Any]:
    excess = arrays["insulin_padded"] - arrays["I_b"][:, None]
    patients, times = excess.shape
    used = np.bincount(arrays["id"], minlength=patients)
    record = np.ones((patients, times), dtype=int)
    for patient in range(patients):
        record[patient, : used[patient]] = arrays["record"][arrays["id"] == patient] + 1
    return {
        "P": patients,
        "T": times,
        "N": len(arrays["y"]),
        "count": arrays["count"],
        "time": arrays["time_padded"],
        "duration": np.diff(arrays["time_padded"], axis=1),
        "start": excess[:, :-1],
        "rise": np.diff(excess, axis=1),
        "G_b": arrays["G_b"],
        "used": used,
        "record": record,
        "y": arrays["y"],
    }


_MEDIANS: dict[str, dict[str, Any]] = {
    "growth": {"typical": [np.log(0.2), 0.0], "omega": [0.67, 0.067], "sigma": 0.34},
    "linear": {"typical": [300.0, 0.0], "omega": [67.0, 13.0], "sigma": 67.0},
    "apoptosis": {"typical": [np.log(2.5), 0.0], "omega": [0.67], "sigma": 0.2},
    "prodrug": {
        "typical": np.log([200.0, 0.3, 0.05, 0.14, 2.0]),
        "omega": [0.4, 0.4, 0.4],
        "sigma": [5.0, 0.15, 5.0, 0.15],
    },
    "minimal": {"typical": np.log([260.0, 0.02, 5e-4, 0.03]), "omega": [0.34] * 4, "sigma": 6.7},
}
_PLACES = {
    "growth": (0, 1),
    "linear": (0, 1),
    "apoptosis": (0,),
    "prodrug": (0, 2, 3),
    "minimal": (0, 1, 2, 3),
}
_WORDS = ("first", "second", "third", "fourth")


def start_values(key: str, arrays: Arrays, rng: np.random.Generator, *, is_centered: bool) -> dict[str, Any]:
    """A start at the priors' medians, patients a little apart from it and from each other."""
    medians, places = _MEDIANS[key], _PLACES[key]
    patients = len(arrays["G_b"] if key == "minimal" else np.unique(arrays[_who(key)]))
    typical, omega = np.asarray(medians["typical"]), np.asarray(medians["omega"])
    found: dict[str, Any] = {"typical": typical.tolist(), "omega": omega.tolist(), "sigma": medians["sigma"]}
    if isinstance(found["sigma"], np.ndarray):
        found["sigma"] = found["sigma"].tolist()
    if key in ("growth", "linear"):
        found["rho_unit"] = 0.5
    if key in ("prodrug", "apoptosis"):
        found["beta"] = 0.0
    for column, (place, word) in enumerate(zip(places, _WORDS, strict=False)):
        apart = 0.1 * rng.standard_normal(patients)
        found[word] = (typical[place] + omega[column] * apart if is_centered else apart).tolist()
    return found


def _who(key: str) -> str:
    return "id_losartan" if key == "prodrug" else "id"
