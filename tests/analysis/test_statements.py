"""Statements: the grammar, and how well draws know a probability."""

from __future__ import annotations

import numpy as np
import pytest

from hierarchical_twin.analysis.statements import Statement, along_chains, count_true, read_statement
from hierarchical_twin.errors import SamplingError

READ = {
    "S_I < 2e-4": ("S_I", False, "<", 2e-4, "", None, ""),
    "volume > 10 cm^3 at 90": ("volume", False, ">", 10.0, "cm^3", 90.0, ""),
    "volume>10cm^3 at 90 day": ("volume", False, ">", 10.0, "cm^3", 90.0, "day"),
    "  measured   volume >=  -1.5 at -2 ": ("volume", True, ">=", -1.5, "", -2.0, ""),
    "x <= 10 %": ("x", False, "<=", 10.0, "%", None, ""),
    "x ≤ 10 1/day at .5 h": ("x", False, "<=", 10.0, "1/day", 0.5, "h"),
    "measured > 3": ("measured", False, ">", 3.0, "", None, ""),
}


@pytest.mark.parametrize("text", READ)
def test_what_is_read(text):
    name, is_measured, relation, number, unit, place, place_unit = READ[text]
    found = read_statement(text)
    assert found == Statement(
        " ".join(text.split()), name, is_measured, relation, number, unit, place, place_unit
    )


REFUSED = {
    "": "no comparison",
    "volume": "no comparison",
    "volume = 3": "no comparison",
    "1 < volume < 3": "2 comparisons",
    "a < 1 and b < 2": "2 comparisons",
    "log(r) < 1": "'log(r)' before <",
    "r + 1 < 1": "'r + 1' before <",
    "< 3": "'' before <",
    "3 > r": "'3' before >",
    "r < many": "'many' after <",
    "r <": "'' after <",
    "r < 1e999": "'1e999' after <",
    "r < nan": "'nan' after <",
    "r < 1.2.3": "'1.2.3' after <",
    "volume > 10 at": "'' after 'at'",
    "volume > 10 at noon": "'noon' after 'at'",
    "volume > 10 at 3 < 4": "2 comparisons",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused(text):
    with pytest.raises(SamplingError) as caught:
        read_statement(text)
    assert f"got {REFUSED[text]}; expected" in str(caught.value)
    assert "NAME < NUMBER" in str(caught.value)


def test_something_else_than_text():
    with pytest.raises(SamplingError, match="got 3; expected a text"):
        read_statement(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("relation", "expected"), [("<", [1, 0, 0]), ("<=", [1, 1, 0]), (">", [0, 0, 1]), (">=", [0, 1, 1])]
)
def test_a_relation_and_its_edge(relation, expected):
    statement = Statement("", "x", False, relation, 2.0)
    assert statement.holds(np.array([1.0, 2.0, 3.0])).tolist() == [bool(one) for one in expected]
    assert not statement.holds(np.array([np.nan])).any(), "what is no number is not true"


def test_the_interval_covers_the_probability():
    """Independent draws: the 90 % Monte Carlo interval holds the truth about nine times in ten."""
    rng = np.random.default_rng(1)
    truth = np.repeat([0.02, 0.2, 0.5, 0.9], 1000)
    chance = count_true((rng.random((4, 100, len(truth))) < truth).astype(float), 0.9)
    inside = (chance.lower <= truth) & (truth <= chance.upper)
    assert inside.reshape(4, 1000).mean(axis=1) == pytest.approx(0.9, abs=0.06)
    assert chance.ess.mean() == pytest.approx(400, rel=0.25)


def test_draws_that_hang_together_know_less():
    rng = np.random.default_rng(2)
    loose = rng.standard_normal((4, 500, 1))
    tight = np.empty_like(loose)
    tight[:, 0] = loose[:, 0]
    for step in range(1, 500):
        tight[:, step] = 0.9 * tight[:, step - 1] + np.sqrt(1 - 0.81) * loose[:, step]
    free, bound = (count_true((draws > 0).astype(float), 0.9) for draws in (loose, tight))
    assert bound.ess[0] < free.ess[0] / 4
    assert np.ptp([bound.lower[0], bound.upper[0]]) > 2 * np.ptp([free.lower[0], free.upper[0]])


def test_always_and_never():
    chance = count_true(np.stack([np.zeros((4, 100)), np.ones((4, 100))], axis=2), 0.9)
    assert chance.probability.tolist() == [0.0, 1.0]
    assert chance.lower[0] == 0 and 0 < chance.upper[0] < 0.01
    assert chance.upper[1] == 1 and 0.99 < chance.lower[1] < 1


def test_shares_of_many_patients_are_known_better_than_one_patients_truth():
    rng = np.random.default_rng(3)
    truths = rng.random((4, 200, 50)) < 0.3
    one, share = truths[:, :, :1].astype(float), truths.mean(axis=2, keepdims=True)
    assert count_true(share, 0.9).ess[0] > 10 * count_true(one, 0.9).ess[0]


def test_chains_one_after_another():
    values = np.arange(12.0).reshape(12, 1)
    assert along_chains(values, 3)[:, :, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert along_chains(values, 5).shape == (1, 12, 1)
