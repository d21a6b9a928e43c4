"""Twins: how long an update takes, whether it agrees with a full refit, and whether forecasts cover.

``python -m benchmarks.twins`` measures everything and prints JSON; its parts are ``latency``, ``many``,
``agreement`` and ``coverage``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

import hierarchical_twin as ht
from benchmarks.machine import write_machine
from hierarchical_twin.twin.records import static_columns

CASES = Path(__file__).parents[1] / "case_studies"
PARTS = ("latency", "many", "agreement", "coverage")
TABLES = {
    "sleep": "sleep/sleepstudy.csv",
    "tumor_growth": "tumor_growth/lung_xenograft_control.csv",
    "glucose_minimal_model": "glucose_minimal_model/simulated_cohort.csv",
    "prodrug_activation": "prodrug_activation/losartan_cyp2c9_arms.csv",
    "apoptosis_threshold": "apoptosis_threshold/cll_exvivo_fludarabine_nutlin3.csv",
    "apoptosis_threshold_nutlin3": "apoptosis_threshold/cll_exvivo_fludarabine_nutlin3.csv",
}
"""Each shipped spec with more than one patient, and the table of its case study."""


def main() -> None:
    """Parse, measure, print; with ``--out``, keep for the page what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS, help="all of them without it")
    parser.add_argument("--specs", nargs="*", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--held", type=int, default=3, help="patients held out of each cohort")
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="the benchmarks' folder of results")
    given = parser.parse_args()
    for part in PARTS if given.part is None else (given.part,):
        found = []
        for line in _lines(part, given):
            print(json.dumps(line), flush=True)
            found.append(line)
            if given.out is not None:
                # After each: the next may take minutes, and fail.
                keep(given.out, part, found)
                write_machine(given.out / "twins")


def _lines(part: str, given: argparse.Namespace) -> Iterator[dict[str, object]]:
    match part:
        case "latency":
            for name in ("sleep", "tumor_growth", "glucose_minimal_model"):
                yield {part: name, **latency(name)}
        case "many":
            yield {part: "sleep", **many(given.patients)}
        case "agreement":
            for name in given.specs:
                for line in agreement(name, given.held):
                    yield {part: name, **line}
        case _:
            yield {part: "sleep", **coverage()}


def keep(out: Path, part: str, found: list[dict[str, object]]) -> None:
    """Write a part's lines to ``twins/<part>.json``, beside those of other specs that are there already."""
    path = out / "twins" / f"{part}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    old = json.loads(path.read_text()) if path.exists() else []
    again = {line[part] for line in found}
    path.write_text(json.dumps([line for line in old if line[part] not in again] + found, indent=1))


@dataclass(frozen=True)
class Held:
    """A patient who is kept out of a fit.

    Attributes
    ----------
    label : str
    covariates : dict
        What is known of them once.
    rows : pandas.DataFrame
        Their records, in order of time.
    others : pandas.DataFrame
        Everybody else's rows.
    """

    label: str
    covariates: dict[str, object]
    rows: pd.DataFrame
    others: pd.DataFrame


def cohort(name: str) -> tuple[ht.Spec, pd.DataFrame]:
    """A shipped spec and the rows of its case study that it reads."""
    spec = ht.read_spec(ht.shipped_specs()[name])
    table = pd.read_csv(CASES / TABLES[name])
    for column, wanted in spec.where.items():
        table = table[table[column] == wanted]
    kept = ht.read_cohort(table, spec).patients
    return spec, table[table[spec.patient.column].astype(str).isin(kept)].reset_index(drop=True)


def hold_out(spec: ht.Spec, table: pd.DataFrame, label: str) -> Held:
    """Keep a patient out of a table."""
    is_own = table[spec.patient.column].astype(str) == label
    rows = table[is_own]
    if spec.time is not None:
        rows = rows.sort_values(spec.time.column, kind="stable")
    covariates = {column: rows[column].dropna().iloc[0] for column in static_columns(spec)}
    return Held(label, covariates, rows.reset_index(drop=True), table[~is_own].reset_index(drop=True))


def fitted(spec: ht.Spec, table: pd.DataFrame, draws: int = 1000) -> ht.Fit:
    """Two chains on two cores."""
    model = ht.build(spec, ht.read_cohort(table, spec))
    return ht.sample(model, chains=2, warmup=500, draws=draws, seed=7, device="cpu", progress=False)


def followed(fit: ht.Fit, held: Held, particles: int = 2000) -> Iterator[tuple[ht.Twin, float]]:
    """The twin after each record, and the seconds that the update took."""
    twin = ht.start_twin(fit, patient=held.label, covariates=held.covariates, particles=particles)
    for place in range(len(held.rows)):
        row = held.rows.iloc[[place]]
        begin = time.perf_counter()
        twin = ht.update(twin, row)
        yield twin, time.perf_counter() - begin


def one_core() -> None:
    """Bind this process to one core, before JAX counts the cores it may use; Linux only."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def latency(name: str) -> dict[str, float]:
    """Milliseconds of a warm update of one twin with 2,000 particles on one core."""
    spec, table = cohort(name)
    labels = list(dict.fromkeys(table[spec.patient.column].astype(str)))
    held = hold_out(spec, table, labels[0])
    fit = fitted(spec, held.others, 500)
    with TemporaryDirectory() as folder:
        path = fit.save(Path(folder) / "fit.nc")
        # A process of its own: threads that were made for two cores get in each other's way on one.
        with ProcessPoolExecutor(1, get_context("spawn"), one_core) as process:
            first, times, steps, anew = process.submit(timed, str(path), held).result()
    return {
        "records": len(held.rows),
        "median_ms": round(float(np.median(times)), 2),
        "p90_ms": round(float(np.quantile(times, 0.9)), 2),
        "most_ms": round(max(times), 2),
        "mean_stages": round(float(np.mean(steps)), 2),
        "first_pass_s": round(sum(first), 2),
        "compiled_anew": anew,
    }


def timed(path: str, held: Held) -> tuple[list[float], list[float], list[int], int]:
    """Follow a patient from a saved fit: seconds at first, then milliseconds and stages three times over.

    And how many shapes were compiled after the first pass.
    """
    fit = ht.open_fit(path)
    first = [seconds for _, seconds in followed(fit, held)]
    shapes = len(next(iter(followed(fit, held)))[0].population.compiled)
    steps, times = [], []
    for _ in range(3):
        for twin, seconds in followed(fit, held):
            steps.append(twin.steps[-1].stages)
            times.append(1e3 * seconds)
    return first, times, steps, len(twin.population.compiled) - shapes


def many(patients: int) -> dict[str, float]:
    """Seconds for one record each of many new patients, 2,000 particles, on all cores."""
    spec, table = cohort("sleep")
    fit = fitted(spec, table)
    rng = np.random.default_rng(1)
    labels = [f"n{number}" for number in range(patients)]
    begin = time.perf_counter()
    twins = ht.start_twins(fit, rows=pd.DataFrame({"id": labels}))
    started = time.perf_counter() - begin
    rows = pd.DataFrame(
        {"id": labels, "time_d": 3.0, "reaction_ms": 285 + 45 * rng.standard_normal(patients)}
    )
    ht.update_many(twins[:32], rows[:32])  # compiles
    begin = time.perf_counter()
    updated = ht.update_many(twins, rows)
    seconds = time.perf_counter() - begin
    stages = float(np.mean([twin.steps[-1].stages for twin in updated]))
    return {
        "patients": patients,
        "start_s": round(started, 1),
        "seconds": round(seconds, 1),
        "stages": stages,
    }


def agreement(name: str, held_out: int, particles: int = 2000) -> Iterator[dict[str, object]]:
    """How far a twin that was held out and updated record by record is from the joint fit, in its SDs."""
    spec, table = cohort(name)
    labels = list(dict.fromkeys(table[spec.patient.column].astype(str)))
    chosen = labels if len(labels) <= held_out else labels[:: len(labels) // held_out][:held_out]
    joint = fitted(spec, table, 2000).intervals().set_index(["patient", "parameter"])
    for label in chosen:
        held = hold_out(spec, table, label)
        fit = fitted(spec, held.others, 2000)
        times = list(followed(fit, held, particles))
        yield {"patient": label, "records": len(held.rows), **compared(times[-1][0], joint)}


def compared(twin: ht.Twin, joint: pd.DataFrame) -> dict[str, object]:
    """The largest differences over a twin's parameters, in SDs of the joint fit."""
    own = twin.intervals()
    told = joint.loc[[(twin.patient, name) for name in own["parameter"]]]
    off = {
        word: np.abs(own[word].to_numpy() - told[word].to_numpy()) / told["sd"].to_numpy()
        for word in ("mean", "lower", "upper")
    }
    return {
        "mean_sd": round(float(off["mean"].max()), 3),
        "ends_sd": round(float(max(off["lower"].max(), off["upper"].max())), 3),
        "effective_population": round(twin.steps[-1].effective_population),
        "doubts": [str(doubt) for doubt in twin.doubts],
    }


def coverage(patients: int = 500, known: int = 4, later: int = 4) -> dict[str, object]:
    """Share of later measurements inside 90 % forecast intervals, of patients simulated from a known truth."""
    spec, _ = cohort("sleep")
    rng = np.random.default_rng(5)

    def simulated(labels: list[str], days: np.ndarray) -> pd.DataFrame:
        noise = rng.standard_normal((2, len(labels)))
        intercept = 250 + 25 * noise[0]
        slope = 10 + 6 * (0.2 * noise[0] + np.sqrt(0.96) * noise[1])
        mean = intercept[:, None] + slope[:, None] * days
        values = mean + 25 * rng.standard_normal(mean.shape)
        return pd.DataFrame(
            {
                "id": np.repeat(labels, len(days)),
                "time_d": np.tile(days, len(labels)),
                "reaction_ms": values.ravel(),
            }
        )

    fit = fitted(spec, simulated([f"f{number}" for number in range(40)], np.arange(8.0)))
    rows = simulated([f"n{number}" for number in range(patients)], np.arange(float(known + later)))
    found = ht.score_forecasts(fit, rows, ks=(known,)).rows
    found = found[found["method"] == "twin"]
    return {
        "patients": patients,
        "covered": round(float(found["is_covered"].mean()), 4),
        "by_horizon": found.groupby("ahead")["is_covered"].mean().round(3).tolist(),
        "doubtful": int(found.loc[~found["is_trustworthy"], "patient"].nunique()),
    }


if __name__ == "__main__":
    main()
