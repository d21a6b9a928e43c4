"""docs/spec.md has every word and every key of the language, with the defaults the program has."""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import TypeAdapter

from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec import schema
from hierarchical_twin.spec.schema import Spec, Words
from hierarchical_twin.spec.vocabulary import ERRORS, FORMULA_FUNCTIONS, LINKS, PARAMETERIZATIONS, PRIORS
from hierarchical_twin.spec.yaml_text import load_yaml

PAGE = (Path(__file__).parents[2] / "docs" / "spec.md").read_text(encoding="utf-8")
MODELS = [model for model in vars(schema).values() if isinstance(model, type) and issubclass(model, Words)]
KEYS = [(model, key) for model in MODELS for key in model.model_fields]


@pytest.mark.parametrize(("model", "key"), KEYS, ids=[f"{model.__name__}.{key}" for model, key in KEYS])
def test_every_key_has_a_row_with_its_default(model: type[Words], key: str) -> None:
    rows = re.findall(rf"^\| `{key}` \|.*$", PAGE, re.MULTILINE)
    assert rows, key
    default = model.model_fields[key].default
    if model.model_fields[key].is_required():
        assert any("must be there" in row for row in rows)
    elif isinstance(default, str | int) and key != "spec":
        written = f'`"{default}"`' if str(default) == "1" else f"`{default}`"
        assert any(written in row for row in rows)


@pytest.mark.parametrize("name", PRIORS)
def test_every_prior_has_a_row_with_its_arguments(name: str) -> None:
    words = PRIORS[name]
    arguments = [
        f"{argument}={words.defaults[argument]:g}" if argument in words.defaults else argument
        for argument in words.arguments
    ]
    assert f"| `{name}({', '.join(arguments)})` | {words.support} |" in PAGE


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_has_a_row_with_its_density_and_keys(name: str) -> None:
    words = ERRORS[name]
    row = re.search(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
    assert row is not None
    assert words.description in row[0]
    assert all(f"`{key}`" in row[0] for key in words.needs)
    limits = {"lower_limit", "upper_limit", "censored"}
    assert ("limits" in row[0]) == (limits <= set(words.allows))
    assert all(f"`{key}`" in row[0] for key in words.allows if key not in limits)


@pytest.mark.parametrize("word", [*LINKS, *PARAMETERIZATIONS, *FORMULA_FUNCTIONS, *MECHANISMS])
def test_every_other_word_is_there(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_fragments_are_valid_sections() -> None:
    """YAML blocks that are not whole specs: each top-level key holds a value its section accepts."""
    fragments = [
        block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if not block.startswith("spec")
    ]
    assert len(fragments) > 8
    for block in fragments:
        values, _ = load_yaml(block, "docs/spec.md")
        for key, value in values.items():
            field = Spec.model_fields[key]
            annotation: Any = field.rebuild_annotation()
            TypeAdapter(_without_none(annotation)).validate_python(value)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        kept = [part for part in get_args(annotation) if part is not type(None)]
        return kept[0] if len(kept) == 1 else annotation
    return annotation
