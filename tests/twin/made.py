"""Fits whose draws are chosen, so that what a twin should say is known in closed form; none is sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

import hierarchical_twin as ht
from hierarchical_twin.cohort.kept import table_to_dataset
from hierarchical_twin.spec.write import write_spec


def made_fit(spec: ht.Spec, table: pd.DataFrame, draws: Mapping[str, np.ndarray]) -> ht.Fit:
    """A fit of a table with one chain of the given draws ``[draw, ...]``."""
    cohort = ht.read_cohort(table, spec)
    model = ht.build(spec, cohort, parameterization="noncentered")
    dims = {node.name: node.dims for node in model.graph.reported}
    posterior = xr.Dataset(
        {
            name: (("chain", "draw", *(dims.get(name) or _effect_dims(name))), value[None])
            for name, value in draws.items()
        }
    )
    tree = xr.DataTree.from_dict({"posterior": posterior, "table": table_to_dataset(cohort.table)})
    tree.attrs = {"spec": write_spec(spec), "data_hash": cohort.data_hash, "data_source": "made", "seed": 0}
    return ht.Fit(tree)


def _effect_dims(name: str) -> tuple[str, ...]:
    return ("patient", "effect") if name == "eta" else ()


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

            precision = np.linalg.inv(covariance) + design.T @ design / sigma**2
            own = np.linalg.inv(precision)
            means.append(own @ (np.linalg.solve(covariance, mean) + design.T @ values / sigma**2))
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
