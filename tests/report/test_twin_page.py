"""The page of a twin as a file: what it says first, what it shows, what it keeps out."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from prediction.dosed import KILLS
from twin.lines import line_fit
from twin.posited import posited

import hierarchical_twin as ht
from hierarchical_twin.errors import DataError, SamplingError, TwinError
from hierarchical_twin.report.page.numbers import plain, span
from hierarchical_twin.report.twin_page import write_twin_page
from hierarchical_twin.report.twin_pictures import timeline_figure
from hierarchical_twin.report.twin_verdict import gather_twin_verdict
from hierarchical_twin.report.twin_view import meanings_of, view_twin
from hierarchical_twin.twin.twin import Doubt, Twin

from .page_fits import HOSTILE
from .test_page import Outline, data_of

FEW = Doubt(
    "few effective particles", "only 12 effective particles", "start the twin with more", is_lasting=False
)
SECTIONS = ["verdict", "timeline", "parameters", "states", "records", "updates", "provenance"]


@pytest.fixture(scope="module")
def fit() -> ht.Fit:
    return line_fit()


@pytest.fixture(scope="module")
def started(fit) -> Twin:
    return ht.start_twin(fit, patient="ada", covariates={}, particles=2000)


@pytest.fixture(scope="module")
def twin(started) -> Twin:
    """Two records as expected, then one that is far off."""
    known = ht.update(started, {"record": "first", "t": 0.0, "y": 5.5})
    known = ht.update(known, {"record": "second", "t": 2.0, "y": 7.0})
    return ht.update(known, {"record": "third", "t": 4.0, "y": 33.0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("twin_pages")


@pytest.fixture(scope="module")
def page(twin, folder) -> str:
    return write_twin_page(twin, folder / "ada.html", until=10.0).read_text(encoding="utf-8")


def files_of(page: str) -> dict[str, pd.DataFrame]:
    found = data_of(page, 'id="downloads-data"')
    return {one["name"]: pd.DataFrame(one["rows"], columns=one["columns"]) for one in found}


def test_sections_are_in_reading_order(page):
    assert re.findall(r'<section id="(\w+)"', page) == SECTIONS
    assert 'href="#records"' in page and "NaN" not in Outline(page).text


def test_a_surprise_is_said_first_with_what_to_do(page, twin):
    text = Outline(page).text
    (surprise,) = twin.steps[-1].surprises
    assert surprise.is_surprising
    assert text.index("This twin was surprised") < text.index("Timeline")
    assert (
        "y at 4 h : 33.0 m does not fit what was expected then (p < 0.001) (expected p at least 0.005)"
        in text
    )
    assert "Note Check the sample" in text and "Try" not in text
    assert text.count("Read this") == 1 and "Diamond" in text


def test_numbers_are_the_twins(page, twin):
    text, files = Outline(page).text, files_of(page)
    for row in twin.intervals().itertuples():
        assert plain(row.median) in text and span(row.lower, row.upper) in text
    told = files["parameters.csv"].set_index("parameter")
    np.testing.assert_array_equal(told["mean"].to_numpy(float), twin.intervals()["mean"].to_numpy())
    records = files["records.csv"]
    assert list(records["record"]) == ["first", "second", "third"]
    assert list(records["update"]) == [1, 2, 3]
    np.testing.assert_allclose(
        records["p_value"].to_numpy(float), [step.surprises[0].p_value for step in twin.steps]
    )


def test_the_course_begins_with_the_population_and_narrows(page, twin):
    course = files_of(page)["course.csv"]
    slope = course[course["parameter"] == "slope"].set_index("update")
    assert list(slope.index) == [0, 1, 2, 3]
    assert slope.loc[0, "sd"] == pytest.approx(0.5, rel=0.15)
    assert slope.loc[2, "sd"] < slope.loc[0, "sd"]
    expected = twin.steps[1].parameters.set_index("parameter").loc["slope"]
    assert slope.loc[2, "mean"] == expected["mean"]
    assert list(slope["is_surprising"]) == [False, False, False, True]


def test_curves_go_on_to_the_horizon_and_widen(page):
    curves = files_of(page)["curves.csv"]
    assert curves["place"].min() == 0 and curves["place"].max() == 10
    ahead = curves[curves["place"] >= 4]
    assert ahead["upper"].iloc[-1] - ahead["lower"].iloc[-1] > ahead["upper"].iloc[0] - ahead["lower"].iloc[0]
    inside = ["lower_new", "lower_new_80", "lower_new_50", "upper_new_50", "upper_new_80", "upper_new"]
    assert (np.diff(curves[inside].to_numpy(float), axis=1) >= 0).all()
    assert (curves["lower_new"] < curves["lower"]).mean() > 0.95


def test_curves_are_the_forecasts(page, twin):
    curves = files_of(page)["curves.csv"]
    told = ht.forecast(twin, curves["place"].to_numpy(float)).table()
    for name in ("lower", "upper", "lower_new", "upper_new"):
        np.testing.assert_array_equal(curves[name].to_numpy(float), told[name].to_numpy())


def test_every_interval_says_its_kind(page):
    text = Outline(page).text
    assert set(re.findall(r"\d+% (\S+ interval)", text)) == {"equal-tailed interval"}
    assert "90% equal-tailed interval of a new measurement" in text


def test_parameters_and_states_are_explained(page):
    text = Outline(page).text
    assert "response at time 0" in text and "y: response." in text


def test_a_derived_quantity_is_explained_with_its_own_numbers():
    meanings = meanings_of(ht.read_spec(ht.shipped_specs()["apoptosis_threshold"]))
    assert meanings["K_apo"].startswith("apoptosis threshold")
    assert [words for words in meanings.values() if words.endswith("the probability of death is 0.9")]


def test_filtered_states_know_only_what_was_known_then(page):
    states = files_of(page)["states.csv"]
    own = states[states["time"] < 3.9].set_index(["kind", "time"])
    gap = (own.loc["smoothed", "median"] - own.loc["filtered", "median"]).abs()
    assert gap.max() > 1.0  # the surprise pulls the smoothed course and cannot pull the filtered one
    assert "given only the records up to that time" in Outline(page).text


def test_nothing_is_asked_of_the_network(page):
    for tag, attributes in Outline(page).tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            value = attributes.get(name) or ""
            assert not value or value.startswith(("#", "data:")), (tag, name, value)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None and "default-src &#39;none&#39;" in policy[1]
    assert len(page) < 700_000


def test_a_twin_without_records_says_so(started, folder):
    page = write_twin_page(started, folder / "none.html").read_text(encoding="utf-8")
    text = Outline(page).text
    assert "Nothing is known of this patient yet" in text
    assert re.findall(r'<section id="(\w+)"', page) == [
        name for name in SECTIONS if name not in ("records", "updates")
    ]


def test_a_twin_that_can_be_used_and_one_in_doubt(started, folder):
    good = ht.update(started, {"t": 0.0, "y": 5.5})
    assert "This twin can be used" in Outline(write_twin_page(good, folder / "a.html").read_text()).text
    doubted = replace(good, steps=(replace(good.steps[-1], doubts=(FEW,)),))
    text = Outline(write_twin_page(doubted, folder / "b.html").read_text()).text
    assert "Do not rely on this twin yet" in text and "Not to be used yet" in text
    assert "Update 1 : only 12 effective particles Try Start the twin with more." in text


def test_doubts_of_one_kind_are_one_and_others_are_not_taken_for_it(twin):
    def heavy(k_hat: float) -> Doubt:
        found = f"weights with a heavy tail (k-hat {k_hat})"
        return Doubt("a heavy tail", found, "start the twin with more particles", is_lasting=True)

    def wide(name: str, *, is_lasting: bool) -> Doubt:
        return Doubt(f"Monte Carlo error of {name}", f"error of {name}", "", is_lasting)

    told = (heavy(0.72), wide("k_1", is_lasting=True)), (FEW,), (heavy(0.95), wide("k_2", is_lasting=False))
    steps = [replace(step, doubts=doubts) for step, doubts in zip(twin.steps, told, strict=True)]
    verdict = gather_twin_verdict(view_twin(replace(twin, steps=tuple(steps)), prob=0.9))
    found = {gate.name: gate.found for gate in verdict.gates if gate.state == "failed"}
    assert found["Updates 1, 3"] == "weights with a heavy tail (k-hat 0.95) (at the last of them)"
    assert "error of k_1" in found["Update 1"] and "error of k_2" in found["Update 3"]
    assert not any("12 effective" in words for words in found.values())  # mended since


def test_a_patient_of_the_fit_has_records_from_the_start(fit, folder):
    twin = ht.start_twin(fit, patient="fitted1", particles=300)
    page = write_twin_page(twin, folder / "fitted.html").read_text(encoding="utf-8")
    text = Outline(page).text
    assert text.count("from the start") == 6 and ">Light<" not in page
    assert "as the fit left it" in text and "surprising when it came" not in text
    assert "6 records, no update yet" in text and "At 1: what the fit says of this patient" in text
    assert list(files_of(page)["course.csv"]["update"].unique()) == [0, 1]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_text(fit, folder, name):
    twin = ht.start_twin(fit, patient=name, covariates={}, particles=50)
    twin = ht.update(twin, {"record": name, "t": 0.0, "y": 5.5})
    page = write_twin_page(twin, folder / "hostile.html", overwrite=True).read_text(encoding="utf-8")
    scripts = [tag for tag, _ in Outline(page).tags if tag == "script"]
    assert len(scripts) == 2 and not any(tag == "img" for tag, _ in Outline(page).tags)
    assert data_of(page, 'id="downloads-data"')[-1]["rows"][0][0] == name


def test_a_mechanism_without_time_has_a_course_and_no_forecast(folder):
    spec = ht.read_spec(ht.shipped_specs()["apoptosis_threshold"])
    frame = pd.read_csv(KILLS)
    chosen = frame[frame["tp53"].notna()]["id"].unique()[:4]
    fit = posited(spec, frame[frame["id"].isin(chosen)])
    twin = ht.start_twin(fit, patient=str(chosen[0]), particles=100)
    page = write_twin_page(twin, folder / "cells.html").read_text(encoding="utf-8")
    text = Outline(page).text
    assert "records and course" in text and "What to expect" not in text
    with pytest.raises(DataError, match="without time"):
        write_twin_page(twin, folder / "cells_until.html", until=3.0)
    axes = timeline_figure(view_twin(twin, prob=0.9), "viability").axes[0]
    axes.figure.draw_without_rendering()
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks[0] == "0" and len(ticks) > 3 and ticks[1:] == [f"{float(word):g}" for word in ticks[1:]]
    assert axes.get_xticks().min() == 0 and "mathdefault" not in page
    assert re.findall(r'<section id="(\w+)"', page)[1:3] == ["timeline", "parameters"]


def test_what_makes_no_page_is_refused(twin, folder):
    with pytest.raises(DataError, match="a time after 4"):
        write_twin_page(twin, folder / "new.html", until=3.0)
    with pytest.raises(DataError, match="a time after 4"):
        write_twin_page(twin, folder / "new.html", until="soon")
    with pytest.raises(SamplingError, match="prob"):
        write_twin_page(twin, folder / "new.html", prob=0.0)
    with pytest.raises(TwinError, match=r"ending in \.html"):
        write_twin_page(twin, folder / "new.txt")
    (folder / "there.html").write_text("mine")
    with pytest.raises(TwinError, match="a file that exists"):
        write_twin_page(twin, folder / "there.html")
    assert (folder / "there.html").read_text() == "mine"
