"""A fit without patients' draws says of patients what the same fit with their draws says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from agreement.declared import DECLARED

import hierarchical_twin as ht
from hierarchical_twin.analysis.patient_summary import STATISTICS
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.evaluate import flat_size
from hierarchical_twin.inference import summarise
from hierarchical_twin.inference.device import choose_place
from hierarchical_twin.inference.draws import unfold_draws
from hierarchical_twin.inference.summarise import (
    EffectDraws,
    effect_batches,
    population_draws,
    summarise_draws,
)
from hierarchical_twin.report.folder import fit_tables, write_tables
from hierarchical_twin.report.pictures import write_pictures

SHORT = {"chains": 2, "warmup": 300, "draws": 600, "seed": 1, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def summary_fit(sleep) -> ht.Fit:
    """The run of `sleep_fit`, patients summarised."""
    return ht.sample(sleep, patients="summary", **SHORT)


def equal(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=1e-8)


@pytest.mark.parametrize("prob", [0.5, 0.9, 0.95])
def test_intervals_are_those_of_the_draws(summary_fit, sleep_fit, prob):
    equal(summary_fit.intervals(prob=prob), sleep_fit.intervals(prob=prob))
    equal(summary_fit.intervals("slope", prob=prob), sleep_fit.intervals("slope", prob=prob))


def test_other_tables_are_too(summary_fit, sleep_fit):
    equal(summary_fit.population(), sleep_fit.population())
    equal(summary_fit.shrinkage(), sleep_fit.shrinkage())
    equal(summary_fit.patient_shrinkage(), sleep_fit.patient_shrinkage())
    tables = (fit.diagnostics().table().set_index("variable") for fit in (summary_fit, sleep_fit))
    equal(*(table.sort_index() for table in tables))


def test_nothing_else_is_kept_of_patients(summary_fit):
    assert {"log_likelihood", "posterior_predictive"}.isdisjoint(summary_fit.tree.children)
    assert "patient" not in summary_fit.tree["posterior"].dims
    summary = summary_fit.tree["patient_summary"].to_dataset()
    assert summary["statistic"].values.tolist() == list(STATISTICS)
    assert summary["eta"].dims == ("statistic", "patient", "effect")
    assert summary_fit.attributes["patients"] == "summary"


def test_it_says_which_intervals_it_has(summary_fit):
    with pytest.raises(
        ht.SamplingError, match=r"got 0\.8; expected one of 0\.5, 0\.9, 0\.95; .*patients='draws'"
    ):
        summary_fit.intervals(prob=0.8)
    with pytest.raises(ht.SamplingError, match="expected 'equal-tailed'"):
        summary_fit.intervals(kind="hdi")
    assert len(summary_fit.population(prob=0.8, kind="hdi"))


def test_bad_quality_of_a_patient_counts(summary_fit):
    tree = summary_fit.tree.copy(deep=True)
    tree["patient_summary"]["slope"].loc[
        {"statistic": "rhat", "patient": tree["patient_summary"]["patient"][3]}
    ] = 1.5
    verdict = ht.Fit(tree).diagnostics()
    assert not verdict.is_trustworthy and "slope[" in verdict.verdict


def test_it_survives_its_file_and_fills_its_folder(summary_fit, tmp_path):
    opened = ht.open_fit(summary_fit.save(tmp_path / "fit.nc"))
    equal(opened.intervals(), summary_fit.intervals())
    told: list[str] = []
    names = {
        path.name
        for path in [
            *write_tables(opened, fit_tables(opened), tmp_path),
            *write_pictures(opened, tmp_path, told.append),
        ]
    }
    assert {"intervals.csv", "shrinkage.svg", "forest_slope.svg"} <= names
    assert not any(name.startswith("patients_") for name in names)
    assert len(told) == 1 and "not drawn: patients_reaction" in told[0]


def test_an_unknown_word(sleep):
    with pytest.raises(ht.SamplingError, match="did you mean 'summary'"):
        ht.sample(sleep, patients="sumary", **SHORT)


@pytest.mark.parametrize("name", ["sites", "traits"])
def test_batches_of_patients_are_put_together(name, monkeypatch):
    """Levels above the patient, slopes, a last batch that overlaps the one before, any order."""
    declared = DECLARED[name]
    model = build(declared.spec, declared.cohort)
    positions = 0.3 * np.random.default_rng(0).standard_normal((2, 30, flat_size(model)))
    whole = unfold_draws(model, positions, choose_place("cpu", 2), seed=0).posterior
    monkeypatch.setattr(summarise, "BATCH_BYTES", 60 * 8 * 5)
    batches = list(effect_batches(model, positions))
    assert len(batches) > 1
    turned = [EffectDraws(batch.patients[::-1], batch.effects[..., ::-1]) for batch in reversed(batches)]
    for given in (batches, turned):
        found = summarise_draws(model, population_draws(model, positions), given)
        assert set(found.population) | set(found.patients) == set(whole)
        for word, values in found.population.items():
            np.testing.assert_allclose(values, whole[word], rtol=1e-12)
        for word, values in found.patients.items():
            np.testing.assert_allclose(values[0], whole[word].mean(axis=(0, 1)), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(values[5], np.median(whole[word], axis=(0, 1)), rtol=1e-9, atol=1e-12)
