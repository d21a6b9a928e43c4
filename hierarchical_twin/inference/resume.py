"""What a run writes into its checkpoint besides its chains: what it was asked, its pilot, its polynomials.

A pilot's optimiser need not end at the same bits twice, nor least squares on other cores, and every draw
depends on where they ended: so a run that goes on reads both, and never fits them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hierarchical_twin.graph.evaluate import flat_size
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.curvature import blank_information
from hierarchical_twin.inference.device import Place
from hierarchical_twin.inference.emulator import Emulator
from hierarchical_twin.inference.emulator_fit import emulator_arrays, emulator_from
from hierarchical_twin.inference.frames import FrameCheck
from hierarchical_twin.inference.keeper import Keeper
from hierarchical_twin.inference.pilot import Pilot, informed, repeated_gradient
from hierarchical_twin.inference.provenance import package_version, spec_hash
from hierarchical_twin.inference.settings import Settings

_PACKAGES = ("hierarchical_twin", "jax", "jaxlib", "numpyro", "numpy")
_PILOT, _POLYNOMIALS = "pilot", "polynomials"


def describe_run(model: Model, settings: Settings, place: Place, start: str = "none") -> dict[str, Any]:
    """Everything the draws depend on, by name, as JSON can hold it.

    Parameters
    ----------
    model : Model
        As the caller gave it.
    settings : Settings
        As asked: a method may still be ``auto``.
    place : Place
    start : str
        Hash of the adaptation the run starts from.
    """
    schedule = settings.schedule
    packages = (*_PACKAGES, "pymc", "pytensor") if settings.backend == "pymc" else _PACKAGES
    return {
        "spec": spec_hash(model.spec),
        "data": model.cohort.data_hash,
        "parameterization": model.parameterization or "as the spec says",
        "coordinates": flat_size(model),
        "start_from": start,
        "backend": settings.backend,
        "method": settings.method,
        "device": place.kind,
        "chains": int(schedule.chains),
        "draws": int(schedule.draws),
        "warmup": None if schedule.warmup is None else int(schedule.warmup),
        "thin": int(schedule.thin),
        "seed": int(schedule.seed),
        "target_accept": settings.target_accept,
        "max_tree_depth": int(settings.max_tree_depth),
        **{f"version of {name}": package_version(name) for name in packages},
    }


def kept_pilot(keep: Keeper, model: Model, find: Callable[[Model], Pilot]) -> Pilot:
    """The pilot of the run that is kept; a new one, kept from now on, where there is none.

    Parameters
    ----------
    keep : Keeper
    model : Model
    find : callable
        Fits a pilot.

    Raises
    ------
    SamplingError
        The saved pilot is damaged.
    """
    arrays = keep.find(_PILOT)
    if arrays is None:
        pilot = find(model)
        keep.save(_PILOT, pilot_arrays(pilot))
        return pilot
    blank = informed(model, blank_information(model))
    expected = {name: value.shape for name, value in blank.information.arrays.items()}
    size = flat_size(blank)
    is_whole = (
        {"parameters", "fallbacks", "position", "root", "gradient_seconds", "failing", "left"} <= set(arrays)
        and all(name in arrays and arrays[name].shape == shape for name, shape in expected.items())
        and arrays["position"].shape == (size,)
    )
    if not is_whole:
        raise keep.damaged(_PILOT, "the pilot of another model")
    return pilot_from(arrays, model)


def kept_emulator(keep: Keeper, model: Model, fit: Callable[[], Emulator | None]) -> Emulator | None:
    """What chains of the run that is kept follow; fitted, and kept from now on, where there is none.

    Raises
    ------
    SamplingError
        What was saved is damaged.
    """
    arrays = keep.find(_POLYNOMIALS)
    if arrays is None:
        found = fit()
        if found is not None:
            keep.save(_POLYNOMIALS, emulator_arrays(found))
        return found
    try:
        return emulator_from(arrays, model)
    except (KeyError, ValueError) as error:
        raise keep.damaged(_POLYNOMIALS, "polynomials of another model") from error


def pilot_arrays(pilot: Pilot) -> dict[str, np.ndarray]:
    """A pilot as arrays; its compiled gradient is not among them."""
    known = pilot.model.information
    return {
        **{name: np.asarray(value) for name, value in known.arrays.items()},
        "parameters": np.asarray(known.parameters, dtype=np.str_),
        "fallbacks": np.asarray(known.fallbacks),
        "position": pilot.position,
        "root": pilot.root,
        "gradient_seconds": np.asarray(pilot.gradient_seconds),
        "failing": pilot.check.failing,
        "left": pilot.check.left,
    }


def pilot_from(arrays: Mapping[str, np.ndarray], model: Model) -> Pilot:
    """Inverse of `pilot_arrays`, on a model of the same spec and data."""

    def by_outcome(word: str) -> dict[str, np.ndarray]:
        return {node.name: arrays[f"{word}_{node.name}"] for node in model.graph.observes}

    known = Information(
        tuple(map(str, arrays["parameters"])),
        by_outcome("curvature"),
        by_outcome("score"),
        fallbacks=int(arrays["fallbacks"]),
    )
    # The gradient is compiled from the model that the pilot began with: the very same program.
    repeated = repeated_gradient(informed(model, blank_information(model)))
    seconds = float(arrays["gradient_seconds"])
    check = FrameCheck(arrays["failing"].astype(bool), arrays["left"])
    return Pilot(informed(model, known), arrays["position"], arrays["root"], repeated, seconds, check)
