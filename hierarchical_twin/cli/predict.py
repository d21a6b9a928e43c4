"""Commands about measurements that were not made: predictions, what-if, probabilities, doses, priors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hierarchical_twin.cli.app import FitArgument, KindOption, OutOption, ProbOption, SpecArgument, app
from hierarchical_twin.cli.console import put, show
from hierarchical_twin.cli.files import open_saved
from hierarchical_twin.cli.words import numbers, scenario_of
from hierarchical_twin.errors import DataError, Problem

PatientOption = Annotated[list[str] | None, typer.Option(help="Only this patient; may be repeated.")]
DrawsOption = Annotated[int, typer.Option(help="At most so many of the fit's draws.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same numbers.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="COLUMN=VALUE", help="Change a column of the table; may be repeated."),
]


@app.command()
def predict(
    path: FitArgument,
    times: Annotated[
        str | None, typer.Option(help="Times (or values of the coordinate), such as 0,30,60.")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="A table of what to predict, also for new patients.")
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="A table of scenarios: a column 'scenario' and those that are set.")
    ] = None,
    patient: PatientOption = None,
    changes: SetOption = None,
    prob: ProbOption = 0.9,
    kind: KindOption = "equal-tailed",
    draws: DrawsOption = 400,
    seed: SeedOption = 0,
    draws_out: Annotated[
        Path | None, typer.Option(help="Write every draw here (.csv, .parquet, .json).")
    ] = None,
    out: OutOption = None,
) -> None:
    """What patients would show at other times, doses, inputs or covariates, with intervals.

    Without `--times` and `--rows`: at the measured rows, with residuals. With `--scenario`: each scenario,
    and its difference from the rows as they are.

    Examples: `hierarchical-twin predict growth_fit --times 0,90,180`,
    `hierarchical-twin predict growth_fit --rows new_patients.csv --draws-out draws.parquet`
    """
    asked, own, fit = numbers(times), patient or None, open_saved(path)
    if scenario is not None:
        _refuse_together(changes, draws_out, kind)
        from hierarchical_twin.prediction.scenarios import compare_scenarios

        compared = compare_scenarios(
            fit, scenario, times=asked, rows=rows, patients=own, prob=prob, draws=draws, seed=seed
        )
        show(compared, out)
        return
    from hierarchical_twin.analysis.draw_table import draw_table
    from hierarchical_twin.analysis.files import write_table
    from hierarchical_twin.analysis.intervals import check_interval
    from hierarchical_twin.prediction.predict import predict as predict_rows

    check_interval(prob, kind)
    found = predict_rows(
        fit, times=asked, rows=rows, patients=own, scenario=scenario_of(changes), draws=draws, seed=seed
    )
    if draws_out is not None:
        put(f"wrote {write_table(draw_table(found), draws_out)}")
    show(found.table(prob=prob, kind=kind), out)


@app.command()
def probability(
    path: FitArgument,
    statements: Annotated[
        list[str], typer.Argument(metavar="STATEMENT", help="Such as 'volume > 10 cm^3 at 90'.")
    ],
    patient: PatientOption = None,
    changes: SetOption = None,
    draws: Annotated[
        int | None, typer.Option(help="At most so many of the fit's draws; all of them.")
    ] = None,
    seed: SeedOption = 0,
    out: OutOption = None,
) -> None:
    """How likely a statement is of each patient, and of a new patient of the population.

    A statement is `[measured] NAME < NUMBER [unit] [at TIME [unit]]`, with one of <, <=, >, >=.

    Example: `hierarchical-twin probability growth_fit "r < 0.005" "volume > 10 cm^3 at 180"`
    """
    from hierarchical_twin.prediction.statements import probability as find

    found = find(
        open_saved(path),
        statements,
        patients=patient or None,
        scenario=scenario_of(changes),
        draws=draws,
        seed=seed,
    )
    show(found, out)


@app.command()
def dose_for(
    path: FitArgument,
    statement: Annotated[str, typer.Argument(metavar="STATEMENT", help="Such as 'viability <= 0.1'.")],
    by: Annotated[str, typer.Option(help="Column of dose amounts, or of an input.")],
    between: Annotated[tuple[float, float], typer.Option(metavar="LOW HIGH", help="Where to look.")],
    probability: Annotated[float, typer.Option(help="How likely the statement is to be.")] = 0.9,
    patient: PatientOption = None,
    draws: DrawsOption = 400,
    seed: SeedOption = 0,
    out: OutOption = None,
) -> None:
    """The least dose, or value of an input, for which a statement is true with a stated probability.

    Example: `hierarchical-twin dose-for kill_fit "viability <= 0.1" --by conc_uM --between 0.1 1000`
    """
    from hierarchical_twin.prediction.target import dose_for as find

    found = find(
        open_saved(path),
        statement,
        by=by,
        between=between,
        probability=probability,
        patients=patient or None,
        draws=draws,
        seed=seed,
    )
    show(found, out)


@app.command()
def prior_predict(
    spec: SpecArgument,
    data: Annotated[str, typer.Argument(metavar="DATA", help="A table, measured or only planned.")],
    prob: ProbOption = 0.9,
    draws: Annotated[int, typer.Option(help="Draws from the priors.")] = 400,
    seed: SeedOption = 0,
    out: OutOption = None,
) -> None:
    """What the priors alone expect at every row of a table, without a fit.

    Example: `hierarchical-twin prior-predict growth.yaml scans.csv --out expected.csv`
    """
    from hierarchical_twin.prediction.prior import prior_table
    from hierarchical_twin.spec import read_spec
    from hierarchical_twin.spec.shipped import locate_spec

    show(prior_table(read_spec(locate_spec(spec)), data, prob=prob, draws=draws, seed=seed), out)


def _refuse_together(changes: list[str] | None, draws_out: Path | None, kind: str) -> None:
    given = {"--set": changes, "--draws-out": draws_out, "--kind hdi": kind != "equal-tailed"}
    problems = [
        Problem("predict", f"{word} beside --scenario", "one of them", "leave one out")
        for word, value in given.items()
        if value
    ]
    if problems:
        raise DataError(problems)
