"""Spec to canonical YAML: the schema's order, only what differs from the defaults."""

from __future__ import annotations

from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from hierarchical_twin.spec.schema import Spec


def write_spec(spec: Spec) -> str:
    """Canonical YAML text of a spec.

    Reading it gives an equal Spec, and writing that gives the same text. Comments of the file a
    spec came from are not kept.

    Parameters
    ----------
    spec : Spec

    Returns
    -------
    str
    """
    values = {"spec": spec.spec, **spec.model_dump(mode="json", exclude_defaults=True)}
    values["mechanism"] = _mechanism(spec)
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.allow_unicode = True
    stream = StringIO()
    yaml.dump(values, stream)
    return stream.getvalue()


def _mechanism(spec: Spec) -> Any:
    choice = spec.mechanism
    if "name" in choice.options or "options" in choice.options:
        return choice.model_dump()
    return {"name": choice.name, **choice.options} if choice.options else choice.name
