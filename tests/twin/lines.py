"""Patients on lines, under normal errors: what a twin should say of them is known in closed form.

`Lines` are populations of which draws differ; `line_fit` has one that is known for certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

import hierarchical_twin as ht
from twin.posited import known_fit, made_fit

TYPICAL, OMEGA, SIGMA = np.array([5.0, 1.0]), np.array([3.0, 0.5]), 0.8
SPEC = """\
spec: 1
name: lines
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


def posterior_on_line(
    times: Any, values: Any, mean: np.ndarray, covariance: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a patient's intercept and slope: those of the population, given measurements."""
    design = np.column_stack([np.ones(len(times)), np.asarray(times, dtype=float)])
    own = np.linalg.inv(np.linalg.inv(covariance) + design.T @ design / sigma**2)
    pull = np.linalg.solve(covariance, mean) + design.T @ np.asarray(values, dtype=float) / sigma**2
    return own @ pull, own


def sleep_rows(patients: int = 6, seed: int = 3) -> pd.DataFrame:
    """Lines of reaction time, ten days each."""
    rng = np.random.default_rng(seed)
    days = np.arange(10.0)
    frames = []
    for number in range(patients):
        line = 250 + 30 * rng.standard_normal() + (10 + 6 * rng.standard_normal()) * days
        reaction = line + 25 * rng.standard_normal(10)
        frames.append(pd.DataFrame({"id": f"s{number}", "time_d": days, "reaction_ms": reaction.round(2)}))
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class Lines:
    """Draws of a population of lines, and what they say of a patient in closed form.

    `mean` is ``[draw, 2]``, `covariance` ``[draw, 2, 2]``, `sigma` ``[draw]``.
    """

    mean: np.ndarray
    covariance: np.ndarray
    sigma: np.ndarray

    def posterior(self, days: np.ndarray, values: np.ndarray, known: int = 0) -> Mixture:
        """The patient's line given measurements, the first `known` of which the draws have seen."""
        design = np.stack([np.ones(len(days)), days], axis=1)
        means, covariances, evidence = [], [], []
        for mean, covariance, sigma in zip(self.mean, self.covariance, self.sigma, strict=True):

            def log_marginal(count: int, m=mean, c=covariance, s=sigma) -> float:
                if not count:
                    return 0.0
                own = design[:count]
                spread = own @ c @ own.T + s**2 * np.eye(count)
                return float(multivariate_normal(own @ m, spread).logpdf(values[:count]))

            center, own = posterior_on_line(days, values, mean, covariance, sigma)
            means.append(center)
            covariances.append(own)
            evidence.append(log_marginal(len(values)) - log_marginal(known))
        total = logsumexp(evidence)
        weights = np.exp(np.array(evidence) - total)
        return Mixture(np.array(means), np.array(covariances), weights, total - np.log(len(evidence)))

    def below(self, day: float, value: float) -> float:
        """Probability of a first measurement below a value."""
        at = np.array([1.0, day])
        sd = np.sqrt(np.einsum("i,dij,j->d", at, self.covariance, at) + self.sigma**2)
        return float(norm.cdf((value - self.mean @ at) / sd).mean())


@dataclass(frozen=True)
class Mixture:
    """Normals ``[draw]`` of intercept and slope, with their weights, and the log evidence."""

    means: np.ndarray
    covariances: np.ndarray
    weights: np.ndarray
    log_evidence: float

    def summary(self, place: int) -> dict[str, float]:
        """Mean, SD, and ends of the 90 % interval of the intercept (0) or the slope (1)."""
        centers, sds = self.means[:, place], np.sqrt(self.covariances[:, place, place])
        mean = float(self.weights @ centers)
        sd = float(np.sqrt(self.weights @ (sds**2 + (centers - mean) ** 2)))

        def quantile(prob: float) -> float:
            return brentq(
                lambda at: self.weights @ norm.cdf((at - centers) / sds) - prob, mean - 9 * sd, mean + 9 * sd
            )

        return {"mean": mean, "sd": sd, "lower": quantile(0.05), "upper": quantile(0.95)}


def lines(draws: int = 500, seed: int = 11, *, sigma: float = 25.0, spread: float = 1.0) -> Lines:
    """Draws around a typical sleeper; `spread` widens the effects."""
    rng = np.random.default_rng(seed)
    mean = np.stack([250 + 8 * rng.standard_normal(draws), 10 + 2 * rng.standard_normal(draws)], axis=1)
    sds = spread * np.stack(
        [28 * np.exp(0.2 * rng.standard_normal(draws)), 6 * np.exp(0.2 * rng.standard_normal(draws))], axis=1
    )
    correlation = 0.3 * np.tanh(rng.standard_normal(draws))
    matrix = np.stack([np.ones(draws), correlation, correlation, np.ones(draws)], axis=1).reshape(-1, 2, 2)
    covariance = sds[:, :, None] * matrix * sds[:, None, :]
    return Lines(mean, covariance, sigma * np.exp(0.1 * rng.standard_normal(draws)))


def sleep_fit(population: Lines, seed: int = 5) -> ht.Fit:
    """A fit of `sleep_rows` with these draws of the population; its patients' effects follow from them."""
    spec, table = ht.read_spec(ht.shipped_specs()["sleep"]), sleep_rows()
    rng = np.random.default_rng(seed)
    effects = []
    for _, rows in table.groupby("id", sort=False):
        own = population.posterior(rows["time_d"].to_numpy(), rows["reaction_ms"].to_numpy())
        roots = np.linalg.cholesky(own.covariances)
        noise = rng.standard_normal(own.means.shape)
        effects.append(own.means + np.einsum("dij,dj->di", roots, noise) - population.mean)
    omega = np.sqrt(np.diagonal(population.covariance, axis1=1, axis2=2))
    draws = {
        "intercept_typical": population.mean[:, 0],
        "slope_typical": population.mean[:, 1],
        "omega": omega,
        "omega_correlation": population.covariance / omega[:, :, None] / omega[:, None, :],
        "sigma_reaction": population.sigma,
        "eta": np.stack(effects, axis=1),
    }
    return made_fit(spec, table, draws)


def records(days: np.ndarray, values: np.ndarray) -> list[dict[str, float]]:
    """Measurements as mappings."""
    return [
        {"time_d": float(day), "reaction_ms": float(value)} for day, value in zip(days, values, strict=True)
    ]


def differences(twin: ht.Twin, exact: Mixture) -> pd.DataFrame:
    """How far a twin is from the exact posterior, in its SDs: mean, SD (as a ratio less 1), interval ends."""
    rows = []
    own = twin.intervals().set_index("parameter")
    for place, name in enumerate(("intercept", "slope")):
        told = exact.summary(place)
        off = {word: (own.loc[name, word] - told[word]) / told["sd"] for word in ("mean", "lower", "upper")}
        rows.append({"parameter": name, **off, "sd": own.loc[name, "sd"] / told["sd"] - 1})
    return pd.DataFrame(rows).set_index("parameter")


def line_rows(patients: int, records: int = 6, seed: int = 0, prefix: str = "p") -> pd.DataFrame:
    """Rows of patients of this population, a measurement each 2 h."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(patients):
        own = TYPICAL + OMEGA * rng.standard_normal(2)
        t = 2.0 * np.arange(records)
        y = own[0] + own[1] * t + SIGMA * rng.standard_normal(records)
        frames.append(pd.DataFrame({"id": f"{prefix}{number}", "t": t, "y": y}))
    return pd.concat(frames, ignore_index=True)


def line_fit(patients: int = 3, draws: int = 1000) -> ht.Fit:
    """A fit whose draws of the population are all the truth."""
    rows = line_rows(patients, seed=99, prefix="fitted")
    population = {
        "intercept_typical": TYPICAL[0],
        "slope_typical": TYPICAL[1],
        "omega": OMEGA,
        "sigma_y": SIGMA,
        "eta": OMEGA * np.random.default_rng(1).standard_normal((draws, patients, 2)),
    }
    return known_fit(ht.parse_spec(SPEC), rows, population, draws)


def exact_forecast(
    t: np.ndarray, y: np.ndarray, ahead: np.ndarray, wider: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD ``[ahead]`` of new measurements given some; effects' SDs so many times wider."""
    mean, covariance = posterior_on_line(t, y, TYPICAL, np.diag((wider * OMEGA) ** 2), SIGMA)
    later = np.stack([np.ones_like(ahead), ahead], axis=1)
    return later @ mean, np.sqrt(np.einsum("ij,jk,ik->i", later, covariance, later) + SIGMA**2)
