"""The population of a fit as one file (NetCDF): all that twins need of the fit, without its patients' draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr

from hierarchical_twin.analysis.files import written_whole
from hierarchical_twin.dims import DRAW, TABLE
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.prediction.given import draw_places
from hierarchical_twin.prediction.source import model_of
from hierarchical_twin.twin.folder import to_disk, why_not_given
from hierarchical_twin.twin.population import Population, population_draws

POPULATION_VERSION = 1
"""Version of the layout of a population's file."""

_STAMP, _DRAWS, _ROOT = "hierarchical_twin_population", "draws", "root"
_ATTRIBUTES = ("spec", "data_hash", "data_source", "seed")


@dataclass(frozen=True, eq=False)
class KeptPopulation:
    """Every draw of a fit's population.

    Attributes
    ----------
    model : Model
        As `Population` has it.
    draws : mapping to ndarray, shape [draw, ...]
    root : ndarray, shape [draw, effect, effect]
        Both as `Population` has them, of every draw of the fit.
    """

    model: Model
    draws: Mapping[str, np.ndarray]
    root: np.ndarray

    def places_of(self, population: Population) -> np.ndarray | None:
        """Where the draws of a twin's population are among these, or None if it is of another fit."""
        own, other = self.model, population.model
        if own.spec != other.spec or own.cohort.data_hash != other.cohort.data_hash:
            return None
        if set(self.draws) != set(population.draws) or self.root.shape[1:] != population.root.shape[1:]:
            return None
        places = [self._where.get(row, -1) for row in _rows(population.draws, population.root)]
        return None if -1 in places else np.array(places, dtype=np.int64)

    def at(self, places: np.ndarray, provenance: Mapping[str, str]) -> Population:
        """The population at some of the draws."""
        chosen = {name: value[places] for name, value in self.draws.items()}
        return Population(self.model, chosen, self.root[places], dict(provenance))

    def is_same(self, other: KeptPopulation) -> bool:
        """Whether the other has the same draws, of the same spec and data."""
        ours, theirs = self.model, other.model
        return (
            ours.spec == theirs.spec
            and ours.cohort.data_hash == theirs.cohort.data_hash
            and set(self.draws) == set(other.draws)
            and all(np.array_equal(value, other.draws[name]) for name, value in self.draws.items())
        )

    @cached_property
    def _where(self) -> dict[bytes, int]:
        # A draw that a chain has stayed at is there twice; the first serves as well.
        found: dict[bytes, int] = {}
        for place, row in enumerate(_rows(self.draws, self.root)):
            found.setdefault(row, place)
        return found


def population_of_fit(fit: Fit) -> KeptPopulation:
    """Every draw of a fit's population.

    Raises
    ------
    SamplingError
        The fit does not keep its table.
    """
    model = model_of(fit)
    draws, root = population_draws(fit, model, draw_places(fit, None))
    return KeptPopulation(model, draws, root)


def write_population(fit: Fit, population: KeptPopulation, path: Path) -> None:
    """Write the population of a fit, whole or not at all.

    Raises
    ------
    TwinError
        A place that cannot be written to.
    """
    told = {name: fit.attributes[name] for name in _ATTRIBUTES if name in fit.attributes}
    draws = xr.Dataset({name: _variable(name, value) for name, value in population.draws.items()})
    groups = {_DRAWS: draws, TABLE: fit.tree[TABLE].to_dataset()}
    if population.root.size:  # NetCDF takes a dimension of length 0 for one that grows
        groups[_ROOT] = xr.Dataset({_ROOT: _variable(_ROOT, population.root)})
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {**told, _STAMP: POPULATION_VERSION}
    with written_whole(path) as partial:
        tree.to_netcdf(partial, engine="h5netcdf")
        with partial.open("rb+") as file:
            to_disk(file)


def read_population(path: Path) -> KeptPopulation:
    """The population of a fit, as it was written.

    Raises
    ------
    SamplingError
        The file is damaged, is none, cannot be read, or another version of this package wrote it.
    """
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            tree = opened.load()
            version = tree.attrs.get(_STAMP)
            draws = {} if version is None else _values(tree, _DRAWS)
            root = None if version is None or _ROOT not in tree.children else _values(tree, _ROOT)[_ROOT]
    except Exception as error:  # whatever the file libraries raise on bytes that are not theirs
        refused = why_not_given(error)
        reason = f"a file that cannot be read ({refused or type(error).__name__})"
        hint = "put a copy of it back, or make the store anew from the fit"
        hint = hint if refused is None else "it may be whole: try again, as a user who may read it"
        raise SamplingError(Problem(str(path), reason, "the population of a store of twins", hint)) from error
    if version != POPULATION_VERSION:
        got = "another file" if version is None else f"a population of version {version}"
        hint = "use the version of hierarchical_twin that wrote it"
        raise SamplingError(Problem(str(path), got, f"a population of version {POPULATION_VERSION}", hint))
    if root is None:
        root = np.zeros((len(next(iter(draws.values()))), 0, 0))
    return KeptPopulation(model_of(Fit(tree)), draws, root)


def _variable(name: str, value: np.ndarray) -> xr.Variable:
    return xr.Variable((DRAW, *(f"{name}_{axis}" for axis in range(1, value.ndim))), value)


def _values(tree: xr.DataTree, group: str) -> dict[str, np.ndarray]:
    return {str(name): variable.values for name, variable in tree[group].data_vars.items()}


def _rows(draws: Mapping[str, np.ndarray], root: np.ndarray) -> list[bytes]:
    """The bytes of each draw."""
    parts = [np.asarray(draws[name], dtype=float) for name in sorted(draws)]
    count = len(root)
    joined = np.concatenate([part.reshape(count, -1) for part in (*parts, root)], axis=1)
    return [row.tobytes() for row in joined]
