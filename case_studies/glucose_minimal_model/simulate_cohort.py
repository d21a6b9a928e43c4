"""Write simulated_cohort.csv and simulated_truth.csv: 20 people with 12 to 24 samples each.

Seeded; the design (times, insulin, basal values) is made here, the patients and their glucose by
`hierarchical_twin.simulate` from the shipped spec. Run: python case_studies/glucose_minimal_model/simulate_cohort.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import hierarchical_twin as ht

HERE = Path(__file__).parent
PATIENTS = 20
POPULATION = {
    "G_0_typical": 270.0,
    "S_G_typical": 0.020,
    "S_I_typical": 5e-4,
    "p_2_typical": 0.030,
    "omega": [0.10, 0.25, 0.60, 0.30],
    "sigma_glucose": 5.0,
}


def make_design(seed: int = 20) -> pd.DataFrame:
    """Times, insulin and basal values of everyone; glucose is filled in afterwards."""
    rng = np.random.default_rng(seed)
    measured = pd.read_csv(HERE / "fsigt_pacini_bergman.csv")
    rows = []
    for patient in range(1, PATIENTS + 1):
        count = int(rng.integers(12, 25))
        # Everyone has the first and last sample; sparse protocols keep a random choice of the others.
        between = np.sort(rng.choice(np.arange(1, len(measured) - 1), count - 2, replace=False))
        chosen = measured.iloc[[0, *between, len(measured) - 1]]
        basal_insulin = rng.lognormal(np.log(9.0), 0.3)
        height = rng.lognormal(0.0, 0.4) * rng.lognormal(0.0, 0.1, count)
        insulin = basal_insulin + np.maximum(chosen["insulin_uU_per_mL"] - 9.0, 0.0) * height
        basal_glucose = rng.normal(90.0, 6.0)
        for time, value in zip(chosen["time_min"], insulin, strict=True):
            rows.append(
                (patient, time, 100.0, round(value, 1), round(basal_glucose, 1), round(basal_insulin, 1))
            )
    names = ["id", "time_min", "glucose_mg_per_dL", "insulin_uU_per_mL"]
    return pd.DataFrame(rows, columns=[*names, "basal_glucose_mg_per_dL", "basal_insulin_uU_per_mL"])


def main() -> None:
    """Simulate, and write the table and the truth."""
    spec = ht.read_spec(ht.shipped_specs()["glucose_minimal_model"])
    design = make_design()
    simulation = ht.simulate(ht.build(spec, ht.read_cohort(design, spec)), seed=7, population=POPULATION)
    # Samples before 8 min are not fitted, so nothing is simulated for them; the cell stays empty.
    design["glucose_mg_per_dL"] = np.nan
    rows = simulation.rows
    design.loc[rows["table_row"].to_numpy() - 1, "glucose_mg_per_dL"] = rows["value"].round(1).to_numpy()
    design.to_csv(HERE / "simulated_cohort.csv", index=False)
    patients = simulation.model.cohort.patients
    truth = pd.DataFrame(
        {"id": patients, **{name: simulation.truth[name] for name in ("G_0", "S_G", "S_I", "p_2")}}
    )
    truth.to_csv(HERE / "simulated_truth.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
