"""Fits that are predicted from, sampled once."""

from __future__ import annotations

from pathlib import Path

import pytest

import hierarchical_twin as ht
from prediction.models import LINE, line_rows

CASES = Path(__file__).parents[2] / "case_studies"


def sampled(spec: ht.Spec, table: object, **words: object) -> ht.Fit:
    """Two short chains."""
    model = ht.build(spec, ht.read_cohort(table, spec))
    return ht.sample(model, chains=2, warmup=200, draws=200, seed=3, device="cpu", progress=False, **words)


@pytest.fixture(scope="session")
def line_fit(tmp_path_factory) -> ht.Fit:
    """Lines with a covariate, correlated effects and sites; saved and opened again."""
    path = tmp_path_factory.mktemp("line") / "fit.nc"
    sampled(ht.parse_spec(LINE), line_rows()).save(path)
    return ht.open_fit(path)


@pytest.fixture(scope="session")
def losartan_fit() -> ht.Fit:
    """Two outcomes, doses, a genotype."""
    spec = ht.read_spec(ht.shipped_specs()["prodrug_activation"])
    return sampled(spec, CASES / "prodrug_activation" / "losartan_cyp2c9_arms.csv")


@pytest.fixture(scope="session")
def glucose_fit() -> ht.Fit:
    """An input that is measured over time."""
    spec = ht.read_spec(ht.shipped_specs()["glucose_minimal_model_single"])
    return sampled(spec, CASES / "glucose_minimal_model" / "fsigt_pacini_bergman.csv")
