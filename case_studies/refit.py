"""Fit every case study, compare with its references, and write its tables and pictures again.

    python case_studies/refit.py            all of them
    python case_studies/refit.py sleep      one

Each study's folder gets its pictures and ``results.md``: our estimates beside the published or
recomputed ones of ``references.csv``. The saved fits, with all tables, go to ``fits/``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

import hierarchical_twin as ht
from hierarchical_twin.report.figures import patients_figure, save_figure, shrinkage_figure
from hierarchical_twin.report.folder import fit_tables, write_tables
from hierarchical_twin.report.pictures import write_pictures

HERE = Path(__file__).parent
SEED = 1


@dataclass(frozen=True)
class Row:
    """One quantity beside its reference: draws from the posterior, and what the source says.

    `reference` names `model` and `parameter` of ``references.csv``, or is a number with its source.
    """

    label: str
    draws: Callable[[xr.Dataset], xr.DataArray]
    model: str
    parameter: str


@dataclass(frozen=True)
class Study:
    """A spec on a cohort."""

    folder: str
    spec: str
    data: str
    rows: tuple[Row, ...]
    truth: str = ""


def _scalar(name: str, change: Callable[[xr.DataArray], xr.DataArray] = lambda value: value, **at: str):
    return lambda posterior: change(posterior[name].sel(at) if at else posterior[name])


_NLME = "log volume_cm3 ~ day + (day|id), ML (exponential growth, lognormal error)"
_REML = "reaction ~ day + (day|subject), REML"
_CLL = (
    "viability = 1/(1+(c/IC50_i)^h), log IC50_i = mu + b*TP53mut + N(0,sd), additive; "
    "patients with known TP53 (178); drug fludarabine; nlme ML"
)
_NLS = (
    "same, NLS t>=8 min (MINMOD zero weights before 8), Gb=92, Ib=11, "
    "linear interpolation of insulin, input max(I-Ib,0)"
)


def _threshold_rows(model: str) -> tuple[Row, ...]:
    return (
        Row("log K_apo typical (uM)", _scalar("K_apo_typical", np.log), model, "mu = log IC50 (uM)"),
        Row("TP53 coefficient", _scalar("beta_K_apo", term_K_apo="tp53"), model, "b TP53 mutated"),
        Row("log n", _scalar("n_typical", np.log), model, "log h"),
        Row("omega K_apo", _scalar("omega", effect="K_apo"), model, "sd log IC50"),
        Row("residual SD", _scalar("sigma_viability"), model, "sd residual"),
    )


STUDIES = (
    Study(
        "tumor_growth",
        "tumor_growth",
        "lung_xenograft_control.csv",
        (
            Row("log V_0 typical", _scalar("V_0_typical", np.log), _NLME, "mean log V0"),
            Row("r typical (1/day)", _scalar("r_typical"), _NLME, "mean growth rate r (1/d)"),
            Row("omega log V_0", _scalar("omega", effect="V_0"), _NLME, "sd log V0"),
            Row("omega r (1/day)", _scalar("omega", effect="r"), _NLME, "sd r"),
            Row("correlation", _scalar("omega_correlation", effect="V_0", effect_other="r"), _NLME, "corr"),
            Row("residual SD (log)", _scalar("sigma_volume"), _NLME, "sd residual"),
        ),
    ),
    Study("prodrug_activation", "prodrug_activation", "losartan_cyp2c9_arms.csv", ()),
    Study(
        "apoptosis_threshold",
        "apoptosis_threshold",
        "cll_exvivo_fludarabine_nutlin3.csv",
        _threshold_rows(_CLL),
    ),
    Study(
        "apoptosis_threshold",
        "apoptosis_threshold_nutlin3",
        "cll_exvivo_fludarabine_nutlin3.csv",
        _threshold_rows("same, drug nutlin-3"),
    ),
    Study(
        "glucose_minimal_model",
        "glucose_minimal_model_single",
        "fsigt_pacini_bergman.csv",
        (
            Row("S_G (1/min)", _scalar("S_G_typical"), _NLS, "S_G (1/min)"),
            Row("p_2 (1/min)", _scalar("p_2_typical"), _NLS, "p2 (1/min)"),
            Row("S_I (mL/uU/min)", _scalar("S_I_typical"), _NLS, "S_I (mL/uU/min)"),
            Row("G_0 (mg/dL)", _scalar("G_0_typical"), _NLS, "G0 (mg/dL)"),
        ),
    ),
    Study(
        "glucose_minimal_model",
        "glucose_minimal_model",
        "simulated_cohort.csv",
        (),
        "simulated_truth.csv",
    ),
    Study(
        "sleep",
        "sleep",
        "sleepstudy.csv",
        (
            Row("intercept (ms)", _scalar("intercept_typical"), _REML, "intercept"),
            Row("slope (ms/day)", _scalar("slope_typical"), _REML, "slope per day"),
            Row("omega intercept", _scalar("omega", effect="intercept"), _REML, "sd intercept"),
            Row("omega slope", _scalar("omega", effect="slope"), _REML, "sd slope"),
            Row(
                "correlation",
                _scalar("omega_correlation", effect="intercept", effect_other="slope"),
                _REML,
                "corr",
            ),
            Row("residual SD", _scalar("sigma_reaction"), _REML, "sd residual"),
        ),
    ),
)


def compare(study: Study, posterior: xr.Dataset) -> pd.DataFrame:
    """Our estimates beside the references: mean, sd, 90 % equal-tailed interval, reference, distance in our SDs."""
    references = pd.read_csv(HERE / study.folder / "references.csv")
    rows = []
    for row in study.rows:
        known = references[(references["model"] == row.model) & (references["parameter"] == row.parameter)]
        if len(known) != 1:
            raise SystemExit(
                f"{study.folder}/references.csv: {len(known)} rows for {row.model!r} {row.parameter!r}"
            )
        draws = row.draws(posterior).values.ravel()
        value = float(known["value"].iloc[0])
        rows.append(
            {
                "quantity": row.label,
                "mean": draws.mean(),
                "sd": draws.std(ddof=1),
                "lower": np.quantile(draws, 0.05),
                "upper": np.quantile(draws, 0.95),
                "reference": value,
                "reference_se": known["se_or_spread"].iloc[0],
                "distance_in_sd": (draws.mean() - value) / draws.std(ddof=1),
            }
        )
    return pd.DataFrame(rows)


def coverage(study: Study, fit: ht.Fit) -> list[str]:
    """How many of the patients' 90 % intervals hold the simulated truth, parameter by parameter."""
    truth = pd.read_csv(HERE / study.folder / study.truth, dtype={"id": str}).set_index("id")
    intervals = fit.intervals(list(truth.columns))
    values = [truth.loc[row.patient, row.parameter] for row in intervals.itertuples()]
    inside = (intervals["lower"] <= values) & (intervals["upper"] >= values)
    counts = inside.groupby(intervals["parameter"]).agg(["sum", "size"])
    told = ", ".join(f"{name} {row['sum']} of {row['size']}" for name, row in counts.iterrows())
    return [f"90 % intervals that hold the simulated truth: {told}; {inside.sum()} of {len(inside)} in all."]


def pictures(fit: ht.Fit) -> Iterator[tuple[str, Figure]]:
    """The pictures a study's page shows: individual fits of each outcome, and the shrinkage."""
    for outcome in fit.tree["observed_data"].data_vars:
        yield f"patients_{outcome}", patients_figure(fit, str(outcome))
    if "no_pooling" in fit.tree.children:
        yield "shrinkage", shrinkage_figure(fit)


def refit(study: Study) -> str:
    """Fit one study, write its folder, and return its results as Markdown."""
    spec = ht.read_spec(ht.shipped_specs()[study.spec])
    cohort = ht.read_cohort(HERE / study.folder / study.data, spec)
    begin = time.perf_counter()
    fit = ht.sample(ht.build(spec, cohort), seed=SEED)
    wall = time.perf_counter() - begin
    kept = HERE.parent / "fits" / study.spec
    kept.mkdir(parents=True, exist_ok=True)
    fit.save(kept / "fit.nc")
    write_tables(fit, fit_tables(fit), kept)
    write_pictures(fit, kept)
    for name, figure in pictures(fit):
        save_figure(figure, HERE / study.folder / f"{study.spec}_{name}.png")
    lines = [f"## {study.spec} on {study.data}", ""]
    if study.rows:
        lines += [
            "| quantity | posterior mean (sd) | 90 % equal-tailed | reference (se) | distance, posterior sd |",
            "|---|---|---|---|---|",
        ]
        for row in compare(study, fit.tree["posterior"].to_dataset()).itertuples():
            error = "" if pd.isna(row.reference_se) else f" ({row.reference_se})"
            lines.append(
                f"| {row.quantity} | {row.mean:.4g} ({row.sd:.2g}) | {row.lower:.4g} to {row.upper:.4g} "
                f"| {row.reference:.4g}{error} | {row.distance_in_sd:+.2f} |"
            )
    else:
        lines += ["| quantity | mean | sd | 90 % equal-tailed |", "|---|---|---|---|"]
        for row in fit.population().itertuples():
            lines.append(
                f"| {row.parameter} | {row.mean:.4g} | {row.sd:.2g} | {row.lower:.4g} to {row.upper:.4g} |"
            )
    if study.truth:
        lines += ["", *coverage(study, fit)]
    spent = json.loads(fit.attributes["timings"])
    verdict = fit.diagnostics()
    print(verdict, file=sys.stderr)
    worst = fit.population()
    lines += [
        "",
        f"{verdict.verdict.splitlines()[0]}",
        "",
        f"Smallest bulk ESS of the population parameters {worst['ess_bulk'].min():,.0f}, largest R-hat "
        f"{worst['rhat'].max():.3f}, divergences {verdict.divergences:.0f}. Wall time {wall:.1f} s: pilot "
        f"{spent['pilot']:.1f}, compile {spent['compile']:.1f}, sampling {spent['sample']:.1f}, "
        f"unfolding {spent['unfold']:.1f} (seed {SEED}, {fit.attributes['device']}).",
        "",
    ]
    return "\n".join(lines)


def main(words: list[str]) -> None:
    """Refit the named folders, or all."""
    folders = dict.fromkeys(study.folder for study in STUDIES)
    for folder in folders:
        if words and folder not in words:
            continue
        parts = [refit(study) for study in STUDIES if study.folder == folder]
        text = "\n".join(["<!-- written by case_studies/refit.py -->", f"# Results: {folder}", "", *parts])
        (HERE / folder / "results.md").write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
