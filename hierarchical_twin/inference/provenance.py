"""Where a fit came from: the attributes that are saved with it."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

from hierarchical_twin.dims import group_suffix
from hierarchical_twin.graph.model import Model
from hierarchical_twin.inference.clock import Clock
from hierarchical_twin.inference.device import Place
from hierarchical_twin.inference.settings import Settings
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.write import write_spec

_PACKAGES = ("hierarchical_twin", "jax", "numpyro", "pymc", "arviz-stats", "xarray", "numpy")


def provenance(model: Model, settings: Settings, place: Place) -> dict[str, str | int | float]:
    """Spec, data, settings, versions and time of a run.

    Parameters
    ----------
    model : Model
        The model that was sampled.
    settings : Settings
    place : Place
    """
    return {
        "spec": write_spec(model.spec),
        "spec_hash": spec_hash(model.spec),
        "data_hash": model.cohort.data_hash,
        "data_source": model.cohort.report.source,
        "data_report": str(model.cohort.report),
        "seed": settings.schedule.seed,
        "backend": settings.backend,
        "method": settings.method,
        "device": place.kind,
        "parameterization": json.dumps(sampled_parameterization(model)),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": json.dumps(
            {name: package_version(name) for name in _PACKAGES} | {"python": platform.python_version()}
        ),
        "max_tree_depth": settings.max_tree_depth,
        "target_accept": settings.target_accept,
        "warmup": settings.schedule.warmup,
        "thin": settings.schedule.thin,
        "command": " ".join(sys.argv[1:]),
    }


def sampled_parameterization(model: Model) -> dict[str, dict[str, str]]:
    """How each random effect of a built model is sampled: group to effect to a parameterization."""
    sampled = {node.name for node in model.graph.samples}

    def choice(tag: str) -> str:
        if f"centered_{tag}" in sampled:
            return "centered"
        return "informed" if f"eta_{tag}" in sampled else "noncentered"

    return {
        group: {effect.label: choice(f"{effect.label}{group_suffix(group)}") for effect in effects}
        for group, effects in model.cohort.effects.items()
    }


def timings(clock: Clock, seconds: Mapping[str, float]) -> dict[str, float]:
    """Wall seconds of each stage and, as ``<stage>_compile``, of its compiling; `gradients` is a count.

    `plan` is what a method prepares before its chains, `sample` the chains, of which `warmup`, `effects`
    drawing patients' effects afterwards, `unfold` all that is then made from the draws.
    """
    own = {}
    for stage in ("pilot", "plan", "effects", "unfold"):
        own |= {stage: clock.wall[stage], f"{stage}_compile": clock.compiling[stage]}
    for word in ("unfold", "unfold_compile"):
        own[word] -= own[word.replace("unfold", "effects")]  # drawn within it
    chains = {"compile": seconds["compile"], "sample": seconds["sample"], "warmup": seconds["warmup"]}
    return own | chains | {"gradients": seconds["gradients"]}


def spec_hash(spec: Spec) -> str:
    """SHA-256 of a spec's canonical text."""
    return sha256(write_spec(spec).encode()).hexdigest()


def package_version(package: str) -> str:
    """Version of an installed package, or words that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
