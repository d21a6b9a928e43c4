"""The command line's one Typer application, and the arguments and options that commands share.

A module of commands decorates them with `app.command()`; the package's own file imports the modules.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

EXIT_BAD_INPUT = 2
EXIT_NOT_TRUSTWORTHY = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="From one YAML file and one table to shrunken per-patient estimates with credible intervals.",
)

SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="A spec file, or the name of a shipped model.")
]
FitArgument = Annotated[Path, typer.Argument(metavar="FIT", help="A saved fit, or the folder `fit` wrote.")]
ProbOption = Annotated[float, typer.Option(help="Probability inside each interval.")]
KindOption = Annotated[Literal["equal-tailed", "hdi"], typer.Option(help="Kind of interval.")]
OutOption = Annotated[Path | None, typer.Option(help="Write the table here (.csv, .parquet, .json) instead.")]
