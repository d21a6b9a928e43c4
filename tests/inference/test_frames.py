"""Frames that hold are kept; where the likelihood bends inside them, patients fall back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hierarchical_twin as ht
from hierarchical_twin.graph.blocks import split_blocks
from hierarchical_twin.graph.evaluate import flat_size, parameters_at
from hierarchical_twin.inference import sample as sampling
from hierarchical_twin.inference.curvature import blank_information
from hierarchical_twin.inference.frames import mark_failing, without_frames
from hierarchical_twin.inference.pilot import find_pilot, informed, without_failing
from inference.models import LINEAR, linear_model

PATIENTS = 8


@pytest.fixture(scope="module")
def model():
    """Straight lines of eight people, their frames blank: effects move the predictors by their SD."""
    rows = [(f"p{n}", t, 10.0 + n + (2 + 0.1 * n) * t) for n in range(PATIENTS) for t in (0.0, 1.0, 3.0, 6.0)]
    made = linear_model(LINEAR, rows)
    return informed(made, blank_information(made))


def bending(model, bend: np.ndarray):
    """An expansion in which each predictor is its effect, and the slope ``-x - bend x^2`` for a patient."""

    def expand(flat, own):
        x = np.asarray(split_blocks(own, flat)[1])
        return {}, ({"y": np.repeat(np.eye(2)[:, :, None], PATIENTS, axis=2)}, {"y": -x - bend * x**2}, x)

    return lambda flat, own: expand(np.asarray(flat), own)


def test_a_gaussian_likelihood_keeps_its_frames(model):
    position = np.zeros(flat_size(model))
    assert not mark_failing(model, position, bending(model, np.zeros(PATIENTS))).any()


def test_patients_whose_likelihood_bends_are_marked(model):
    position, bend = np.zeros(flat_size(model)), np.zeros(PATIENTS)
    bend[[1, 5]] = 0.5
    assert np.flatnonzero(mark_failing(model, position, bending(model, bend))).tolist() == [1, 5]
    bend[2] = np.nan
    assert np.flatnonzero(mark_failing(model, position, bending(model, bend))).tolist() == [1, 2, 5]


def test_what_is_known_of_a_marked_patient_is_left_out():
    rows = [(f"p{n}", t, 10.0 + n + (2 + 0.1 * n) * t) for n in range(PATIENTS) for t in (0.0, 1.0, 3.0, 6.0)]
    known = find_pilot(linear_model(LINEAR, rows)).model.information
    failing = np.arange(PATIENTS) == 3
    left = without_frames(known, failing)
    (outcome,) = known.curvature
    assert not left.curvature[outcome][:, :, 3].any() and not left.score[outcome][:, 3].any()
    assert np.array_equal(left.curvature[outcome][:, :, 4], known.curvature[outcome][:, :, 4])
    assert known.curvature[outcome][:, :, 3].any(), "lines are straight: nobody was left out before"
    assert (known.fallbacks, left.fallbacks) == (0, 1)


def test_the_same_point_without_a_frame():
    """Dropping a frame changes how effects are measured, not what they are."""
    rows = [(f"p{n}", t, 10.0 + n + (2 + 0.1 * n) * t) for n in range(PATIENTS) for t in (0.0, 1.0, 3.0, 6.0)]
    pilot = replace(find_pilot(linear_model(LINEAR, rows)), failing=np.arange(PATIENTS) < 2)
    other = without_failing(pilot)
    before, after = (parameters_at(one.model, one.position)["eta"] for one in (pilot, other))
    assert np.allclose(before, after, atol=1e-6) and not np.allclose(pilot.position, other.position)
    assert without_failing(replace(pilot, failing=np.zeros(PATIENTS, bool))).model is pilot.model


@pytest.mark.parametrize(("method", "told"), [("joint", True), ("blocked", False)])
def test_one_trajectory_for_all_goes_without_them(method, told, monkeypatch):
    rows = [(f"p{n}", t, 10.0 + n + (2 + 0.1 * n) * t) for n in range(PATIENTS) for t in (0.0, 1.0, 3.0, 6.0)]

    def pilot(model):
        return replace(find_pilot(model), failing=np.arange(PATIENTS) < 2)

    monkeypatch.setattr(sampling, "find_pilot", pilot)
    said: list[str] = []
    short = {"chains": 1, "warmup": 20, "draws": 10, "progress": False, "device": "cpu"}
    ht.sample(linear_model(LINEAR, rows), method=method, announce=said.append, **short)
    assert any("the data of 2 patients" in line for line in said) == told
