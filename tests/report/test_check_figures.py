"""Pictures of checks: drawn without an error, saved, with words and units; what cannot be drawn is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from analysis.conftest import make_fit, posterior_dataset, stats_dataset
from analysis.linear_cohort import Truth, predicted_cohort
from matplotlib.figure import Figure

from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.visual_check import visual_check
from hierarchical_twin.errors import SamplingError
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.chains import energy_figure, pair_figure, rank_figure
from hierarchical_twin.report.effects import covariates_of, effect_estimates, effects_figure
from hierarchical_twin.report.figures import save_figure
from hierarchical_twin.report.prior_posterior import prior_posterior_figure
from hierarchical_twin.report.residuals import goodness_figure, residuals_figure, transform_figure
from hierarchical_twin.report.visual_check import visual_check_figure

SMALL = 400_000


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return predicted_cohort(Truth(patients=24, draws=60, error="lognormal", lower_limit=6.0), seed=3)


@pytest.fixture(scope="module")
def synthetic() -> Fit:
    """Twelve patients, two effects, two covariates."""
    fit = make_fit(posterior_dataset(), stats_dataset())
    patients = fit.tree["posterior"]["patient"].values
    constants = xr.Dataset(
        {
            "covariate_age": ("patient", np.linspace(30, 70, len(patients))),
            "covariate_sex": ("patient", np.array(["M", "F"] * 6)),
        },
        {"patient": patients},
    )
    fit.tree["constant_data"] = xr.DataTree(constants)
    return fit


def words_of(figure: Figure) -> str:
    axes = [axes for axes in figure.axes]
    texts = [text.get_text() for text in figure.texts]
    texts += [axis.get_xlabel() + " " + axis.get_ylabel() + " " + axis.get_title(loc="left") for axis in axes]
    suptitles = [text.get_text() for text in (figure._supxlabel, figure._supylabel) if text is not None]
    return " ".join(" ".join([*texts, *suptitles]).split())


def check_saved(figure: Figure, tmp_path) -> None:
    """It can be written, is not too big for a page, and is no figure of pyplot's any more."""
    from matplotlib import pyplot

    assert save_figure(figure, tmp_path / "figure.svg").stat().st_size < SMALL
    assert figure not in map(pyplot.figure, pyplot.get_fignums())


@pytest.mark.parametrize("corrected", [False, True])
def test_visual_check(prediction: Prediction, tmp_path, corrected: bool):
    arm = {f"p{n}": f"arm {n % 4}" for n in range(24)}
    check = visual_check(prediction, stratify=arm, corrected=corrected)
    figure = visual_check_figure(check, coordinate_label="day", is_log=True)
    words = words_of(figure)
    assert "beyond a limit" in words and "arm 3" in words and "cm³" in words and "day" in words
    assert ("Corrected: multiplied" in words) == corrected
    assert "60 simulated trials" in words and "4 bins of" in words
    assert figure.axes[0].get_yscale() == "log"
    check_saved(figure, tmp_path)


def test_visual_check_of_one_time(prediction: Prediction, tmp_path):
    one = prediction.take(np.flatnonzero(prediction.rows["time"] == 0.0))
    check_saved(visual_check_figure(visual_check(one)), tmp_path)


def test_goodness(prediction: Prediction, tmp_path):
    figure = goodness_figure(prediction.table(), unit="cm^3", is_log=True)
    assert "IPRED (cm³)" in words_of(figure) and figure.axes[1].get_xscale() == "log"
    check_saved(figure, tmp_path)


def test_residuals(prediction: Prediction, tmp_path):
    figure = residuals_figure(prediction.table(), "y", coordinate_label="day")
    words = words_of(figure)
    assert "EPRED NPDE" in words and "day IWRES" in words
    check_saved(figure, tmp_path)


def test_residuals_of_an_error_model_without_sd(prediction: Prediction, tmp_path):
    table = replace(prediction, residual_sd=np.full_like(prediction.residual_sd, np.nan)).table()
    table["NPDE"] = 0.1
    figure = residuals_figure(table)
    assert any("no IWRES" in text.get_text() for axes in figure.axes for text in axes.texts)
    check_saved(figure, tmp_path)


def test_transforms(prediction: Prediction, tmp_path):
    figure = transform_figure(prediction.table(), column="PIT")
    assert "is PIT uniform?" in words_of(figure)
    check_saved(figure, tmp_path)
    with pytest.raises(SamplingError, match="no column 'LOO_PIT'"):
        transform_figure(prediction.table())
    with pytest.raises(SamplingError, match="expected one of y"):
        transform_figure(prediction.table(), "z", column="PIT")


def test_effects(synthetic: Fit, tmp_path):
    figure = effects_figure(synthetic)
    words = words_of(figure)
    assert "effect on V_0" in words and "SD shrinkage" in words and "age" in words
    assert len(figure.axes) == 6
    check_saved(figure, tmp_path)


def test_effects_without_covariates(fit_without_covariates: Fit, tmp_path):
    figure = effects_figure(fit_without_covariates)
    assert "no covariates" in words_of(figure) and len(figure.axes) == 2
    check_saved(figure, tmp_path)


@pytest.fixture
def fit_without_covariates() -> Fit:
    return make_fit(posterior_dataset(), stats_dataset())


def test_effect_estimates_are_posterior_means(synthetic: Fit):
    eta = synthetic.tree["posterior"]["eta"]
    found = effect_estimates(synthetic)
    np.testing.assert_allclose(found["r"], eta.sel(effect="r").mean(("chain", "draw")))
    assert list(found.index) == [str(label) for label in eta["patient"].values]
    assert list(covariates_of(synthetic).columns) == ["age", "sex"]


def test_ranks(synthetic: Fit, tmp_path):
    figure = rank_figure(synthetic)
    assert "Each line is a chain (4 of them)" in words_of(figure)
    check_saved(figure, tmp_path)
    with pytest.raises(SamplingError, match=r"did you mean 'omega\[r\]'"):
        rank_figure(synthetic, ["omega[rr]"])
    single = make_fit(posterior_dataset(chains=1), stats_dataset(chains=1))
    with pytest.raises(SamplingError, match="1 chain"):
        rank_figure(single)


def test_energy(synthetic: Fit, tmp_path):
    check_saved(energy_figure(synthetic), tmp_path)
    with pytest.raises(SamplingError, match="no energy"):
        energy_figure(make_fit(posterior_dataset()))


def test_pairs(synthetic: Fit, tmp_path):
    figure = pair_figure(synthetic, ["omega[r]", "omega[V_0]", "r_typical"])
    assert "250 of 2,000 draws" in words_of(figure) and "No draw was divergent" in words_of(figure)
    check_saved(figure, tmp_path)
    stats = stats_dataset()
    stats["diverging"][0, :7] = True
    divergent = pair_figure(make_fit(posterior_dataset(), stats))
    assert "7 of 7 divergent draws" in words_of(divergent)
    check_saved(divergent, tmp_path)


def test_prior_beside_posterior(synthetic: Fit, tmp_path):
    rng = np.random.default_rng(0)
    prior = xr.Dataset(
        {
            "r_typical": (("chain", "draw"), rng.normal(size=(1, 800))),
            "sigma_volume": (("chain", "draw"), np.abs(rng.standard_cauchy((1, 800)))),
            "omega": (("chain", "draw", "effect"), np.abs(rng.normal(size=(1, 800, 2)))),
        },
        {"effect": ["V_0", "r"]},
    )
    figure = prior_posterior_figure(synthetic, prior)
    assert len(figure.axes) == 4
    check_saved(figure, tmp_path)
    with pytest.raises(SamplingError, match="no variable of the fit's population"):
        prior_posterior_figure(synthetic, prior[[]])
