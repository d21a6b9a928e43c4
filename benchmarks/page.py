"""The pages: every number and picture of ``docs/benchmarks.md``, and of its twins' page, from a run's JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.page_figures import draw_figures
from benchmarks.page_tables import agreement_table, engine_table, headline_table, left_out_list, ode_lines
from benchmarks.page_twins import twins_text
from benchmarks.page_whole import scaling_table, step_table, whole_table
from benchmarks.problems import PROBLEMS
from benchmarks.results import Group, read_groups

_WRITTEN = "<!-- written by python -m benchmarks page; every number comes from a run's JSON files -->"
_TWINS = "benchmarks-twins.md"
HOW = """\
Every cell (posterior, number of patients, engine, repeat) ran in a process of its own on two cores, in double
precision, 4 chains. Peers: 1,000 warm-up iterations and 1,000 draws a chain (nutpie warms up for its own default,
400) at their default target acceptance; ours at its own defaults. All engines read the same table, simulated from
the shipped spec by `hierarchical_twin.simulate`, and sample the same posterior: priors and error models are the
spec's. ESS is the smallest rank-normalised bulk ESS over *all* parameters, population and patients.

**ESS/s** divides it by warm-up and sampling together, compiling excluded; this is the headline. **ESS/s of sampling**
divides it by the draw phase alone. Where an engine does not time its phases, they are split in proportion to
gradients. Finding our pilot, and what a method prepares before its chains (the marginal method's trial of its
integrals and its polynomial), count as warm-up; drawing the patients' effects after the chains counts as sampling.
Numbers are medians over repeats, with the range where there are several. Compile times are cold: no engine finds a
compiled program in a cache (Stan's is the one compilation of a problem, kept for all its cells). The best peer is the
one with the highest median among those whose R-hat is at most 1.05.

The peers' programs are in `benchmarks/models`, and are meant to be good ones: patient-major arrays in NumPyro (faster
there than a gather), scalar conditionals instead of a multivariate normal, starts at the priors' medians. The
NumPyro programs of prodrug and minimal model call this package's own mechanism functions, that is, they are given
the same closed form; PyMC and Stan have closed forms of their own (textbook exponentials; 4-point quadrature).
"numpyro-jit" is the whole of NumPyro's MCMC under `jax.jit`, two chains at a time in threads, compiled in two pieces
so that the phases can be timed. "numpyro-run" is `MCMC.run`; its second run is timed, and it compiles again in it. Stan
runs natively (`--O1`, `-march=native`), one process a chain.
"""


def write_page(out: Path, docs: Path) -> Path:
    """Write ``<docs>/benchmarks.md`` and its pictures from the results in `out`; a page of twins if `out` has any."""
    groups = read_groups(out)
    pictures = docs / "benchmarks"
    pictures.mkdir(parents=True, exist_ok=True)
    drawn = draw_figures(groups, out, pictures)
    text = "\n\n".join(part for part in _sections(groups, out, drawn) if part)
    target = docs / "benchmarks.md"
    target.write_text(text.rstrip() + "\n")
    if table := twins_text(out / "twins"):
        parts = (f"{_WRITTEN}\n# Twins, measured", _machine(out / "twins"), table)
        (docs / _TWINS).write_text("\n\n".join(parts) + "\n")
    return target


def _sections(groups: Sequence[Group], out: Path, drawn: Sequence[str]) -> Iterator[str]:
    yield f"{_WRITTEN}\n# Benchmarks"
    yield _machine(out)
    yield (
        "Run again: `pip install 'hierarchical-twin[peers]'`, then `python -m benchmarks` from the repository root "
        "(an hour or two on two idle cores; `--help` for parts of it). `python -m benchmarks page` writes this page "
        "from the results."
    )
    if any(group.problem in PROBLEMS for group in groups):
        yield "## Ours against the best peer\n\n" + headline_table(groups)
        if "ess_per_second" in drawn:
            yield "![ESS per second against patients](benchmarks/ess_per_second.svg)"
        yield ode_lines(groups)
    if table := whole_table(out / "whole"):
        yield "## From shell command to saved fit and printed intervals\n\n" + table
        if "whole" in drawn:
            yield "![Wall time of whole scripts](benchmarks/whole.svg)"
    if table := scaling_table(out / "scaling"):
        yield "## Time and memory against patients\n\n" + table
        if "scaling" in drawn:
            yield "![Time and memory against patients](benchmarks/scaling.svg)"
    if table := step_table(out / "steps"):
        yield "## One NUTS step against one gradient\n\n" + table
    yield "## How it was measured\n\n" + HOW.rstrip()
    yield "## Do the engines agree?\n\n" + agreement_table(groups)
    yield "## Every engine"
    for key, own in groupby(groups, key=lambda group: group.problem):
        yield f"### {key}: `{PROBLEMS[key].spec}`\n\n" + engine_table(list(own))
    yield left_out_list(groups)


def _machine(out: Path) -> str:
    path = out / "machine.json"
    if not path.exists():
        return ""
    found = json.loads(path.read_text())
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return (
        f"Measured on {found['date']}: {found['processor']}, {found['cores']} cores, "
        f"{found['memory_gib']} GiB, {found['system']}. {versions}."
    )
