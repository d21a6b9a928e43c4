"""A table kept in a fit reads as the one it was made from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import hierarchical_twin as ht
from hierarchical_twin.cohort.kept import table_from_dataset, table_to_dataset

CASES = Path(__file__).parents[2] / "case_studies"
SHIPPED = {
    "tumor_growth": "tumor_growth/lung_xenograft_control.csv",
    "prodrug_activation": "prodrug_activation/losartan_cyp2c9_arms.csv",
    "apoptosis_threshold": "apoptosis_threshold/cll_exvivo_fludarabine_nutlin3.csv",
    "glucose_minimal_model": "glucose_minimal_model/simulated_cohort.csv",
    "sleep": "sleep/sleepstudy.csv",
}


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("reader", [str, pd.read_csv], ids=["text", "frame"])
def test_a_kept_table_gives_the_same_arrays(name, reader, tmp_path):
    spec = ht.read_spec(ht.shipped_specs()[name])
    cohort = ht.read_cohort(reader(CASES / SHIPPED[name]), spec)
    path = tmp_path / "table.nc"
    table_to_dataset(cohort.table).to_netcdf(path, engine="h5netcdf")
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf") as kept:
        again = ht.read_cohort(table_from_dataset(kept), spec)
    assert again.data_hash == cohort.data_hash
    assert len(cohort.table) == cohort.report.rows_read


def test_cells_of_every_kind_survive():
    frame = pd.DataFrame(
        {
            "a/b c": ["007", "", " x "],
            "flag": [True, False, True],
            "grade": pd.Categorical(["b", None, "a"], categories=["b", "a"]),
            "count": [1, 2, 3],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "mixed": [0.1, None, "low"],
        }
    )
    again = table_from_dataset(table_to_dataset(frame))
    assert list(again.columns) == list(frame.columns)
    assert list(again["a/b c"]) == ["007", "", "x"]
    assert again["flag"].dtype == bool
    assert list(again["grade"].cat.categories) == ["b", "a"]
    assert again["grade"].isna().tolist() == [False, True, False]
    assert list(again["mixed"]) == ["0.1", "", "low"]
    assert list(again["nullable"]) == ["1", "", "3"]
