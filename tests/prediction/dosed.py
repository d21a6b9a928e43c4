"""Fits with a concentration to choose, and with doses to choose; sampled once for all tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

import hierarchical_twin as ht

KILLS = Path(__file__).parents[2] / "case_studies/apoptosis_threshold/cll_exvivo_fludarabine_nutlin3.csv"
BOLUS = """\
spec: 1
name: bolus
title: Repeated doses of a prodrug
mechanism: {name: prodrug_activation, input: bolus}
time: {column: hour, unit: h}
patient: {column: id}
parameters:
  V: {unit: L, typical: "LogNormal(median=20, sd=0.5)", formula: "1 + (1 | patient)"}
  k_el: {unit: 1/h, typical: "LogNormal(median=0.2, sd=0.3)"}
  k_act: {unit: 1/h, typical: "LogNormal(median=0.1, sd=0.5)", formula: "1 + slow + (1 | patient)"}
  k_out: {unit: 1/h, value: 0.15}
random_effects:
  patient: {sd: "HalfNormal(0.5)"}
doses: {amount: amount, unit: mg, event: evid}
observations:
  active: {column: y, unit: mg/L, predicts: active, error: normal, sigma: "HalfNormal(0.2)"}
"""


def sampled(spec: ht.Spec, table: pd.DataFrame) -> ht.Fit:
    """Four short chains."""
    model = ht.build(spec, ht.read_cohort(table, spec))
    return ht.sample(model, chains=4, warmup=200, draws=100, seed=5, device="cpu", progress=False)


@cache
def kill_fit() -> ht.Fit:
    """Twelve leukaemia samples of the shipped spec: viability along a concentration."""
    frame = pd.read_csv(KILLS)
    chosen = frame[frame["tp53"].notna()]["id"].unique()[:12]
    return sampled(ht.read_spec(ht.shipped_specs()["apoptosis_threshold"]), frame[frame["id"].isin(chosen)])


@cache
def bolus_fit() -> ht.Fit:
    """Six patients, two doses each at times of their own."""
    return sampled(ht.parse_spec(BOLUS), bolus_rows())


@cache
def placebo_fit() -> ht.Fit:
    """The same six, two of them without a dose."""
    frame = bolus_rows()
    return sampled(ht.parse_spec(BOLUS), frame[~frame["id"].isin(["b1", "b4"]) | (frame["evid"] == 0)])


def bolus_rows() -> pd.DataFrame:
    """Doses and measurements of six patients."""
    rng = np.random.default_rng(6)
    rows = []
    for number in range(6):
        k_act = 0.1 * np.exp(0.3 * rng.standard_normal() - 0.5 * (number % 2))
        volume = 20 * np.exp(0.2 * rng.standard_normal())
        fixed = {"id": f"b{number}", "slow": number % 2}
        given = ((0.0, 100.0), (6.0 + number / 4, 50.0))
        rows += [{**fixed, "hour": at, "evid": 1, "amount": amount, "y": None} for at, amount in given]
        for hour in (1.0, 3.0, 6.0, 10.0, 14.0):
            level = sum(
                amount * unit_response(hour - at, volume, 0.2, k_act, 0.15)
                for at, amount in given
                if hour > at
            )
            seen = level + 0.03 * rng.standard_normal()
            rows.append({**fixed, "hour": hour, "evid": 0, "amount": None, "y": seen})
    return pd.DataFrame(rows).sort_values(["id", "hour"], kind="stable").reset_index(drop=True)


def unit_response(time, volume, k_el, k_act, k_out):
    """Active drug after one bolus of 1: two exponentials."""
    out = k_el + k_act
    return k_act / volume * (np.exp(-out * time) - np.exp(-k_out * time)) / (k_out - out)


def stacked(fit: ht.Fit, name: str) -> np.ndarray:
    """All draws of a variable, ``[draw, ...]``, chain after chain."""
    values = fit.tree["posterior"][name].transpose("chain", "draw", ...).values
    return values.reshape(-1, *values.shape[2:])
