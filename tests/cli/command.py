"""The command line run inside this process: fast, with warnings still errors."""

from __future__ import annotations

import io
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from hierarchical_twin.cli import main

SHAPE = re.compile(r"error: .+?: got .+; expected .+")


@dataclass(frozen=True)
class Said:
    """Exit code and what was written."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The error lines."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def run(*words: object) -> Said:
    """Run ``hierarchical-twin`` with these words."""
    out, err = io.StringIO(), io.StringIO()
    arguments = ["hierarchical-twin", *map(str, words)]
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "argv", arguments):
        try:
            main()
        except SystemExit as stop:
            return Said(int(stop.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("main returned without an exit code")


def refused(*words: object) -> list[str]:
    """The error lines of a command that must refuse its input: exit code 2, one shape, no traceback."""
    said = run(*words)
    assert said.code == 2, said
    assert "Traceback" not in said.out + said.err
    assert said.errors
    for line in said.errors:
        assert SHAPE.fullmatch(line), line
        assert len(line) < 800, line
    return said.errors
