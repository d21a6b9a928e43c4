"""The command line: one command per verb, no logic.

Exit codes: 0 done; 2 bad input; 3 done, but the draws are not to be trusted; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from hierarchical_twin.errors import DataError, Problem, SamplingError, TwinError

if TYPE_CHECKING:
    from pandas import DataFrame

    from hierarchical_twin.inference.fit import Fit

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
    console.print(shipped)
    console.print(known)


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
    _folder_for(path.parent)
    lines = (STARTER if like is None else shipped[like]).read_text(encoding="utf-8").splitlines(keepends=True)
    # A shipped spec names its schema by a path that does not lead there from elsewhere.
    path.write_text("".join(line for line in lines if "$schema=" not in line), encoding="utf-8")
    typer.echo(f"wrote {path}; next: hierarchical-twin check {path} YOUR_TABLE.csv")


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
    typer.echo(describe(read))
    if data is None:
        return
    from hierarchical_twin.cohort import read_cohort

    cohort = read_cohort(data, read)
    typer.echo(f"\n{cohort.report}")
    from hierarchical_twin.graph.build import build
    from hierarchical_twin.inference.prior_predictive import prior_sanity

    typer.echo("\nPrior predictive")
    for line in prior_sanity(build(read, cohort)):
        typer.echo(f"  {line}")


@app.command()
def fit(
    spec: SpecArgument,
    data: Annotated[str, typer.Argument(metavar="DATA", help="A CSV or Parquet table.")],
    out: Annotated[Path, typer.Option(help="Folder for the fit, its tables and pictures.")],
    backend: Annotated[str, typer.Option(help="numpyro or pymc: the same posterior.")] = "numpyro",
    chains: Annotated[int, typer.Option(help="Number of chains.")] = 4,
    draws: Annotated[int, typer.Option(help="Draws of each chain.")] = 1000,
    warmup: Annotated[
        int | None, typer.Option(help="Warm-up iterations of each chain: 500, or 100 with --start-from.")
    ] = None,
    thin: Annotated[int, typer.Option(help="Keep every so-manieth draw.")] = 1,
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
    from hierarchical_twin.inference.checkpoint import FOLDER, check_output, discard_checkpoint, set_aside
    from hierarchical_twin.spec import read_spec
    from hierarchical_twin.spec.shipped import locate_spec

    read = read_spec(locate_spec(spec))
    cohort = read_cohort(data, read)
    target, kept = out / "fit.nc", out / FOLDER
    check_output(target, kept, resume=resume, overwrite=overwrite)
    old = None if start_from is None else _open(start_from)
    _folder_for(out)
    _say(str(cohort.report))
    from hierarchical_twin.graph.build import build
    from hierarchical_twin.inference.sample import sample
    from hierarchical_twin.report.folder import write_folder

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
            announce=_say,
        )
    found.save(target)
    written = write_folder(found, out, _say)
    if not found.attributes["is_interrupted"]:
        # Last: until then a run that is killed can go on.
        discard_checkpoint(kept)
    _print_table(found.population(), without=("prob", "kind", "cv_lower", "cv_upper"))
    _print_table(found.intervals(), without=("prob", "kind"), most=40)
    _say(f"wrote {', '.join(sorted(path.name for path in (target, *written)))} to {out}")
    _finish(found)


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
    _show(_open(path).intervals(parameter or None, prob=prob, kind=kind), out)


@app.command()
def population(
    path: FitArgument, prob: ProbOption = 0.9, kind: KindOption = "equal-tailed", out: OutOption = None
) -> None:
    """Typical values, covariate effects, spread between patients, residual error.

    Example: `hierarchical-twin population growth_fit`
    """
    _show(_open(path).population(prob=prob, kind=kind), out)


@app.command()
def shrinkage(
    path: FitArgument, prob: ProbOption = 0.9, kind: KindOption = "equal-tailed", out: OutOption = None
) -> None:
    """How far patients are pulled to the population, in both standard definitions.

    Example: `hierarchical-twin shrinkage growth_fit`
    """
    _show(_open(path).shrinkage(prob=prob, kind=kind), out)


@app.command()
def diagnostics(path: FitArgument) -> None:
    """Whether to believe a fit: R-hat, effective sample sizes, divergences, and a verdict.

    Example: `hierarchical-twin diagnostics growth_fit`
    """
    _finish(_open(path))


def _open(path: Path) -> Fit:
    from hierarchical_twin.inference.fit import open_fit

    if not path.suffix and not os.path.exists(path):
        expected = "the folder `fit` wrote, or a saved fit (.nc, .zarr)"
        raise SamplingError(Problem(str(path), "no such file or folder", expected))
    return open_fit(path / "fit.nc" if path.suffix != ".zarr" and os.path.isdir(path) else path)


def _show(frame: DataFrame, out: Path | None) -> None:
    if out is None:
        _print_table(frame, without=())
        return
    from hierarchical_twin.analysis.files import write_table

    typer.echo(f"wrote {write_table(frame, out)}")


def _print_table(frame: DataFrame, *, without: tuple[str, ...], most: int | None = None) -> None:
    shown = frame.drop(columns=[column for column in without if column in frame])
    cut = shown if most is None else shown.head(most)
    typer.echo(cut.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep=""))
    if {"prob", "kind"} <= set(frame.columns) and len(frame):
        from hierarchical_twin.analysis.intervals import interval_words

        typer.echo(f"limits: {interval_words(frame['prob'].iloc[0], frame['kind'].iloc[0])}")
    if len(cut) < len(shown):
        typer.echo(f"... and {len(shown) - len(cut)} more rows: hierarchical-twin intervals FIT")
    typer.echo("")


def _finish(fit: Fit) -> None:
    verdict = fit.diagnostics()
    typer.echo(str(verdict))
    if fit.attributes.get("is_interrupted"):
        kept = f"{verdict.chains} x {verdict.draws:,} draws"
        _say(f"INTERRUPTED: this run was stopped before its end; it holds the {kept} made until then")
    if not verdict.is_trustworthy:
        raise typer.Exit(EXIT_NOT_TRUSTWORTHY)


def _folder_for(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Asked now: after an hour of sampling is too late to find out.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = "a file" if os.path.isfile(folder) else str(error.strerror)
        raise DataError(Problem(str(folder), reason, "a folder that can be written to")) from error


def _say(line: str) -> None:
    typer.echo(line, err=True)


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
            _say(f"error: {problem}")
        sys.exit(EXIT_BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:
        # Typer's usage errors: their class has moved between its versions, their methods have not.
        if hasattr(error, "format_message"):
            _say(f"error: {_usage_problem(error)}")
            sys.exit(EXIT_BAD_INPUT)
        if os.environ.get("HIERARCHICAL_TWIN_DEBUG"):
            raise
        _say(f"error: {_bug_problem(error)}")
        sys.exit(1)
    if code == EXIT_INTERRUPTED:
        _say("interrupted: stopped before it was done")
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
