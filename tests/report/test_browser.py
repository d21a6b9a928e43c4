"""The page in a real browser: what a reader does with it, and that it asks nothing of anybody.

Skipped where Chromium or Playwright is not installed.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .page_fits import HOSTILE, written, xenografts

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
if CHROMIUM is None:
    pytest.skip("no Chromium: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: pip install 'hierarchical-twin[test]'"
)
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-playwright-python")

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Opened:
    """A page in a browser, and what it did that nobody asked for."""

    page: playwright.Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def check_quiet(self) -> None:
        """Neither errors nor requests beyond the file itself."""
        assert self.errors == []
        outside = [
            address for address in self.requests if not address.startswith(("file:", "data:", "blob:"))
        ]
        assert outside == [] and sum(address.startswith("file:") for address in self.requests) == 1


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    contexts = []

    def go(name: str, *, size=DESK, scheme="light", hash="") -> Opened:
        context = browser.new_context(viewport=size, color_scheme=scheme, accept_downloads=True)
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on(
            "console",
            lambda said: found.errors.append(said.text) if said.type in ("error", "warning") else None,
        )
        found.page.on("pageerror", lambda error: found.errors.append(str(error)))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(f"{written(name).as_uri()}{hash}")
        return found

    yield go
    for context in contexts:
        context.close()


def names(page) -> list[str]:
    return page.locator("#people tr th button").all_text_contents()


def test_search_finds_patients(opened):
    one = opened("many")
    assert one.page.locator("#found").inner_text() == "90 patients"
    one.page.get_by_label("Find a patient").fill("38")
    assert len(names(one.page)) >= 2
    assert all("38" in name for name in names(one.page))
    assert re.fullmatch(r"\d+ of 90 patients", one.page.locator("#found").inner_text())
    one.page.get_by_label("Find a patient").fill("nobody")
    assert names(one.page) == []
    one.check_quiet()


def test_sorting_by_every_column(opened):
    one = opened("many")
    page = one.page
    headers = page.locator("#people-head th")
    assert headers.count() >= 5
    column = page.locator("#people-head th", has_text="slope")
    column.get_by_role("button").click()
    assert column.get_attribute("aria-sort") == "descending"

    def slopes():
        place = [text.split(" ")[0] for text in page.locator("#people-head th").all_text_contents()].index(
            "slope"
        )
        cells = page.locator(f"#people tr td:nth-child({place + 1})").all_inner_texts()
        return [float(text.split()[0].replace("−", "-")) for text in cells]

    found = slopes()
    assert found == sorted(found, reverse=True)
    column.get_by_role("button").click()
    assert column.get_attribute("aria-sort") == "ascending"
    assert slopes() == sorted(slopes())
    for at in range(headers.count()):
        headers.nth(at).get_by_role("button").click()
    one.check_quiet()


def test_pages_of_the_table(opened):
    page = opened("many").page
    first = names(page)
    assert len(first) == 25
    page.get_by_role("button", name="Next page").click()
    assert not set(first) & set(names(page))
    assert "26 to 50 of 90" in page.locator("#pager").inner_text()
    assert page.get_by_role("button", name="Previous page").is_enabled()


def test_opening_a_patient_with_the_keyboard(opened):
    one = opened("mice")
    page = one.page
    page.get_by_label("Find a patient").focus()
    first = page.locator("#people tr th button").first
    name = first.inner_text()
    first.focus()
    page.keyboard.press("Enter")
    title = page.locator("#patient-title")
    assert title.inner_text() == f"Patient {name}"
    assert page.evaluate("document.activeElement.id") == "patient-title"
    for heading in (
        "volume (cm³): data and fit",
        "Estimates",
        "What the shrinkage did",
        "volume: weighted residuals",
    ):
        assert page.get_by_role("heading", name=heading).is_visible()
    drawn = page.locator("#patient svg.drawn[role=img]")
    assert drawn.count() == 4
    assert all(len(drawn.nth(at).get_attribute("aria-label")) > 40 for at in range(4))
    points = page.locator("#patient svg.drawn").first.locator(".point, .outside, .beyond").count()
    assert points == int(page.locator("#people tr.open td").first.inner_text())
    assert "NaN" not in page.locator("#patient").inner_html()
    page.keyboard.press("Escape")
    assert page.locator("#patient").is_hidden()
    assert page.evaluate("document.activeElement.textContent") == name
    one.check_quiet()


def test_next_patient_and_the_numbers_behind_the_picture(opened):
    page = opened("mice").page
    order = names(page)
    page.locator("#people tr th button").first.click()
    page.get_by_role("button", name="Next", exact=True).click()
    assert page.locator("#patient-title").inner_text() == f"Patient {order[1]}"
    page.locator("#patient summary").first.click()
    assert page.locator("#patient details table tbody tr").count() > 5
    for _ in order[2:]:
        page.get_by_role("button", name="Next", exact=True).click()
    assert page.get_by_role("button", name="Next", exact=True).is_disabled()


def test_an_address_opens_its_patient(opened):
    one = opened("mice", hash="#patient=40")
    assert one.page.locator("#patient-title").inner_text() == "Patient 40"
    one.check_quiet()


def saved(page, click) -> str:
    with page.expect_download() as waiting:
        click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def test_tables_are_saved_as_csv(opened):
    one = opened("mice")
    fit = xenografts()
    text = saved(one.page, lambda: one.page.get_by_role("button", name="Save estimates (CSV)").click())
    rows = list(csv.DictReader(io.StringIO(text)))
    expected = fit.intervals()
    assert len(rows) == len(expected)
    first = expected[
        (expected["patient"] == rows[0]["patient"]) & (expected["parameter"] == rows[0]["parameter"])
    ]
    assert float(rows[0]["median"]) == pytest.approx(first["median"].item(), rel=1e-5)
    measured = saved(
        one.page, lambda: one.page.get_by_role("button", name="Save rows with residuals").click()
    )
    lines = list(csv.DictReader(io.StringIO(measured)))
    assert len(lines) == 102 and {"patient", "time", "DV", "PRED", "IPRED", "IWRES", "NPDE", "PIT"} <= set(
        lines[0]
    )
    for name, file in (
        ("Save population (CSV)", "omega[r]"),
        ("Save spec (YAML)", "mechanism:"),
        ("Save shrinkage (CSV)", "variance"),
        ("Save sampler diagnostics (CSV)", "rhat_at"),
    ):
        assert file in saved(one.page, lambda name=name: one.page.get_by_role("button", name=name).click())
    one.check_quiet()


def test_hostile_names_are_only_text(opened):
    one = opened("hostile")
    page = one.page
    assert sorted(names(page)) == sorted(HOSTILE)
    for at in range(len(HOSTILE)):
        page.locator("#people tr th button").nth(at).click()
        assert page.locator("#patient-title").inner_text().startswith("Patient ")
    assert page.evaluate("window.broken") is None
    text = saved(page, lambda: page.get_by_role("button", name="Save estimates (CSV)").click())
    labels = {row["patient"] for row in csv.DictReader(io.StringIO(text))}
    assert not any(label.startswith("=") for label in labels)
    assert '\'=HYPERLINK("http://example.org";"x")' in labels
    assert HOSTILE[0] in labels
    one.check_quiet()


def test_script_put_into_the_page_does_not_run(opened):
    page = opened("mice").page
    page.evaluate(
        """() => {
            const added = document.createElement("script");
            added.textContent = "window.broken = 3";
            document.body.append(added);
        }"""
    )
    assert page.evaluate("window.broken") is None


@pytest.mark.parametrize(
    ("name", "scheme"), [("mice", "light"), ("mice", "dark"), ("bad", "light"), ("hostile", "dark")]
)
def test_accessibility(opened, name, scheme):
    one = opened(name, scheme=scheme)
    one.page.locator("#people tr th button").first.click()
    one.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = axe.Axe().run(
        one.page,
        options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    )
    problems = [
        (one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found.response["violations"]
    ]
    assert problems == []


def test_a_phone_needs_no_sideways_scrolling(opened):
    page = opened("mice", size=PHONE).page
    page.locator("#people tr th button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("#patient svg.drawn").first.bounding_box()["width"] <= PHONE["width"]


def test_dark_mode_follows_the_system_and_the_button(opened):
    one = opened("mice", scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = one.page.evaluate(colour)
    one.page.get_by_role("button", name="Light page").click()
    light = one.page.evaluate(colour)
    assert (
        sum(map(int, re.findall(r"\d+", dark)[:3])) < 150 < 600 < sum(map(int, re.findall(r"\d+", light)[:3]))
    )
    one.check_quiet()


def test_printing_shows_every_patient_on_a4(opened, tmp_path):
    one = opened("many", scheme="dark")
    target = tmp_path / "page.pdf"
    one.page.pdf(path=str(target), prefer_css_page_size=True)
    assert target.read_bytes()[:5] == b"%PDF-" and target.stat().st_size > 50_000
    one.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert len(names(one.page)) == 90
    one.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert len(names(one.page)) == 25
    one.page.emulate_media(media="print")
    assert one.page.locator(".contents").is_hidden() and one.page.locator(".finder").is_hidden()
    colour = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == "rgb(255, 255, 255)"
    one.check_quiet()


def test_a_bad_fit_begins_with_what_is_wrong(opened):
    page = opened("bad", size=PHONE).page
    box = page.locator("#verdict").bounding_box()
    assert box["y"] < 400
    assert page.locator("#verdict h2").inner_text() == "Do not use these numbers yet"
    assert page.locator("#verdict .open-gates li").count() >= 2
