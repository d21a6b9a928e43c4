"""What the page says, before it is set: frozen values, one for each section, and the parts they share.

Text is plain text; only `Picture.svg` is markup, and it is made by matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

State = Literal["passed", "attention", "failed", "unknown"]
"""How a check came out; `unknown`: it could not be made."""


@dataclass(frozen=True)
class Fact:
    """A name and what stands for it, as text."""

    name: str
    value: str


@dataclass(frozen=True)
class Absent:
    """Something this page would show, and why this fit has none."""

    what: str
    why: str


@dataclass(frozen=True)
class Download:
    """A table or a text the reader can save, carried inside the page.

    Parameters
    ----------
    name : str
        File name, such as ``population.csv``.
    label : str
        Words of the button.
    source : str
        What in Python gives the same table.
    columns : tuple of str
    rows : tuple of tuple
        Numbers, text, or None.
    text : str
        The content of a file that is no table.
    """

    name: str
    label: str
    source: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture made by matplotlib: inline SVG whose colours follow the page's theme."""

    key: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Gate:
    """One check with its light.

    Parameters
    ----------
    name : str
    state : str
        `State`.
    found : str
    expected : str
        Empty where `found` says it already.
    checked : str
        What was looked at, and how, in a sentence; empty where the name says it.
    advice : str
        What to do where it did not pass, in sentences.
    """

    name: str
    state: State
    found: str
    _: KW_ONLY
    expected: str = ""
    checked: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Verdict:
    """The first thing on a page: whether to believe the rest.

    Parameters
    ----------
    state : str
        `State`.
    headline, words : str
    gates : tuple of Gate
        Those that did not pass, worst first.
    """

    state: State
    headline: str
    words: str
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True)
class Summary:
    """Question, cohort, what was found."""

    question: str
    cohort: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A titled group of lines of the model, such as its priors."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class ModelSection:
    """What was declared: equations, distributions and priors, and the spec itself."""

    name: str
    blocks: tuple[Block, ...]
    references: tuple[str, ...]
    spec: str
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True)
class DataSection:
    """What became of the table's rows: counts, what was left out, notes."""

    source: str
    flow: tuple[Fact, ...]
    excluded: tuple[str, ...]
    notes: tuple[str, ...]
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True)
class PopulationRow:
    """One quantity of the population, numbers as text."""

    parameter: str
    meaning: str
    unit: str
    median: str
    interval: str
    mean: str
    sd: str
    variation: str
    shrinkage: str
    rhat: str
    ess: str


@dataclass(frozen=True)
class PopulationSection:
    """The population's table and its pictures."""

    interval: str
    rows: tuple[PopulationRow, ...]
    pictures: tuple[Picture, ...]
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True)
class PatientsSection:
    """The table of patients and what is drawn of each of them on demand.

    Parameters
    ----------
    head : mapping
        Parameters, outcomes and statistics by name: what the rows and blocks mean (JSON).
    rows : tuple of list
        One compact row for each patient (JSON).
    blocks : tuple of list
        The details of so many patients each, in the same order (JSON), parsed when one is opened.
    """

    interval: str
    head: Mapping[str, Any]
    rows: tuple[list[Any], ...]
    blocks: tuple[list[Any], ...]
    pictures: tuple[Picture, ...] = ()
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True)
class ChecksSection:
    """Every check with its light, the pictures beside them, and those of the sampler."""

    gates: tuple[Gate, ...]
    pictures: tuple[Picture, ...]
    sampler: tuple[Picture, ...] = ()
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True)
class SensitivitySection:
    """How far the answers hang on the priors."""

    words: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    pictures: tuple[Picture, ...]
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True)
class ReproducibilitySection:
    """Where the numbers come from."""

    facts: tuple[Fact, ...]
    versions: tuple[Fact, ...]
    command: str


@dataclass(frozen=True)
class Page:
    """The whole report, in reading order."""

    title: str
    verdict: Verdict
    summary: Summary
    model: ModelSection
    data: DataSection
    population: PopulationSection
    patients: PatientsSection
    checks: ChecksSection
    sensitivity: SensitivitySection
    reproducibility: ReproducibilitySection
    downloads: tuple[Download, ...] = field(default=())
