"""A prediction's draws as a tidy table, one row for each draw and asked row."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.prediction import Prediction


def draw_table(prediction: Prediction) -> pd.DataFrame:
    """Every draw of every row.

    Parameters
    ----------
    prediction : Prediction

    Returns
    -------
    pandas.DataFrame
        ``draw`` (from 0), ``row`` (place among the prediction's rows, from 0), the columns of the rows but
        measurements, ``individual`` (the patient's own prediction) and ``replicate`` (a new measurement).
        Rows of one draw belong together: they are joint over patients and times.
    """
    draws, rows = prediction.individual.shape
    told = prediction.rows.drop(columns=["DV", "censored", "table_row"], errors="ignore")
    place = np.tile(np.arange(rows), draws)
    table = told.iloc[place].reset_index(drop=True)
    table.insert(0, "row", place)
    table.insert(0, "draw", np.repeat(np.arange(draws), rows))
    return table.assign(individual=prediction.individual.ravel(), replicate=prediction.replicates.ravel())
