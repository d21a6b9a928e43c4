"""A cohort remembers the spec it was read under, and `build` asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cohort_specs import GROWTH, MICE, alter

import hierarchical_twin as ht


def test_build_refuses_a_cohort_of_another_spec(read) -> None:
    cohort = read(MICE, alter(GROWTH))
    other = alter(GROWTH, observations__volume={"error": "normal", "unit": "mm^3"})
    assert ht.build(alter(GROWTH), replace(cohort, patients=cohort.patients)).cohort.patients
    with pytest.raises(ht.SpecError, match=r"another spec.*read it again: ht\.read_cohort\(table, spec\)"):
        ht.build(other, cohort)


def test_how_effects_are_sampled_plays_no_part_in_reading(read) -> None:
    centered = {"sd": "HalfNormal(2)", "parameterization": "centered"}
    assert ht.build(alter(GROWTH, random_effects={"patient": centered}), read(MICE, alter(GROWTH)))


def test_what_is_no_spec_and_no_cohort_is_told(read) -> None:
    nothing: Any = "growth.yaml"
    with pytest.raises(ht.SpecError, match=r"got a str; expected a Spec; ht\.read_spec\(path\) reads one"):
        read(MICE, nothing)
    with pytest.raises(ht.SpecError, match="build spec: got a str"):
        ht.build(nothing, read(MICE, alter(GROWTH)))
    with pytest.raises(ht.SpecError, match="build cohort: got a str; expected a Cohort"):
        ht.build(alter(GROWTH), nothing)
