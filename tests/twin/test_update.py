"""Promises of `update`, most of them against the closed form of a patient whose measurements lie on a line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import hierarchical_twin as ht
from twin.lines import differences, lines, records, sleep_fit, sleep_rows
from twin.posited import made_fit

DAYS = np.array([0.0, 2.0, 5.0, 7.0, 9.0])
VALUES = np.array([231.0, 262.0, 270.0, 330.0, 318.0])


def new_twin(fit: ht.Fit, particles: int = 4000, seed: int = 1) -> ht.Twin:
    return ht.start_twin(fit, covariates={}, particles=particles, seed=seed)


@pytest.fixture(scope="module")
def followed(sleepers) -> list[ht.Twin]:
    """A new patient's twin after 0, 1, ... records."""
    twins = [new_twin(sleepers)]
    for record in records(DAYS, VALUES):
        twins.append(ht.update(twins[-1], record))
    return twins


def assert_exact(twin: ht.Twin, exact, mean: float = 0.1, end: float = 0.16, sd: float = 0.08) -> None:
    """Within Monte Carlo error of thousands of particles."""
    off = differences(twin, exact)
    assert off["mean"].abs().max() < mean, off
    assert off[["lower", "upper"]].abs().max().max() < end, off
    assert off["sd"].abs().max() < sd, off


def test_every_step_is_the_exact_posterior(followed, population) -> None:
    for count, twin in enumerate(followed):
        assert_exact(twin, population.posterior(DAYS[:count], VALUES[:count]))


def test_the_evidence_is_exact(followed, population) -> None:
    told = sum(step.log_evidence for step in followed[-1].steps)
    assert told == pytest.approx(population.posterior(DAYS, VALUES).log_evidence, abs=0.15)


@pytest.mark.parametrize("order", ["at once", "backwards"])
def test_the_order_of_records_does_not_matter(sleepers, population, order) -> None:
    twin, rows = new_twin(sleepers), records(DAYS, VALUES)
    if order == "at once":
        twin = ht.update(twin, rows)
        assert twin.revision == 1
    else:
        for row in rows[::-1]:
            twin = ht.update(twin, row)
    assert_exact(twin, population.posterior(DAYS, VALUES))


def test_data_that_say_much_are_followed_and_leave_many_draws_of_the_population() -> None:
    """Effects ten times as wide and noise a tenth: tempering in many stages."""
    population = lines(seed=2, sigma=2.5, spread=10.0)
    values = 390.0 - 31.0 * DAYS + np.array([1.5, -3.0, 2.0, 2.5, -2.0])
    twin = ht.update(new_twin(sleep_fit(population)), records(DAYS, values))
    exact = population.posterior(DAYS, values)
    (step,) = twin.steps
    assert step.stages >= 4
    assert_exact(twin, exact)
    assert step.log_evidence == pytest.approx(exact.log_evidence, abs=0.3)
    assert step.effective_population > 0.6 / np.sum(exact.weights**2) > 100
    assert step.is_trustworthy


def test_a_patient_of_the_fit_goes_on_from_their_own_posterior(sleepers, population) -> None:
    own = sleep_rows().query("id == 's2'")
    days = np.append(own["time_d"].to_numpy(), [12.0, 20.0])
    values = np.append(own["reaction_ms"].to_numpy(), [420.0, 480.0])
    twin = ht.start_twin(sleepers, patient="s2", particles=4000)
    assert_exact(twin, population.posterior(days[:10], values[:10], known=10), 0.15, 0.3, 0.12)
    twin = ht.update(twin, records(days[10:], values[10:]))
    assert_exact(twin, population.posterior(days, values, known=10), 0.15, 0.3, 0.12)


def test_a_repeated_record_changes_nothing(followed) -> None:
    twin = followed[3]
    assert ht.update(twin, records(DAYS, VALUES)[1]) is twin
    assert ht.update(twin, [{"time_d": "2", "reaction_ms": 262}]) is twin


def test_a_repeated_record_beside_a_new_one_is_told(followed) -> None:
    twin = ht.update(followed[3], records(DAYS, VALUES)[1:4])
    assert [len(part) for part in (twin.steps[-1].added, twin.steps[-1].repeated)] == [1, 2]
    assert len(twin.records) == 4


@pytest.fixture(scope="module")
def named(sleepers) -> ht.Twin:
    """A twin with records that have names, the second of them wrong."""
    wrong = VALUES.copy()
    wrong[1] = 362.0
    rows = [{"record": f"v{place}", **row} for place, row in enumerate(records(DAYS, wrong))]
    return ht.update(new_twin(sleepers), rows[:4])


def test_a_correction_replaces_the_record(named, population) -> None:
    twin = ht.update(named, {"record": "v1", "time_d": 2.0, "reaction_ms": VALUES[1]})
    assert twin.steps[-1].corrected == ("v1",)
    assert len(twin.records) == 4
    assert_exact(twin, population.posterior(DAYS[:4], VALUES[:4]))


def test_a_record_can_be_taken_back(named, population) -> None:
    twin = ht.update(named, {"record": "v1", "time_d": 2.0, "reaction_ms": None})
    kept = [0, 2, 3]
    assert_exact(twin, population.posterior(DAYS[kept], VALUES[kept]))


def test_the_old_twin_is_as_it_was(followed, population) -> None:
    before = followed[1].intervals()
    ht.update(followed[1], {"time_d": 1.0, "reaction_ms": 500.0})
    pd.testing.assert_frame_equal(followed[1].intervals(), before)
    assert followed[1].revision == 1
    assert len(followed[1].records) == 1


def test_the_same_seed_gives_the_same_bits(sleepers) -> None:
    one, two = (ht.update(new_twin(sleepers, 500), records(DAYS, VALUES)) for _ in range(2))
    assert np.array_equal(one.particles.effects, two.particles.effects)
    other = ht.update(new_twin(sleepers, 500, seed=2), records(DAYS, VALUES))
    assert not np.array_equal(one.particles.effects, other.particles.effects)


def test_nothing_is_compiled_anew_as_records_accumulate(followed) -> None:
    """Up to eight records of a patient have one shape."""
    twin = followed[-1]
    known, programs = set(twin.population.compiled), twin.population.advance._cache_size()
    for day in (1.0, 3.0, 4.0):
        twin = ht.update(twin, {"time_d": day, "reaction_ms": 280.0})
    assert twin.population.compiled == known
    assert twin.population.advance._cache_size() == programs


def test_a_surprise_has_the_exact_predictive_probability(sleepers, population) -> None:
    twin = ht.update(new_twin(sleepers, 4000), {"time_d": 3.0, "reaction_ms": 350.0})
    (surprise,) = twin.steps[0].surprises
    below = population.below(3.0, 350.0)
    assert surprise.p_value == pytest.approx(2 * min(below, 1 - below), abs=0.01)
    assert not surprise.is_surprising
    assert not twin.steps[0].warnings


def test_a_record_that_does_not_fit_is_told(followed) -> None:
    twin = ht.update(followed[4], {"record": "odd", "time_d": 8.0, "reaction_ms": 700.0})
    (surprise,) = twin.steps[-1].surprises
    assert (surprise.record, surprise.is_surprising) == ("odd", True)
    assert "reaction of 700 at 8 does not fit this twin" in twin.steps[-1].warnings[0]


def test_many_twins_at_once_are_what_they_are_alone(sleepers) -> None:
    labels = [f"n{number}" for number in range(5)]
    twins = [ht.start_twin(sleepers, patient=label, covariates={}, particles=500) for label in labels]
    rows = pd.concat(
        [
            pd.DataFrame(records(DAYS[: 1 + place], VALUES[: 1 + place])).assign(id=label)
            for place, label in enumerate(labels[:4])
        ]
    )
    together = ht.update_many(twins, rows)
    assert together[4] is twins[4]
    for place in (0, 3):
        alone = ht.update(twins[place], records(DAYS[: 1 + place], VALUES[: 1 + place]))
        assert together[place].patient == labels[place]
        pd.testing.assert_frame_equal(together[place].intervals(), alone.intervals(), rtol=1e-6)


def test_twins_of_other_widths_are_updated_together(sleepers) -> None:
    """One has nine records, and so wider arrays; a batch must not change that of the other."""
    long = ht.update(
        ht.start_twin(sleepers, patient="long", covariates={}, particles=500),
        records(np.arange(9.0), 250.0 + np.arange(9.0)),
    )
    short = ht.start_twin(sleepers, patient="short", covariates={}, particles=500)
    found = ht.update_many(
        [long, short], {"long": {"time_d": 9, "reaction_ms": 260}, "short": records(DAYS, VALUES)}
    )
    assert [twin.arrays["time"].shape for twin in found] == [(1, 16), (1, 8)]
    again = ht.update(found[1], {"time_d": 1, "reaction_ms": 250})
    assert again.arrays["time"].shape == (1, 8)


CENSORED = """\
spec: 1
name: limited
title: Values with a lower limit
mechanism: linear
time: {column: t, unit: h}
patient: {column: id}
parameters:
  intercept: {unit: m, link: identity, typical: "Normal(mean=0, sd=5)", formula: "1 + (1 | patient)"}
  slope: {unit: m/h, value: 0}
random_effects:
  patient: {sd: "HalfNormal(2)"}
observations:
  y: {column: y, unit: m, predicts: y, error: normal, sigma: "HalfNormal(2)", lower_limit: 0}
"""


def test_a_record_below_the_limit_counts_as_the_probability_of_that() -> None:
    table = pd.DataFrame({"id": ["a", "a", "b", "b"], "t": [0, 1, 0, 1], "y": [1.0, 2.0, 1.5, 0.5]})
    same = np.ones(200)
    fit = made_fit(
        ht.parse_spec(CENSORED),
        table,
        {
            "intercept_typical": 0.5 * same,
            "omega": 2.0 * same[:, None],
            "sigma_y": 1.5 * same,
            "eta": np.zeros((200, 2, 1)),
        },
    )
    twin = ht.update(new_twin(fit), [{"t": 0, "y": 0}, {"t": 1, "y": -3}, {"t": 2, "y": 0.4}])
    grid = np.linspace(-12, 12, 4001)
    log_density = norm.logpdf(grid, 0.5, 2) + 2 * norm.logcdf(-grid / 1.5) + norm.logpdf(0.4, grid, 1.5)
    weights = np.exp(log_density - log_density.max())
    mean = np.average(grid, weights=weights)
    sd = np.sqrt(np.average((grid - mean) ** 2, weights=weights))
    own = twin.intervals().iloc[0]
    assert own["mean"] == pytest.approx(mean, abs=0.08 * sd)
    assert own["sd"] == pytest.approx(sd, rel=0.08)
    told = {surprise.time: surprise for surprise in twin.steps[0].surprises}
    assert told[1.0].value == 0.0
    assert told[1.0].p_value == pytest.approx(norm.cdf(-0.5 / 2.5), abs=0.02)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"time_d": 1, "reaction": 3}, "did you mean 'reaction_ms'"),
        ({"time_d": "soon", "reaction_ms": 3}, "'soon'; expected a finite number"),
        ({"id": "another", "time_d": 1, "reaction_ms": 3}, "'another'; expected records of 'new' alone"),
        ([], "no records"),
        (3, "a int"),
        ([{"record": "a", "time_d": 1, "reaction_ms": 3}] * 2, "twice among the new records"),
    ],
)
def test_records_that_cannot_be_read_are_refused(followed, given, message) -> None:
    with pytest.raises(ht.DataError, match=message):
        ht.update(followed[0], given)


def test_records_that_nothing_explains_are_refused(followed) -> None:
    with pytest.raises(ht.SamplingError, match="that no particle can explain"):
        ht.update(followed[0], {"time_d": 1.0, "reaction_ms": 1e200})


def three_new(fit: ht.Fit) -> list[ht.Twin]:
    return [ht.start_twin(fit, patient=label, covariates={}, particles=500) for label in "abc"]


def test_all_patients_whose_records_nothing_explains_are_told(sleepers) -> None:
    far, near = {"time_d": 1.0, "reaction_ms": 1e200}, {"time_d": 1.0, "reaction_ms": 260.0}
    with pytest.raises(ht.SamplingError) as told:
        ht.update_many(three_new(sleepers), {"c": far, "b": near, "a": [far, near]})
    assert [problem.where for problem in told.value.problems] == ["update of 'c'", "update of 'a'"]


TWICE = [{"record": "r", "time_d": 1, "reaction_ms": 260}] * 2


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"a": {"time": 1}, "b": {"time_d": 1}, "c": []}, ["records of 'a'", "records of 'c'"]),
        ({"a": TWICE, "b": TWICE[0], "c": TWICE}, ["record 'r' of 'a'", "record 'r' of 'c'"]),
        (
            {"a": {"id": "b", "time_d": 1}, "b": {"time_d": 1}, "c": {"id": "a", "time_d": 1}},
            ["records of 'a', column 'id'", "records of 'c', column 'id'"],
        ),
        (
            {"a": TWICE[0], "b": {"record": "s", "time_d": 1, "reaction_ms": "much"}},
            ["records 's' of 'b', column 'reaction_ms'"],
        ),
        (pd.DataFrame({"id": ["a", "", None], "time_d": 1, "reaction_ms": 2}), ["records column 'id'"]),
        (pd.DataFrame({"id": ["x", "a", "y"], "time_d": 1, "reaction_ms": 2}), ["records"] * 2),
    ],
)
def test_all_records_that_cannot_be_read_are_told_and_whose_they_are(sleepers, given, where) -> None:
    with pytest.raises(ht.DataError) as told:
        ht.update_many(three_new(sleepers), given)
    assert [problem.where for problem in told.value.problems] == where


def test_records_of_nobody_are_refused(followed) -> None:
    with pytest.raises(ht.DataError, match=r"patient 'nwe'.*did you mean 'new'"):
        ht.update_many([followed[0]], pd.DataFrame({"id": ["nwe"], "time_d": [1], "reaction_ms": [3.0]}))


def test_twins_of_two_fits_are_not_updated_together(followed, sleepers) -> None:
    other = ht.start_twin(ht.Fit(sleepers.tree), patient="other", covariates={}, particles=500)
    with pytest.raises(ht.DataError, match="twins of several populations"):
        ht.update_many([followed[0], other], {"new": {"time_d": 1, "reaction_ms": 300}})
