"""What a run is said to take, before it starts."""

from __future__ import annotations

import pytest

from hierarchical_twin.inference.estimate import Estimate


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        (0.2, 0.9, "a gradient: under a second of sampling"),
        (0.2, 40.0, "a gradient: up to 40 s of sampling"),
        (80.0, 600.0, "a gradient: about 80 s to 10 min of sampling"),
        (4000.0, 9000.0, "a gradient: about 67 min to 2.5 h of sampling"),
    ],
)
def test_a_time_is_told_in_units_that_suit_it(least, most, said):
    assert str(Estimate(1406, 12e-6, least, most)) == f"1,406 parameters, 12 µs {said}"
