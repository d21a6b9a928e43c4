"""A fit: labelled draws, what they came from, and the questions one asks of them.

`Fit` holds an xarray `DataTree` and delegates down to `analysis`. It imports neither JAX nor a
backend, so that reading a saved fit is quick.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import xarray as xr

from hierarchical_twin.analysis.diagnostics import Diagnostics, diagnose
from hierarchical_twin.analysis.files import written_whole
from hierarchical_twin.analysis.intervals import DEFAULT_PROB, patient_intervals
from hierarchical_twin.analysis.population import population_intervals
from hierarchical_twin.analysis.shrinkage import effect_shrinkage, patient_shrinkage
from hierarchical_twin.analysis.variables import posterior_of
from hierarchical_twin.errors import Problem, SamplingError, nearest

FIT_VERSION = 1
"""Version of the layout of a saved fit; raised when an older reader could misread a newer one."""

_VERSION_ATTRIBUTE = "hierarchical_twin_fit"
_ORDER_ATTRIBUTE = "variable_order"
_SUFFIXES = (".nc", ".zarr")


@dataclass(frozen=True)
class Fit:
    """The result of sampling one model on one cohort.

    Parameters
    ----------
    tree : xr.DataTree
        Groups ``posterior``, ``sample_stats``, ``log_likelihood``, ``posterior_predictive``,
        ``observed_data``, ``no_pooling``, ``constant_data``; the root attributes hold the spec and
        where the fit came from. It is an ArviZ tree: any ArviZ function takes it.
    """

    tree: xr.DataTree

    @property
    def spec_text(self) -> str:
        """The spec the model was built from, as YAML."""
        return str(self.tree.attrs.get("spec", ""))

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Everything recorded about the run: seed, hashes, versions, backend, timings."""
        # NetCDF gives numbers back as NumPy scalars.
        plain = {
            str(name): getattr(value, "item", lambda kept=value: kept)()
            for name, value in self.tree.attrs.items()
        }
        return MappingProxyType(plain)

    def intervals(
        self,
        parameters: str | Sequence[str] | None = None,
        prob: float = DEFAULT_PROB,
        kind: str = "equal-tailed",
    ) -> pd.DataFrame:
        """Each patient's estimates with credible intervals; see `analysis.intervals.patient_intervals`."""
        return patient_intervals(self.tree, parameters, prob=prob, kind=kind)

    def population(self, prob: float = DEFAULT_PROB, kind: str = "equal-tailed") -> pd.DataFrame:
        """Typical values, coefficients, omegas, residuals; see `analysis.population.population_intervals`."""
        return population_intervals(self.tree, prob=prob, kind=kind)

    def shrinkage(self, prob: float = DEFAULT_PROB, kind: str = "equal-tailed") -> pd.DataFrame:
        """Shrinkage of every random effect, both definitions; see `analysis.shrinkage.effect_shrinkage`."""
        return effect_shrinkage(self.tree, prob=prob, kind=kind)

    def patient_shrinkage(self) -> pd.DataFrame:
        """Each patient's ``var(eta_i | y) / omega^2``; see `analysis.shrinkage.patient_shrinkage`."""
        return patient_shrinkage(self.tree)

    def diagnostics(self) -> Diagnostics:
        """Whether the draws can be trusted; see `analysis.diagnostics.diagnose`."""
        return diagnose(self.tree)

    def save(self, path: str | Path) -> Path:
        """Write the whole fit to ``.nc`` (NetCDF 4) or ``.zarr``, replacing an older one only when complete.

        Raises
        ------
        SamplingError
            Another suffix.
        TwinError
            A place that cannot be written to.
        """
        target = Path(path)
        _check_suffix(target)
        stamped = self.tree.copy()
        # Zarr lists variables by name; people read them in the order of the spec.
        order = {name: list(map(str, group.data_vars)) for name, group in self.tree.children.items()}
        stamp = {_VERSION_ATTRIBUTE: FIT_VERSION, _ORDER_ATTRIBUTE: json.dumps(order)}
        stamped.attrs = {**self.tree.attrs, **stamp}
        with written_whole(target) as partial:
            if target.suffix == ".nc":
                stamped.to_netcdf(partial, engine="h5netcdf")
            else:
                stamped.to_zarr(partial, zarr_format=2, consolidated=True)
        return target


def open_fit(path: str | Path) -> Fit:
    """Open a saved fit. Draws are read when they are first needed.

    Raises
    ------
    SamplingError
        There is nothing at `path`, it is not a fit, or a newer version of this package wrote it.
    """
    target = Path(path)
    _check_suffix(target)
    if not target.exists():
        raise SamplingError(
            Problem(str(target), "no such file", "a fit written by `Fit.save`", _sibling(target))
        )
    try:
        tree = xr.open_datatree(target, engine="h5netcdf" if target.suffix == ".nc" else "zarr")
    except Exception as error:  # whatever the file libraries raise on bytes that are not theirs
        reason = f"a file that cannot be read ({type(error).__name__})"
        raise SamplingError(Problem(str(target), reason, f"a fit saved as {target.suffix}")) from error
    version = tree.attrs.pop(_VERSION_ATTRIBUTE, None)
    if version is None:
        tree.close()
        raise SamplingError(Problem(str(target), "a file that is not a fit", "a fit written by `Fit.save`"))
    if version != FIT_VERSION:
        tree.close()
        advice = "use the version of hierarchical_twin that wrote it, or sample again"
        raise SamplingError(
            Problem(str(target), f"a fit of version {version}", f"version {FIT_VERSION}", advice)
        )
    _restore_order(tree)
    posterior_of(tree)
    return Fit(tree)


def _restore_order(tree: xr.DataTree) -> None:
    for name, variables in json.loads(tree.attrs.pop(_ORDER_ATTRIBUTE, "{}")).items():
        if name in tree.children:
            found = tree[name].to_dataset()
            # Choosing no variables would lose the coordinates too.
            tree[name].dataset = found[variables] if variables else found


def _check_suffix(path: Path) -> None:
    if path.suffix not in _SUFFIXES:
        hint = nearest(path.suffix, _SUFFIXES)
        raise SamplingError(
            Problem(str(path), repr(path.suffix), f"a name ending in {' or '.join(_SUFFIXES)}", hint)
        )


def _sibling(path: Path) -> str:
    if not path.parent.is_dir():
        return "its folder does not exist"
    return nearest(path.name, [found.name for found in path.parent.iterdir() if found.suffix in _SUFFIXES])
