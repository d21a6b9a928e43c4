"""What each mechanism declares: parameters, outputs, inputs, units, derived quantities.

Words only, no JAX: a spec is checked against this table without loading the mathematics.
The equations live in one file per family beside this one, under the names given here.

Units are written in *bases*, small algebraic words such as ``1/time`` or ``amount/volume``.
Each base takes its unit from one thing the spec declares (`bases`), so a model may be in
days or hours, millilitres or cubic centimetres, and everything else is converted to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from math import inf
from typing import Any, Literal

Support = Literal["positive", "real", "unit"]
InputKind = Literal["series", "coordinate"]


@dataclass(frozen=True)
class ParameterWords:
    """A mechanism's parameter.

    `default` makes a parameter optional: left out of the spec, it takes that value.
    `options`, when not empty, names the option values under which the parameter exists,
    for example ``{"input": ("oral",)}`` for an absorption rate.
    """

    unit: str
    support: Support
    description: str
    default: float | None = None
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputWords:
    """A quantity the mechanism predicts along `time`.

    Under doses it is 0 until the first has acted. `jumps_under` names the option values under which
    a dose of no duration has acted at its very moment, and not only after it.
    """

    unit: str
    support: Support
    description: str
    jumps_under: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class StateWords:
    """A state of the mechanism that process noise may act on, named as the output that shows it.

    `unit` is that of the noise's SD once time has passed for one unit; under `is_log` the noise acts on
    the logarithm of the state, and is relative.
    """

    unit: str
    is_log: bool = False


@dataclass(frozen=True)
class InputWords:
    """Something given to the patient or measured as a driver.

    ``series`` is sampled over time and piecewise linear between samples (insulin);
    ``coordinate`` has one value for each record (the concentration in a well).
    """

    unit: str
    kind: InputKind
    description: str


@dataclass(frozen=True)
class DerivedWords:
    """A named function of one patient's parameters, such as a doubling time.

    `arguments` are the function's own numbers with their defaults (``target: 0.9``), and `between`
    the two numbers each of them lies between, both excluded.
    """

    unit: str
    parameters: tuple[str, ...]
    description: str
    arguments: Mapping[str, float] = field(default_factory=dict)
    between: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Mechanism:
    """The declaration of one mechanism; `solve` and `derive` load its mathematics.

    Parameters
    ----------
    name, family : str
        ``hierarchical_twin.mechanisms.<family>.<name>`` is the function that solves it.
    bases : mapping
        Base word to the item whose declared unit it takes: ``time``, ``output:V``,
        ``input:insulin``, ``dose`` or ``parameter:V``.
    has_time, has_doses : bool
        Whether the spec must (True) declare a time column, doses.
    starts_at_zero : bool
        Whether records begin at time 0, the moment the initial state holds.
    lag : str
        Parameter that delays every dose; empty where there is none.
    states : mapping
        The states that process noise may act on, in the order of `space`; empty where there are none.
    options : mapping
        Option name to its accepted words, the default first.
    log_outputs : mapping
        Output to the name under which the solution also gives its logarithm, where that is simpler.
    is_costly : bool
        Whether a solution takes so much more arithmetic than a polynomial does that chains follow
        polynomials instead.
    """

    name: str
    family: str
    title: str
    equation: str
    bases: Mapping[str, str]
    parameters: Mapping[str, ParameterWords]
    outputs: Mapping[str, OutputWords]
    inputs: Mapping[str, InputWords] = field(default_factory=dict)
    derived: Mapping[str, DerivedWords] = field(default_factory=dict)
    log_outputs: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_time: bool = True
    has_doses: bool = False
    starts_at_zero: bool = False
    lag: str = ""
    states: Mapping[str, StateWords] = field(default_factory=dict)
    is_costly: bool = False

    @property
    def exposure(self) -> tuple[str, ...]:
        """Names of the arrays `solve` takes besides parameters and options.

        ``time`` and inputs are ``[patient, time]``; ``dose_time``, ``dose_amount`` and
        ``dose_duration`` are ``[patient, dose]``.
        """
        doses = ("dose_time", "dose_amount", "dose_duration") if self.has_doses else ()
        return (("time",) if self.has_time else ()) + tuple(self.inputs) + doses

    def parameters_under(self, options: Mapping[str, str]) -> dict[str, ParameterWords]:
        """The parameters that exist under the chosen options."""
        chosen = self.chosen(options)
        return {
            name: words
            for name, words in self.parameters.items()
            if all(chosen[option] in accepted for option, accepted in words.options.items())
        }

    def chosen(self, options: Mapping[str, str]) -> dict[str, str]:
        """Every option's word: the chosen one, or the default."""
        return {name: words[0] for name, words in self.options.items()} | dict(options)

    def solve(self) -> Callable[..., Mapping[str, Any]]:
        """The function ``(exposure..., parameters..., options...) -> {output: [patient, time]}``.

        Parameters arrive with shape ``[patient, 1]`` so that they broadcast along time.
        """
        return getattr(import_module(f"hierarchical_twin.mechanisms.{self.family}"), self.name)

    def space(self) -> Callable[..., Any]:
        """The function ``(exposure..., parameters..., diffusions, options...) -> StateSpace``."""
        return getattr(import_module(f"hierarchical_twin.mechanisms.{self.family}"), f"{self.name}_space")

    def derive(self, quantity: str) -> Callable[..., Any]:
        """The function behind one derived quantity, elementwise in its parameters."""
        return getattr(import_module(f"hierarchical_twin.mechanisms.{self.family}"), quantity)


_SIZE_BASES = {"time": "time", "size": "output:V"}
_V_0 = ParameterWords("size", "positive", "size at time 0")
_V = {"V": OutputWords("size", "positive", "tumor size")}
_WANDERING = {"V": StateWords("1", is_log=True)}
_DOUBLING = {
    "doubling_time": DerivedWords("time", ("r",), "time in which an exponentially growing tumor doubles")
}

_DECLARED = (
    Mechanism(
        name="exponential_growth",
        family="growth",
        title="Exponential growth",
        equation="V(t) = V_0 exp(r t)",
        bases=_SIZE_BASES,
        parameters={"V_0": _V_0, "r": ParameterWords("1/time", "real", "growth rate")},
        outputs=_V,
        derived=_DOUBLING,
        log_outputs={"V": "log_V"},
        states=_WANDERING,
    ),
    Mechanism(
        name="logistic_growth",
        family="growth",
        title="Logistic growth to a carrying capacity",
        equation="dV/dt = r V (1 - V/K),  V(0) = V_0",
        bases=_SIZE_BASES,
        parameters={
            "V_0": _V_0,
            "r": ParameterWords("1/time", "real", "growth rate of a small tumor"),
            "K": ParameterWords("size", "positive", "carrying capacity"),
        },
        outputs=_V,
        derived=_DOUBLING,
        log_outputs={"V": "log_V"},
        states=_WANDERING,
    ),
    Mechanism(
        name="gompertz_growth",
        family="growth",
        title="Gompertz growth, slowing as it goes",
        equation="dV/dt = r exp(-a t) V,  V(0) = V_0",
        bases=_SIZE_BASES,
        parameters={
            "V_0": _V_0,
            "r": ParameterWords("1/time", "real", "growth rate at time 0"),
            "a": ParameterWords("1/time", "positive", "rate at which growth slows"),
        },
        outputs=_V,
        derived={"plateau_ratio": DerivedWords("1", ("r", "a"), "final size over initial size, exp(r/a)")},
        log_outputs={"V": "log_V"},
        states=_WANDERING,
    ),
    Mechanism(
        name="prodrug_activation",
        family="prodrug",
        title="Prodrug cleared or activated, active drug cleared",
        equation=(
            "dP/dt = input - (k_el + k_act) P,  dA/dt = k_act P - k_out A,  prodrug = P/V,  active = A/V"
        ),
        bases={"time": "time", "amount": "dose", "volume": "parameter:V"},
        parameters={
            "V": ParameterWords("volume", "positive", "volume of distribution (apparent, V/F)"),
            "k_el": ParameterWords("1/time", "positive", "elimination of prodrug other than by activation"),
            "k_act": ParameterWords("1/time", "positive", "activation rate: prodrug to active drug"),
            "k_out": ParameterWords("1/time", "positive", "elimination of the active drug"),
            "k_a": ParameterWords(
                "1/time", "positive", "first-order absorption rate", options={"input": ("oral",)}
            ),
            "t_lag": ParameterWords(
                "time", "positive", "absorption lag", default=0.0, options={"input": ("oral",)}
            ),
        },
        outputs={
            "prodrug": OutputWords(
                "amount/volume",
                "positive",
                "prodrug concentration",
                jumps_under={"input": ("bolus", "infusion")},
            ),
            "active": OutputWords("amount/volume", "positive", "active drug concentration"),
        },
        derived={
            "activated_fraction": DerivedWords(
                "1", ("k_el", "k_act"), "fraction of the dose that is activated, k_act/(k_act + k_el)"
            ),
            "steady_state_active": DerivedWords(
                "amount/volume",
                ("V", "k_el", "k_act", "k_out"),
                "active drug at steady state under a constant infusion of `rate` (amount/time)",
                {"rate": 1.0},
                {"rate": (0.0, inf)},
            ),
        },
        options={"input": ("bolus", "infusion", "oral")},
        has_doses=True,
        lag="t_lag",
        states={"prodrug": StateWords("amount/volume"), "active": StateWords("amount/volume")},
    ),
    Mechanism(
        name="apoptosis_threshold",
        family="apoptosis",
        title="Drug-induced death beyond a threshold",
        equation=(
            "S = potency dose,  P(death) = S^n / (K_apo^n + S^n),  "
            "survival = floor + (top - floor)(1 - P(death))"
        ),
        bases={"concentration": "input:dose"},
        parameters={
            "K_apo": ParameterWords(
                "concentration", "positive", "apoptosis threshold: signal at which half die"
            ),
            "n": ParameterWords("1", "positive", "steepness (Hill coefficient)"),
            "potency": ParameterWords("1", "positive", "signal for each unit of dose", default=1.0),
            "top": ParameterWords("1", "positive", "survival without drug", default=1.0),
            "floor": ParameterWords("1", "positive", "survival that no dose removes", default=0.0),
        },
        outputs={
            "survival": OutputWords("1", "unit", "fraction of cells that survive"),
            "death": OutputWords("1", "unit", "fraction of cells that die"),
        },
        inputs={"dose": InputWords("concentration", "coordinate", "drug concentration of each experiment")},
        derived={
            "dose_for_kill": DerivedWords(
                "concentration",
                ("K_apo", "n", "potency"),
                "dose at which the probability of death is `target`",
                {"target": 0.9},
                {"target": (0.0, 1.0)},
            )
        },
        has_time=False,
    ),
    Mechanism(
        name="glucose_minimal_model",
        family="glucose",
        title="Glucose minimal model (Bergman)",
        equation=(
            "dG/dt = -(S_G + X) G + S_G G_b,  dX/dt = -p_2 X + p_2 S_I (I(t) - I_b),  G(0) = G_0, X(0) = 0"
        ),
        bases={"time": "time", "glucose": "output:G", "insulin": "input:insulin"},
        parameters={
            "G_0": ParameterWords(
                "glucose", "positive", "glucose at time 0, extrapolated back from after mixing"
            ),
            "S_G": ParameterWords("1/time", "positive", "glucose effectiveness"),
            "S_I": ParameterWords("1/time/insulin", "positive", "insulin sensitivity"),
            "p_2": ParameterWords("1/time", "positive", "rate at which remote insulin action decays"),
            "G_b": ParameterWords("glucose", "positive", "basal glucose"),
            "I_b": ParameterWords("insulin", "positive", "basal insulin"),
        },
        outputs={
            "G": OutputWords("glucose", "positive", "plasma glucose"),
            "X": OutputWords("1/time", "real", "remote insulin action"),
        },
        inputs={
            "insulin": InputWords("insulin", "series", "plasma insulin, piecewise linear between samples")
        },
        options={"below_basal": ("signed", "clipped")},
        starts_at_zero=True,
        states={"G": StateWords("glucose"), "X": StateWords("1/time")},
        is_costly=True,
    ),
    Mechanism(
        name="linear",
        family="linear",
        title="Straight line in time (linear mixed-effects model)",
        equation="y(t) = intercept + slope t",
        bases={"time": "time", "response": "output:y"},
        parameters={
            "intercept": ParameterWords("response", "real", "response at time 0"),
            "slope": ParameterWords(
                "response/time", "real", "change of the response in a unit of time", default=0.0
            ),
        },
        outputs={"y": OutputWords("response", "real", "response")},
        states={"y": StateWords("response")},
    ),
)

MECHANISMS: Mapping[str, Mechanism] = {mechanism.name: mechanism for mechanism in _DECLARED}
"""Every mechanism a spec may name."""
