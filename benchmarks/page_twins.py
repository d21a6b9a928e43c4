"""The page of twins: latency, many at once, agreement with refits, coverage of forecasts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.page_tables import markdown, number

_AGREEMENT = """\
Patients are held out, updated record by record, and compared with a fit of everybody, patient by patient: the
largest differences of any parameter's mean and of either end of its 90 % interval, in posterior SDs of the refit.
Doubted: the twin itself says that it is not to be trusted."""


def twins_text(folder: Path) -> str:
    """Everything that ``python -m benchmarks.twins --out`` has kept, or an empty string."""
    parts = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    parts.pop("machine", None)
    texts = ["`python -m benchmarks.twins --out benchmarks/results`, on an idle machine; 2,000 particles."]
    if lines := parts.get("latency"):
        header = ["posterior", "records", "median, ms", "9 of 10 below, ms", "compiled anew"]
        words = ("records", "median_ms", "p90_ms", "compiled_anew")
        rows = [[line["latency"], *(number(line[word]) for word in words)] for line in lines]
        texts += ["One warm update of one twin, one core:", markdown(header, rows)]
    for line in parts.get("many", ()):
        texts.append(_facts("Many patients, one record each, all cores", line, "many"))
    if lines := parts.get("agreement"):
        texts += [_AGREEMENT, _agreement(lines)]
    for line in parts.get("coverage", ()):
        texts.append(_facts("Forecasts of simulated patients", line, "coverage"))
    return "\n\n".join(texts) if parts else ""


def _agreement(lines: list[dict[str, Any]]) -> str:
    header = ["posterior", "patient", "mean, sd", "ends, sd", "doubted"]
    rows = [
        [
            line["agreement"],
            str(line["patient"]),
            number(line["mean_sd"]),
            number(line["ends_sd"]),
            "yes" if line["doubts"] else "no",
        ]
        for line in lines
    ]
    return markdown(header, rows)


def _facts(title: str, line: dict[str, Any], part: str) -> str:
    told = ", ".join(
        f"{word.replace('_', ' ')} {number(value) if isinstance(value, int | float) else value}"
        for word, value in line.items()
        if word != part
    )
    return f"{title}: {told}."
