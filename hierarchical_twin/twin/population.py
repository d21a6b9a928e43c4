"""What all twins of a fit share: draws of the population, and how their records are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from hierarchical_twin.cohort.subset import take_patients
from hierarchical_twin.dims import PATIENT, group_suffix
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.device import choose_place, float64_on
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.prediction.given import effects_for, population_of
from hierarchical_twin.twin.advance import Advanced, make_advance
from hierarchical_twin.twin.moves import Patient, Shared
from hierarchical_twin.twin.particles import Array, make_described


@dataclass(frozen=True, eq=False)
class Population:
    """The posterior of a population as draws.

    Attributes
    ----------
    model : Model
        Of the cohort that was fitted, non-centred: its spec, and the levels and centring learned.
    draws : mapping to ndarray, shape [draw, ...]
        Every population node that patients' predictions depend on, and the effects of the members of each
        level above the patient (``eta_site``, ``[draw, member, effect]``).
    root : ndarray, shape [draw, effect, effect]
        Lower Cholesky factor of the covariance of a patient's effects.
    provenance : mapping of str to str
        Where the draws came from: hashes of spec and data, version, seed.
    """

    model: Model
    draws: Mapping[str, np.ndarray]
    root: np.ndarray
    provenance: Mapping[str, str]

    @cached_property
    def labels(self) -> frozenset[str]:
        """Patients whose records are in the draws."""
        return frozenset(self.model.cohort.patients)

    @cached_property
    def outer_groups(self) -> Mapping[str, str]:
        """Node of each level above the patient, such as ``eta_site``, to its group."""
        groups = (group for group in self.model.cohort.effects if group != PATIENT)
        return {f"eta{group_suffix(group)}": group for group in groups}

    def member(self, name: str, label: str) -> int:
        """Place of a member among those the fit knows of a level above the patient; -1 for another."""
        known = self.model.cohort.coords[self.outer_groups[name]]
        return known.index(label) if label in known else -1

    @cached_property
    def one(self) -> Model:
        """The model of one patient, whose arrays are to be replaced."""
        return replace(self.model, cohort=take_patients(self.model.cohort, np.array([0])))

    @cached_property
    def shared(self) -> Shared:
        """The draws as compiled functions take them, in double precision."""
        draws = {name: value for name, value in self.draws.items() if name not in self.outer_groups}
        roots = {
            name: outer_root(self.draws, group_suffix(group)) for name, group in self.outer_groups.items()
        }
        members = {name: self.draws[name] for name in self.outer_groups}
        inverse = {name: np.linalg.inv(root) for name, root in {**roots, "eta": self.root}.items()}
        with float64_on(choose_place("cpu", 1)):
            return jax.tree.map(jnp.asarray, Shared(draws, inverse, members))

    @cached_property
    def advance(self) -> Callable[[Shared, Patient], Advanced]:
        """The compiled update of a few twins at once, shared by all of this population."""
        return make_advance(self.one)

    @cached_property
    def described(self) -> Callable[..., dict[str, Array]]:
        """The compiled parameters of a few twins at once."""
        return make_described(self.one)

    @cached_property
    def compiled(self) -> set[object]:
        """Shapes for which the functions above are compiled."""
        return set()


def population_draws(fit: Fit, model: Model, places: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`Population.draws` and `Population.root` at the chosen draws of a fit.

    Parameters
    ----------
    fit : Fit
    model : Model
        From `model_of`.
    places : ndarray of int, shape [draw]
    """
    nobody = replace(model, cohort=take_patients(model.cohort, np.array([], dtype=int)))
    levels = {level.name: level for level in effects_for(fit, model.cohort, nobody, places).levels}
    draws = dict(population_of(fit, model, places))
    draws |= {name: level.known for name, level in levels.items() if name != "eta"}
    return draws, levels["eta"].root if "eta" in levels else np.zeros((len(places), 0, 0))


def outer_root(draws: Mapping[str, np.ndarray], suffix: str) -> np.ndarray:
    """Lower Cholesky factor ``[draw, effect, effect]`` of the covariance of a level's effects."""
    omega = draws[f"omega{suffix}"]
    correlation = draws.get(f"omega_correlation{suffix}", np.eye(omega.shape[1])[None])
    # As for a patient's own effects: a correlation that rounds to 1 leaves no room for the factor.
    return omega[:, :, None] * np.linalg.cholesky(correlation + 1e-12 * np.eye(omega.shape[1]))
