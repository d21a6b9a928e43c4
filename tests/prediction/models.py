"""Small models whose predictions are known in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd

LINE = """\
spec: 1
name: line
title: A line for each patient
mechanism: linear
time: {column: t, unit: h}
patient: {column: id}
parameters:
  intercept: {unit: m, link: identity, typical: "Normal(mean=0, sd=20)", formula: "1 + (1 | patient)"}
  slope:
    unit: m/h
    link: identity
    typical: "Normal(mean=0, sd=5)"
    formula: "1 + center(age) + (1 | patient) + (1 | site)"
    coefficients: "Normal(mean=0, sd=1)"
random_effects:
  patient: {sd: "HalfNormal(5)", correlation: "LKJ(2)"}
  site: {sd: "HalfNormal(1)"}
observations:
  y: {column: y, unit: m, predicts: y, error: normal, sigma: "HalfNormal(5)"}
"""


def line_rows(patients: int = 16, seed: int = 8) -> pd.DataFrame:
    """Lines at three sites, slopes that grow with age, intercepts that go with slopes."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(patients):
        first = rng.standard_normal()
        age, site = 40.0 + 2 * number, f"s{number % 3}"
        intercept = 5 + 3 * first
        slope = 1 + 0.05 * (age - 55) + 0.8 * (0.7 * first + 0.7 * rng.standard_normal())
        t = np.sort(rng.uniform(0, 10, 3 + number % 5)).round(2)
        y = intercept + slope * t + rng.standard_normal(len(t))
        frames.append(pd.DataFrame({"id": f"p{number}", "t": t, "y": y.round(4), "age": age, "site": site}))
    return pd.concat(frames, ignore_index=True)
