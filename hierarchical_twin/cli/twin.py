"""Commands about twins: patients whose posterior goes on learning, kept in a folder.

Whatever a command tells of a twin that is in doubt, it says the doubts on standard error and ends with code 3.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hierarchical_twin.cli.app import (
    EXIT_NOT_TRUSTWORTHY,
    FitArgument,
    KindOption,
    OutOption,
    ProbOption,
    app,
)
from hierarchical_twin.cli.console import print_table, put, say, show
from hierarchical_twin.cli.files import open_saved
from hierarchical_twin.cli.words import assignments, numbers, scenario_of, whole_numbers
from hierarchical_twin.errors import DataError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from hierarchical_twin.twin.twin import Twin

_PAGES = (".html", ".htm")

StoreArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder `twin start` wrote.")]
RecordsArgument = Annotated[Path, typer.Argument(metavar="RECORDS", help="A CSV or Parquet table.")]
PatientOption = Annotated[str, typer.Option(help="Whose twin.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same numbers.")]
ParticlesOption = Annotated[int, typer.Option(help="Particles of each twin.")]
TimesOption = Annotated[
    str | None, typer.Option(help="Times (or values of the coordinate), such as 0,30,60.")
]
PlanOption = Annotated[Path | None, typer.Option(help="A table of doses and inputs to come.")]

group = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    help="Twins: patients whose posterior goes on learning, record by record.",
)
app.add_typer(group, name="twin")


@group.command()
def start(
    path: FitArgument,
    store: Annotated[Path, typer.Option(help="The folder of the twins; made if need be.")],
    patient: Annotated[
        list[str] | None, typer.Option(help="A patient of the fit, or a new one's label; may be repeated.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="The patient is not one of the fit's.")] = False,
    covariate: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="What is known of a new patient; may be repeated."),
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="A table of new patients: a row for each, with what is known of them.")
    ] = None,
    particles: ParticlesOption = 2000,
    seed: SeedOption = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where there is a twin already; it is lost.")
    ] = False,
) -> None:
    """Start twins: of patients of a fit (all of them, unless some are named), or of new ones.

    Examples: `hierarchical-twin twin start growth_fit --store twins --patient m1`,
    `hierarchical-twin twin start growth_fit --store twins --new --patient m99 --covariate grade=3`
    """
    known = assignments(covariate, "--covariate") if new or covariate else None
    labels = _labels(patient or [], known, rows)
    fit = open_saved(path)
    from hierarchical_twin.cohort.table import open_table
    from hierarchical_twin.twin.start import start_twin, start_twins
    from hierarchical_twin.twin.store import TwinStore

    if known is not None:
        label = labels[0] if labels else None
        twins = [start_twin(fit, patient=label, covariates=known, particles=particles, seed=seed)]
    else:
        asked = None if rows is None else open_table(rows).frame
        twins = start_twins(fit, patients=labels or None, rows=asked, particles=particles, seed=seed)

    TwinStore.create(store, fit).save_many(twins, overwrite=overwrite)
    shown = ", ".join(twin.patient for twin in twins[:10]) + (", ..." if len(twins) > 10 else "")
    put(f"started {len(twins)} {'twin' if len(twins) == 1 else 'twins'} in {store}: {shown}")


@group.command()
def update(
    store: StoreArgument,
    records: RecordsArgument,
    prob: ProbOption = 0.9,
    out: OutOption = None,
) -> None:
    """Update the twins of a table's patients with its rows; print what does not fit, and the new intervals.

    Rows that a twin knows say nothing new, so the same table, grown, may be given again. A column `record`
    identifies rows, and corrects those given before. Nothing is saved unless every row can be.

    Example: `hierarchical-twin twin update twins new_scans.csv`
    """
    from hierarchical_twin.analysis.intervals import check_interval

    check_interval(prob, "equal-tailed")
    from hierarchical_twin.analysis.files import check_table_name
    from hierarchical_twin.cohort.table import open_table
    from hierarchical_twin.twin.store import TwinStore

    if out is not None:
        check_table_name(out)  # after the update is too late to refuse
    changed = TwinStore(store).update(open_table(records).frame)
    for twin in changed:
        step = twin.steps[-1]
        doubts = [str(doubt) for doubt in step.doubts]  # said at the end, with those of earlier updates
        for warning in (one for one in step.warnings if one not in doubts):
            say(f"{twin.patient}: {warning}")
    if not changed:
        say("nothing new: the twins know all of these records")
        return
    import pandas as pd

    show(pd.concat([twin.intervals(prob) for twin in changed], ignore_index=True), out)
    _finish(changed)


@group.command(name="show")
def show_twin(
    store: StoreArgument,
    patient: Annotated[str | None, typer.Option(help="Whose twin; without it, a table of all.")] = None,
    prob: ProbOption = 0.9,
    out: Annotated[
        Path | None,
        typer.Option(help="Write a page of the patient (.html), or the table (.csv, .parquet, .json)."),
    ] = None,
    until: Annotated[float | None, typer.Option(help="Time at which the page's forecast ends.")] = None,
    plan: PlanOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that is there.")] = False,
) -> None:
    """Show what a twin knows and how it came to know it; or every twin's parameters in one table.

    Examples: `hierarchical-twin twin show twins --patient m1 --out m1.html`,
    `hierarchical-twin twin show twins --out twins.parquet`
    """
    is_page = out is not None and out.suffix.lower() in _PAGES
    _refuse_without_page(is_page, patient, {"--until": until, "--plan": plan})
    from hierarchical_twin.twin.store import TwinStore

    opened = TwinStore(store)
    if patient is None:
        _show_all(opened.table(prob), out)
        return
    twin = opened.open(patient)
    if out is not None and is_page:
        from hierarchical_twin.report.twin_page import write_twin_page

        to_come = _planned(plan)
        page = write_twin_page(twin, out, until=until, plan=to_come, prob=prob, overwrite=overwrite)
        put(f"wrote {page}")
    elif out is not None:
        show(twin.intervals(prob), out)
    else:
        print_table(twin.intervals(prob), without=("prob", "kind"))
        print_table(opened.history(patient), without=("warnings", "stages", "acceptance", "repeated"))
    _finish([twin])


@group.command()
def forecast(
    store: StoreArgument,
    patient: PatientOption,
    times: TimesOption = None,
    rows: Annotated[Path | None, typer.Option(help="A table of what to predict, instead of times.")] = None,
    plan: PlanOption = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="COLUMN=VALUE", help="Change a column of the records; may be repeated."
        ),
    ] = None,
    prob: ProbOption = 0.9,
    kind: KindOption = "equal-tailed",
    draws: Annotated[int, typer.Option(help="Draws of the forecast.")] = 1000,
    seed: SeedOption = 0,
    out: OutOption = None,
) -> None:
    """What a twin's patient would show at other times, under the doses and inputs so far or those of a plan.

    Example: `hierarchical-twin twin forecast twins --patient m1 --times 90,180 --plan doses.csv`
    """
    asked, scenario = numbers(times), scenario_of(changes)
    from hierarchical_twin.analysis.intervals import check_interval

    check_interval(prob, kind)
    from hierarchical_twin.twin.forecast import forecast as find
    from hierarchical_twin.twin.store import TwinStore

    twin = TwinStore(store).open(patient)
    found = find(
        twin,
        asked,
        rows=rows,
        plan=_planned(plan),
        scenario=scenario,
        draws=draws,
        seed=seed,
    )
    show(found.table(prob=prob, kind=kind), out)
    _finish([twin])


@group.command()
def score(
    path: FitArgument,
    records: RecordsArgument,
    known: Annotated[
        str, typer.Option(help="After how many records of a patient to forecast the others.")
    ] = "0,1,2,3",
    horizons: Annotated[
        str | None, typer.Option(help="Ends of groups of the time ahead, such as 30,90.")
    ] = None,
    prob: ProbOption = 0.9,
    particles: ParticlesOption = 2000,
    seed: SeedOption = 0,
    out: OutOption = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the scores here (.svg, .png).")] = None,
) -> None:
    """Forecast the later records of new patients from their first ones, and score the forecasts.

    Beside the twin: the population alone, and no pooling.

    Example: `hierarchical-twin twin score growth_fit later_patients.csv --known 0,1,2 --figure scores.svg`
    """
    ks = whole_numbers(known, "--known")
    ends = numbers(horizons, "--horizons")
    fit = open_saved(path)
    from hierarchical_twin.twin.score import score_forecasts

    found = score_forecasts(fit, records, ks=ks, horizons=ends, prob=prob, particles=particles, seed=seed)
    show(found.table(), out)
    if figure is not None:
        from hierarchical_twin.report.figures import save_figure
        from hierarchical_twin.report.scores import scores_figure

        put(f"wrote {save_figure(scores_figure(found), figure)}")


@group.command()
def next_sample(
    store: StoreArgument,
    patient: PatientOption,
    of: Annotated[str, typer.Option(help="What is to be known better: a parameter, or 'OUTCOME at TIME'.")],
    candidates: Annotated[str, typer.Option(help="Times a sample could be taken at, such as 10,20,40.")],
    plan: PlanOption = None,
    prob: ProbOption = 0.9,
    seed: SeedOption = 0,
    out: OutOption = None,
) -> None:
    """How much narrower an interval would be after one more measurement at each of some times.

    Example: `hierarchical-twin twin next-sample twins --patient m1 --of "volume at 180" --candidates 60,90,120`
    """
    times = numbers(candidates, "--candidates") or []
    from hierarchical_twin.twin.next_sample import next_sample as find
    from hierarchical_twin.twin.store import TwinStore

    twin = TwinStore(store).open(patient)
    show(find(twin, of, times, plan=_planned(plan), prob=prob, seed=seed), out)
    _finish([twin])


def _labels(patients: list[str], known: dict[str, str] | None, rows: Path | None) -> list[str]:
    """Who is asked for by name; words that do not go together are refused."""
    if rows is not None and (patients or known is not None):
        got = "--rows beside --patient, --new or --covariate"
        raise DataError(Problem("twin start", got, "one of them", "put the patients into the table"))
    if known is not None and len(patients) > 1:
        got = f"{len(patients)} new patients"
        raise DataError(Problem("twin start --patient", got, "one", "give a table of them to --rows"))
    return patients


def _planned(plan: Path | None) -> DataFrame | None:
    """Doses and inputs to come."""
    from hierarchical_twin.cohort.table import open_table

    return None if plan is None else open_table(plan).frame


def _refuse_without_page(is_page: bool, patient: str | None, given: dict[str, object]) -> None:
    """A page is of one patient, and some options are of a page only."""
    if is_page and patient is None:
        raise DataError(Problem("twin show --out", "a page of all twins", "--patient beside it"))
    words = [name for name, value in given.items() if value is not None]
    if words and not is_page:
        expected, hint = "it with a page only", "--patient LABEL --out PAGE.html writes one"
        raise DataError([Problem(f"twin show {name}", "it without a page", expected, hint) for name in words])


def _show_all(table: DataFrame, out: Path | None) -> None:
    """The table of all twins, which says who is in doubt."""
    show(table, out)
    doubted = [] if table.empty else list(dict.fromkeys(table["patient"][~table["is_trustworthy"]]))
    if doubted:
        say(f"in doubt: {', '.join(doubted[:10])}{', ...' if len(doubted) > 10 else ''}")
        raise typer.Exit(EXIT_NOT_TRUSTWORTHY)


def _finish(twins: Sequence[Twin]) -> None:
    """What speaks against trusting what was shown of these twins is said; code 3 if anything does."""
    for twin in twins:
        for doubt in twin.doubts:
            say(f"{twin.patient}: {doubt}")
    if any(twin.doubts for twin in twins):
        raise typer.Exit(EXIT_NOT_TRUSTWORTHY)
