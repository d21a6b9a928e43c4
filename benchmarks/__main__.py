"""The benchmark's command line.

``python -m benchmarks`` runs every part and writes the page; its parts are ``cells``, ``whole``
(from shell command to saved fit), ``scaling``, ``steps`` and ``page``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.cells import ENGINES, Cell, work
from benchmarks.machine import write_machine
from benchmarks.problems import PROBLEMS

PARTS = ("all", "cells", "whole", "scaling", "steps", "page")
OUT = Path("benchmarks") / "results"


def main() -> None:
    """Parse, and hand over."""
    parser = _parser()
    given = parser.parse_args()
    out = given.out.resolve()
    if given.part == "cell":
        work(Cell(given.problem, given.patients[0], given.engine, given.repeat), out)
        return
    if given.part == "table":
        from benchmarks.cells import table_path
        from benchmarks.cohorts import write_table

        write_table(given.problem, given.patients[0], table_path(out, given.problem, given.patients[0]))
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / ".gitignore").write_text("*\n")
    _run_parts(given, out)


def _names(word: str, name: str) -> bool:
    """Whether a word names an engine: in whole, or by its beginning where no engine has that very name."""
    return word == name if word in ENGINES else name.startswith(word)


def _run_parts(given: argparse.Namespace, out: Path) -> None:
    from benchmarks import plan

    parts = PARTS[1:] if given.part == "all" else (given.part,)
    if parts != ("page",):
        write_machine(out)
    if "cells" in parts:
        engines = [name for name in ENGINES if any(_names(word, name) for word in given.engines)]
        plan.run_cells(
            plan.Request(
                out,
                problems=given.models,
                patients=given.patients,
                engines=engines,
                repeats=given.repeats,
                limit_seconds=given.limit_seconds,
                is_everything=given.everything,
            )
        )
    if "whole" in parts:
        from benchmarks.whole import run_whole

        run_whole(out, repeats=given.repeats or 3, limit_seconds=given.limit_seconds)
    if "scaling" in parts:
        plan.run_scaling(out, limit_seconds=4 * given.limit_seconds)
    if "steps" in parts:
        from benchmarks.step_cost import run_steps

        run_steps(out)
    if "page" in parts:
        from benchmarks.page import write_page

        print(f"wrote {write_page(out, given.docs)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="?", default="all", choices=(*PARTS, "cell", "table"))
    parser.add_argument("--models", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--patients", nargs="+", type=int, default=[20, 200, 2000])
    parser.add_argument(
        "--engines", nargs="+", default=[""], help="names such as ours, or their beginnings such as stan"
    )
    parser.add_argument("--repeats", type=int, help="default: 3 up to 200 patients, 1 beyond")
    parser.add_argument("--limit-seconds", type=float, default=240.0, help="of one cell")
    parser.add_argument(
        "--everything", action="store_true", help="also what the plan would leave out as slow"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="where results are kept")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the page goes")
    parser.add_argument("--problem", choices=PROBLEMS, help=argparse.SUPPRESS)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=int, default=1, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
