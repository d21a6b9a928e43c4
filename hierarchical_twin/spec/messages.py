"""What pydantic says about a spec, in the project's one shape: where, got, expected, hint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hierarchical_twin.errors import nearest
from hierarchical_twin.spec.findings import Finding, Path
from hierarchical_twin.spec.prior import PriorError
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.yaml_text import quote

_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "tuple_type": "a list",
    "too_short": "a list of at least one",
    "string_pattern_mismatch": "a name of letters, digits and '_' that begins with a letter",
}


def faults_of(error: ValidationError, values: Mapping[str, Any]) -> list[Finding]:
    """Pydantic's errors as findings; the branches of one union become one finding.

    Parameters
    ----------
    error : pydantic.ValidationError
    values : mapping
        What was validated, as read from the file.
    """
    by_path: dict[Path, list[Finding]] = {}
    for detail in error.errors(include_url=False):
        path = _path(detail["loc"], detail["type"], values)
        by_path.setdefault(path, []).append(_finding(path, detail, values))
    return [_merged(findings) for findings in by_path.values()]


def _path(location: tuple[int | str, ...], kind: str, values: Any) -> Path:
    """Keys of the file in a pydantic location, which also holds union branches and options."""
    path: list[str] = []
    for position, key in enumerate(location):
        last = position == len(location) - 1
        if isinstance(values, dict) and str(key) in values:
            values = values[str(key)]
            path.append(str(key))
        elif isinstance(values, list) and isinstance(key, int):
            values = values[key] if key < len(values) else None
            path.append(str(key))
        elif last and kind == "missing":
            path.append(str(key))
    return tuple(path)


def _finding(path: Path, detail: Mapping[str, Any], values: Mapping[str, Any]) -> Finding:
    kind, got = detail["type"], quote(detail["input"])
    match kind:
        case "missing":
            return Finding(path, f"no '{path[-1]}'", f"the key '{path[-1]}'{_about(path)}")
        case "extra_forbidden":
            words = list(_model_at(path[:-1]).model_fields)
            return Finding(
                path, f"unknown key '{path[-1]}'", f"one of {', '.join(words)}", nearest(path[-1], words)
            )
        case "literal_error":
            expected = detail["ctx"]["expected"].replace("'", "")
            words = expected.replace(" or ", ", ").split(", ")
            return Finding(
                path,
                got,
                f"one of {', '.join(words)}" if words[1:] else expected,
                nearest(str(detail["input"]), words),
            )
        case "value_error" if isinstance(detail["ctx"]["error"], PriorError):
            cause = detail["ctx"]["error"]
            return Finding(path, got, cause.expected, cause.hint)
        case "string_type" if isinstance(detail["input"], int | float):
            return Finding(path, got, "text", f'write "{got}" in quotes')
        case "string_pattern_mismatch":
            return Finding(path, got, _EXPECTED[kind])
    expected = _EXPECTED.get(kind) or str(detail["msg"]).removeprefix("Input should be ")
    if kind in ("model_type", "model_attributes_type"):
        expected = f"a mapping with {', '.join(_model_at(path).model_fields)}"
    return Finding(path, got, expected)


def _merged(findings: list[Finding]) -> Finding:
    expected = " or ".join(dict.fromkeys(finding.expected for finding in findings))
    first = findings[0]
    return Finding(first.path, first.got, expected, first.hint if len(findings) == 1 else "")


def _about(path: Path) -> str:
    field = _model_at(path[:-1]).model_fields.get(path[-1])
    return f": {field.description}" if field is not None and field.description else ""


def _model_at(path: Path) -> type[BaseModel]:
    """The part of a spec that stands at a path of keys."""
    model: type[BaseModel] = Spec
    inside = False
    for key in path:
        if inside:  # the user's own name of an item, such as parameters.r
            inside = False
            continue
        field = model.model_fields.get(key)
        found = _models_in(field.annotation) if field is not None else []
        if not found:
            break
        model = found[0]
        inside = field is not None and "dict" in str(field.annotation)
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
