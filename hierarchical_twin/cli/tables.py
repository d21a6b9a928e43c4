"""Commands that print what a fit says: estimates, population, shrinkage, diagnostics."""

from __future__ import annotations

from typing import Annotated

import typer

from hierarchical_twin.cli.app import FitArgument, KindOption, OutOption, ProbOption, app
from hierarchical_twin.cli.console import finish, show
from hierarchical_twin.cli.files import open_saved


@app.command()
def intervals(
    path: FitArgument,
    parameter: Annotated[list[str] | None, typer.Option(help="Only this parameter; may be repeated.")] = None,
    prob: ProbOption = 0.9,
    kind: KindOption = "equal-tailed",
    out: OutOption = None,
) -> None:
    """Each patient's estimates with credible intervals.

    Examples: `hierarchical-twin intervals growth_fit`,
    `hierarchical-twin intervals growth_fit --parameter r --prob 0.5 --kind hdi --out r.csv`
    """
    show(open_saved(path).intervals(parameter or None, prob=prob, kind=kind), out)


@app.command()
def population(
    path: FitArgument, prob: ProbOption = 0.9, kind: KindOption = "equal-tailed", out: OutOption = None
) -> None:
    """Typical values, covariate effects, spread between patients, residual error.

    Example: `hierarchical-twin population growth_fit`
    """
    show(open_saved(path).population(prob=prob, kind=kind), out)


@app.command()
def shrinkage(
    path: FitArgument, prob: ProbOption = 0.9, kind: KindOption = "equal-tailed", out: OutOption = None
) -> None:
    """How far patients are pulled to the population, in both standard definitions.

    Example: `hierarchical-twin shrinkage growth_fit`
    """
    show(open_saved(path).shrinkage(prob=prob, kind=kind), out)


@app.command()
def diagnostics(path: FitArgument) -> None:
    """Whether to believe a fit: R-hat, effective sample sizes, divergences, and a verdict.

    Example: `hierarchical-twin diagnostics growth_fit`
    """
    finish(open_saved(path))
