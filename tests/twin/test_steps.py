"""What a step tells of an update: surprises, what was left out, and doubts; by particles made to be hard cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import hierarchical_twin as ht
from hierarchical_twin.analysis.statements import Chance
from hierarchical_twin.twin import update as updates
from hierarchical_twin.twin.chances import limited
from hierarchical_twin.twin.steps import _doubts_of
from hierarchical_twin.twin.twin import Doubt, Step
from twin.known import (
    MEAN,
    SIGMA,
    at_time,
    glucose_fit,
    line_posterior,
    sleeper,
    study_fit,
)
from twin.lines import records
from twin.posited import known_fit

SEEN = (0.0, 2.0, 5.0), (270.0, 280.0, 330.0)
NEXT = {"record": "next", "time_d": 8.0, "reaction_ms": 340.0}


@pytest.fixture(scope="module")
def twin() -> ht.Twin:
    return sleeper(*SEEN)


def with_effects(twin: ht.Twin, places: slice, value: float) -> ht.Twin:
    """The twin with other effects of some of its particles."""
    effects = twin.particles.effects.copy()
    effects[places] = value
    return replace(twin, particles=twin.particles._replace(effects=effects))


def without_weight(twin: ht.Twin, places: slice) -> ht.Twin:
    log_weights = twin.particles.log_weights.copy()
    log_weights[places] = -np.inf
    log_weights -= np.logaddexp.reduce(log_weights)
    return replace(twin, particles=twin.particles._replace(log_weights=log_weights))


def lasting(step: Step) -> list[Doubt]:
    return [doubt for doubt in step.doubts if doubt.is_lasting]


def exact_p(time: float, value: float, known: tuple[np.ndarray, np.ndarray]) -> float:
    """Two-sided predictive probability of a measurement, in closed form."""
    mean, sd = at_time(time, known)
    return float(2 * norm.sf(abs(value - mean) / np.hypot(sd, SIGMA)))


def test_a_particle_that_predicts_no_number_has_no_say_in_what_was_expected(twin) -> None:
    step = ht.update(with_effects(twin, slice(0, 2), np.nan), NEXT).steps[-1]
    expected = exact_p(8.0, 340.0, line_posterior(*SEEN))
    assert step.surprises[0].p_value == pytest.approx(expected, abs=0.03)
    assert step.is_trustworthy and not step.warnings


def test_a_particle_without_weight_has_no_say_at_all(twin) -> None:
    plain = ht.update(without_weight(twin, slice(0, 2)), NEXT).steps[-1]
    step = ht.update(without_weight(with_effects(twin, slice(0, 2), np.nan), slice(0, 2)), NEXT).steps[-1]
    pd.testing.assert_frame_equal(step.parameters, plain.parameters)
    assert step.error == pytest.approx(plain.error) and np.isfinite(step.error)
    assert step.surprises == plain.surprises


def test_a_quantity_that_is_infinite_for_some_hides_no_error_of_the_others(twin, monkeypatch) -> None:
    plain = ht.update(twin, NEXT).steps[-1]
    ordered = updates._ordered

    def with_infinite(twin: ht.Twin, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = ordered(twin, parameters)
        return {**found, "when": np.where(found["slope"] > 9, 400 / found["slope"], np.inf)}

    monkeypatch.setattr(updates, "_ordered", with_infinite)
    step = ht.update(sleeper(*SEEN), NEXT).steps[-1]
    assert step.parameters.set_index("parameter").loc["when", "mean"] == np.inf
    assert step.error == pytest.approx(plain.error) and step.is_trustworthy


def test_one_particle_that_explains_the_records_is_no_posterior(twin) -> None:
    step = ht.update(with_effects(twin, slice(1, None), 1e308), NEXT).steps[-1]
    assert step.stages and not step.is_trustworthy
    assert any("only 1 of the particles" in doubt.found for doubt in lasting(step))
    assert any("the same intercept, slope" in doubt.found for doubt in lasting(step))


def test_a_few_particles_that_explain_the_records_spread_out_but_are_told(twin) -> None:
    few = with_effects(twin, slice(8, None), np.nan)
    step = ht.update(few, NEXT).steps[-1]
    assert step.stages and step.acceptance > 0.2, "those that are lost do not hold the others"
    (doubt,) = lasting(step)
    assert "of the particles (0.00" in doubt.found
    assert not lasting(ht.update(with_effects(twin, slice(1000, None), np.nan), NEXT).steps[-1])


@pytest.fixture(scope="module")
def misread() -> ht.Twin:
    """The second of four records is ten SDs off."""
    rows = records(np.array([0.0, 2.0, 5.0, 9.0]), np.array([270.0, 480.0, 330.0, 345.0]))
    start = ht.start_twin(study_fit(), patient="new", covariates={}, particles=4000, seed=1)
    return ht.update(start, [{"record": f"v{place}", **row} for place, row in enumerate(rows)])


def test_a_correction_is_judged_without_the_value_it_replaces(misread) -> None:
    step = ht.update(misread, {"record": "v1", "time_d": 2.0, "reaction_ms": 300.0}).steps[-1]
    others = (0.0, 5.0, 9.0), (270.0, 330.0, 345.0)
    assert step.corrected == ("v1",) and not lasting(step)
    (surprise,) = step.surprises
    assert surprise.p_value == pytest.approx(exact_p(2.0, 300.0, line_posterior(*others)), abs=0.04)
    wrong = ht.update(misread, {"record": "v1", "time_d": 2.0, "reaction_ms": 28.0}).steps[-1]
    assert wrong.surprises[0].is_surprising, "a correction that is wrong as well"


def test_what_comes_beside_a_correction_is_judged_without_the_wrong_value_too(misread) -> None:
    rows = [{"record": "v1", "time_d": 2.0, "reaction_ms": 300.0}, NEXT]
    step = ht.update(misread, rows).steps[-1]
    others = (0.0, 5.0, 9.0), (270.0, 330.0, 345.0)
    told = {one.record: one.p_value for one in step.surprises}
    assert told["next"] == pytest.approx(exact_p(8.0, 340.0, line_posterior(*others)), abs=0.04)
    assert set(told) == {"v1", "next"}


FACTS = {"basal_glucose_mg_per_dL": 90.0, "basal_insulin_uU_per_mL": 10.0}
GLUCOSE = [
    {"record": f"g{time:g}", "time_min": time, "glucose_mg_per_dL": value}
    for time, value in ((10.0, 270.0), (30.0, 210.0))
]
INSULIN = [
    {"record": f"i{time:g}", "time_min": time, "insulin_uU_per_mL": value}
    for time, value in ((0.0, 10.0), (12.0, 80.0), (60.0, 20.0))
]


def test_a_measurement_that_counts_only_later_is_judged_then() -> None:
    start = ht.start_twin(glucose_fit(), patient="new", covariates=FACTS, particles=300)
    first = ht.update(start, GLUCOSE)
    assert first.steps[-1].unused == ("g10", "g30") and not first.steps[-1].surprises
    then = ht.update(first, INSULIN).steps[-1]
    assert [one.record for one in then.surprises] == ["g10", "g30"]
    assert then.unused == () and all(0 < one.p_value < 1 for one in then.surprises)


def test_a_measurement_that_no_longer_counts_is_told() -> None:
    start = ht.start_twin(glucose_fit(), patient="new", covariates=FACTS, particles=300)
    known = ht.update(start, [*GLUCOSE, *INSULIN])
    assert [one.record for one in known.steps[-1].surprises] == ["g10", "g30"]
    again = ht.update(known, [{**row, "insulin_uU_per_mL": None} for row in INSULIN]).steps[-1]
    assert again.unused == ("g10", "g30") and not again.surprises
    assert any("g10, g30" in warning for warning in again.warnings)


WIDE = """\
spec: 1
name: wide
title: A line measured in two ways
mechanism: linear
time: {column: t, unit: h}
patient: {column: id}
parameters:
  intercept: {unit: m, link: identity, typical: "Normal(mean=0, sd=5)", formula: "1 + (1 | patient)"}
  slope: {unit: m/h, value: 0}
random_effects:
  patient: {sd: "HalfNormal(2)"}
observations:
  early: {column: y, unit: m, predicts: y, error: normal, sigma: "HalfNormal(2)"}
  late: {column: w, unit: m, predicts: y, error: student_t, sigma: "HalfNormal(2)", from_time: 5}
"""


@pytest.fixture(scope="module")
def wide() -> ht.Twin:
    table = pd.DataFrame(
        {"id": ["a", "a", "b", "b"], "t": [0, 6, 0, 6], "y": [1.0, 2, 1, 0], "w": [1.0, 2, 1, 0]}
    )
    population = {"intercept_typical": 1.0, "omega": 2.0, "sigma_early": 1.0, "sigma_late": 1.0}
    fit = known_fit(ht.parse_spec(WIDE), table, population, draws=50)
    return ht.start_twin(fit, patient="new", covariates={}, particles=500)


def test_one_of_two_outcomes_of_a_record_that_is_left_out_is_told(wide) -> None:
    step = ht.update(
        wide, [{"record": "r0", "t": 0, "y": 1.2, "w": 1.1}, {"record": "r6", "t": 6, "w": 0.9}]
    ).steps[-1]
    assert step.unused == ("r0",)
    assert [(one.record, one.outcome) for one in step.surprises] == [("r0", "early"), ("r6", "late")]


def test_what_was_expected_under_a_student_t_error_is_not_a_draw(wide) -> None:
    """A p-value far below one in as many as there are particles."""
    step = ht.update(wide, {"t": 6, "w": 40.0}).steps[-1]
    assert 1e-6 < step.surprises[0].p_value < 1e-3


def test_copies_of_a_particle_are_one() -> None:
    bare = ht.start_twin(study_fit(), patient="308", particles=500)
    assert len(bare.weights) == 500 and bare.effective == pytest.approx(100, rel=0.01), "the draws"
    fresh = ht.start_twin(study_fit(), patient="new", covariates={}, particles=500)
    assert fresh.effective == pytest.approx(500) and fresh.effective_population == pytest.approx(
        100, rel=0.01
    )
    chance = Chance(*(np.array([value]) for value in (0.5, 0.49, 0.51, 4000.0)))
    assert limited(chance, fresh).ess == pytest.approx([500])
    assert limited(chance, fresh, is_population=True).ess == pytest.approx([100], rel=0.01)
    assert limited(chance, bare).upper - limited(chance, bare).lower > 0.15


def test_a_correction_too_far_to_walk_back_from_is_told() -> None:
    """A digit too many: no p-value is made up, and the way out is said."""
    rows = records(np.array([0.0, 2.0]), np.array([MEAN[0], 2750.0]))
    start = ht.start_twin(study_fit(), patient="new", covariates={}, particles=1000, seed=2)
    known = ht.update(start, [{"record": f"v{place}", **row} for place, row in enumerate(rows)])
    step = ht.update(known, {"record": "v1", "time_d": 2.0, "reaction_ms": 275.0}).steps[-1]
    assert np.isnan(step.surprises[0].p_value) and not step.surprises[0].is_surprising
    assert "start the twin anew and give it all records" in lasting(step)[0].advice


def test_doubts_are_of_known_kinds_and_their_text_is_what_was_found_and_what_to_do() -> None:
    few = ht.start_twin(study_fit(), patient="new", covariates={}, particles=30, seed=1)
    step = ht.update(few, {"time_d": 4.0, "reaction_ms": 600.0}).steps[-1]
    assert len(step.doubts) >= 2
    for doubt in step.doubts:
        assert doubt.advice and not any(letter.isdigit() for letter in doubt.kind)
        assert str(doubt) == f"{doubt.found}: {doubt.advice}"
    assert step.warnings[-len(step.doubts) :] == tuple(map(str, step.doubts))
    assert str(Doubt("other", "a doubt without advice", "", is_lasting=False)) == "a doubt without advice"


def test_lasting_doubts_stand_and_others_only_until_the_next_update(twin) -> None:
    stays = Doubt("moves that are not accepted", "only 1% of the moves", "fit again", is_lasting=True)
    goes = Doubt("few effective particles", "only 9 effective particles", "start with more", is_lasting=False)
    told = (stays, goes), (stays,), (goes,)
    doubted = replace(twin, steps=tuple(replace(twin.steps[0], doubts=doubts) for doubts in told))
    assert doubted.standing_doubts == ((1, stays), (2, stays), (3, goes))
    assert doubted.doubts == (stays, goes)
    assert ", ".join(map(str, doubted.doubts)) == (
        "only 1% of the moves: fit again, only 9 effective particles: start with more"
    )
    assert not replace(twin, steps=()).doubts


@pytest.mark.parametrize(
    ("error", "text"),
    [(1.7, "is 1.7 times"), (1.04, "is 1.04 times"), (1.0004, "is 1.0004 times"), (12.34, "is 12.3 times")],
)
def test_an_error_above_what_is_tolerated_reads_so(twin, error: float, text: str) -> None:
    (doubt,) = _doubts_of(replace(twin.steps[-1], error=error), 1.0, "slope")
    assert text in doubt.found and doubt.kind == "Monte Carlo error of slope"


@pytest.mark.parametrize("error", [np.inf, np.nan])
def test_an_error_that_is_not_known_is_a_doubt_and_a_tolerated_one_is_not(twin, error: float) -> None:
    (doubt,) = _doubts_of(replace(twin.steps[-1], error=error), 1.0, "")
    assert doubt.kind == "Monte Carlo error that is not known"
    assert not _doubts_of(replace(twin.steps[-1], error=1.0), 1.0, "slope")
