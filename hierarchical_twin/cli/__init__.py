"""The command line: one command per verb, no logic.

Exit codes: 0 done; 2 bad input; 3 done, but the draws are not to be trusted; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import typer

# The order of these lines is the order of the commands in the help.
# isort: off
from hierarchical_twin.cli import specs as specs
from hierarchical_twin.cli import fit as fit
from hierarchical_twin.cli import tables as tables
from hierarchical_twin.cli import predict as predict
from hierarchical_twin.cli import compare as compare
from hierarchical_twin.cli import report as report
from hierarchical_twin.cli import twin as twin

# isort: on
from hierarchical_twin.cli.app import EXIT_BAD_INPUT, EXIT_INTERRUPTED, app
from hierarchical_twin.cli.console import say
from hierarchical_twin.errors import Problem, TwinError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; every failure is one message on standard error and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Greek letters on a terminal that has none: a question mark, not a failure.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except TwinError as error:
        for problem in error.problems:
            say(f"error: {problem}")
        sys.exit(EXIT_BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:
        # Typer's usage errors: their class has moved between its versions, their methods have not.
        if hasattr(error, "format_message"):
            say(f"error: {_usage_problem(error)}")
            sys.exit(EXIT_BAD_INPUT)
        if os.environ.get("HIERARCHICAL_TWIN_DEBUG"):
            raise
        say(f"error: {_bug_problem(error)}")
        sys.exit(1)
    if code == EXIT_INTERRUPTED:
        say("interrupted: stopped before it was done")
    sys.exit(code)


def _usage_problem(error: Any) -> Problem:
    """A mistake in the words of the command line, in the project's one shape."""
    said = error.format_message().strip().rstrip(".").removeprefix("Got ").replace("Value error, ", "")
    got = f"{said[:1].lower()}{said[1:]}"
    context = getattr(error, "ctx", None)
    if context is None:
        return Problem("hierarchical-twin", got, "a complete command", "try 'hierarchical-twin --help'")
    usage = " ".join(context.get_usage().removeprefix("Usage: ").split())
    return Problem(context.command_path, got, f"'{usage}'", f"try '{context.command_path} --help'")


def _bug_problem(error: Exception) -> Problem:
    got = f"{type(error).__name__}: {error}"
    hint = "try again with HIERARCHICAL_TWIN_DEBUG=1 for the traceback to report"
    return Problem("hierarchical-twin", got, "no such thing, this is a bug", hint)
