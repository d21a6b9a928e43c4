"""The report page as a file: what it says, what it keeps out, what it does without."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from hierarchical_twin.analysis.diagnostics import diagnose
from hierarchical_twin.analysis.prediction import Prediction
from hierarchical_twin.analysis.visual_check import visual_check
from hierarchical_twin.errors import DataError, SamplingError, TwinError
from hierarchical_twin.report.page import write_report
from hierarchical_twin.report.page.checks import visual_gate
from hierarchical_twin.report.page.gates import coverage_gates, error_gates
from hierarchical_twin.report.page.numbers import plain, span
from hierarchical_twin.report.page.predicted import curve_grid
from hierarchical_twin.report.page.pseudonyms import choose_pseudonyms, rename_patients, rename_prediction
from hierarchical_twin.report.page.render import embedded

from .conftest import sleep_fit
from .page_fits import HOSTILE, bad, text_of, xenografts

SHUFFLED = (7, 2, 11, 1, 9, 4, 12, 3, 10, 6, 8, 5)


class Outline(HTMLParser):
    """Tags with their attributes, and the text of the page without scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        if not self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def page():
    return text_of("mice")


def data_of(text: str, start: str) -> object:
    """JSON of a data element of the page."""
    place = text.index(">", text.index(start)) + 1
    return json.loads(text[place : text.index("</script>", place)])


def test_sections_are_in_reading_order(page):
    found = re.findall(r'<section id="(\w+)"', page)
    assert found == [
        "verdict", "summary", "model", "data", "population", "patients", "patient", "checks", "sensitivity",
        "reproducibility",
    ]  # fmt: skip


def test_summary_says_cohort_and_findings_in_words(page):
    text = Outline(page).text
    assert "8 patients, 102 measurements of volume from time 0 to 30 day" in text
    row = xenografts().population().set_index("parameter").loc["r_typical"]
    assert f"The typical r is {plain(row['median'])} 1/day (90% equal-tailed interval" in text
    assert "Exponential tumor growth from serial volumes" in text


def test_every_population_number_is_the_fits(page):
    text = Outline(page).text
    for _, row in xenografts().population().iterrows():
        assert plain(row["median"]) in text and span(row["lower"], row["upper"]) in text


def test_estimates_in_the_page_are_the_fits(page):
    data = data_of(page, 'id="patients-data"')
    table = xenografts().intervals().set_index(["patient", "parameter"])
    names = [one["name"] for one in data["head"]["parameters"]]
    for label, count, _, estimates, _ in data["rows"]:
        assert count > 5
        for name, values in zip(names, estimates, strict=True):
            found = dict(zip(data["head"]["statistics"], values, strict=True))
            for word in ("mean", "median", "lower", "upper", "sd"):
                np.testing.assert_allclose(found[word], table.loc[(label, name), word], rtol=1e-5)


def test_each_patient_has_rows_a_curve_and_a_journey(page):
    head = data_of(page, 'id="patients-data"')["head"]
    details = data_of(page, 'class="patients-block"')
    assert len(details) == 8
    place = head["row_columns"].index("DV")
    for rows, curves, journeys in details:
        assert len(rows[0][place]) == len(rows[0][0]) > 5
        curve = dict(zip(head["curve_columns"], curves[0], strict=True))
        assert len(curve["place"]) > 10 and curve["place"] == sorted(curve["place"])
        assert all(low < new for low, new in zip(curve["lower_new"], curve["median"], strict=True))
        assert all(a <= b for a, b in zip(curve["lower"], curve["upper"], strict=True))
        assert sum(journey is not None for journey in journeys) == 2


def test_downloads_hold_the_tables_in_full(page):
    files = {one["name"]: one for one in data_of(page, 'id="downloads-data"')}
    frame = pd.DataFrame(files["population.csv"]["rows"], columns=files["population.csv"]["columns"])
    expected = xenografts().population()
    np.testing.assert_array_equal(frame["median"].to_numpy(float), expected["median"].to_numpy())
    assert files["spec.yaml"]["text"] == xenografts().spec_text


def test_nothing_is_asked_of_the_network(page):
    outline = Outline(page)
    for tag, attributes in outline.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            value = attributes.get(name) or ""
            assert not value or value.startswith(("#", "data:")), (tag, name, value)
    assert "@import" not in page and not re.search(r"url\((?!#)", page)
    policy = next(a["content"] for t, a in outline.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


def test_no_element_has_a_handler_and_ids_are_unique(page):
    tags = Outline(page).tags
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_pictures_take_the_pages_colours_and_have_words(page):
    pictures = [attributes for tag, attributes in Outline(page).tags if tag == "svg"]
    assert len(pictures) >= 8
    assert all(len(one["aria-label"]) > 40 and one["role"] == "img" for one in pictures)
    svg = page[page.index("<svg") : page.rindex("</svg>")]
    assert "var(--pooled)" in svg and "#0072b2" not in svg.lower().replace("--pooled: #0072b2", "")


def test_hostile_names_do_not_reach_the_markup():
    text = text_of("hostile")
    outline = Outline(text)
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in outline.tags)
    assert sum(tag == "script" and "type" not in a for tag, a in outline.tags) == 1
    labels = {row[0] for row in data_of(text, 'id="patients-data"')["rows"]}
    assert labels == set(HOSTILE)
    assert "49" not in re.findall(r">(49)<", text)


def test_embedded_json_cannot_end_its_element():
    value = {"</script>": ["<!--", "\u2028", "&lt;", float("1.5"), None]}
    text = embedded(value)
    assert "<" not in text and ">" not in text and "\u2028" not in text
    assert json.loads(text) == value


def test_the_script_never_parses_markup(page):
    script = page[page.rindex("<script>") : page.rindex("</script>")]
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "fetch(",
        "import(",
    ):
        assert word not in script
    assert "</" not in script.removeprefix("<script>")


def test_a_bad_fit_begins_with_what_is_wrong():
    assert not bad().diagnostics().is_trustworthy
    text = text_of("bad")
    words = Outline(text).text
    verdict = words.index("Do not use these numbers yet")
    assert verdict < words.index("Question")
    failed = diagnose(bad().tree).failures
    assert failed
    for check in failed:
        place = words.index(check.found)
        assert verdict < place < words.index("What was found")
        assert check.advice[1:40] in words
    assert words.count("Not to be used yet.") == 2


def test_a_good_fit_says_so_first(page):
    words = Outline(page).text
    assert words.index("These numbers can be used") < words.index("What was found")


def test_pseudonyms_keep_every_label_out():
    text = text_of("hidden")
    labels = {row[0] for row in data_of(text, 'id="patients-data"')["rows"]}
    assert labels == {f"P{number}" for number in range(1, 7)}
    for label in HOSTILE:
        assert label not in text and json.dumps(label)[1:-1] not in text and embedded(label)[1:-1] not in text


def test_pseudonyms_by_table(folder, tmp_path):
    fit = sleep_fit(patients=8, draws=40)
    table = tmp_path / "names.csv"
    labels = fit.tree["posterior"]["patient"].values.astype(str)
    names = [f"Anna {number}" for number in range(8)]
    pd.DataFrame({"patient": labels, "pseudonym": names}).to_csv(table, index=False)
    text = write_report(fit, folder / "named.html", pseudonyms=table).read_text(encoding="utf-8")
    assert [row[0] for row in data_of(text, 'id="patients-data"')["rows"]] == names


def test_pseudonyms_must_name_everybody_once(tmp_path):
    fit = sleep_fit(patients=4, draws=20)
    with pytest.raises(DataError, match="no name for patient '303'"):
        choose_pseudonyms(fit, {"300": "a", "301": "b", "302": "c"})
    with pytest.raises(DataError, match="more than one patient"):
        choose_pseudonyms(fit, {"300": "a", "301": "a", "302": "c", "303": "d"})
    with pytest.raises(DataError, match="cannot be read"):
        choose_pseudonyms(fit, tmp_path / "missing.csv")
    assert sorted(choose_pseudonyms(fit, True).values()) == ["P1", "P2", "P3", "P4"]


def test_numbers_are_drawn_anew_and_do_not_follow_the_labels():
    fit = sleep_fit(patients=60, draws=20)
    first, second = choose_pseudonyms(fit, True), choose_pseudonyms(fit, True)
    assert sorted(first.values()) == sorted(second.values()) == [f"P{number:02d}" for number in range(1, 61)]
    assert first != second
    assert list(first) != sorted(first)


def test_renamed_patients_are_in_the_order_of_their_new_names():
    fit = sleep_fit(patients=12, draws=20)
    names = choose_pseudonyms(fit, {str(300 + n): f"P{place:02d}" for n, place in enumerate(SHUFFLED)})
    renamed = rename_patients(fit, names)
    for group in ("posterior", "no_pooling"):
        old, new = fit.tree[group]["slope"], renamed.tree[group]["slope"]
        assert list(new["patient"].values) == sorted(names.values())
        for label, name in names.items():
            np.testing.assert_array_equal(new.sel(patient=name).values, old.sel(patient=label).values)
    old, new = fit.tree["observed_data"]["reaction"], renamed.tree["observed_data"]["reaction"]
    assert list(new["patient_reaction"].values) == sorted(new["patient_reaction"].values)
    predictive = [one.tree["posterior_predictive"]["reaction"].values for one in (fit, renamed)]
    for label, name in names.items():
        before, after = old["patient_reaction"].values == label, new["patient_reaction"].values == name
        np.testing.assert_array_equal(new.values[after], old.values[before])
        np.testing.assert_array_equal(new["time_reaction"].values[after], old["time_reaction"].values[before])
        np.testing.assert_array_equal(predictive[1][..., after], predictive[0][..., before])


def test_a_renamed_prediction_is_in_the_order_of_the_new_names():
    rows = pd.DataFrame({"patient": ["a", "a", "b", "c", "c", "a"], "outcome": [*"yyyyyz"]})
    rows = rows.assign(is_new=False, time=[0.0, 1, 0, 0, 1, 0], DV=np.arange(6.0), censored=0)
    draws, people = np.arange(12.0).reshape(2, 6), pd.DataFrame({"patient": [*"abc"], "is_new": False})
    made = Prediction(
        rows, draws, draws, draws, draws, draws, people, {"k": np.array([[1.0, 2, 3]])}, {"k": "1"}, {}
    )
    renamed = rename_prediction(made, {"a": "P3", "b": "P1", "c": "P2"})
    assert list(renamed.rows["patient"]) == ["P1", "P2", "P2", "P3", "P3", "P3"]
    assert list(renamed.rows["DV"]) == [2, 3, 4, 0, 1, 5]
    np.testing.assert_array_equal(renamed.replicates[0], renamed.rows["DV"])
    assert list(renamed.patients["patient"]) == ["P1", "P2", "P3"]
    np.testing.assert_array_equal(renamed.parameters["k"], [[2, 3, 1]])


def test_a_page_with_numbers_does_not_tell_the_order_of_the_fit(folder):
    fit = sleep_fit(patients=40, draws=20)
    own = fit.intervals("slope", prob=0.9)["mean"].to_numpy()
    orders = []
    for name in ("once", "twice"):
        path = write_report(fit, folder / f"{name}.html", pseudonyms=True)
        data = data_of(path.read_text(encoding="utf-8"), 'id="patients-data"')
        labels = [row[0] for row in data["rows"]]
        assert labels == [f"P{number:02d}" for number in range(1, 41)]
        at = [one["name"] for one in data["head"]["parameters"]].index("slope")
        means = np.array([row[3][at][0] for row in data["rows"]])
        np.testing.assert_allclose(np.sort(means), np.sort(own), rtol=1e-5)
        orders.append(np.argsort(means))
        assert (orders[-1] != np.argsort(own)).any()
    assert (orders[0] != orders[1]).any()


def test_a_fit_without_its_table_says_what_is_not_there():
    text = text_of("old")
    words = Outline(text).text
    assert "Visual predictive check, NPDE and residuals: not here." in words
    assert "Curves between measurements, residuals and the population’s curve: not here." in words.replace(
        "'", "’"
    )
    assert "Prior beside posterior: not here." in words
    head = data_of(text, 'id="patients-data"')["head"]
    assert "lower_new" in head["row_columns"] and "NPDE" not in head["row_columns"]
    assert data_of(text, 'class="patients-block"')[0][1] == [[]]


@pytest.mark.slow
def test_a_fit_of_summaries_has_a_page(folder):
    import hierarchical_twin as ht

    fit = xenografts()
    spec = ht.parse_spec(fit.spec_text, "spec")
    cohort = ht.read_cohort(_table(), spec)
    summary = ht.sample(
        ht.build(spec, cohort),
        patients="summary",
        draws=200,
        warmup=300,
        seed=1,
        device="cpu",
        progress=False,
    )
    text = write_report(summary, folder / "summary.html").read_text(encoding="utf-8")
    words = Outline(text).text
    assert "keeps statistics of" in words and "Leave-one-observation-out: not here." in words
    rows = data_of(text, 'id="patients-data"')["rows"]
    assert len(rows) == 8 and rows[0][2] is None


def _table() -> pd.DataFrame:
    from .page_fits import CASES

    return pd.read_csv(CASES / "tumor_growth" / "lung_xenograft_control.csv").astype({"id": str})


def test_where_it_may_not_be_written(tmp_path):
    fit = sleep_fit(patients=3, draws=20)
    (tmp_path / "there.html").touch()
    with pytest.raises(TwinError, match="a file that exists"):
        write_report(fit, tmp_path / "there.html")
    with pytest.raises(TwinError, match=r"a name ending in \.html"):
        write_report(fit, tmp_path / "mice.pdf")
    with pytest.raises(TwinError, match="does not exist"):
        write_report(fit, tmp_path / "nowhere" / "mice.html")
    with pytest.raises(SamplingError, match=r"did you mean 0\.9"):
        write_report(fit, tmp_path / "other.html", prob=90)


def test_the_same_fit_gives_the_same_page(folder):
    again = write_report(sleep_fit(), folder / "again.html").read_text(encoding="utf-8")
    old = text_of("old")
    first = next((at for at, pair in enumerate(zip(again, old, strict=False)) if pair[0] != pair[1]), 0)
    assert again == old, (again[first - 80 : first + 80], old[first - 80 : first + 80])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0942, "0.0942"), (1240.4, "1,240"), (0, "0"), (-3.14159, "−3.14"), (1.234e-6, "1.23 × 10⁻⁶"),
        (float("nan"), "–"), (99.96, "100"), (2.5e9, "2.50 × 10⁹"),
    ],
)  # fmt: skip
def test_numbers_are_written_plainly(value, text):
    assert plain(value) == text


def test_curve_grid_is_dense_where_measurements_are():
    place = np.concatenate([np.linspace(0, 1, 50), [100.0]])
    grid = curve_grid(place)
    assert (np.diff(grid) > 0).all() and grid[0] == 0 and grid[-1] == 105
    assert (grid <= 1).sum() > 10


def rows_of(values, low, high, **columns) -> pd.DataFrame:
    count = len(values)
    return pd.DataFrame(
        {
            "outcome": "y",
            "DV": values,
            "lower_new": low,
            "upper_new": high,
            "censored": 0,
            "place": np.arange(count),
            **columns,
        }
    )


def test_coverage_gate_lights():
    rng = np.random.default_rng(1)
    values = rng.normal(size=400)
    lights = [
        coverage_gates(rows_of(values, -width, width), 0.9)[0].state for width in (1.645, 1.2, 0.3, 4.0)
    ]
    assert lights == ["passed", "attention", "failed", "passed"]


def test_wide_bands_are_no_fault_and_a_censored_row_is_inside_where_it_may_be():
    inside = rows_of(np.zeros(200), -1.0, 1.0)
    assert coverage_gates(inside, 0.9)[0].state == "passed"
    assert coverage_gates(inside, 0.9)[0].found == "100 % of 200 measurements inside"
    for side, limit, expected in (
        (1, 5.0, "passed"),
        (1, -5.0, "failed"),
        (-1, -5.0, "passed"),
        (-1, 5.0, "failed"),
    ):
        half = pd.concat([inside, rows_of(np.full(200, limit), -1.0, 1.0).assign(censored=side)])
        assert coverage_gates(half, 0.9)[0].state == expected, (side, limit)


def test_visual_gate_goes_by_the_simulated_trials():
    """Percentiles that all share one patient-wide shift are outside together, in trials as in the data."""
    rng = np.random.default_rng(3)
    shift, noise = rng.normal(size=(400, 1)), 0.05 * rng.normal(size=(400, 120))
    trials = 10 + shift + noise

    def gate(value: float, new: np.ndarray):
        rows = pd.DataFrame({"patient": np.repeat([f"p{n}" for n in range(20)], 6), "outcome": "y"})
        rows = rows.assign(is_new=False, time=np.tile(np.arange(6.0), 20), DV=value + noise[0], censored=0)
        people = pd.DataFrame({"patient": [f"p{n}" for n in range(20)], "is_new": False})
        made = Prediction(rows, new, new, new, new, new, people, {}, {"y": "1"}, {"y": "normal"})
        check = visual_check(made, "y", prob=0.95)
        return visual_gate(check), check

    # Outside by a little: a binomial of 18 independent percentiles would call that impossible, and fail it.
    some, check = gate(12.1, trials)
    assert check.outside == 18 and 0.01 < check.tail_probability < 0.05 and some.state == "attention"
    far, check = gate(16.0, 10 + noise)
    assert check.tail_probability == 0 and far.state == "failed"
    broken, check = gate(10.0, np.where(np.arange(120) % 6 == 0, np.nan, trials))
    assert check.without_band == 3 and broken.state == "attention" and "not numbers" in broken.advice


def test_npde_and_trend_gates():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=300)
    right = error_gates(rows_of(scores, -1, 1, NPDE=scores, IWRES=scores))
    assert [gate.state for gate in right] == ["passed", "passed"]
    wrong = error_gates(rows_of(scores, -1, 1, NPDE=scores + 1, IWRES=scores - 1.0 * (np.arange(300) < 100)))
    assert [gate.state for gate in wrong] == ["failed", "attention"]
    assert "higher" in wrong[0].advice and "−" in wrong[1].advice
