"""The simulated tables every engine reads: one design for each problem, outcomes from `simulate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.problems import PROBLEMS

SEED = 20
STUDIES = Path(__file__).parent.parent / "case_studies"


def write_table(key: str, patients: int, path: Path) -> Path:
    """Simulate a cohort of a problem and write it as the CSV that its spec reads.

    Parameters
    ----------
    key : str
        A key of `PROBLEMS`.
    patients : int
    path : Path
        Where to write. The same key and number of patients give the same table.
    """
    import hierarchical_twin as ht

    problem = PROBLEMS[key]
    spec = ht.read_spec(ht.shipped_specs()[problem.spec])
    design = DESIGNS[key](np.random.default_rng(SEED), patients)
    model = ht.build(spec, ht.read_cohort(design, spec))
    rows = ht.simulate(model, seed=SEED, population=dict(problem.truth)).rows
    column = {outcome: words.column for outcome, words in spec.observations.items()}
    for outcome, own in rows.groupby("outcome", observed=True):
        values = own["value"].to_numpy()
        design.loc[own["table_row"].to_numpy() - 1, column[outcome]] = values.round(6)
    path.parent.mkdir(parents=True, exist_ok=True)
    design.to_csv(path, index=False)
    return path


def growth_design(rng: np.random.Generator, patients: int) -> pd.DataFrame:
    """Two to seven caliper volumes each, over 30 days, the first at day 0."""
    days = [np.sort(rng.choice(np.arange(1, 31), rng.integers(1, 7), replace=False)) for _ in range(patients)]
    frames = [
        pd.DataFrame({"id": place + 1, "time_d": np.concatenate([[0], own]), "volume_cm3": 1.0})
        for place, own in enumerate(days)
    ]
    return pd.concat(frames, ignore_index=True)


def prodrug_design(rng: np.random.Generator, patients: int) -> pd.DataFrame:
    """Each patient sampled as one of the shipped arms, with a genotype of their own."""
    shipped = pd.read_csv(STUDIES / "prodrug_activation" / "losartan_cyp2c9_arms.csv")
    arms = [arm for _, arm in shipped[shipped["time_h"] > 0].groupby("id", sort=False)]
    genotypes = rng.choice(["*1/*1", "*1/*3", "*3/*3"], patients, p=[0.6, 0.3, 0.1])
    frames = []
    for place in range(patients):
        arm = arms[rng.integers(len(arms))]
        frames.append(arm.assign(id=place + 1, genotype=genotypes[place], mean_nM=100.0))
    # A mean's own error needs a spread and a count; arms of one person have none.
    table = pd.concat(frames, ignore_index=True)
    return table.assign(n=table["n"].clip(lower=6), sd_nM=table["sd_nM"].fillna(0.0).clip(lower=5.0))


def apoptosis_design(rng: np.random.Generator, patients: int) -> pd.DataFrame:
    """Five concentrations each, as in the shipped assay; one patient in seven has the mutation."""
    concentrations = np.array([0.156, 0.625, 2.5, 10.0, 40.0])
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(1, patients + 1), 5),
            "drug": "fludarabine",
            "conc_uM": np.tile(concentrations, patients),
            "viability": 0.5,
            "tp53": np.repeat((rng.random(patients) < 1 / 7).astype(int), 5),
        }
    )


def minimal_design(rng: np.random.Generator, patients: int) -> pd.DataFrame:
    """Twelve to twenty-four samples of a tolerance test, insulin and basal values of each patient's own."""
    measured = pd.read_csv(STUDIES / "glucose_minimal_model" / "fsigt_pacini_bergman.csv")
    frames = []
    for place in range(patients):
        count = int(rng.integers(12, 25))
        between = np.sort(rng.choice(np.arange(1, len(measured) - 1), count - 2, replace=False))
        chosen = measured.iloc[[0, *between, len(measured) - 1]]
        basal = rng.lognormal(np.log(9.0), 0.3)
        height = rng.lognormal(0.0, 0.4) * rng.lognormal(0.0, 0.1, count)
        insulin = basal + np.maximum(chosen["insulin_uU_per_mL"] - 9.0, 0.0) * height
        columns = {
            "id": place + 1,
            "time_min": chosen["time_min"],
            "glucose_mg_per_dL": 100.0,
            "insulin_uU_per_mL": insulin.round(1),
            "basal_glucose_mg_per_dL": round(rng.normal(90.0, 6.0), 1),
            "basal_insulin_uU_per_mL": round(basal, 1),
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def linear_design(rng: np.random.Generator, patients: int) -> pd.DataFrame:
    """Ten days each, as in the shipped study."""
    del rng
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(1, patients + 1), 10),
            "time_d": np.tile(np.arange(10), patients),
            "reaction_ms": 250.0,
        }
    )


DESIGNS = {
    "growth": growth_design,
    "prodrug": prodrug_design,
    "apoptosis": apoptosis_design,
    "minimal": minimal_design,
    "linear": linear_design,
}
"""Who is measured when, for each problem; outcomes hold a placeholder."""
