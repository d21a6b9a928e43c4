"""Patients under other names: a fit and its predictions with every identifier replaced.

The names are changed in the fit's labels before anything is gathered, so that tables, pictures, captions
and verdicts can only know the new ones. Patients and rows are put in the order of the new names as well: in
the fit's order, which is that of the table, the sequence alone would tell who is who.
"""

from __future__ import annotations

import secrets
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.variables import labels_of, patients_of
from hierarchical_twin.dims import PATIENT, TABLE, observation_dim
from hierarchical_twin.errors import DataError, Problem, nearest
from hierarchical_twin.inference.fit import Fit

Pseudonyms = Literal[True] | Mapping[str, str] | str | Path
_LEFT_OUT = "left out: it may name patients"


def choose_pseudonyms(fit: Fit, pseudonyms: Pseudonyms) -> dict[str, str]:
    """Each patient's label in the fit to the name the page gives them.

    Parameters
    ----------
    fit : Fit
    pseudonyms : True, mapping, or path
        True numbers the patients at random, otherwise each time; the key is kept nowhere. A mapping, or a
        table whose first two columns are label and name, must name every patient, each by another name.

    Raises
    ------
    DataError
        A patient without a name, or two with the same.
    """
    labels = labels_of(patients_of(fit.tree), PATIENT)
    if pseudonyms is True:
        return _numbered(labels)
    where = "pseudonyms"
    if isinstance(pseudonyms, str | Path):
        where = str(pseudonyms)
        named = _read_names(Path(pseudonyms))
    else:
        named = {str(label): str(name) for label, name in pseudonyms.items()}
    _check_names(labels, named, where)
    return {label: named[label] for label in labels}


def rename_patients(fit: Fit, names: Mapping[str, str]) -> Fit:
    """The same fit with patients under other names and in their order; free text that may name them is left out."""
    kept = {name: group for name, group in fit.tree.children.items() if name != TABLE}
    groups = {name: _rename(group.to_dataset(), names) for name, group in kept.items()}
    orders = _orders(groups.values())
    tree = xr.DataTree.from_dict({name: _ordered(group, orders) for name, group in groups.items()})
    report = str(fit.tree.attrs.get("data_report", ""))
    tree.attrs = {**fit.tree.attrs, "data_report": _without_names(report)}
    return Fit(tree)


def rename_prediction(prediction: Prediction, names: Mapping[str, str]) -> Prediction:
    """The same prediction with patients under other names and in their order."""
    rows, people = _with_names(prediction.rows, names), _with_names(prediction.patients, names)
    place = np.argsort(people["patient"].to_numpy(str), kind="stable")
    renamed = replace(
        prediction,
        rows=rows,
        patients=people.iloc[place].reset_index(drop=True),
        parameters={name: values[:, place] for name, values in prediction.parameters.items()},
    )
    return renamed.take(_row_order(rows))


def rename_rows(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The same rows (patient, outcome, ...) with patients under other names and in their order.

    Outcomes stay in the order they are first met in, and the rows of one patient in theirs.
    """
    if "patient" not in frame:
        return frame
    renamed = _with_names(frame, names)
    return renamed.iloc[_row_order(renamed)].reset_index(drop=True)


def _with_names(frame: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    return frame.assign(patient=[names[str(label)] for label in frame["patient"]])


def _row_order(rows: pd.DataFrame) -> np.ndarray:
    outcome, _ = pd.factorize(rows["outcome"])
    return np.lexsort((rows["patient"].to_numpy(str), outcome))


def _numbered(labels: tuple[str, ...]) -> dict[str, str]:
    # Neither a hash nor a seeded shuffle: whoever guesses the labels could compute those again.
    mixed = list(labels)
    secrets.SystemRandom().shuffle(mixed)
    width = len(str(len(mixed)))
    return {label: f"P{place:0{width}d}" for place, label in enumerate(mixed, start=1)}


def _read_names(path: Path) -> dict[str, str]:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        reason = f"a table that cannot be read ({error})"
        raise DataError(
            Problem(str(path), reason, "a CSV file with columns patient and pseudonym")
        ) from error
    if frame.shape[1] < 2:
        found = f"columns {', '.join(map(str, frame.columns))}"
        raise DataError(Problem(str(path), found, "two columns: patient and pseudonym"))
    return dict(zip(frame.iloc[:, 0], frame.iloc[:, 1], strict=True))


def _check_names(labels: tuple[str, ...], named: Mapping[str, str], where: str) -> None:
    missing = [label for label in labels if not named.get(label)]
    problems = [
        Problem(where, f"no name for patient {label!r}", "a name for every patient", nearest(label, named))
        for label in missing[:5]
    ]
    chosen = [named[label] for label in labels if named.get(label)]
    twice = (
        sorted({name for name in chosen if chosen.count(name) > 1}) if len(set(chosen)) < len(chosen) else []
    )
    problems += [
        Problem(where, f"{name!r} for more than one patient", "another name for each patient")
        for name in twice[:5]
    ]
    if problems:
        raise DataError(problems)


def _rename(dataset: xr.Dataset, names: Mapping[str, str]) -> xr.Dataset:
    labelled = {PATIENT, *(f"{PATIENT}_{outcome}" for outcome in dataset.data_vars)}
    changed = {}
    for key, values in dataset.coords.items():
        if key in labelled:
            renamed = [names[str(label)] for label in values.values.tolist()]
            changed[key] = (values.dims, np.array(renamed, dtype=str))
    return dataset.assign_coords(changed)


def _orders(groups: Iterable[xr.Dataset]) -> dict[Hashable, np.ndarray]:
    """Of the patients, and of the observed rows of each outcome: places in the order of the patients' names."""
    orders: dict[Hashable, np.ndarray] = {}
    for group in groups:
        for name, values in group.coords.items():
            prefix, _, outcome = str(name).partition("_")
            if prefix == PATIENT and values.dims in ((PATIENT,), (observation_dim(outcome),)):
                orders.setdefault(values.dims[0], np.argsort(values.values, kind="stable"))
    return orders


def _ordered(dataset: xr.Dataset, orders: Mapping[Hashable, np.ndarray]) -> xr.Dataset:
    """A group with its rows and patients in order; one that lists patients otherwise is sorted by itself."""
    own = {**orders, **_orders([dataset])}
    return dataset.isel({dim: own[dim] for dim in dataset.dims if dim in own})


def _without_names(report: str) -> str:
    """A data report without the lines that list patients and the notes, which may name them."""
    lines: list[str] = []
    listed = False
    for line in report.splitlines():
        if listed and line.startswith("    "):
            continue
        listed = line.startswith("  patients excluded")
        lines.append(f"  note: {_LEFT_OUT}" if line.startswith("  note: ") else line)
    return "\n".join(dict.fromkeys(lines))
