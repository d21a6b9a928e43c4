"""The model, the data and where the numbers come from, as the page says them."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hierarchical_twin.analysis.variables import spec_part
from hierarchical_twin.errors import TwinError
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.page.sections import (
    Absent,
    Block,
    DataSection,
    Fact,
    ModelSection,
    ReproducibilitySection,
)
from hierarchical_twin.spec import describe, parse_spec

_EXCLUDED = "patients excluded"
_RECORDED = {
    "created_at": "Made at (UTC)",
    "data_source": "Data",
    "data_hash": "Hash of the data",
    "spec_hash": "Hash of the spec",
    "seed": "Seed",
    "method": "Method",
    "backend": "Backend",
    "device": "Device",
    "warmup": "Warm-up iterations",
    "thin": "Thinning: one draw kept of",
    "target_accept": "Target acceptance",
    "max_tree_depth": "Greatest tree depth",
    "parameterization": "Parameterization",
    "patients": "Kept of each patient",
}


def gather_model(fit: Fit) -> ModelSection:
    """Equations, distributions and priors from the fit's spec; the spec itself if they cannot be read."""
    text = fit.spec_text
    name = str(spec_part(fit.tree, "name") or "model")
    references = tuple(str(one) for one in spec_part(fit.tree, "references") or ())
    try:
        spec = parse_spec(text, "the fit's spec")
    except TwinError as error:
        why = f"The spec of this fit cannot be read by this version ({error.problems[0]})."
        return ModelSection(name, (), references, text, (Absent("Equations", why),))
    return ModelSection(name, tuple(_blocks(describe(spec))), references, text)


def _blocks(described: str) -> Iterable[Block]:
    """The titled paragraphs of `describe`, but for the first (the name) and the references."""
    for paragraph in described.strip().split("\n\n")[1:]:
        lines = paragraph.splitlines()
        title = " ".join(line for line in lines if not line.startswith(" "))
        body = tuple(line.removeprefix("  ") for line in lines if line.startswith(" "))
        if title != "References":
            yield Block(title, body)


def gather_data(fit: Fit) -> DataSection:
    """The data report of the fit: the flow of rows, what was left out, notes."""
    source = str(fit.attributes.get("data_source", "table"))
    lines = str(fit.attributes.get("data_report", "")).splitlines()
    if not lines:
        why = "This fit keeps no data report."
        return DataSection(source, (), (), (), (Absent("Flow of rows and patients", why),))
    flow, excluded, notes = [], [], []
    for line in lines[1:]:
        text = line.strip()
        if text.startswith("note: "):
            notes.append(text.removeprefix("note: "))
        elif line.startswith("    "):
            excluded.append(text)
        else:
            flow.append(_fact(text))
    return DataSection(source, tuple(flow), tuple(excluded), tuple(notes))


def _fact(text: str) -> Fact:
    """``rows read        102`` or ``volume: 102 observations`` as a name and a value."""
    if ": " in text:
        name, _, value = text.partition(": ")
        return Fact(name, value)
    name, _, value = text.partition("  ")
    if not value:
        name, _, value = text.rpartition(" ")
    return Fact(name.strip(), value.strip())


def gather_reproducibility(fit: Fit) -> ReproducibilitySection:
    """Versions, hashes, seed and command, as the fit recorded them."""
    attributes = fit.attributes
    facts = [
        Fact(label, _plain(attributes[name]))
        for name, label in _RECORDED.items()
        if name in attributes and str(attributes[name]) not in ("", "nan")
    ]
    versions = _json(str(attributes.get("versions", "{}")))
    return ReproducibilitySection(
        tuple(facts),
        tuple(Fact(name, str(value)) for name, value in versions.items()),
        _command(str(attributes.get("command", ""))),
    )


def _plain(value: object) -> str:
    """A recorded value as text; JSON of nested words as ``patient: r informed``."""
    found = _json(str(value))
    if not found:
        return str(value)
    told = []
    for name, words in found.items():
        inside = (
            ", ".join(f"{key} {word}" for key, word in words.items()) if isinstance(words, dict) else words
        )
        told.append(f"{name}: {inside}")
    return "; ".join(told)


def _command(recorded: str) -> str:
    """The arguments of the command line as one line."""
    try:
        words = json.loads(recorded)
    except ValueError:
        return recorded
    return " ".join(map(str, words)) if isinstance(words, list) else recorded


def _json(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
