"""Sample every shipped cohort jointly and with the effects integrated out, and write how far the two are apart.

    python case_studies/compare_methods.py

Writes ``methods.md`` beside this file: for each cohort the largest distance of posterior means of population
parameters, in joint posterior SDs, the ratios of SDs, and what each fit's verdict is. One more cohort is that of
``tumor_growth/simulate_two_scans.py``, where Laplace's approximation is biased.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from refit import HERE, SEED, STUDIES

import hierarchical_twin as ht

DRAWS = 2000
SLOWEST = "glucose_minimal_model"
MOST_MEAN, MOST_SD = 0.1, 0.1


def cohorts() -> Iterator[tuple[str, ht.Model]]:
    """The two scans, then every shipped cohort whose patients have effects, the one that takes longest last."""
    spec = ht.read_spec(HERE / "tumor_growth" / "two_scans.yaml")
    yield (
        "two_scans (simulated)",
        ht.build(spec, ht.read_cohort(HERE / "tumor_growth" / "two_scans.csv", spec)),
    )
    for study in sorted(STUDIES, key=lambda study: study.folder == SLOWEST):
        spec = ht.read_spec(ht.shipped_specs()[study.spec])
        model = ht.build(spec, ht.read_cohort(HERE / study.folder / study.data, spec))
        if "patient" in model.cohort.effects:
            yield study.spec, model


def compare(name: str, model: ht.Model) -> str:
    """One row of the table."""
    joint = ht.sample(model, method="joint", draws=DRAWS, seed=SEED)
    marginal = ht.sample(model, method="marginal", draws=DRAWS, seed=SEED)
    both = joint.population().merge(marginal.population(), on="parameter", suffixes=("_joint", "_marginal"))
    shift = ((both["mean_marginal"] - both["mean_joint"]) / both["sd_joint"]).abs()
    ratio = both["sd_marginal"] / both["sd_joint"]
    is_near = shift.max() <= MOST_MEAN and ((ratio - 1).abs() <= MOST_SD).all()
    told = ["trusted" if fit.diagnostics().is_trustworthy else "flagged" for fit in (joint, marginal)]
    return (
        f"| {name} | {model.size('patient')} | {len(both)} | {shift.max():.3f} {both['parameter'][shift.idxmax()]} "
        f"| {ratio.min():.2f} to {ratio.max():.2f} | {'yes' if is_near else 'no'} | {told[0]} | {told[1]} |"
    )


def main() -> None:
    """Write the table."""
    lines = [
        "<!-- written by case_studies/compare_methods.py -->",
        "# Joint sampling and the marginal method",
        "",
        f"4 chains of {DRAWS:,} draws each, seed {SEED}. Shift: the largest distance of posterior means of population",
        "parameters, in joint posterior SDs. Within: means within "
        f"{MOST_MEAN} SD and SDs within {MOST_SD:.0%}. The last two columns are the fits' own verdicts.",
        "Shifts up to about 0.05 SD are Monte Carlo error. None of these cohorts has the 200 effects from which",
        '`method="auto"` considers the marginal method; larger ones are compared in docs/benchmarks.md.',
        "",
        "| cohort | patients | parameters | shift, sd | SD ratios | within | joint | marginal |",
        "| :-- | --: | --: | :-- | :-- | :-- | :-- | :-- |",
    ]
    for name, model in cohorts():
        lines.append(compare(name, model))
        print(lines[-1], file=sys.stderr, flush=True)
        # Row by row: the last cohort takes longer than all others.
        (HERE / "methods.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
