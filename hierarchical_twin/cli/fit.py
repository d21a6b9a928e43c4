"""The command that samples a posterior."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from hierarchical_twin.cli.app import SpecArgument, app
from hierarchical_twin.cli.console import finish, print_table, say
from hierarchical_twin.cli.files import folder_for_run, open_saved


@app.command()
def fit(
    spec: SpecArgument,
    data: Annotated[str, typer.Argument(metavar="DATA", help="A CSV or Parquet table.")],
    out: Annotated[Path, typer.Option(help="Folder for the fit, its tables and pictures.")],
    backend: Annotated[str, typer.Option(help="numpyro or pymc: the same posterior.")] = "numpyro",
    chains: Annotated[int, typer.Option(help="Number of chains.")] = 4,
    draws: Annotated[int, typer.Option(help="Draws of each chain.")] = 1000,
    warmup: Annotated[
        int | None, typer.Option(help="Warm-up iterations of each chain: 200 to 500, as the method needs.")
    ] = None,
    thin: Annotated[int, typer.Option(help="Keep every n-th draw: 5 keeps 200 of 1,000.")] = 1,
    patients: Annotated[
        str, typer.Option(help="Keep draws of each patient, or a summary that needs far less memory.")
    ] = "draws",
    seed: Annotated[int, typer.Option(help="The same seed gives the same draws.")] = 0,
    method: Annotated[str, typer.Option(help="auto, joint, blocked or marginal.")] = "auto",
    target_accept: Annotated[float | None, typer.Option(help="Higher is more careful and slower.")] = None,
    device: Annotated[str, typer.Option(help="cpu, gpu, or auto.")] = "auto",
    start_from: Annotated[
        Path | None, typer.Option(help="A fit of the same spec: start from what it learned.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that was stopped here.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a fit or an unfinished run that is already there.")
    ] = False,
) -> None:
    """Sample the posterior; save the fit, interval tables and pictures; say whether to believe it.

    A run that was stopped, even by a crash, goes on with the same words and `--resume`.

    Example: `hierarchical-twin fit tumor_growth mice.csv --out growth_fit --seed 1`
    """
    from hierarchical_twin.cohort import read_cohort
    from hierarchical_twin.inference.checkpoint import (
        FOLDER,
        check_output,
        discard_all,
        hold_output,
        set_aside,
    )
    from hierarchical_twin.spec import read_spec
    from hierarchical_twin.spec.shipped import locate_spec

    read = read_spec(locate_spec(spec))
    cohort = read_cohort(data, read)
    target, kept = out / "fit.nc", out / FOLDER
    check_output(target, kept, resume=resume, overwrite=overwrite)
    old = None if start_from is None else open_saved(start_from)
    say(str(cohort.report))
    from hierarchical_twin.graph.build import build
    from hierarchical_twin.inference.sample import sample
    from hierarchical_twin.report.folder import fit_tables, write_tables

    with folder_for_run(out, kept), hold_output(out):
        with set_aside(kept) if overwrite else nullcontext():
            found = sample(
                build(read, cohort),
                backend=backend,
                chains=chains,
                draws=draws,
                warmup=warmup,
                thin=thin,
                patients=patients,
                seed=seed,
                method=method,
                target_accept=target_accept,
                device=device,
                checkpoint=kept,
                resume=resume,
                start_from=old,
                announce=say,
            )
        found.save(target)
        tables = fit_tables(found)
        print_table(tables["population"], without=("prob", "kind", "cv_lower", "cv_upper"))
        print_table(tables["intervals"], without=("prob", "kind"), most=40)
        say("saved; drawing the pictures")
        from hierarchical_twin.report.pictures import write_pictures

        written = [target, *write_tables(found, tables, out), *write_pictures(found, out, say)]
        if not found.attributes["is_interrupted"]:
            # Last: until then a run that is killed can go on.
            discard_all(kept)
    say(f"wrote {', '.join(sorted(path.name for path in written))} to {out}")
    finish(found)
