"""The command that compares fits on what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hierarchical_twin.cli.app import OutOption, app
from hierarchical_twin.cli.console import put, say, show
from hierarchical_twin.cli.files import open_saved
from hierarchical_twin.errors import DataError, Problem

if TYPE_CHECKING:
    from hierarchical_twin.inference.fit import Fit


@app.command()
def compare(
    fits: Annotated[
        list[str], typer.Argument(metavar="NAME=FIT...", help="Names, and the saved fits or their folders.")
    ],
    by: Annotated[
        Literal["patient", "observation"], typer.Option(help="What is left out at a time.")
    ] = "patient",
    folds: Annotated[
        int | None, typer.Option(help="Refit every model so many times, each without a part of the patients.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the folds and the refits.")] = 0,
    draws: Annotated[int, typer.Option(help="Draws of the population to score with, at most.")] = 2000,
    refit: Annotated[
        bool, typer.Option("--refit/--no-refit", help="Refit without each patient whose k-hat is too high.")
    ] = True,
    out: OutOption = None,
    patients: Annotated[
        Path | None, typer.Option(help="Write each patient's elpd here (.csv, .parquet, .json).")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the comparison here (.svg, .png).")] = None,
) -> None:
    """Compare fits to the same table by how well they predict patients that were left out.

    Example: `hierarchical-twin compare slopes=slopes_fit common=common_slope_fit`
    """
    saved = _named_fits(fits)
    from hierarchical_twin.prediction.comparison import compare as compare_fits

    found = compare_fits(saved, by=by, folds=folds, seed=seed, refit=refit, draws=draws, announce=say)
    for frame, path in ((found.table(), out), (found.patients, patients)):
        if path is not None:
            show(frame, path)
    if out is None:
        put(str(found))
    if figure is not None:
        from hierarchical_twin.report.comparison import comparison_figure
        from hierarchical_twin.report.figures import save_figure

        put(f"wrote {save_figure(comparison_figure(found), figure)}")


def _named_fits(words: list[str]) -> dict[str, Fit]:
    """The fits by name; a path without a name is called by its folder or file."""
    named: dict[str, Path] = {}
    problems = []
    for word in words:
        name, equals, place = word.partition("=")
        path = Path(place if equals else word)
        name = name if equals else path.stem
        if not name or not str(place if equals else word):
            problems.append(Problem("compare", f"'{word}'", "NAME=FIT, such as slopes=slopes_fit"))
        elif name in named:
            hint = "give each a name of its own: NAME=FIT"
            problems.append(Problem("compare", f"two fits named '{name}'", "one fit for each name", hint))
        named[name] = path
    if problems:
        raise DataError(problems)
    return {name: open_saved(path) for name, path in named.items()}
