"""One row for each mechanism under each of its options: where it is tried, and against what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.mechanisms import MECHANISMS, Mechanism

from . import references

PATIENTS, RECORDS, DOSES, PADDING = 5, 12, 3, 2

Exposure = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A mechanism, its options, the range of each parameter, what it is exposed to, and the reference.

    `ranges` are drawn from log-uniformly where the lower end is positive, else uniformly.
    """

    mechanism: str
    ranges: Mapping[str, tuple[float, float]]
    exposure: Callable[[np.random.Generator], Exposure]
    reference: Callable[[references.Row, references.Numbers], references.Outputs]
    options: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = 1e-10

    @property
    def declared(self) -> Mechanism:
        return MECHANISMS[self.mechanism]

    def draw(self, seed: int) -> tuple[Exposure, Exposure]:
        """Exposure, and parameters of shape [patient, 1]."""
        rng = np.random.default_rng(seed)
        parameters = {}
        for name, (low, high) in self.ranges.items():
            draws = rng.uniform(0.0, 1.0, (PATIENTS, 1))
            is_log = low > 0.0
            parameters[name] = low * (high / low) ** draws if is_log else low + (high - low) * draws
        return self.exposure(rng), parameters

    @cached_property
    def solve(self) -> Callable[[Exposure, Exposure], dict[str, np.ndarray]]:
        """Outputs, compiled."""
        run = jax.jit(self.call)
        return lambda exposure, parameters: jax.tree.map(np.asarray, run(exposure, parameters))

    @cached_property
    def gradient(self) -> Callable[[Exposure, Exposure], dict[str, np.ndarray]]:
        """Gradient of the sum of all outputs in every parameter, compiled."""

        def total(parameters: Exposure, exposure: Exposure) -> jax.Array:
            return sum(jnp.sum(output) for output in self.call(exposure, parameters).values())

        run = jax.jit(jax.grad(total))
        return lambda exposure, parameters: jax.tree.map(np.asarray, run(parameters, exposure))

    def call(self, exposure: Exposure, parameters: Exposure) -> dict[str, jax.Array]:
        return dict(self.declared.solve()(**exposure, **parameters, **self.options))


def _times(rng: np.random.Generator, longest_gap: float) -> np.ndarray:
    """Records from time 0 on, the last two repeated as padding repeats them."""
    time = np.zeros((PATIENTS, RECORDS))
    time[:, 1:] = np.cumsum(rng.uniform(longest_gap / 20.0, longest_gap, (PATIENTS, RECORDS - 1)), axis=1)
    time[:, -PADDING:] = time[:, -PADDING - 1, None]
    return time


def _follow_up(longest_gap: float) -> Callable[[np.random.Generator], Exposure]:
    return lambda rng: {"time": _times(rng, longest_gap)}


def _doses(rng: np.random.Generator) -> Exposure:
    dose_time = np.sort(rng.uniform(0.0, 12.0, (PATIENTS, DOSES)), axis=1)
    dose_amount = rng.uniform(50.0, 150.0, (PATIENTS, DOSES))
    dose_duration = rng.uniform(0.5, 4.0, (PATIENTS, DOSES))
    dose_duration[:, 0] = 0.0
    dose_amount[0, -1] = 0.0
    # A record at the very moment of a dose, and one infusion that starts while another runs.
    dose_time[1, 0] = 0.0
    dose_time[2, 2] = dose_time[2, 1] + 0.25
    return {
        "time": _times(rng, 8.0),
        "dose_time": dose_time,
        "dose_amount": dose_amount,
        "dose_duration": dose_duration,
    }


def _wells(rng: np.random.Generator) -> Exposure:
    return {"dose": np.tile(np.append(0.0, 10.0 ** np.linspace(-3, 3, RECORDS - 1)), (PATIENTS, 1))}


def _clamp(rng: np.random.Generator) -> Exposure:
    """Insulin that starts high, and crosses the basal value again and again; gaps of up to an hour."""
    time = _times(rng, 60.0)
    insulin = rng.uniform(2.0, 25.0, time.shape) + 150.0 * np.exp(-time / 20.0)
    insulin[:, -PADDING:] = insulin[:, -PADDING - 1, None]
    return {"time": time, "insulin": insulin}


_PRODRUG = {"V": (10.0, 100.0), "k_el": (0.01, 2.0), "k_act": (0.01, 2.0), "k_out": (0.01, 2.0)}
_MINIMAL = {
    "G_0": (200.0, 350.0),
    "S_G": (0.005, 0.05),
    "S_I": (1e-5, 1e-3),
    "p_2": (0.01, 0.06),
    "G_b": (70.0, 120.0),
    "I_b": (5.0, 20.0),
}

CASES = {
    "exponential_growth": Case(
        "exponential_growth",
        {"V_0": (0.1, 10.0), "r": (-0.05, 0.05)},
        _follow_up(30.0),
        references.growth(lambda t, V, p: p["r"] * V),
    ),
    "logistic_growth": Case(
        "logistic_growth",
        {"V_0": (0.1, 40.0), "r": (0.001, 0.2), "K": (10.0, 100.0)},
        _follow_up(30.0),
        references.growth(lambda t, V, p: p["r"] * V * (1.0 - V / p["K"])),
    ),
    "gompertz_growth": Case(
        "gompertz_growth",
        {"V_0": (0.1, 10.0), "r": (-0.02, 0.1), "a": (1e-8, 0.1)},
        _follow_up(30.0),
        references.growth(lambda t, V, p: p["r"] * np.exp(-p["a"] * t) * V),
    ),
    "prodrug_activation bolus": Case(
        "prodrug_activation", _PRODRUG, _doses, references.prodrug("bolus"), {"input": "bolus"}
    ),
    "prodrug_activation infusion": Case(
        "prodrug_activation", _PRODRUG, _doses, references.prodrug("infusion"), {"input": "infusion"}
    ),
    "prodrug_activation oral": Case(
        "prodrug_activation",
        _PRODRUG | {"k_a": (0.05, 4.0), "t_lag": (0.0, 2.0)},
        _doses,
        references.prodrug("oral"),
        {"input": "oral"},
    ),
    "apoptosis_threshold": Case(
        "apoptosis_threshold",
        {
            "K_apo": (0.01, 100.0),
            "n": (0.3, 6.0),
            "potency": (0.5, 2.0),
            "top": (0.8, 1.0),
            "floor": (0.0, 0.2),
        },
        _wells,
        references.apoptosis,
    ),
    # In mg/dL: what the issue asks for, kept with two digits to spare.
    "glucose_minimal_model signed": Case(
        "glucose_minimal_model", _MINIMAL, _clamp, references.glucose(False), {"below_basal": "signed"}, 1e-8
    ),
    "glucose_minimal_model clipped": Case(
        "glucose_minimal_model", _MINIMAL, _clamp, references.glucose(True), {"below_basal": "clipped"}, 1e-8
    ),
    "linear": Case(
        "linear", {"intercept": (-5.0, 5.0), "slope": (-1.0, 1.0)}, _follow_up(3.0), references.linear
    ),
}
