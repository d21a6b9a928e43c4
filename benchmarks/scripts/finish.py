"""The end of every peer's script: save the draws, print the intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr


def save_and_print(draws: Mapping[str, np.ndarray], out: Path) -> None:
    """Write ``[chain, draw, ...]`` draws to NetCDF and print 90 % equal-tailed intervals of everything."""
    variables, rows = {}, []
    for name, value in draws.items():
        own = [f"{name}_{place}" for place in range(value.ndim - 2)]
        variables[name] = (("chain", "draw", *own), value)
        flat = value.reshape(value.shape[0] * value.shape[1], -1)
        low, high = np.quantile(flat, [0.05, 0.95], axis=0)
        rows += zip([name] * flat.shape[1], flat.mean(0), flat.std(0), low, high, strict=True)
    xr.Dataset(variables).to_netcdf(out, engine="h5netcdf")
    table = pd.DataFrame(rows, columns=["parameter", "mean", "sd", "lower", "upper"])
    print(table.to_string(index=False, float_format=lambda number: f"{number:.4g}"))
