"""The comparison picture shows every model and every patient."""

from __future__ import annotations

import numpy as np
import pytest
from analysis.test_comparison import pointwise

from hierarchical_twin.analysis.comparison import Comparison
from hierarchical_twin.errors import SamplingError
from hierarchical_twin.report.comparison import comparison_figure
from hierarchical_twin.report.figures import save_figure


def comparison(patients: int, models: str = "abc") -> Comparison:
    rng = np.random.default_rng(1)
    base = rng.normal(-5, 2, patients)
    scores = {name: base - at * rng.gamma(1, 1, patients) for at, name in enumerate(models)}
    return Comparison("patient", "leave-one-patient-out", pointwise(scores))


def test_models_and_patients_are_named(tmp_path):
    found = comparison(20)
    figure = comparison_figure(found)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(found.table()["model"])
    own = found.patients[found.patients["model"] == found.models[1]].sort_values("difference")
    assert [label.get_text() for label in right.get_yticklabels()] == list(own["patient"])
    shown = sum(len(line.get_xdata()) for line in right.lines if line.get_linestyle() == "None")
    assert shown == 20
    words = " ".join(text.get_text() for text in figure.texts)
    assert "leave-one-patient-out" in words.replace("\n", " ")
    assert save_figure(figure, tmp_path / "comparison.svg").stat().st_size > 5_000


def test_another_model_can_be_set_against_the_best():
    found = comparison(12)
    third = comparison_figure(found, found.models[2]).axes[1]
    sizes = np.concatenate([line.get_xdata() for line in third.lines if line.get_linestyle() == "None"])
    own = found.patients[found.patients["model"] == found.models[2]]
    np.testing.assert_allclose(np.sort(sizes), np.sort(own["difference"]))
    with pytest.raises(SamplingError, match="one of"):
        comparison_figure(found, found.models[0])


def test_one_model_is_refused_and_many_patients_are_not_named():
    with pytest.raises(SamplingError, match="two models or more"):
        comparison_figure(comparison(5, "a"))
    assert comparison_figure(comparison(300)).axes[1].get_yticks().size == 0
