"""Small models of which the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import hierarchical_twin as ht

CASES = Path(__file__).parents[2] / "case_studies"

LINEAR = """\
spec: 1
name: line
title: A line for each patient
mechanism: linear
time: {column: t, unit: h}
patient: {column: id}
parameters:
  intercept: {unit: m, link: identity, typical: "Normal(mean=0, sd=20)", formula: "1 + (1 | patient)"}
  slope: {unit: m/h, link: identity, typical: "Normal(mean=0, sd=5)", formula: "1 + (1 | patient)"}
random_effects:
  patient: {sd: "HalfNormal(5)"}
observations:
  y: {column: y, unit: m, predicts: y, error: normal, sigma: "HalfNormal(5)"}
"""


def sleep_model(people: int = 6) -> ht.Model:
    """The sleep spec on the first people of its cohort."""
    frame = pd.read_csv(CASES / "sleep" / "sleepstudy.csv")
    spec = ht.read_spec(ht.shipped_specs()["sleep"])
    chosen = frame[frame["id"].isin(frame["id"].unique()[:people])]
    return ht.build(spec, ht.read_cohort(chosen, spec))


def linear_model(text: str, rows: list[tuple[str, float, float]]) -> ht.Model:
    """A linear spec on rows of id, t, y."""
    spec = ht.parse_spec(text)
    return ht.build(spec, ht.read_cohort(pd.DataFrame(rows, columns=["id", "t", "y"]), spec))


def unequal_patients() -> list[tuple[str, float, float]]:
    """Ten patients of twelve points around slope 1; one steep with 60 points, one steep with two."""
    rng = np.random.default_rng(5)
    rows = []

    def add(name: str, slope: float, count: int) -> None:
        times = np.linspace(0.0, 10.0, count)
        noise = 2.0 * rng.standard_normal(count)
        rows.extend((name, t, 5 + slope * t + e) for t, e in zip(times, noise, strict=True))

    for number in range(10):
        add(f"p{number}", 1.0 + 0.3 * rng.standard_normal(), 12)
    add("many", 2.2, 60)
    rows.extend([("two", 4.0, 5 + 2.2 * 4 - 1.0), ("two", 6.0, 5 + 2.2 * 6 + 1.0)])
    return rows
