"""A cohort's table inside a saved fit: columns of numbers as numbers, all others as the words they stand for."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr
from pandas.api import types

from hierarchical_twin.cohort.columns import as_text

ROW = "row"


def table_to_dataset(table: pd.DataFrame) -> xr.Dataset:
    """Every cell as it is read; the column's own name is an attribute, since it may hold any sign."""
    variables = {}
    for place, (name, cells) in enumerate(table.items()):
        attributes = {"column": str(name)}
        if isinstance(cells.dtype, pd.CategoricalDtype):
            attributes["levels"] = json.dumps([as_text(level) or "" for level in cells.cat.categories])
        if isinstance(cells.dtype, np.dtype) and types.is_numeric_dtype(cells.dtype):
            values = cells.to_numpy()
        else:
            values = np.array([as_text(cell) or "" for cell in cells], dtype=np.str_)
        if values.dtype == bool:
            attributes["is_bool"], values = "1", values.astype(np.int8)
        variables[f"column_{place}"] = xr.Variable((ROW,), values, attributes)
    return xr.Dataset(variables)


def table_from_dataset(dataset: xr.Dataset) -> pd.DataFrame:
    """Inverse of `table_to_dataset`, as far as reading goes."""
    columns = {}
    for place in range(len(dataset.data_vars)):
        variable = dataset[f"column_{place}"]
        values = variable.values
        if "is_bool" in variable.attrs:
            cells = pd.Series(values.astype(bool))
        elif values.dtype.kind in "fiu":
            cells = pd.Series(values)
        else:
            cells = pd.Series([str(value) for value in values], dtype=object)
        if "levels" in variable.attrs:
            levels = json.loads(variable.attrs["levels"])
            cells = pd.Series(pd.Categorical(cells.where(cells != "", None), categories=levels))
        columns[variable.attrs["column"]] = cells
    return pd.DataFrame(columns)
