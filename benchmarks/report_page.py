"""Size and build time of the report page at 20, 200 and 5,000 patients, and how fast a browser opens it.

    python -m benchmarks.report_page [OUT]

Mice as in the growth case study, six scans each; each cohort is fitted first, which is not counted.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

SIZES = (20, 200, 5000)
_TIMES = np.array([0.0, 5, 10, 15, 20, 25])
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def growth_table(patients: int) -> pd.DataFrame:
    """Simulated volumes of untreated mice in the columns of the shipped growth spec."""
    rng = np.random.default_rng(patients)
    start, rate = 0.2 * np.exp(rng.normal(0, 0.4, patients)), rng.normal(0.08, 0.02, patients)
    noise = rng.normal(0, 0.15, (patients, len(_TIMES)))
    values = start[:, None] * np.exp(rate[:, None] * _TIMES + noise)
    labels = np.repeat([f"mouse-{number:05d}" for number in range(patients)], len(_TIMES))
    return pd.DataFrame({"id": labels, "time_d": np.tile(_TIMES, patients), "volume_cm3": values.ravel()})


def measure(patients: int, out: Path) -> str:
    """Fit so many patients, write their page, open it; a line of a table."""
    import hierarchical_twin as ht
    from hierarchical_twin.report.page import write_report

    spec = ht.read_spec(ht.shipped_specs()["tumor_growth"])
    saved = out / f"growth-{patients}.nc"
    if not saved.exists():
        model = ht.build(spec, ht.read_cohort(growth_table(patients), spec))
        ht.sample(model, draws=500, seed=1, device="cpu", progress=False).save(saved)
    fit = ht.open_fit(saved)
    started = time.perf_counter()
    page = write_report(fit, out / f"growth-{patients}.html", overwrite=True)
    seconds = time.perf_counter() - started
    return f"| {patients:,} | {page.stat().st_size / 1e6:.1f} | {seconds:.0f} | {opening(page)} |"


def opening(page: Path) -> str:
    """Seconds until a browser shows the page, a search, and a patient opened; or why not measured."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "no Playwright"
    chromium = shutil.which("chromium")
    if chromium is None:
        return "no Chromium"
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        shown = browser.new_page()
        moments = [time.perf_counter()]
        shown.goto(page.as_uri())
        moments.append(time.perf_counter())
        shown.get_by_label("Find a patient").fill("1")
        moments.append(time.perf_counter())
        shown.locator("#people tr th button").first.click()
        shown.locator("#patient-title").wait_for()
        moments.append(time.perf_counter())
        browser.close()
    return " | ".join(f"{seconds:.2f}" for seconds in np.diff(moments))


def main() -> None:
    """Measure every size and print a table."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "report_pages")
    out.mkdir(exist_ok=True)
    print("| patients | MB | seconds to write | seconds to open | to search | to show a patient |")
    print("|---|---|---|---|---|---|")
    for patients in SIZES:
        print(measure(patients, out), flush=True)


if __name__ == "__main__":
    main()
