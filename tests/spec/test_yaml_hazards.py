"""Files that are not specs at all: each is one clear SpecError."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest

from hierarchical_twin.errors import SpecError
from hierarchical_twin.spec import parse_spec, read_spec

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
NONSENSE = "\n".join(f"key_{number}: value {number}" for number in range(200))
PROSE = "\n".join(f"this is line {number} of a letter, and no model" for number in range(200))

HAZARDS = {
    "empty": ("", "an empty file"),
    "comments only": ("# nothing\n", "an empty file"),
    "a list": ("- spec: 1\n", "f.yaml:1: got a list"),
    "a word": ("hello\n", "text without keys"),
    "prose": (PROSE, "text without keys"),
    "nonsense keys": (NONSENSE, "none of the keys spec, name"),
    "tab": ("spec: 1\nparameters:\n\tr: {}\n", "f.yaml:3: got a tab; expected indentation by spaces"),
    "two tabs": ("spec: 1\na:\n\tr: {}\n\tq: {}\n", "and on 1 more lines"),
    "unclosed": ("spec: 1\ntime: {column: day\n", "the YAML reader says"),
    "colon in text": ("spec: 1\ntitle: growth: a model\n", "f.yaml:2: got 'title: growth: a model'"),
    "bomb": (BOMB, "f.yaml:1: got '&a'; expected plain values"),
    "alias": ("spec: 1\nwhere: {genotype: *1}\n", "put text that begins with * in quotes"),
    "tag": ("spec: 1\nname: !!python/object:os.system x\n", "the YAML tag"),
    "two documents": ("spec: 1\n---\nspec: 1\n", "f.yaml:2: got a second document"),
    "deep": ("spec: " + "[" * 3000 + "]" * 3000, "nested levels"),
    "deep mapping": ("".join(" " * depth + "a:\n" for depth in range(60)), "nested levels"),
    "list as key": ("spec: 1\n? [a, b]\n: 1\n", "f.yaml:2: got a list or mapping as a key"),
    "zero byte": ("spec: 1\nname: \x00\n", "characters that do not belong"),
    "unclosed quote": ('spec: 1\nname: "x\n', "the YAML reader says"),
}


@pytest.mark.parametrize(("text", "words"), HAZARDS.values(), ids=HAZARDS)
def test_hazard_is_one_problem(text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "f.yaml")
    assert words in str(caught.value)
    assert len(caught.value.problems) == 1


def test_many_problems_are_counted_not_all_printed() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec("spec: 1\n" + NONSENSE, "f.yaml")
    assert len(caught.value.problems) == 41
    assert str(caught.value.problems[-1]).startswith("f.yaml: got 166 more problems")


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "tumor_growth.yaml").write_text("spec: 1")
    binary = tmp_path / "fit.nc"
    binary.write_bytes(bytes(range(256)) * 20)
    large = tmp_path / "large.yaml"
    large.write_text("# x\n" * 300_000)
    cases = {
        binary: "not text",
        large: "more than 1 MB",
        tmp_path: "got a folder",
        tmp_path
        / "tumor_grwth.yaml": "no such file; expected a spec in YAML; did you mean 'tumor_growth.yaml'?",
        tmp_path / "nul\0.yaml": "cannot be read",
    }
    for path, words in cases.items():
        with pytest.raises(SpecError) as caught:
            read_spec(path)
        assert words in str(caught.value)


def test_damaged_specs_never_raise_anything_else() -> None:
    """Seeded damage to a shipped spec: a Spec or a SpecError, never another exception."""
    text = (Path(__file__).parents[2] / "model_specs" / "prodrug_activation.yaml").read_text()
    chance = random.Random(20)
    for _ in range(150):
        damaged = list(text)
        for _ in range(chance.randint(1, 12)):
            place = chance.randrange(len(damaged))
            damaged[place : place + chance.randint(0, 6)] = chance.choices(
                string.printable, k=chance.randint(0, 3)
            )
        try:
            parse_spec("".join(damaged))
        except SpecError as error:
            assert "; expected " in str(error)
