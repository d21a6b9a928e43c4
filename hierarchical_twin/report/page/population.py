"""The population's table: what each row means in words, its interval, CV and shrinkage."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hierarchical_twin.analysis.intervals import interval_words
from hierarchical_twin.analysis.variables import links_of
from hierarchical_twin.dims import NO_POOLING
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.page.numbers import percent, plain, span
from hierarchical_twin.report.page.pictures import picture_of
from hierarchical_twin.report.page.sections import Absent, Picture, PopulationRow, PopulationSection
from hierarchical_twin.report.shrinkage import shrinkage_figure


def gather_population(fit: Fit, population: pd.DataFrame, shrinkage: pd.DataFrame) -> PopulationSection:
    """Rows as text, and the shrinkage picture where the fit has estimates without pooling."""
    links = links_of(fit.tree)
    by_effect = {
        (row["group"], row["effect"], row["definition"]): row["median"] for _, row in shrinkage.iterrows()
    }
    rows = tuple(_row(row, links, by_effect) for _, row in population.iterrows())
    words = (
        interval_words(population["prob"].iloc[0], population["kind"].iloc[0]) if len(rows) else "interval"
    )
    pictures: tuple[Picture, ...] = ()
    absent: tuple[Absent, ...] = ()
    if NO_POOLING in fit.tree.children and len(fit.tree[NO_POOLING].data_vars):
        pictures = (picture_of("shrinkage", lambda: shrinkage_figure(fit)),)
    else:
        why = "This fit holds no estimates of patients without the population: no parameter varies between them."
        absent = (Absent("Shrinkage picture", why),)
    return PopulationSection(words, rows, pictures, absent)


def table_unit(row: Any) -> str:
    """A row's unit as it stands beside a number: nothing for a pure number."""
    unit = str(row["unit"])
    return "" if unit == "1" else unit.replace("^2", "²").replace("^3", "³")


def meaning_of(label: str, links: dict[str, str]) -> str:
    """What a quantity of the population is, in words."""
    name, _, inside = label.removesuffix("]").partition("[")
    if name.endswith("_typical"):
        return "typical patient"
    if name.startswith("omega_correlation"):
        first, _, second = inside.partition(",")
        return f"correlation of {first} and {second} between {_members(name, 'omega_correlation')}"
    if name.startswith("omega"):
        parameter, _, term = inside.partition(":")
        of = f"effect of {term} on {parameter}" if term else parameter
        return f"SD of {of} between {_members(name, 'omega')}, {_scale(parameter, links)}"
    if name.startswith("beta_"):
        parameter = name.removeprefix("beta_")
        return f"change of {parameter} with {inside}, {_scale(parameter, links)}"
    if name.startswith("sigma_proportional_"):
        return f"residual error of {name.removeprefix('sigma_proportional_')}, relative"
    if name.startswith("diffusion_"):
        return f"process noise of {name.removeprefix('diffusion_')}"
    if name.startswith("sigma_"):
        return f"residual error of {name.removeprefix('sigma_')}"
    if name.startswith("concentration_"):
        return f"precision of {name.removeprefix('concentration_')}"
    return "derived"


def _members(name: str, prefix: str) -> str:
    group = name.removeprefix(prefix).removeprefix("_")
    return f"levels of {group}" if group else "patients"


def _scale(parameter: str, links: dict[str, str]) -> str:
    link = links.get(parameter, "identity")
    return "natural scale" if link == "identity" else f"{link} scale"


def _row(row: Any, links: dict[str, str], by_effect: dict[tuple[str, str, str], float]) -> PopulationRow:
    label = str(row["parameter"])
    variation = ""
    if row["cv_percent"] == row["cv_percent"]:
        variation = f"{plain(row['cv_percent'], 2)} % ({span(row['cv_lower'], row['cv_upper'], 2)})"
    return PopulationRow(
        parameter=label,
        meaning=meaning_of(label, links),
        unit=table_unit(row),
        median=plain(row["median"]),
        interval=span(row["lower"], row["upper"]),
        mean=plain(row["mean"]),
        sd=plain(row["sd"], 2),
        variation=variation,
        shrinkage=_shrinkage(label, by_effect),
        rhat=f"{row['rhat']:.3f}" if row["rhat"] == row["rhat"] else "–",
        ess=f"{min(row['ess_bulk'], row['ess_tail']):,.0f}" if row["ess_bulk"] == row["ess_bulk"] else "–",
    )


def _shrinkage(label: str, by_effect: dict[tuple[str, str, str], float]) -> str:
    """SD and variance form of an omega's row, as ``12 % / 23 %``."""
    name, _, inside = label.removesuffix("]").partition("[")
    if not name.startswith("omega") or name.startswith("omega_correlation"):
        return ""
    group = name.removeprefix("omega").removeprefix("_") or "patient"
    found = [by_effect.get((group, inside, definition)) for definition in ("sd", "variance")]
    return " / ".join(percent(value) for value in found if value is not None)
