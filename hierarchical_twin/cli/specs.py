"""Commands about a spec: the models that ship, a file to start from, a check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hierarchical_twin.cli.app import SpecArgument, app
from hierarchical_twin.cli.console import put
from hierarchical_twin.cli.files import folder_for
from hierarchical_twin.errors import Problem


@app.command()
def models() -> None:
    """List the models that ship and the mechanisms a spec may name.

    Example: `hierarchical-twin models`
    """
    from hierarchical_twin.mechanisms import MECHANISMS
    from hierarchical_twin.spec import read_spec
    from hierarchical_twin.spec.shipped import shipped_specs

    # A name is there to be copied: in a narrow terminal the other columns give way.
    shipped = Table(title="Shipped models", title_justify="left")
    shipped.add_column("spec", no_wrap=True)
    shipped.add_column("mechanism", overflow="fold")
    shipped.add_column("title")
    for name, path in shipped_specs().items():
        spec = read_spec(path)
        shipped.add_row(name, spec.mechanism.name, spec.title)
    known = Table(title="Mechanisms", title_justify="left")
    known.add_column("mechanism", no_wrap=True)
    known.add_column("equation")
    known.add_column("parameters")
    for mechanism in MECHANISMS.values():
        known.add_row(mechanism.name, mechanism.equation, ", ".join(mechanism.parameters))
    console = Console()
    with console.capture() as printed:
        console.print(shipped)
        console.print(known)
    put(printed.get().rstrip())


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write.")],
    like: Annotated[str | None, typer.Option(help="Start from this shipped model.")] = None,
) -> None:
    """Write a commented spec to start from.

    Examples: `hierarchical-twin init my_model.yaml`, `hierarchical-twin init mine.yaml --like sleep`
    """
    from hierarchical_twin.errors import SpecError, nearest
    from hierarchical_twin.spec.shipped import STARTER, shipped_specs

    shipped = shipped_specs()
    if like is not None and like not in shipped:
        raise SpecError(
            Problem("--like", f"'{like}'", f"one of {', '.join(shipped)}", nearest(like, shipped))
        )
    if os.path.lexists(path):
        raise SpecError(Problem(str(path), "a file that exists", "a new file", "choose another name"))
    folder_for(path.parent)
    lines = (STARTER if like is None else shipped[like]).read_text(encoding="utf-8").splitlines(keepends=True)
    # A shipped spec names its schema by a path that does not lead there from elsewhere.
    path.write_text("".join(line for line in lines if "$schema=" not in line), encoding="utf-8")
    put(f"wrote {path}; next: hierarchical-twin check {path} YOUR_TABLE.csv")


@app.command()
def check(
    spec: SpecArgument,
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="A CSV or Parquet table.")] = None,
) -> None:
    """Validate a spec, and a table against it; print the model, the data report and prior sanity.

    Examples: `hierarchical-twin check sleep`, `hierarchical-twin check my_model.yaml my_table.csv`
    """
    from hierarchical_twin.spec import describe, read_spec
    from hierarchical_twin.spec.shipped import locate_spec

    read = read_spec(locate_spec(spec))
    put(describe(read))
    if data is None:
        return
    from hierarchical_twin.cohort import read_cohort

    cohort = read_cohort(data, read)
    put(f"\n{cohort.report}")
    from hierarchical_twin.graph.build import build
    from hierarchical_twin.inference.prior_predictive import prior_sanity

    put("\nPrior predictive")
    for line in prior_sanity(build(read, cohort)):
        put(f"  {line}")
