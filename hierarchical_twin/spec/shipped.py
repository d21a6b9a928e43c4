"""The specs that ship with the package, and the commented one a new spec starts from."""

from __future__ import annotations

import os
from pathlib import Path

from hierarchical_twin.errors import Problem, SpecError, nearest

_PACKAGE = Path(__file__).parent.parent
STARTER = Path(__file__).with_name("starter.yaml")
"""A commented spec to copy and change."""


def shipped_specs() -> dict[str, Path]:
    """Name of each shipped spec to its file, in alphabetical order.

    An installed package carries ``model_specs`` inside itself; a checkout has it at the top level.
    """
    inside = _PACKAGE / "model_specs"
    folder = inside if inside.is_dir() else _PACKAGE.parent / "model_specs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def locate_spec(word: str) -> Path:
    """The file a person means: a path, or the name of a shipped spec.

    Raises
    ------
    SpecError
        A bare word that is neither.
    """
    shipped = shipped_specs()
    # A folder of that name (case_studies/sleep) is not what is meant.
    if word in shipped and not os.path.isfile(word):
        return shipped[word]
    if os.path.basename(word) == word and "." not in word and not os.path.exists(word):
        expected = f"a spec file, or one of {', '.join(shipped)}"
        raise SpecError(Problem(word, "no such file or shipped model", expected, nearest(word, shipped)))
    return Path(word)
