"""Forecasts of a twin against closed forms: under plans, of probabilities, doses and crossings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from prediction.dosed import unit_response
from scipy.stats import norm

import hierarchical_twin as ht
from twin.known import OUT, SIGMA, at_time, dosed, glucose_rows, glucose_twin, killed, line_posterior, sleeper

SEEN = (0.0, 2.0, 5.0), (270.0, 280.0, 330.0)
PLAN = [{"hour": 8.0, "evid": 1, "amount": 50.0}, {"hour": 12.0, "evid": 1, "amount": 50.0}]


@pytest.fixture(scope="module")
def twin() -> ht.Twin:
    return sleeper(*SEEN)


def level(found: ht.Prediction, hour: float, doses: dict[float, float]) -> np.ndarray:
    """Active drug of each draw's parameters, doses added up."""
    own = [found.parameters[name][:, 0] for name in ("V", "k_el", "k_act")]
    given = [amount * unit_response(hour - at, *own, OUT) for at, amount in doses.items() if at < hour]
    return np.sum(given, axis=0)


def test_a_forecast_in_closed_form(twin):
    found = ht.forecast(twin, [9.0], draws=2000)
    mean, sd = at_time(9.0, line_posterior(*SEEN))
    assert found.individual.mean() == pytest.approx(mean, abs=0.12 * sd)
    assert found.replicates.std() == pytest.approx(np.hypot(sd, SIGMA), rel=0.08)
    assert list(found.rows["patient"]) == ["new"] and list(found.rows["time"]) == [9.0]
    again = ht.forecast(twin, [9.0], draws=2000)
    assert np.array_equal(found.replicates, again.replicates)
    assert not np.array_equal(found.replicates, ht.forecast(twin, [9.0], draws=2000, seed=1).replicates)


def test_what_was_measured_and_rows(twin):
    measured = ht.forecast(twin, draws=100)
    assert list(measured.rows["DV"]) == list(SEEN[1]) and list(measured.rows["time"]) == list(SEEN[0])
    rows = ht.forecast(
        twin, rows=pd.DataFrame({"time_d": [5.0, 7.0], "reaction_ms": [330.0, None]}), draws=100
    )
    assert rows.individual[:, 0] == pytest.approx(measured.individual[:, 2])
    assert rows.rows["DV"].isna().tolist() == [False, True]
    with pytest.raises(ht.DataError, match="both times and rows"):
        ht.forecast(twin, [1.0], rows=pd.DataFrame({"time_d": [5.0]}))
    with pytest.raises(ht.DataError, match="no measurement of 'new' yet"):
        ht.forecast(sleeper())


def test_doses_to_come_are_added_to_those_that_were():
    twin = dosed()
    times = [6.0, 10.0, 20.0]
    found = ht.forecast(twin, times, plan=PLAN, draws=100)
    planned = {0.0: 100.0, 8.0: 50.0, 12.0: 50.0}
    for place, hour in enumerate(times):
        assert found.individual[:, place] == pytest.approx(level(found, hour, planned), rel=1e-6)
    without = ht.forecast(twin, times, draws=100)
    assert without.individual[:, 2] == pytest.approx(level(without, 20.0, {0.0: 100.0}), rel=1e-6)
    given = ht.forecast(twin, times, plan={"hour": 0.0, "evid": 1, "amount": 100.0}, draws=100)
    assert np.array_equal(given.individual, without.individual), "a record is planned once"
    doubled = ht.forecast(twin, times, plan=PLAN, scenario={"amount": 200.0}, draws=100)
    assert doubled.individual[:, 2] == pytest.approx(
        level(doubled, 20.0, dict.fromkeys(planned, 200.0)), rel=1e-6
    )
    assert len(twin.records) == 3, "the twin is as it was"


def test_a_measurement_in_a_plan_is_not_looked_at():
    twin = dosed()
    noisy = [{**PLAN[0], "y": 999.0}, PLAN[1]]
    found = [ht.forecast(twin, [20.0], plan=plan, draws=50).individual for plan in (PLAN, noisy)]
    assert np.array_equal(*found)
    assert ht.as_fit(twin, 50, plan=noisy).model.cohort.rows["time"].tolist() == [1.0, 4.0]


def test_an_input_to_come():
    twin = glucose_twin()
    last = float(glucose_rows()["time_min"].max())
    later = [last + 30.0, last + 60.0]
    plan = pd.DataFrame({"time_min": later, "insulin_uU_per_mL": [200.0, 200.0]})
    rising = ht.forecast(twin, later, plan=plan, draws=100).individual
    plain = ht.forecast(twin, later, draws=100).individual
    assert (rising < plain).all(), "insulin lowers glucose"
    early = [ht.forecast(twin, [last / 2], plan=one, draws=100).individual for one in (plan, None)]
    assert early[0] == pytest.approx(early[1]), "what is to come changes nothing that was"


def test_a_plan_is_in_the_columns_of_the_spec():
    with pytest.raises(ht.DataError, match="a column 'dose'"):
        ht.forecast(dosed(), [20.0], plan={"hour": 8.0, "dose": 50.0})
    with pytest.raises(ht.DataError, match="'somebody'"):
        ht.forecast(dosed(), [20.0], plan={"id": "somebody", "hour": 8.0, "evid": 1, "amount": 50.0})


def test_probabilities(twin):
    table = ht.probability_of(twin, ["slope > 12", "reaction > 0.36 s at 9", "measured reaction > 360 at 9"])
    mean, covariance = line_posterior(*SEEN)
    there, sd = at_time(9.0, (mean, covariance))
    exact = [
        norm.sf(12, mean[1], np.sqrt(covariance[1, 1])),
        norm.sf(360, there, sd),
        norm.sf(360, there, np.hypot(sd, SIGMA)),
    ]
    assert table["probability"].to_numpy() == pytest.approx(exact, abs=0.05)
    assert list(table["patient"]) == ["new"] * 3 and "is_new" not in table
    population = ht.probability_of(twin, "slope_typical > 9")
    assert list(population["patient"]) == ["population"] and population["probability"].iloc[0] == 1.0
    assert ht.probability_of(sleeper(), "slope > 10")["probability"].iloc[0] == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ht.SamplingError, match="one of intercept, slope"):
        ht.probability_of(twin, "slop > 1")


def test_draws_are_worth_no_more_than_their_particles(twin):
    few = replace(twin, particles=twin.particles._replace(log_weights=np.full(2000, -np.inf)))
    few.particles.log_weights[:20] = -np.log(20)
    table = ht.probability_of(few, "slope > 12", draws=4000)
    assert table["ess"].iloc[0] == pytest.approx(20)
    assert table["upper"].iloc[0] - table["lower"].iloc[0] > 0.2
    found = ht.crossing(few, "reaction > 360", until=10.0).table()
    middle = found.iloc[(found["probability"] - 0.5).abs().argmin()]
    assert middle["upper"] - middle["lower"] > 0.2


def test_plans_side_by_side():
    twin = dosed()
    once = {"hour": 8.0, "evid": 1, "amount": 100.0}
    table = ht.compare_plans(
        twin, {"none": None, "once": once, "twice": PLAN}, ["active > 1 at 14"], draws=200
    )
    assert list(table["plan"]) == ["none", "once", "twice"] and list(table["patient"]) == ["new"] * 3
    found = ht.forecast(twin, [14.0], draws=200)
    given = {"none": {}, "once": {8.0: 100.0}, "twice": {8.0: 50.0, 12.0: 50.0}}
    for name, chance in zip(table["plan"], table["probability"], strict=True):
        assert chance == pytest.approx((level(found, 14.0, {0.0: 100.0} | given[name]) > 1).mean())
    with pytest.raises(ht.DataError, match="name to rows"):
        ht.compare_plans(twin, {}, "active > 1 at 14")


def test_the_dose_to_come():
    """Linear in the amount: the answer is a quantile of what each draw still needs."""
    twin = dosed()
    table = ht.next_dose(twin, "active > 1 at 14", by="amount", between=(1, 5000), plan=PLAN, draws=400)
    found = ht.forecast(twin, [14.0], draws=400)
    past = level(found, 14.0, {0.0: 100.0})
    each = level(found, 14.0, {8.0: 1.0, 12.0: 1.0})
    needed = np.sort((1 - past) / each)[int(np.ceil(0.9 * 400)) - 1]
    row = table.iloc[0]
    assert row["value"] == pytest.approx(needed, rel=5e-3)
    assert row["lower"] < row["value"] < row["upper"] and row["unit"] == "mg" and row["note"] == ""
    assert row["patient"] == "new" and row["probability"] >= 0.9
    by_plan = [{**dose, "amount": float(row["value"])} for dose in PLAN]
    reached = ht.probability_of(twin, "active > 1 at 14", plan=by_plan, draws=400)["probability"].iloc[0]
    assert reached == pytest.approx(row["probability"])


def test_a_dose_out_of_reach_or_not_asked_for():
    twin = dosed()
    words = {"by": "amount", "between": (1, 2), "plan": PLAN, "draws": 50}
    far = ht.next_dose(twin, "active > 1 at 14", **words).iloc[0]
    assert np.isnan(far["value"]) and far["note"].startswith("not reached in [1, 2]: at most 0")
    near = ht.next_dose(twin, "active < 10 at 14", **words).iloc[0]
    assert near["value"] == 1 and near["note"] == "reached at 1 already"
    with pytest.raises(ht.DataError, match="no plan"):
        ht.next_dose(twin, "active > 1 at 14", by="amount", between=(1, 2))
    with pytest.raises(ht.DataError, match="no 'amount'"):
        ht.next_dose(twin, "active > 1 at 14", by="amount", between=(1, 2), plan={"hour": 9.0})
    with pytest.raises(ht.DataError, match="did you mean 'amount'"):
        ht.next_dose(twin, "active > 1 at 14", by="amont", between=(1, 2), plan=PLAN)
    with pytest.raises(ht.SamplingError, match="an outcome"):
        ht.next_dose(twin, "V > 1", **words)


@pytest.mark.slow
def test_insulin_to_come():
    twin = glucose_twin()
    last = float(glucose_rows()["time_min"].max())
    later = [last + 30.0, last + 60.0]
    plan = pd.DataFrame({"time_min": later, "insulin_uU_per_mL": [1.0, 1.0]})
    words = {"by": "insulin", "between": (1, 2000), "plan": plan, "draws": 100}
    found = ht.next_dose(twin, f"glucose < 70 at {later[1]:g}", **words).iloc[0]
    assert found["unit"] == "uU/mL" and found["by"] == "insulin_uU_per_mL"
    given = plan.assign(insulin_uU_per_mL=found["value"])
    there = ht.forecast(twin, later, plan=given, draws=100).individual[:, 1]
    assert (there < 70).mean() == pytest.approx(found["probability"])
    less = plan.assign(insulin_uU_per_mL=0.9 * found["value"])
    assert (ht.forecast(twin, later, plan=less, draws=100).individual[:, 1] < 70).mean() < 0.9


def test_a_concentration_to_choose():
    twin = killed()
    found = ht.next_dose(twin, "viability <= 0.1", by="conc_uM", between=(0.1, 10_000), draws=400).iloc[0]
    own = ht.as_fit(twin, 400).tree["posterior"]["dose_90"].values.ravel()
    assert found["value"] == pytest.approx(np.sort(own)[359], rel=5e-3)


def crossing_exactly(twin: ht.Twin, limit: float) -> np.ndarray:
    """When each line reaches a limit."""
    return (limit - twin.parameters["intercept"]) / twin.parameters["slope"]


def test_a_crossing_of_lines(twin):
    found = ht.crossing(twin, "reaction > 0.4 s", until=30.0)
    exact = crossing_exactly(twin, 400.0)
    slopes = twin.parameters["slope"] > 0
    exact = np.where(
        exact <= 5, np.where(slopes, 5.0, np.inf), np.where((exact <= 30) & slopes, exact, np.inf)
    )
    weights = twin.weights
    assert found.times[0] == 5.0 and found.times[-1] == 30.0, "from the last record on"
    kept = weights > 0
    assert np.where(np.isfinite(found.first), found.first, 1e9) == pytest.approx(
        np.where(np.isfinite(exact), exact, 1e9)[kept], rel=1e-6
    )
    assert found.probability == pytest.approx(weights[np.isfinite(exact)].sum())
    table = found.table()
    for time, chance in zip(table["time"], table["probability"], strict=True):
        assert chance == pytest.approx(weights[exact <= time].sum(), abs=1e-9)
    assert (table["lower"] <= table["probability"]).all() and (table["probability"] <= table["upper"]).all()
    median = found.quantiles([0.5])["time"].iloc[0]
    assert weights[exact <= median].sum() >= 0.5 > weights[exact < median].sum() - 1e-9


def test_a_crossing_that_was_or_never_is(twin):
    now = ht.crossing(twin, "reaction > 100", until=10.0)
    assert now.probability == pytest.approx(1.0) and now.quantiles([0.5])["time"].iloc[0] == 5.0
    never = ht.crossing(twin, "reaction < 0", until=10.0, since=0.0)
    assert never.probability == 0.0 and never.quantiles()["time"].isna().all()
    assert (never.table()["upper"] > 0).all() and (never.table()["lower"] == 0).all()


def test_a_crossing_under_a_plan():
    twin = dosed()
    before = ht.crossing(twin, "active > 0.9", until=24.0)
    after = ht.crossing(twin, "active > 0.9", until=24.0, plan=PLAN)
    jumps = ht.crossing(
        twin, "prodrug > 2", until=24.0, since=7.9, plan={"hour": 8.01, "evid": 1, "amount": 100.0}
    )
    assert after.probability > before.probability + 0.2
    first = jumps.first[np.isfinite(jumps.first)]
    assert first.size and set(first) == {8.01}, "a dose is a jump"
    assert (np.diff(jumps.times) > 1e-6).all() and 8.01 in jumps.times


def test_what_a_dose_makes_true_is_not_true_before_it():
    twin, hour = dosed(), 12.0
    plan = {"hour": hour, "evid": 1, "amount": 100.0}
    early = ht.crossing(twin, "prodrug > 2", until=hour - 1e-6, since=5.0, plan=plan)
    at_last = ht.crossing(twin, "prodrug > 2", until=hour, since=5.0, plan=plan)
    assert early.probability < 0.5 < at_last.probability, "a dose at the horizon counts"
    late = at_last.first[np.isfinite(at_last.first) & ~np.isfinite(early.first)]
    assert set(late) == {hour}
    table = at_last.table()
    before = table[table["time"] < hour]["probability"]
    assert before.max() == pytest.approx(early.probability)
    slow = ht.crossing(twin, "active > 0.9", until=24.0, since=5.0, plan=plan)
    found = slow.first[np.isfinite(slow.first)]
    assert len(set(found)) > 100 and (found != hour).all(), "the active drug does not jump"


def test_statements_that_do_not_cross(twin):
    with pytest.raises(ht.SamplingError, match="at any time up to"):
        ht.crossing(twin, "reaction > 400 at 9", until=10.0)
    with pytest.raises(ht.SamplingError, match="did you mean 'reaction'"):
        ht.crossing(twin, "reacton > 400", until=10.0)
    with pytest.raises(ht.DataError, match="a later one"):
        ht.crossing(twin, "reaction > 400", until=5.0)
    with pytest.raises(ht.SpecError, match="converts to 'ms'"):
        ht.crossing(twin, "reaction > 4 kg", until=10.0)
