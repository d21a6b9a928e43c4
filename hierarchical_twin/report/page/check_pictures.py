"""The pictures beside the checks: goodness of fit, residuals, calibration, effects, chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
from matplotlib.figure import Figure

from hierarchical_twin.analysis.variables import errors_of, spec_part, units_of
from hierarchical_twin.analysis.visual_check import VisualCheck
from hierarchical_twin.errors import TwinError
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.chains import energy_figure, pair_figure, rank_figure
from hierarchical_twin.report.effects import effects_figure
from hierarchical_twin.report.page.pictures import picture_of
from hierarchical_twin.report.page.predicted import Predicted
from hierarchical_twin.report.page.sections import Picture
from hierarchical_twin.report.residuals import goodness_figure, residuals_figure, transform_figure
from hierarchical_twin.report.style import with_unit
from hierarchical_twin.report.visual_check import visual_check_figure


def coordinate_label(fit: Fit, coordinate: str) -> str:
    """What pictures run along, with its unit: ``time (day)``."""
    keys = ("time", "unit") if coordinate == "time" else ("inputs", coordinate, "unit")
    return with_unit(coordinate, str(spec_part(fit.tree, *keys) or ""))


def visual_picture(fit: Fit, check: VisualCheck) -> Picture:
    """A visual predictive check as a picture of the page."""
    is_log = errors_of(fit.tree).get(check.outcome) == "lognormal"
    key = f"visual-{'corrected-' * check.is_corrected}{check.outcome}"
    label = coordinate_label(fit, check.coordinate)
    return picture_of(key, lambda: visual_check_figure(check, coordinate_label=label, is_log=is_log))


def outcome_pictures(fit: Fit, predicted: Predicted, left_out: pd.DataFrame | None) -> Iterator[Picture]:
    """Of each outcome: goodness of fit, residuals, and whether probability transforms are uniform.

    Parameters
    ----------
    fit : Fit
    predicted : Predicted
        With a prediction of the measured rows.
    left_out : pd.DataFrame or None
        Rows of leave-one-observation-out; without them the transforms are those of the fit.
    """
    for outcome in dict.fromkeys(predicted.rows["outcome"]):
        yield from _pictures_of(fit, str(outcome), predicted, left_out)


def _pictures_of(
    fit: Fit, outcome: str, predicted: Predicted, left_out: pd.DataFrame | None
) -> Iterator[Picture]:
    label, rows = coordinate_label(fit, predicted.coordinate), predicted.rows
    unit = units_of(fit.tree).get(outcome, "")
    is_log = errors_of(fit.tree).get(outcome) == "lognormal"
    transforms, column = (rows, "PIT") if left_out is None else (left_out, "LOO_PIT")
    drawings: dict[str, Callable[[], Figure]] = {
        "goodness": lambda: goodness_figure(rows, outcome, unit=unit, is_log=is_log),
        "residuals": lambda: residuals_figure(rows, outcome, coordinate_label=label),
        "transform": lambda: transform_figure(transforms, outcome, column=column),
    }
    for key, draw in drawings.items():
        yield from possible_picture(f"{key}-{outcome}", draw)


def patient_pictures(fit: Fit) -> Iterator[Picture]:
    """Effects beside the population's distribution, and against covariates."""
    yield from possible_picture("effects", lambda: effects_figure(fit))


def sampler_pictures(fit: Fit) -> Iterator[Picture]:
    """Ranks of the chains, energies, and pairs of the population's quantities."""
    yield from possible_picture("rank", lambda: rank_figure(fit))
    yield from possible_picture("energy", lambda: energy_figure(fit))
    yield from possible_picture("pairs", lambda: pair_figure(fit))


def possible_picture(key: str, draw: Callable[[], Figure]) -> Iterator[Picture]:
    """A picture, or nothing where the fit does not hold what it shows."""
    try:
        yield picture_of(key, draw)
    except TwinError:
        return
