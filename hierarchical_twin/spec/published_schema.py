"""The published JSON Schema, so that editors complete and check a spec as it is typed."""

from __future__ import annotations

import json
from typing import Any

from hierarchical_twin.mechanisms.table import MECHANISMS, Mechanism
from hierarchical_twin.spec.schema import Spec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """JSON Schema of the spec language.

    Returns
    -------
    dict
        Words of the mechanism table are added to what the frozen values say: for each mechanism
        its parameters, outputs, inputs and options.
    """
    schema = _plainer(Spec.model_json_schema())
    properties = schema["properties"]
    properties["mechanism"] = {
        "description": properties["mechanism"].get("description", ""),
        "anyOf": [{"type": "string", "enum": list(MECHANISMS)}, *map(_choice, MECHANISMS.values())],
    }
    schema["$defs"].pop("MechanismChoice", None)
    schema["required"] = ["spec", *(key for key in schema["required"] if key != "spec")]
    schema["allOf"] = [_given(mechanism) for mechanism in MECHANISMS.values()]
    return {
        "$schema": DIALECT,
        "title": "hierarchical_twin spec",
        **{key: part for key, part in schema.items() if key != "title"},
    }


def _plainer(part: Any) -> Any:
    """Without what pydantic adds for Python's sake: titles, nulls, and integer beside number."""
    if isinstance(part, list):
        return [_plainer(item) for item in part]
    if not isinstance(part, dict):
        return part
    plain: dict[str, Any] = {}
    for key, value in part.items():
        if key in ("properties", "$defs"):  # here keys are names, of which `title` may be one
            plain[key] = {name: _plainer(inner) for name, inner in value.items()}
        elif key == "anyOf" or key == "oneOf":
            plain |= _union(key, [_plainer(branch) for branch in value])
        elif key != "title" and not (key == "default" and value is None):
            plain[key] = _plainer(value)
    return plain


def _union(key: str, branches: list[Any]) -> dict[str, Any]:
    numbers = {"type": "number"} in branches
    kept = [
        branch
        for branch in branches
        if branch != {"type": "null"} and not (numbers and branch == {"type": "integer"})
    ]
    return kept[0] if len(kept) == 1 else {key: kept}


def _choice(mechanism: Mechanism) -> dict[str, Any]:
    """The mapping form ``{name: …, <option>: …}`` of one mechanism."""
    options = {option: {"enum": list(words)} for option, words in mechanism.options.items()}
    nested = {"type": "object", "properties": options, "additionalProperties": False}
    return {
        "type": "object",
        "description": f"{mechanism.title}: {mechanism.equation}",
        "properties": {"name": {"const": mechanism.name}, **options, "options": nested},
        "required": ["name"],
        "additionalProperties": False,
    }


def _given(mechanism: Mechanism) -> dict[str, Any]:
    """What a spec holds once its mechanism is chosen."""
    named = {"type": "object", "properties": {"name": {"const": mechanism.name}}, "required": ["name"]}
    parameters = {
        name: {"$ref": "#/$defs/Parameter", "description": f"{words.description} [{words.unit}]"}
        for name, words in mechanism.parameters.items()
    }
    inputs = {
        name: {"$ref": "#/$defs/Input", "description": f"{words.description} [{words.unit}]"}
        for name, words in mechanism.inputs.items()
    }
    predicts = {"properties": {"predicts": {"enum": list(mechanism.outputs)}}}
    return {
        "if": {
            "properties": {"mechanism": {"anyOf": [{"const": mechanism.name}, named]}},
            "required": ["mechanism"],
        },
        "then": {
            "properties": {
                "parameters": {"properties": parameters, "propertyNames": {"enum": list(parameters)}},
                "inputs": {"properties": inputs, "propertyNames": {"enum": list(inputs)}},
                "observations": {"additionalProperties": predicts},
            }
        },
    }


def schema_text() -> str:
    """Text of ``docs/spec.schema.json``."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
