"""The command that writes the report page of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hierarchical_twin.cli.app import EXIT_NOT_TRUSTWORTHY, FitArgument, ProbOption, app
from hierarchical_twin.cli.console import say
from hierarchical_twin.cli.files import open_saved

_NUMBERS = "numbers"


@app.command()
def report(
    path: FitArgument,
    out: Annotated[
        Path | None, typer.Option(help="The page to write; report.html beside the fit by default.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page; the spec's by default.")] = None,
    question: Annotated[
        str | None, typer.Option(help="The question this fit answers, in the reader's words.")
    ] = None,
    prob: ProbOption = 0.9,
    pseudonyms: Annotated[
        str | None,
        typer.Option(
            help="Hide patients' names: 'numbers', or a CSV file with columns patient and pseudonym."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that is there.")] = False,
) -> None:
    """Write one HTML page that says what was fitted, whether to believe it, and what of each patient.

    Examples: `hierarchical-twin report growth_fit`,
    `hierarchical-twin report growth_fit --out mice.html --pseudonyms numbers --question "How fast do they grow?"`
    """
    fit = open_saved(path)
    from hierarchical_twin.report.page import write_report

    target = out or (
        path / "report.html" if path.is_dir() and path.suffix != ".zarr" else path.with_name("report.html")
    )
    write_report(
        fit,
        target,
        title=title,
        question=question,
        prob=prob,
        pseudonyms=True if pseudonyms == _NUMBERS else pseudonyms,
        overwrite=overwrite,
        announce=say,
    )
    if not fit.diagnostics().is_trustworthy:
        say("these draws are not to be trusted yet: the page begins with what is wrong and what to try")
        raise typer.Exit(EXIT_NOT_TRUSTWORTHY)
