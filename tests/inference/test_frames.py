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
from hierarchical_twin.inference.frames import FrameCheck, centring, check_frames, without_frames
from hierarchical_twin.inference.pilot import find_pilot, informed, sampled_model, without_failing
from hierarchical_twin.inference.resume import pilot_arrays, pilot_from
from inference.models import LINEAR, linear_model
from inference.test_adaptation import model_of_sites

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
        return {"omega": np.ones(2)}, (
            {"y": np.repeat(np.eye(2)[:, :, None], PATIENTS, axis=2)},
            {"y": -x - bend * x**2},
            x,
        )

    return lambda flat, own: expand(np.asarray(flat), own)


def failing_for(pilot, count: int):
    """A pilot whose first patients' frames do not hold."""
    return replace(pilot, check=pilot.check._replace(failing=np.arange(PATIENTS) < count))


def test_a_gaussian_likelihood_keeps_its_frames(model):
    position = np.zeros(flat_size(model))
    assert not check_frames(model, position, bending(model, np.zeros(PATIENTS))).failing.any()


def test_patients_whose_likelihood_bends_are_marked(model):
    position, bend = np.zeros(flat_size(model)), np.zeros(PATIENTS)
    bend[[1, 5]] = 0.5
    assert np.flatnonzero(check_frames(model, position, bending(model, bend)).failing).tolist() == [1, 5]
    bend[2] = np.nan
    assert np.flatnonzero(check_frames(model, position, bending(model, bend)).failing).tolist() == [1, 2, 5]


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
    pilot = failing_for(find_pilot(linear_model(LINEAR, rows)), 2)
    other = without_failing(pilot)
    before, after = (parameters_at(one.model, one.position)["eta"] for one in (pilot, other))
    assert np.allclose(before, after, atol=1e-6) and not np.allclose(pilot.position, other.position)
    assert without_failing(failing_for(pilot, 0)).model is pilot.model


def test_what_data_leave_of_an_effect():
    """Of a line with much data hardly anything, of one with a single point nearly all of its slope."""
    noise = np.random.default_rng(1).normal(size=100)
    lines = [(n, t) for n in range(4) for t in np.linspace(0, 6, 25)]
    rows = [(f"p{n}", t, 10.0 + 3 * n + (2 + n) * t + e) for (n, t), e in zip(lines, noise, strict=True)]
    rows += [("few", 0.0, 11.0), ("few", 0.05, 11.2)]
    left = find_pilot(linear_model(LINEAR, rows)).check.left
    assert left.shape == (2, 5) and (left[:, :4] < 0.05).all() and left[1, 4] > 0.9


def test_where_most_frames_fail_effects_are_centred_by_what_data_tell(model):
    rich, poor = np.full(PATIENTS, 0.05), np.full(PATIENTS, 0.6)
    most, few = np.arange(PATIENTS) < 5, np.arange(PATIENTS) < 4
    assert centring(model, FrameCheck(few, np.stack([rich, poor]))) == {}
    chosen = centring(model, FrameCheck(most, np.stack([rich, poor])))
    assert chosen == {"intercept": "centered", "slope": "noncentered"}
    mixed = np.where(np.arange(PATIENTS) < 2, poor, rich)
    unknown = np.full(PATIENTS, np.nan)
    assert set(centring(model, FrameCheck(most, np.stack([mixed, unknown]))).values()) == {"noncentered"}


@pytest.mark.parametrize(
    ("word", "sampled"),
    [
        ("auto", {"centered_intercept", "z_slope"}),
        ("informed", {"eta_intercept", "eta_slope"}),
        ("{slope: centered}", {"centered_intercept", "centered_slope"}),
    ],
)
def test_what_is_sampled_where_most_frames_fail(word, sampled):
    """What a spec says for itself stands."""
    text = LINEAR.replace('{sd: "HalfNormal(5)"}', f'{{sd: "HalfNormal(5)", parameterization: {word}}}')
    rows = [(f"p{n}", t, 10.0 + n + (2 + 0.1 * n) * t) for n in range(PATIENTS) for t in (0.0, 1.0, 3.0, 6.0)]
    model = linear_model(text, rows)
    pilot = failing_for(find_pilot(model), PATIENTS - 2)
    left = np.stack([np.full(PATIENTS, 0.05), np.full(PATIENTS, 0.6)])
    firm = without_failing(replace(pilot, check=pilot.check._replace(left=left)))
    own = sampled_model(model, firm)
    assert sampled <= {node.name for node in own.graph.samples}
    assert not any(value.any() for value in own.information.curvature.values()), "nobody keeps a frame"
    before, after = (parameters_at(one.model, one.position)["eta"] for one in (pilot, firm))
    assert np.allclose(before, after, atol=1e-6)


def test_sites_are_judged_by_what_was_known():
    """Leaving out frames says nothing of a level above: rich sites stay centred."""
    pilot = find_pilot(model_of_sites("abcd"))
    everyone = pilot.check._replace(failing=np.ones_like(pilot.check.failing))
    pilot = replace(pilot, check=everyone)
    kept, firm = pilot.model.information, without_failing(pilot)
    own = sampled_model(model_of_sites("abcd"), firm, whole=pilot)
    before = sampled_model(model_of_sites("abcd"), pilot)
    assert own.information.choices["site"] == before.information.choices["site"] == {"intercept": "centered"}
    assert any(value.any() for value in kept.curvature.values())


def test_a_checkpoint_keeps_the_check():
    model = model_of_sites("ab")
    pilot = find_pilot(model)
    again = pilot_from(pilot_arrays(pilot), model)
    for word in ("failing", "left"):
        assert np.array_equal(getattr(again.check, word), getattr(pilot.check, word))


@pytest.mark.parametrize(("method", "told"), [("joint", True), ("blocked", False)])
def test_one_trajectory_for_all_goes_without_them(method, told, monkeypatch):
    rows = [(f"p{n}", t, 10.0 + n + (2 + 0.1 * n) * t) for n in range(PATIENTS) for t in (0.0, 1.0, 3.0, 6.0)]

    def pilot(model):
        return failing_for(find_pilot(model), 2)

    monkeypatch.setattr(sampling, "find_pilot", pilot)
    said: list[str] = []
    short = {"chains": 1, "warmup": 20, "draws": 10, "progress": False, "device": "cpu"}
    ht.sample(linear_model(LINEAR, rows), method=method, announce=said.append, **short)
    assert any("the data of 2 patients" in line for line in said) == told
