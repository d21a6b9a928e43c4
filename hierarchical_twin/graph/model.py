"""A model: a spec, a cohort, and the graph that joins them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from hierarchical_twin.cohort import Cohort
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.nodes import Graph
from hierarchical_twin.spec.schema import Spec


@dataclass(frozen=True)
class Model:
    """A spec, a cohort and the graph that joins them: the joint density, backend-neutral.

    `parameterization` is the caller's override, None where the spec decides. `information` is what a
    pilot knows of the patients' data; without it, effects that would be informed are non-centred.
    `replaced` holds arrays that stand in for the cohort's and the pilot's own.
    """

    spec: Spec
    cohort: Cohort
    graph: Graph
    parameterization: str | None = None
    information: Information | None = None
    replaced: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def arrays(self) -> Mapping[str, Any]:
        """Every array a `Data` node names."""
        known = {} if self.information is None else self.information.arrays
        return {**self.cohort.arrays, **known, **self.replaced}

    @property
    def numbers(self) -> dict[str, np.ndarray]:
        """The arrays of real numbers, which a compiled function takes as arguments.

        Masks, levels and censoring marks are not among them: what is computed depends on them.
        """
        return {name: value for name, value in self.arrays.items() if value.dtype.kind == "f"}

    def with_arrays(self, arrays: Mapping[str, Any]) -> Model:
        """The same graph over other numbers, which may be traced by JAX."""
        return replace(self, replaced=arrays)

    def size(self, dim: str) -> int:
        """Length of a dimension."""
        return len(self.graph.coords[dim]) if dim in self.graph.coords else self.cohort.size(dim)

    def shape(self, dims: tuple[str, ...]) -> tuple[int, ...]:
        """Shape of an array over `dims`."""
        return tuple(self.size(dim) for dim in dims)

    @cached_property
    def coords(self) -> dict[str, tuple]:
        """Labels of every labelled dimension."""
        return {**self.cohort.coords, **self.graph.coords}
