"""YAML to Spec: every problem of a file, with its line, at once.

Reading goes text -> plain values (`yaml_text`) -> frozen values (`schema`) -> checks (`check`).
Where the second stage finds problems, the third still runs on the parts that are sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from hierarchical_twin.errors import Problem, SpecError, nearest
from hierarchical_twin.spec.check import spec_findings
from hierarchical_twin.spec.findings import Finding, Path, problems_of
from hierarchical_twin.spec.messages import faults_of
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.yaml_text import load_yaml

LARGEST_FILE = 1_000_000
MOST_PROBLEMS = 40
# Keys whose own fault leaves the rest of their item (its unit, its formula) worth checking.
_ALONE = ("typical", "coefficients", "sigma", "sigma_proportional", "concentration")
# What stands in for a required key that is absent or faulty, so that the others are still checked.
_STAND_INS: Mapping[str, Any] = {
    "name": "unnamed",
    "title": "untitled",
    "patient": {"column": "patient"},
    "parameters": {},
    "observations": {},
}
_ESSENTIAL = ("spec", "name", "mechanism", "parameters", "observations")


def read_spec(path: str | FilePath) -> Spec:
    """Read a spec from a YAML file and check all of it.

    Parameters
    ----------
    path : str or Path
        A YAML file in the language of ``docs/spec.md``.

    Returns
    -------
    Spec

    Raises
    ------
    SpecError
        With every problem of the file: where, what was found, what was expected, a hint.
    """
    return parse_spec(_text_of(FilePath(path)), str(path))


def parse_spec(text: str, source: str = "<spec>") -> Spec:
    """Read a spec from YAML text and check all of it.

    Parameters
    ----------
    text : str
        The YAML document.
    source : str
        What to call it in messages.

    Returns
    -------
    Spec

    Raises
    ------
    SpecError
        With every problem of the text.
    """
    values, lines = load_yaml(text, source)
    if not any(key in values for key in _ESSENTIAL):
        got = f"none of the keys {', '.join(_ESSENTIAL)}"
        raise SpecError(Problem(f"{source}:{lines[()]}", got, "a spec, beginning with 'spec: 1'"))
    spec, findings = _validate(values)
    if "spec" not in values:
        findings.append(
            Finding(("spec",), "no 'spec'", "the version of the language", "begin with 'spec: 1'")
        )
    if findings or spec is None:
        raise SpecError(_shortened(problems_of(findings, source, lines), source))
    return spec


def _validate(values: dict[str, Any]) -> tuple[Spec | None, list[Finding]]:
    """A Spec, or None with what is wrong; semantic checks run on what is sound."""
    try:
        spec = Spec.model_validate(values)
        return spec, spec_findings(spec)
    except ValidationError as error:
        faults = faults_of(error, values)
    sound, tainted = _sound_part(values, [finding.path for finding in faults])
    later = [] if sound is None else spec_findings(sound)
    return None, [*faults, *(finding for finding in later if not _follows(finding, tainted))]


def _sound_part(values: dict[str, Any], faulty: list[Path]) -> tuple[Spec | None, set[Path]]:
    """A Spec without the faulty keys, and the items they stood in; None if too little is left."""
    rest, tainted = deepcopy(values), set()
    for depth in (None, 2, 1):
        for path in faulty:
            _drop(rest, path[:depth])
            alone = depth is None and len(path) == 3 and path[-1] in _ALONE
            tainted.add(path if alone else path[: depth or 2])
        if any(path[:1] == ("mechanism",) for path in tainted):
            return None, tainted
        try:
            return Spec.model_validate({**_STAND_INS, **rest}), tainted
        except ValidationError as error:
            faulty = [finding.path for finding in faults_of(error, {**_STAND_INS, **rest})]
    return None, tainted


def _drop(values: Any, path: Path) -> None:
    for key in path[:-1]:
        if not isinstance(values, dict) or key not in values:
            return
        values = values[key]
    if isinstance(values, dict) and path:
        values.pop(path[-1], None)


def _follows(finding: Finding, tainted: set[Path]) -> bool:
    """Whether a finding may only be the shadow of a fault already reported."""
    sections = {path[0] for path in tainted}
    if sections & set(finding.depends):
        return True
    return any(
        finding.path[: len(path)] == path or path[: len(finding.path)] == finding.path for path in tainted
    )


def _shortened(problems: list[Problem], source: str) -> list[Problem]:
    if len(problems) <= MOST_PROBLEMS:
        return problems
    more = len(problems) - MOST_PROBLEMS
    return [
        *problems[:MOST_PROBLEMS],
        Problem(source, f"{more} more problems", "a spec in the documented language"),
    ]


def _text_of(path: FilePath) -> str:
    try:
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise SpecError(Problem(str(path), "a file of more than 1 MB", "a spec, which is a page of YAML"))
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError(Problem(str(path), "no such file", "a spec in YAML", _neighbour(path))) from None
    except IsADirectoryError:
        raise SpecError(
            Problem(str(path), "a folder", "a spec in YAML", _neighbour(path / "x.yaml"))
        ) from None
    except UnicodeDecodeError:
        raise SpecError(Problem(str(path), "a file that is not text", "a YAML file in UTF-8")) from None
    except (OSError, ValueError) as error:
        raise SpecError(
            Problem(str(path), f"a file that cannot be read ({error})", "a spec in YAML")
        ) from None
    return text


def _neighbour(path: FilePath) -> str:
    folder = path.parent
    names: Mapping[str, FilePath] = {}
    if folder.is_dir():
        names = {found.name: found for found in folder.glob("*.y*ml")}
    return nearest(path.name, names)
