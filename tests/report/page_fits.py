"""Fits that pages are made of in tests: made once, kept for the session."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pandas as pd

import hierarchical_twin as ht
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.page import write_report

from .conftest import sleep_fit

CASES = Path(__file__).parents[2] / "case_studies"
SPECS = Path(__file__).parents[2] / "model_specs"
HOSTILE = (
    "</script><script>window.broken = 1</script>",
    '"><img src=x onerror="window.broken = 2">',
    '=HYPERLINK("http://example.org";"x")',
    "{{ 7 * 7 }}",
    "$\\frac{1}{2}$",
    "a'b\\u003c<!--\u2028&amp;",
)
"""Identifiers that would run as script, formula or template if anything let them."""


@cache
def xenografts(patients: int = 8) -> Fit:
    """Untreated mice under the shipped growth spec: sampled long enough to be trusted."""
    return _sample(_mice(patients), draws=500)


@cache
def hostile() -> Fit:
    """Six of the mice under hostile names."""
    frame = _mice(6)
    names = dict(zip(frame["id"].unique(), HOSTILE, strict=True))
    return _sample(frame.assign(id=frame["id"].map(names)), draws=300)


@cache
def bad() -> Fit:
    """Chains far too short to be believed."""
    return _sample(_mice(6), draws=10)


@cache
def written(name: str) -> Path:
    """The page of one of these fits, written once: mice, hostile, hidden, bad, many or old."""
    folder = Path(tempfile.mkdtemp(prefix="report_pages_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    makers = {
        "mice": xenografts,
        "hostile": hostile,
        "hidden": hostile,
        "bad": bad,
        "many": lambda: sleep_fit(patients=90, draws=40),
        "old": sleep_fit,
    }
    return write_report(
        makers[name](), folder / f"{name}.html", pseudonyms=True if name == "hidden" else None
    )


def text_of(name: str) -> str:
    """The page as text."""
    return written(name).read_text(encoding="utf-8")


def _mice(patients: int) -> pd.DataFrame:
    frame = pd.read_csv(CASES / "tumor_growth" / "lung_xenograft_control.csv")
    return frame[frame["id"].isin(frame["id"].unique()[:patients])].astype({"id": str})


def _sample(frame: pd.DataFrame, *, draws: int) -> Fit:
    spec = ht.read_spec(SPECS / "tumor_growth.yaml")
    model = ht.build(spec, ht.read_cohort(frame, spec))
    warmup = 300 if draws > 50 else 20
    return ht.sample(model, draws=draws, warmup=warmup, seed=1, device="cpu", progress=False)
