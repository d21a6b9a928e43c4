"""The benchmark's own arithmetic, and that the hand-written programs are the same posteriors.

Not part of the package's suite: ``pytest benchmarks`` runs it.
"""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pytest

from benchmarks.agreement import compare, reference_of
from benchmarks.cells import ENGINES, Cell, keep
from benchmarks.cohorts import write_table
from benchmarks.page import write_page
from benchmarks.plan import Request, _settled
from benchmarks.problems import PROBLEMS
from benchmarks.results import best_peer, exponent, read_groups
from benchmarks.tables import pad, read_arrays


def moments(mean: float, names: tuple[str, ...] = ("typical[0]", "effects[0]")) -> dict:
    size = len(names)
    return {
        "names": list(names),
        "mean": [mean] * size,
        "sd": [1.0] * size,
        "mcse": [0.02] * size,
        "ess": [2500.0] * size,
    }


def finished(cell: Cell, out, speed: float, *, rhat: float = 1.0, mean: float = 0.0, notes=()) -> None:
    seconds = {"import": 1.0, "build": 0.1, "compile": 2.0, "warmup": 1.0, "sampling": 1.0}
    plain = dict.fromkeys(
        ("ess_bulk_min", "ess_bulk_median", "ess_tail_min", "ess_tail_median", "wall_seconds", "peak_mb"),
        500.0,
    )
    result = {
        **plain,
        "status": "ok",
        "seconds": seconds,
        "divergences": 0,
        "rhat_max": rhat,
        "ess_per_second": speed,
        "ess_per_second_sampling": 2 * speed,
        "gradients_per_effective": 20.0,
        "moments": moments(mean),
        "notes": list(notes),
    }
    keep(cell, out, result)


def test_equal_posteriors_agree_and_a_shift_beyond_its_error_does_not():
    assert compare(moments(0.0), moments(0.05)).is_same
    apart = compare(moments(0.0), moments(0.5))
    assert not apart.is_same
    assert apart.z_max == pytest.approx(0.5 / np.hypot(0.02, 0.02))
    assert apart.shift_max == pytest.approx(0.5)


def test_the_best_peer_has_converged_and_is_not_ours(tmp_path):
    finished(Cell("growth", 20, "ours", 1), tmp_path, 900.0)
    finished(Cell("growth", 20, "stan-centered", 1), tmp_path, 100.0)
    finished(Cell("growth", 20, "nutpie-centered", 1), tmp_path, 300.0, rhat=1.4)
    groups = read_groups(tmp_path)
    assert best_peer(groups, "ess_per_second").engine == "stan-centered"
    assert reference_of([result for group in groups for result in group.done])["engine"] == "stan-centered"


def test_the_plan_repeats_only_peers_near_the_best(tmp_path):
    request = Request(tmp_path, ["growth"], [20, 200], list(ENGINES), None, 240.0)
    for engine, speed in (("stan-centered", 100.0), ("nutpie-centered", 90.0), ("stan-noncentered", 10.0)):
        finished(Cell("growth", 20, engine, 1), tmp_path, speed)
    assert _settled(request, Cell("growth", 20, "nutpie-centered", 2)) == ""
    assert "not repeated" in _settled(request, Cell("growth", 20, "stan-noncentered", 2))
    assert "10 times slower" in _settled(request, Cell("growth", 200, "stan-noncentered", 1))
    assert _settled(request, Cell("growth", 200, "stan-centered", 1)) == ""
    assert _settled(request, Cell("growth", 200, "ours", 3)) == ""


def test_what_is_left_out_once_stays_out_of_repeats_and_larger_cohorts(tmp_path):
    request = Request(tmp_path, ["growth"], [20, 200, 2000], list(ENGINES), 3, 240.0)
    keep(Cell("growth", 200, "stan-centered", 1), tmp_path, {"status": "left out", "note": "too slow at 20"})
    assert _settled(request, Cell("growth", 200, "stan-centered", 2)) == "too slow at 20"
    assert _settled(request, Cell("growth", 2000, "stan-centered", 1)) == "too slow at 20"


def test_the_page_says_the_ratio_and_is_the_same_when_written_again(tmp_path):
    finished(Cell("growth", 20, "ours", 1), tmp_path, 900.0)
    finished(Cell("growth", 20, "stan-centered", 1), tmp_path, 100.0)
    keep(Cell("growth", 20, "nutpie-centered", 1), tmp_path, {"status": "over limit", "limit_seconds": 240.0})
    first = write_page(tmp_path, tmp_path / "docs").read_text()
    picture = (tmp_path / "docs" / "benchmarks" / "ess_per_second.svg").read_text()
    assert "**9**" in first and "over 240 s" in first
    assert write_page(tmp_path, tmp_path / "docs").read_text() == first
    assert (tmp_path / "docs" / "benchmarks" / "ess_per_second.svg").read_text() == picture


def test_the_page_says_at_least_where_a_solver_did_not_end(tmp_path):
    """Four chains of 150 draws in 300 s: at most two effective draws a second."""
    finished(Cell("minimal", 20, "ours", 1), tmp_path, 100.0)
    slow = {"status": "over limit", "limit_seconds": 300.0}
    keep(Cell("minimal", 20, "stan-ode-noncentered", 1), tmp_path, slow)
    text = write_page(tmp_path, tmp_path / "docs").read_text()
    assert "would have 2 ESS/s" in text and "**50** times or more" in text


def test_a_method_of_ours_is_run_once_and_not_where_it_is_the_default(tmp_path):
    request = Request(tmp_path, ["growth"], [200], list(ENGINES), None, 240.0)
    finished(Cell("growth", 200, "ours", 1), tmp_path, 900.0, notes=["marginal"])
    assert "by itself" in _settled(request, Cell("growth", 200, "ours-marginal", 1))
    assert _settled(request, Cell("growth", 200, "ours-joint", 1)) == ""
    assert "once" in _settled(request, Cell("growth", 200, "ours-joint", 2))
    assert _settled(request, Cell("growth", 200, "ours", 2)) == ""


def test_twins_have_a_page_of_their_own(tmp_path):
    (tmp_path / "twins").mkdir()
    (tmp_path / "twins" / "many.json").write_text(json.dumps([{"many": "growth", "patients": 10000}]))
    write_page(tmp_path, tmp_path / "docs")
    assert "patients 10,000" in (tmp_path / "docs" / "benchmarks-twins.md").read_text()


def test_padding_keeps_each_patients_rows_in_order():
    patient = np.array([0, 0, 1, 2, 2, 2])
    padded = pad(patient, np.arange(6.0), fill=-1.0)
    np.testing.assert_array_equal(padded, [[0, 1, -1], [2, -1, -1], [3, 4, 5]])


def test_an_exponent_is_a_slope_on_logarithms():
    assert exponent([10, 100, 1000], [3, 30, 300]) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize("key", PROBLEMS)
@pytest.mark.parametrize("is_centered", [True, False])
def test_numpyro_and_pymc_programs_have_one_density(key, is_centered, tmp_path):
    import jax
    from numpyro.infer.util import log_density

    data = read_arrays(key, write_table(key, 6, tmp_path / "table.csv"))
    program = import_module(f"benchmarks.models.{key}.numpyro_model").model
    model = import_module(f"benchmarks.models.{key}.pymc_model").build(data, is_centered=is_centered)
    density, start = model.compile_logp(jacobian=False), model.initial_point()
    rng = np.random.default_rng(1)
    differences = []
    with jax.enable_x64(True):
        for _ in range(3):
            moved = {name: value + 0.1 * rng.standard_normal(value.shape) for name, value in start.items()}
            other, _ = log_density(program, (data,), {"is_centered": is_centered}, _natural(moved))
            differences.append(float(other) - float(density(moved)))
    # Constants may differ (priors of a sum, the parts of a factor); nothing else may.
    np.testing.assert_allclose(differences, differences[0], atol=1e-3)


def _natural(point: dict) -> dict:
    """PyMC's transformed values as the natural ones NumPyro is given."""
    changed = {}
    for name, value in point.items():
        if name.endswith("_log__"):
            changed[name.removesuffix("_log__")] = np.exp(value)
        elif name.endswith("_logodds__"):
            changed[name.removesuffix("_logodds__")] = 1 / (1 + np.exp(-value))
        else:
            changed[name] = value
    return changed


def test_results_are_json_with_their_cell(tmp_path):
    finished(Cell("linear", 20, "ours", 2), tmp_path, 1.0)
    kept = json.loads((tmp_path / "linear-20-ours-2.json").read_text())
    assert (kept["problem"], kept["patients"], kept["repeat"]) == ("linear", 20, 2)
