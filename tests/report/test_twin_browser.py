"""The page of a twin in a real browser: quiet, readable by everybody, dark and light, its tables saved.

Skipped where Chromium or Playwright is not installed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from twin.lines import line_fit

import hierarchical_twin as ht
from hierarchical_twin.report.twin_page import write_twin_page
from hierarchical_twin.twin.twin import Twin

from .test_browser import ARGUMENTS, CHROMIUM, DESK, PHONE, axe, playwright, saved

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def twin() -> Twin:
    started = ht.start_twin(line_fit(), patient="ada", covariates={}, particles=300)
    known = ht.update(started, {"record": "=1+1", "t": 0.0, "y": 5.5})
    return ht.update(known, {"record": "far off", "t": 4.0, "y": 40.0})


@pytest.fixture(scope="module")
def address(twin, tmp_path_factory) -> str:
    return write_twin_page(twin, tmp_path_factory.mktemp("twin") / "ada.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (PHONE, "dark")])
def test_it_is_quiet_and_accessible(browser, address, size, scheme):
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page, errors, requests = context.new_page(), [], []
    page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    found = axe.Axe().run(page, options={"runOnly": RULES})
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found.response["violations"]] == []
    wanted = "Light page" if scheme == "dark" else "Dark page"
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name=wanted).click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert errors == [] and requests == [address]
    context.close()


def test_its_tables_are_saved_as_csv(browser, address, twin):
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.goto(address)
    buttons = page.locator("button[data-save]")
    assert buttons.count() == 5 and all(buttons.nth(at).is_visible() for at in range(5))
    text = saved(page, lambda: page.get_by_role("button", name="Save parameters (CSV)").click())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["mean"]) for row in rows] == list(twin.intervals()["mean"])
    text = saved(page, lambda: page.get_by_role("button", name="Save records (CSV)").click())
    assert next(csv.DictReader(io.StringIO(text)))["record"] == "'=1+1"
    context.close()
