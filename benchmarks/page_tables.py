"""The page's tables of cells: ratios, agreement, every engine, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from benchmarks.agreement import compare, reference_of
from benchmarks.cells import ENGINES
from benchmarks.results import Group, best_peer, is_peer

HEADLINE, SAMPLING = "ess_per_second", "ess_per_second_sampling"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers are right-aligned by their column, the first two columns left."""
    rule = [":--" if place < 2 else "--:" for place in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent."""
    if value != value:
        return ""
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def with_range(group: Group, *path: str) -> str:
    """Median over repeats, and their range where there are several."""
    values = group.values(*path)
    if not values:
        return ""
    told = number(group.median(*path))
    return told if len(values) == 1 else f"{told} ({number(min(values))}–{number(max(values))})"


def headline_table(groups: Sequence[Group]) -> str:
    """Ours over the best peer: both kinds of ESS per second, at every problem and size."""
    rows = []
    for (problem, patients), cells in _by_size(groups):
        plain = next((group for group in cells if group.engine == "ours"), None)
        for ours in (group for group in cells if not is_peer(group) and group.done):
            twice = plain is not None and ours is not plain and _same_draws(ours, plain)
            row = [problem, f"{patients:,}", ours.engine + (" (the same draws as ours)" if twice else "")]
            for word in (HEADLINE, SAMPLING):
                row += _ratio(ours, best_peer(cells, word), word)
            rows.append(row)
    kinds = [
        f"{what} {word}"
        for word in ("ESS/s", "ESS/s of sampling")
        for what in ("ours,", "best peer,", "ratio,")
    ]
    return markdown(["posterior", "patients", "method", *kinds], rows)


def _same_draws(one: Group, other: Group) -> bool:
    """Whether two methods drew the same numbers from the same seed: then they are one method."""
    pairs = zip(one.done, other.done, strict=False)
    return any(left["moments"]["mean"] == right["moments"]["mean"] for left, right in pairs)


def _ratio(ours: Group, peer: Group | None, word: str) -> list[str]:
    told = with_range(ours, word)
    if not ours.is_usable:
        told += " (R-hat)"
    if peer is None:
        return [told, "none converged", ""]
    ratio = ours.median(word) / peer.median(word)
    return [told, f"{with_range(peer, word)} {peer.engine}", f"**{number(ratio)}**"]


def ode_lines(groups: Sequence[Group]) -> str:
    """Ours against Stan with an adaptive solver on the minimal model."""
    lines = []
    for (problem, patients), cells in _by_size(groups):
        for ours in (group for group in cells if group.engine == "ours" and group.done):
            for solver in (group for group in cells if group.family == "stan-ode"):
                if told := _solver_told(ours, solver):
                    lines.append(f"- {problem}, {patients} patients, {solver.engine}{told}")
    return "Against an adaptive ODE solver (Stan's `ode_rk45`):\n\n" + "\n".join(lines) if lines else ""


def _solver_told(ours: Group, solver: Group) -> str:
    """The ratio to a solver's speed; of one that did not end, to the most that it can have reached."""
    settings = ENGINES[solver.engine].settings
    assert settings is not None
    own, length = ours.median(HEADLINE), f"{settings.warmup} + {settings.draws} iterations a chain"
    if solver.done:
        other = solver.median(HEADLINE)
        return (
            f" ({length}, R-hat {number(solver.median('rhat_max'))}): {number(other)} ESS/s, ours {number(own)}: "
            f"**{number(own / other)}** times; sampling alone "
            f"{number(ours.median(SAMPLING) / solver.median(SAMPLING))}."
        )
    first = solver.results[0]
    if first["status"] != "over limit":
        return ""
    most = settings.chains * settings.draws / first["limit_seconds"]
    return (
        f" ({length}) had not ended after {number(first['limit_seconds'])} s. Had it then, with every draw "
        f"independent, it would have {number(most)} ESS/s; ours {number(own)}: **{number(own / most)}** times or more."
    )


def agreement_table(groups: Sequence[Group]) -> str:
    """Each engine's moments against those of the best-sampled peer."""
    rows = []
    for (problem, patients), cells in _by_size(groups):
        reference = reference_of([result for group in cells for result in group.done])
        for group in cells:
            if reference is None or not group.done or reference in group.done:
                continue
            found = [compare(result["moments"], reference["moments"]) for result in group.done]
            kept = [one for one in found if one is not None]
            if not kept:
                rows.append([problem, f"{patients:,}", group.engine, "too few effective draws", *[""] * 4])
                continue
            one = max(kept, key=lambda agreement: agreement.z_max)
            z = f"{one.z_max:.1f} ({one.z_expected:.1f})" + ("" if one.is_same else f" **{one.worst}**")
            low, high = min(each.sd_low for each in kept), max(each.sd_high for each in kept)
            shift = max(each.shift_max for each in kept)
            told = (
                f"{one.quantities:,}",
                z,
                f"{shift:.2f}",
                f"{low:.2f}–{high:.2f}",
                str(reference["engine"]),
            )
            rows.append([problem, f"{patients:,}", group.engine, *told])
    header = ["posterior", "patients", "engine", "quantities", "largest z (99.9 % limit)"]
    header += ["shift, sd", "SD ratios", "against"]
    told = (
        "Posterior means of all population and patient parameters (link scale) against the best-sampled peer's. z: the "
        "largest difference over its Monte Carlo error, in brackets what that maximum stays under 999 times in 1,000 "
        "for so many independent quantities. Shift: the largest difference in posterior SDs; SD ratios: smallest and "
        "largest; both of population parameters. Worst repeat of each; quantities with fewer than 100 effective draws "
        "on either side are not compared."
    )
    return f"{told}\n\n{markdown(header, rows)}"


def engine_table(groups: Sequence[Group]) -> str:
    """Everything measured, one row for each size and engine."""
    header = ["patients", "engine", "repeats", "ESS/s", "ESS/s of sampling", "bulk ESS min / median"]
    header += ["tail ESS min / median", "R-hat", "divergences", "import s", "build + compile s", "warm-up s"]
    header += ["sampling s", "shell to draws s", "gradients an effective draw", "peak MB"]
    return markdown(header, [_engine_row(group) for group in groups if _is_told(group)])


def _engine_row(group: Group) -> list[str]:
    start = [f"{group.patients:,}", group.engine]
    if not group.done:
        return [*start, "0", group.trouble, *[""] * 12]
    ended = [result for result in group.results if result["status"] in ("ok", "over limit", "failed")]
    built = group.median("seconds", "build") + group.median("seconds", "compile")
    return [
        *start,
        str(len(group.done)) if len(group.done) == len(ended) else f"{len(group.done)} of {len(ended)}",
        with_range(group, HEADLINE),
        with_range(group, SAMPLING),
        f"{number(group.median('ess_bulk_min'))} / {number(group.median('ess_bulk_median'))}",
        f"{number(group.median('ess_tail_min'))} / {number(group.median('ess_tail_median'))}",
        f"{max(group.values('rhat_max')):.3f}",
        f"{max(group.values('divergences')):.0f}",
        number(group.median("seconds", "import")),
        number(built),
        number(group.median("seconds", "warmup")),
        number(group.median("seconds", "sampling")),
        number(group.median("wall_seconds")),
        number(group.median("gradients_per_effective")),
        number(group.median("peak_mb"), 4),
    ]


def _is_told(group: Group) -> bool:
    return bool(group.done) or group.results[0]["status"] in ("over limit", "failed")


def left_out_list(groups: Sequence[Group]) -> str:
    """What was not run, and why: once for each engine and reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        for result in group.results:
            if result["status"] in ("left out", "not installed"):
                said = (str(result["engine"]), str(result.get("note", result["status"])))
                reasons.setdefault(said, []).append(f"{group.problem} {group.patients:,}")
    if not reasons:
        return ""
    lines = [
        f"- {engine}: {note} ({', '.join(dict.fromkeys(where))})" for (engine, note), where in reasons.items()
    ]
    return "## Left out\n\n" + "\n".join(lines)


def _by_size(groups: Sequence[Group]) -> Iterator[tuple[tuple[str, int], list[Group]]]:
    for key, own in groupby(groups, key=lambda group: (group.problem, group.patients)):
        yield key, list(own)
