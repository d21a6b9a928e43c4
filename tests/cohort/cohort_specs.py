"""Small specs and tables that the cohort tests share, and how to alter them."""

from __future__ import annotations

from typing import Any

from hierarchical_twin.spec.schema import Spec

MEDIAN = "LogNormal(median=1, sd=1)"

GROWTH: dict[str, Any] = {
    "name": "growth",
    "title": "Growth",
    "mechanism": "exponential_growth",
    "time": {"column": "day", "unit": "day"},
    "patient": {"column": "mouse"},
    "parameters": {
        "V_0": {"unit": "cm^3", "link": "log", "typical": MEDIAN, "formula": "1 + (1 | patient)"},
        "r": {"unit": "1/day", "link": "log", "typical": MEDIAN, "formula": "1 + (1 | patient)"},
    },
    "random_effects": {"patient": {"sd": "HalfNormal(1)"}},
    "observations": {
        "volume": {
            "column": "volume",
            "unit": "cm^3",
            "predicts": "V",
            "error": "lognormal",
            "sigma": "HalfNormal(0.3)",
        }
    },
}

GLUCOSE: dict[str, Any] = {
    "name": "glucose",
    "title": "Minimal model",
    "mechanism": "glucose_minimal_model",
    "time": {"column": "min", "unit": "min"},
    "patient": {"column": "id"},
    "parameters": {
        "G_0": {"unit": "mg/dL", "typical": MEDIAN},
        "S_G": {"unit": "1/min", "typical": MEDIAN},
        "S_I": {"unit": "mL/uU/min", "typical": MEDIAN},
        "p_2": {"unit": "1/min", "typical": MEDIAN},
        "G_b": {"unit": "mg/dL", "column": "G_b"},
        "I_b": {"unit": "uU/mL", "value": 11},
    },
    "observations": {
        "glucose": {
            "column": "glucose",
            "unit": "mg/dL",
            "predicts": "G",
            "error": "normal",
            "sigma": "HalfNormal(10)",
        }
    },
    "inputs": {"insulin": {"column": "insulin", "unit": "uU/mL"}},
}

PRODRUG: dict[str, Any] = {
    "name": "prodrug",
    "title": "Prodrug",
    "mechanism": "prodrug_activation",
    "time": {"column": "TIME", "unit": "h"},
    "patient": {"column": "ID"},
    "parameters": {
        "V": {"unit": "L", "typical": MEDIAN, "formula": "1 + (1 | patient)"},
        **{name: {"unit": "1/h", "typical": MEDIAN} for name in ("k_el", "k_act", "k_out")},
    },
    "random_effects": {"patient": {"sd": "HalfNormal(1)"}},
    "observations": {
        "drug": {
            "column": "DV",
            "unit": "mg/L",
            "predicts": "prodrug",
            "error": "proportional",
            "sigma": "HalfNormal(1)",
        }
    },
    "doses": {"amount": "AMT", "unit": "mg", "event": "EVID"},
}

KILL: dict[str, Any] = {
    "name": "kill",
    "title": "Kill",
    "mechanism": "apoptosis_threshold",
    "patient": {"column": "id"},
    "parameters": {
        "K_apo": {"unit": "uM", "typical": MEDIAN, "formula": "1 + (1 | patient)"},
        "n": {"typical": MEDIAN},
    },
    "random_effects": {"patient": {"sd": "HalfNormal(1)"}},
    "observations": {
        "alive": {"column": "alive", "predicts": "survival", "error": "normal", "sigma": "HalfNormal(1)"}
    },
    "inputs": {"dose": {"column": "dose", "unit": "uM"}},
}

MICE = """\
mouse,day,volume,age,grade,site
a,0,1.0,10,low,north
a,2,1.2,10,low,north
a,5,1.6,10,low,north
b,0,2.0,20,high,south
b,3,2.5,20,high,south
c,1,3.0,30,low,south
"""


def alter(base: dict[str, Any], **parts: Any) -> Spec:
    """A spec like `base`; ``observations__volume={...}`` merges keys two levels down."""
    words = {key: (dict(value) if isinstance(value, dict) else value) for key, value in base.items()}
    for key, value in parts.items():
        head, _, inner = key.partition("__")
        if inner:
            words[head] = {**words.get(head, {}), inner: {**words.get(head, {}).get(inner, {}), **value}}
        else:
            words[head] = value
    return Spec(**words)
