"""Where problems of a spec are collected while it is checked, each at its path of keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hierarchical_twin.errors import Problem, nearest

Path = tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One problem at a path; `depends` names the other sections of the spec it follows from."""

    path: Path
    got: str
    expected: str
    hint: str = ""
    depends: tuple[str, ...] = ()


@dataclass
class Findings:
    """A list of findings with a shorthand for adding to it."""

    found: list[Finding] = field(default_factory=list)

    def add(self, path: Path, got: str, expected: str, hint: str = "", depends: Iterable[str] = ()) -> None:
        """Note one problem."""
        self.found.append(Finding(path, got, expected, hint, tuple(depends)))

    def unknown(
        self, path: Path, kind: str, word: str, words: Iterable[str], depends: Iterable[str] = ()
    ) -> None:
        """Note a word that is not one of a closed list."""
        words = list(words)
        expected = f"one of {', '.join(words)}" if words else f"no {kind}"
        self.add(path, f"{kind} '{word}'", expected, nearest(word, words), depends)


def problems_of(findings: Iterable[Finding], source: str, lines: Mapping[Path, int] | None) -> list[Problem]:
    """Findings as problems with file and line, in the order of the file."""
    ordered = sorted(findings, key=lambda finding: line_of(finding.path, lines) or 0)
    problems = [
        Problem(place(source, finding.path, lines), finding.got, finding.expected, finding.hint)
        for finding in ordered
    ]
    return list(dict.fromkeys(problems))


def place(source: str, path: Path, lines: Mapping[Path, int] | None) -> str:
    """``file.yaml:14 parameters.r.typical``; a key that is absent stands on its parent's line."""
    line = line_of(path, lines)
    return f"{source}{f':{line}' if line else ''} {'.'.join(path)}".rstrip()


def line_of(path: Path, lines: Mapping[Path, int] | None) -> int | None:
    """Line of the nearest key of a path that the file holds."""
    while lines and path and path not in lines:
        path = path[:-1]
    return lines.get(path) if lines else None
