"""What a pilot knows of each patient's data: the arrays an informed parameterization is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hierarchical_twin.dims import PATIENT


@dataclass(frozen=True, eq=False)
class Information:
    """The log likelihood of each patient near the pilot, as a quadratic in the link-scale predictors.

    Attributes
    ----------
    parameters : tuple of str
        The estimated parameters the likelihood moves with, in the order of the arrays.
    curvature : mapping of outcome to ndarray, shape [parameter, parameter, patient]
        Minus the Hessian, for a measurement of precision 1; zero where a patient's data are flat.
    score : mapping of outcome to ndarray, shape [parameter, patient]
        The linear part: ``b`` in ``b' x - x' G x / 2`` at predictors `x` measured from zero.
    fallbacks : int
        Patients whose data leave at least one of their effects undetermined; there the population's
        spread is used.
    choices : mapping of group to mapping of effect to {"centered", "noncentered"}
        How the effects of levels above the patient are sampled, and those of patients that are not informed.
    """

    parameters: tuple[str, ...]
    curvature: Mapping[str, np.ndarray]
    score: Mapping[str, np.ndarray]
    fallbacks: int = 0
    choices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays under the names the graph's `Data` nodes give them."""
        named = {f"curvature_{outcome}": value for outcome, value in self.curvature.items()}
        return named | {f"score_{outcome}": value for outcome, value in self.score.items()}

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Dimensions of `arrays`."""
        matrix = {f"curvature_{outcome}": ("parameter", "other_parameter", PATIENT) for outcome in self.score}
        return matrix | {f"score_{outcome}": ("parameter", PATIENT) for outcome in self.score}

    def blank(self) -> Information:
        """The same without knowledge: its informed model is the non-centred one."""
        curvature = {name: np.zeros_like(value) for name, value in self.curvature.items()}
        score = {name: np.zeros_like(value) for name, value in self.score.items()}
        return Information(self.parameters, curvature, score)
