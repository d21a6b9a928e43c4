"""The command `report`: where it writes, what it says, how it ends."""

from __future__ import annotations

from cli.command import refused, run


def test_a_page_beside_the_fit_and_the_exit_code_of_a_bad_one(fitted) -> None:
    said = run(
        "report", fitted.folder, "--question", "How much slower?", "--pseudonyms", "numbers", "--overwrite"
    )
    assert said.code == 3, said
    page = (fitted.folder / "report.html").read_text(encoding="utf-8")
    assert "How much slower?" in page and "Do not use these numbers yet" in page
    assert f"wrote {fitted.folder / 'report.html'}" in said.err and "what to try" in said.err


def test_what_is_refused(fitted, tmp_path) -> None:
    assert "a name ending in .html" in refused("report", fitted.folder, "--out", tmp_path / "page.pdf")[0]
    assert "no such file" in refused("report", tmp_path / "nothing")[0]
    line = refused(
        "report", fitted.folder, "--out", tmp_path / "a.html", "--pseudonyms", tmp_path / "none.csv"
    )[0]
    assert "cannot be read" in line
    (tmp_path / "there.html").touch()
    assert "a file that exists" in refused("report", fitted.folder, "--out", tmp_path / "there.html")[0]
