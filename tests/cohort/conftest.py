"""Fixtures that read CSV text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hierarchical_twin.cohort import Cohort, read_cohort
from hierarchical_twin.errors import DataError
from hierarchical_twin.spec.schema import Spec

Reader = Callable[[str, Spec], Cohort]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Write CSV text to a file and read it under a spec."""

    def read_text(text: str, spec: Spec) -> Cohort:
        path = tmp_path / "mice.csv"
        path.write_text(text, encoding="utf-8")
        return read_cohort(path, spec)

    return read_text


@pytest.fixture
def refuse(read: Reader) -> Callable[[str, Spec], DataError]:
    """The error that a CSV text meets under a spec."""

    def refused(text: str, spec: Spec) -> DataError:
        with pytest.raises(DataError) as caught:
            read(text, spec)
        return caught.value

    return refused
