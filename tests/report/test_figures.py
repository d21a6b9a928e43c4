"""Figures: what they show, how they are saved, what they refuse, and that no global state is touched."""

import subprocess
import sys

import numpy as np
import pytest

from hierarchical_twin.errors import SamplingError, TwinError
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.figures import (
    count_pages,
    forest_figure,
    patients_figure,
    save_figure,
    shrinkage_figure,
)

from .conftest import sleep_fit


def texts(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def test_plane_joins_each_patient(sleep):
    figure = shrinkage_figure(sleep)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("intercept (ms)", "slope (ms/day)")
    pairs = [line for line in axes.lines if len(line.get_xdata()) == 2]
    assert len(pairs) == 2 * 18
    own = sleep.tree["no_pooling"]["intercept"].values
    circles = next(line for line in axes.lines if line.get_markerfacecolor() == "white")
    np.testing.assert_allclose(circles.get_xdata(), own)
    assert "50% and 90% of the population" in texts(figure)


def test_population_is_where_the_effect_is_zero(sleep):
    (axes,) = shrinkage_figure(sleep).axes
    diamonds = next(line for line in axes.lines if line.get_marker() == "D")
    typical = np.median(sleep.tree["posterior"]["intercept_typical"].values)
    np.testing.assert_allclose(diamonds.get_xdata(), typical)


def test_strip_for_one_parameter(sleep):
    (axes,) = shrinkage_figure(sleep, "slope").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["own data", "shrunken", "population"]


def test_a_wild_own_estimate_is_counted_not_shown():
    fit = sleep_fit()
    fit.tree["no_pooling"]["slope"][0] = 1e6
    figure = shrinkage_figure(fit, "slope")
    assert figure.axes[0].get_xlim()[1] < 200
    assert "1 estimate from own data is missing or outside the frame" in texts(figure)


def test_individual_fits_show_every_row(sleep):
    figure = patients_figure(sleep)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [str(300 + number) for number in range(18)]
    points = sum(
        len(line.get_xdata()) for axes in shown for line in axes.lines if line.get_linestyle() == "None"
    )
    assert points == sleep.tree["observed_data"]["reaction"].size
    assert figure.get_supxlabel() == "time (day)" and figure.get_supylabel() == "reaction (ms)"
    assert "90% equal-tailed interval" in texts(figure)
    assert shown[0].get_yscale() == "linear"


def test_lognormal_outcome_has_a_log_axis():
    fit = sleep_fit()
    fit.tree.attrs["error"] = '{"reaction": "lognormal"}'
    assert patients_figure(fit).axes[0].get_yscale() == "log"


def test_censored_rows_point_to_the_true_value():
    fit = sleep_fit()
    observed = fit.tree["observed_data"].to_dataset()
    side = np.zeros(observed.sizes["observation_reaction"], dtype=np.int8)
    side[:2] = 1, -1
    fit.tree["observed_data"].dataset = observed.assign_coords(
        censored_reaction=("observation_reaction", side)
    )
    figure = patients_figure(fit)
    counts = {line.get_marker(): len(line.get_xdata()) for line in figure.axes[0].lines}
    assert (counts["v"], counts["^"], counts["o"]) == (1, 1, 8)
    assert "beyond a limit" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_pages():
    fit = sleep_fit(patients=30, draws=20)
    assert count_pages(fit) == 2
    assert sum(axes.get_visible() for axes in patients_figure(fit, page=2).axes) == 6
    with pytest.raises(SamplingError, match="a page from 1 to 2"):
        patients_figure(fit, page=3)


def test_time_recorded_as_nan_gives_way_to_the_input():
    fit = sleep_fit()
    observed = fit.tree["observed_data"].to_dataset()
    dim = "observation_reaction"
    days = observed["time_reaction"].values
    fit.tree["observed_data"].dataset = observed.assign_coords(
        time_reaction=(dim, days * np.nan), dose_reaction=(dim, np.where(days > 0, 10.0**days, 0))
    )
    fit.tree.attrs["spec"] = "inputs: {dose: {column: d, unit: uM}}"
    figure = patients_figure(fit)
    assert figure.get_supxlabel() == "dose (uM)"
    assert figure.axes[0].get_xscale() == "symlog"


def test_forest_is_sorted(sleep):
    figure = forest_figure(sleep, "slope", prob=0.5, kind="hdi")
    (axes,) = figure.axes
    medians = next(line for line in axes.lines if line.get_marker() == "o").get_xdata()
    assert (np.diff(medians) >= 0).all() and len(medians) == 18
    assert "50% HDI of each patient" in texts(figure)


def test_forest_of_many_patients_drops_names():
    (axes,) = forest_figure(sleep_fit(patients=100, draws=20), "slope").axes
    assert axes.get_ylabel() == "100 patients, sorted" and len(axes.get_yticks()) == 0


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_saved_figures_are_reproducible(sleep, tmp_path, suffix):
    first = save_figure(shrinkage_figure(sleep), tmp_path / f"a.{suffix}").read_bytes()
    second = save_figure(shrinkage_figure(sleep), tmp_path / f"b.{suffix}").read_bytes()
    assert first == second and len(first) > 5000


def test_what_is_refused(sleep, tmp_path):
    with pytest.raises(SamplingError, match="did you mean 'slope'"):
        forest_figure(sleep, "slop")
    with pytest.raises(SamplingError, match="did you mean 'intercept'"):
        shrinkage_figure(sleep, ["intercpt", "slope"])
    with pytest.raises(SamplingError, match="did you mean 'reaction'"):
        patients_figure(sleep, "reacton")
    with pytest.raises(TwinError, match=r"\.png or \.svg"):
        save_figure(forest_figure(sleep, "slope"), tmp_path / "a.pdf")


def test_missing_groups_are_refused(sleep):
    bare = Fit(sleep.tree.filter(lambda node: node.name == "posterior"))
    with pytest.raises(SamplingError, match="no group 'no_pooling'"):
        shrinkage_figure(bare)
    with pytest.raises(SamplingError, match="no group 'observed_data'"):
        patients_figure(bare)


def test_neither_pyplot_nor_an_engine_is_imported():
    code = (
        "import sys, hierarchical_twin.report.figures; "
        "print([name for name in ('matplotlib.pyplot', 'jax', 'pymc', 'numpyro') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_of_very_many_patients_some_are_shown_and_it_says_so():
    many = sleep_fit(patients=2100, draws=5, days=4)
    for figure in (forest_figure(many, "slope"), shrinkage_figure(many)):
        assert "Shown: 2,000 of 2,100 patients" in texts(figure)
        assert max(len(line.get_xdata()) for line in figure.axes[0].lines) == 2000
