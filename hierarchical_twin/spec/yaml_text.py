"""YAML text to plain values, with the line of every key. Safe: no tags, no aliases, no surprises.

Works on the parser's node graph rather than on constructed objects, so that lines are known and
nothing but text, numbers, booleans, lists and mappings can come out.
"""

from __future__ import annotations

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent, MappingStartEvent, SequenceStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hierarchical_twin.errors import Problem, SpecError

Path = tuple[str, ...]
DEEPEST = 20
_CORE = "tag:yaml.org,2002:"


def load_yaml(text: str, source: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """Read a YAML mapping and the line (1-based) on which each of its keys stands.

    Parameters
    ----------
    text : str
        One YAML document.
    source : str
        What to call it in messages, usually the path.

    Returns
    -------
    values : dict
        Keys are text, as written.
    lines : dict
        Path of keys (list items by position) to line.

    Raises
    ------
    SpecError
        Not YAML, not a mapping, empty, a key twice, a tab, an alias, a tag, or nested too deep.
    """
    try:
        _refuse_unsafe(text, source)
        root = _reader().compose(text)
    except YAMLError as error:
        raise SpecError(_syntax_problems(error, text, source)) from None
    if root is None:
        raise SpecError(Problem(source, "an empty file", "a spec, beginning with 'spec: 1'"))
    if not isinstance(root, MappingNode):
        kind = "a list" if isinstance(root, SequenceNode) else "text without keys"
        raise SpecError(
            Problem(f"{source}:1", kind, "a spec of 'key: value' lines, beginning with 'spec: 1'")
        )
    lines: dict[Path, int] = {}
    problems: list[Problem] = []
    values = _plain(root, (), source, lines, problems)
    if problems:
        raise SpecError(problems)
    return values, lines


def _reader() -> YAML:
    return YAML(typ="safe", pure=True)


def _refuse_unsafe(text: str, source: str) -> None:
    """Look at the event stream first: composing would already follow aliases and recurse."""
    depth = documents = 0
    for event in _reader().parse(text):
        line = f"{source}:{event.start_mark.line + 1}" if event.start_mark else source
        depth += type(event).__name__ in ("MappingStartEvent", "SequenceStartEvent")
        depth -= type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent")
        documents += isinstance(event, DocumentStartEvent)
        if documents > 1:
            raise SpecError(Problem(line, "a second document after '---'", "one spec in a file"))
        if depth > DEEPEST:
            raise SpecError(
                Problem(line, f"more than {DEEPEST} nested levels", "a spec, which has at most five")
            )
        if isinstance(event, AliasEvent) or (
            isinstance(event, MappingStartEvent | SequenceStartEvent) and event.anchor
        ):
            mark = "*" if isinstance(event, AliasEvent) else "&"
            raise SpecError(
                Problem(
                    line,
                    f"'{mark}{event.anchor}'",
                    "plain values: YAML anchors and aliases are not read",
                    f"put text that begins with {mark} in quotes",
                )
            )


def _syntax_problems(error: YAMLError, text: str, source: str) -> list[Problem]:
    tabbed = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r" *\t", line)]
    if tabbed:
        more = f" (and on {len(tabbed) - 1} more lines)" if len(tabbed) > 1 else ""
        return [Problem(f"{source}:{tabbed[0]}", f"a tab{more}", "indentation by spaces")]
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{source}:{mark.line + 1}" if mark else source
    if mark is None:
        return [Problem(where, "characters that do not belong in text", "a YAML file in UTF-8")]
    lines = text.splitlines()
    line = lines[mark.line].strip() if mark.line < len(lines) else "the end of the file"
    said = getattr(error, "problem", None) or getattr(error, "context", None) or "not readable"
    return [Problem(where, quote(line), "YAML", f"the YAML reader says: {said}")]


def _plain(node: Node, path: Path, source: str, lines: dict[Path, int], problems: list[Problem]) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, MappingNode):
        return _mapping(node, path, source, lines, problems)
    if isinstance(node, SequenceNode):
        return [
            _plain(item, (*path, str(position)), source, lines, problems)
            for position, item in enumerate(node.value)
        ]
    return _scalar(node, path, source, problems)


def _mapping(
    node: MappingNode, path: Path, source: str, lines: dict[Path, int], problems: list[Problem]
) -> Any:
    values: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        here = f"{source}:{line} {'.'.join(path)}".rstrip()
        if not isinstance(key, ScalarNode):
            problems.append(Problem(here, "a list or mapping as a key", "a word as a key"))
            continue
        word = str(key.value)
        if word in values:
            first = lines[(*path, word)]
            problems.append(
                Problem(here, f"the key '{word}' again", f"each key once; it stands on line {first}")
            )
            continue
        lines[(*path, word)] = line
        values[word] = _plain(value, (*path, word), source, lines, problems)
    return values


def _scalar(node: Node, path: Path, source: str, problems: list[Problem]) -> Any:
    # ruamel's tag may be a Tag object; its text is what the YAML standard calls it.
    tag = str(node.tag).removeprefix(_CORE)
    match tag:
        case "null":
            return None
        case "bool":
            return str(node.value).lower() == "true"
        case "int" | "float":
            return _number(str(node.value), tag)
        case "str" | "timestamp":
            return str(node.value)
    where = f"{source}:{node.start_mark.line + 1} {'.'.join(path)}".rstrip()
    problems.append(Problem(where, f"the YAML tag '{node.tag}'", "plain text, numbers, lists and mappings"))
    return None


def _number(text: str, tag: str) -> int | float | str:
    plain = text.replace("_", "").lower()
    try:
        if tag == "float":
            return float(re.sub(r"\.(inf|nan)$", r"\1", plain))
        return int(plain, 0) if re.match(r"[-+]?0[xo]", plain) else int(plain)
    except ValueError:
        return text


def quote(value: Any, most: int = 60) -> str:
    """A value as it stands in a message: quoted text, or a short form of anything else."""
    if value is None:
        return "nothing"
    match value:
        case dict():
            return f"a mapping with {', '.join(map(str, list(value)[:4])) or 'no keys'}"
        case list() | tuple():
            return f"a list of {len(value)}"
        case bool():
            return str(value).lower()
        case str():
            return f"'{value if len(value) <= most else value[: most - 1] + '…'}'"
        case _:
            return str(value)[:most]
