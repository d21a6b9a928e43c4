"""The pages under docs/ say what the program does: their code runs, their words are the program's.

Blocks after ``<!-- samples -->`` take a sampler; they and the commands run in the slow test only.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import hierarchical_twin
from hierarchical_twin.mechanisms.table import MECHANISMS
from hierarchical_twin.spec import parse_spec

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"(<!-- samples -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
SAVED = re.compile(r"Save this as `([\w.]+)`:\n\n```\w+\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    language: str
    text: str
    needs_sampling: bool


def blocks_of(page: str) -> Iterator[Block]:
    """Fenced blocks of a page, in order."""
    for samples, language, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        yield Block(page, language, text, bool(samples))


def save_files(folder: Path) -> None:
    """Write the files of the pages, as they tell the reader to."""
    for page in ("guide.md", "compare.md"):
        for name, text in SAVED.findall((DOCS / page).read_text(encoding="utf-8")):
            (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", ["guide.md", "spec.md", "api.md", "predict.md"])
def test_python_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    # One namespace for a page, as for a reader who goes on typing.
    space: dict[str, object] = {}
    quick = [block for block in blocks_of(page) if block.language == "python" and not block.needs_sampling]
    assert quick
    for block in quick:
        exec(compile(block.text, page, "exec"), space)


def whole_specs() -> list[Block]:
    """YAML blocks that are specs from their first line on."""
    pages = [str(path.relative_to(DOCS)) for path in PAGES]
    return [
        block
        for page in pages
        for block in blocks_of(page)
        if block.language == "yaml" and block.text.startswith("spec: 1")
    ]


def test_whole_specs_parse() -> None:
    found = whole_specs()
    assert {block.page for block in found} >= {"guide.md", "spec.md"}
    for block in found:
        parse_spec(block.text, block.page)


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(DOCS)) for path in PAGES])
def test_links_lead_somewhere_and_nothing_is_of_one_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        page = path.parent / target if target else path
        assert page.exists(), f"{path.name}: no {target}"
        if anchor:
            assert anchor in anchors(page), f"{path.name}: no #{anchor} in {page.name}"
    assert not re.search(r"(?<![\w.])/(home|work|root|tmp|Users)/", text)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as they are made on a code host."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_public_name_is_documented_with_its_signature() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    for name in hierarchical_twin.__all__:
        assert f"`{name}`" in text or f"### `{name}(" in text, name
        value = getattr(hierarchical_twin, name)
        if inspect.isfunction(value):
            assert f"### `{plain_signature(name, value)}`" in text
    for name, method in inspect.getmembers(hierarchical_twin.Fit, inspect.isfunction):
        if not name.startswith("_"):
            assert plain_signature(name, method) in text


def test_api_names_nothing_that_is_not_public() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### `(\w+)", text, re.MULTILINE)
    assert set(headings) <= set(hierarchical_twin.__all__)


def plain_signature(name: str, function: object) -> str:
    """``name(a, *, b=1)``, without types and self."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return f"{name}{signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)}"


@pytest.mark.parametrize("name", MECHANISMS)
def test_mechanism_has_a_section_with_all_its_words(name: str) -> None:
    text = (DOCS / "mechanisms.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text.partition(f"\n## `{name}`\n")[2], flags=re.MULTILINE)[0]
    mechanism = MECHANISMS[name]
    for parameter, words in mechanism.parameters.items():
        default = "" if words.default is None else f"{words.default:g}"
        assert f"| `{parameter}` | {words.unit} | {words.support} | {default} |" in section
    tables = (mechanism.outputs, mechanism.inputs, mechanism.derived)
    for word, words in ((word, words) for table in tables for word, words in table.items()):
        assert f"| `{word}` | {words.unit} |" in section
    for option, choices in mechanism.options.items():
        assert f"`{option}`" in section and all(f"`{choice}`" in section for choice in choices)
    assert "Sources:" in section and "Range:" in section


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((DOCS / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
    for path in (DOCS / "decisions").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]} ")
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences"))


def test_the_changelog_names_this_version() -> None:
    text = (DOCS / "changelog.md").read_text(encoding="utf-8")
    project = (DOCS.parent / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.*)"', project, re.MULTILINE)
    assert version is not None and f"## {version[1]}" in text


@pytest.mark.slow
def test_every_block_runs_as_written(tmp_path: Path) -> None:
    """The reader's whole day: all commands of the guide, then the Python of the pages that go on from it."""
    save_files(tmp_path)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for block in (*blocks_of("guide.md"), *blocks_of("compare.md")):
        if block.language == "bash":
            subprocess.run(
                ["bash", "-euc", block.text], cwd=tmp_path, env=environment, check=True, capture_output=True
            )
    for page in (
        "guide.md",
        "fit.md",
        "api.md",
        "predict.md",
        "checks.md",
        "compare.md",
        "report.md",
        "twin.md",
    ):
        script = "\n".join(block.text for block in blocks_of(page) if block.language == "python")
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
