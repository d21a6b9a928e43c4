"""Write two_scans.yaml and two_scans.csv: 12 patients with two scans each, and growth rates on the log scale.

Two scans hardly bound a rate from below, so effects have long, flat lower tails, where Laplace's approximation is
biased. Seeded. Run: python case_studies/tumor_growth/simulate_two_scans.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import hierarchical_twin as ht

HERE = Path(__file__).parent
PATIENTS, SEED = 12, 0
CHANGES = (
    ("name: tumor_growth", "name: two_scans"),
    ("link: identity", "link: log"),
    ("Normal(mean=0, sd=0.2)", "LogNormal(median=0.05, sd=1)"),
    ('r: "HalfNormal(0.1)"', 'r: "HalfNormal(1)"'),
)
"""Of the shipped spec."""


def main() -> None:
    """Write both files."""
    text = ht.shipped_specs()["tumor_growth"].read_text(encoding="utf-8")
    for old, new in CHANGES:
        if text.count(old) != 1:
            raise SystemExit(f"the shipped spec has changed: {old!r} occurs {text.count(old)} times")
        text = text.replace(old, new)
    (HERE / "two_scans.yaml").write_text(ht.write_spec(ht.parse_spec(text)), encoding="utf-8")
    rng, rows = np.random.default_rng(SEED), []
    for number in range(PATIENTS):
        start, rate = -1.6 + 0.4 * rng.standard_normal(), 0.05 * np.exp(0.6 * rng.standard_normal())
        for day in (0.0, rng.uniform(3, 10)):
            volume = np.exp(start + rate * day + 0.2 * rng.standard_normal())
            rows.append((f"p{number}", round(day, 2), round(volume, 4)))
    pd.DataFrame(rows, columns=["id", "time_d", "volume_cm3"]).to_csv(HERE / "two_scans.csv", index=False)


if __name__ == "__main__":
    main()
