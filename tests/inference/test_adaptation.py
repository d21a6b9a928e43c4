"""What a fit hands on to the next one of the same spec: kept, found by name, used, and refused elsewhere."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

import hierarchical_twin as ht
from hierarchical_twin.graph.blocks import mark_population
from hierarchical_twin.inference.adaptation import Learned, geometry_from, learn, learned_from
from hierarchical_twin.inference.geometry import Geometry
from inference.models import LINEAR, linear_model, sleep_model, unequal_patients

quick = partial(ht.sample, chains=2, draws=40, seed=1, device="cpu", progress=False)

SITES = LINEAR.replace("patient: {sd", "site: {sd: HalfNormal(5)}\n  patient: {sd").replace(
    'sd=20)", formula: "1 + (1 | patient)"', 'sd=20)", formula: "1 + (1 | patient) + (1 | site)"'
)


def model_of_sites(names: str) -> ht.Model:
    """Four patients at each site."""
    rng = np.random.default_rng(len(names))
    rows = [
        (f"{site}{patient}", site, t, 5 + 2 * t + rng.standard_normal())
        for site in names
        for patient in range(4)
        for t in (0.0, 1.0, 2.0, 4.0)
    ]
    spec = ht.parse_spec(SITES)
    return ht.build(spec, ht.read_cohort(pd.DataFrame(rows, columns=["id", "site", "t", "y"]), spec))


@pytest.fixture(scope="module")
def line() -> ht.Model:
    return linear_model(LINEAR, unequal_patients())


def test_what_is_kept_is_the_posterior_of_the_population(unequal_fit, line):
    learned = learned_from(unequal_fit, line)
    posterior = unequal_fit.tree["posterior"].to_dataset()
    place = {name: number for number, name in enumerate(learned.names)}
    drawn = {
        "slope_typical": posterior["slope_typical"].values,
        "omega[intercept]": np.log(posterior["omega"].sel(effect="intercept").values),
        "sigma_y": np.log(posterior["sigma_y"].values),
    }
    covariance = learned.root @ learned.root.T
    for name, values in drawn.items():
        assert learned.center[place[name]] == pytest.approx(values.mean())
        assert covariance[place[name], place[name]] == pytest.approx(values.var())
    pair = np.cov(drawn["slope_typical"].ravel(), drawn["sigma_y"].ravel())[0, 1]
    assert covariance[place["slope_typical"], place["sigma_y"]] == pytest.approx(pair, rel=0.02, abs=1e-9)
    assert learned.step_size.shape == (2,) and (learned.step_size > 0).all()
    assert not any("p0" in name for name in learned.names), "patients are no part of it"


def test_it_survives_the_file(unequal_fit, line, tmp_path):
    opened = learned_from(ht.open_fit(unequal_fit.save(tmp_path / "fit.nc")), line)
    kept = learned_from(unequal_fit, line)
    assert opened.names == kept.names and opened.hash == kept.hash
    assert np.array_equal(opened.step_size, kept.step_size)


def test_coordinates_are_matched_by_name(line):
    size = int(mark_population(line).sum())
    pilot = Geometry(np.zeros(size), np.diag(np.arange(1.0, size + 1)), np.zeros((2, 3)), np.ones((2, 3)))
    root = np.array([[2.0, 0.0], [1.0, 3.0]])
    learned = Learned(("sigma_y", "slope_typical"), np.array([7.0, 8.0]), root, np.ones(1))
    found = geometry_from(learned, pilot, line)
    assert sorted(found.center.tolist()) == [0.0] * (size - 2) + [7.0, 8.0]
    slope, sigma = (found.center.tolist().index(value) for value in (8.0, 7.0))
    covariance = found.root @ found.root.T
    assert covariance[sigma, sigma] == pytest.approx(4)
    assert covariance[slope, sigma] == pytest.approx(2)
    assert covariance[slope, slope] == pytest.approx(10)
    for other in set(range(size)) - {slope, sigma}:
        assert covariance[other, other] == pytest.approx((other + 1) ** 2)
        assert covariance[other, slope] == pytest.approx(0)


def test_sites_are_told_apart_by_label():
    first, second = model_of_sites("ab"), model_of_sites("bcd")
    points = np.random.default_rng(0).standard_normal((2, 30, int(mark_population(first).sum())))
    learned = learn(first, points, {"step_size": np.ones((2, 30))})
    seen = [name for name in learned.names if name.startswith("z_site")]
    assert seen == ["z_site[a,intercept]", "z_site[b,intercept]"]
    size = int(mark_population(second).sum())
    plain = Geometry(np.full(size, 99.0), np.eye(size), np.zeros((2, 12)), np.ones((2, 12)))
    center = geometry_from(learned, plain, second).center
    assert (center == 99.0).sum() == 2, "the two sites that the old fit has not seen"
    assert learned.center[learned.names.index(seen[1])] in center
    assert learned.center[learned.names.index(seen[0])] not in center


def test_too_few_draws_for_a_covariance(line):
    """One draw teaches nothing; fewer draws than coordinates still give a scale."""
    point = np.random.default_rng(0).standard_normal((1, 3, int(mark_population(line).sum())))
    stats = {"step_size": np.ones((1, 3))}
    assert learn(line, point[:, :1], stats).names == ()
    few = learn(line, point, stats)
    assert len(few.names) == mark_population(line).sum()
    assert (np.linalg.eigvalsh(few.root @ few.root.T) > 0).all()


def test_a_warm_run_starts_from_it(unequal_fit):
    """A shorter warm-up by default; the same posterior; other draws than from the pilot's scales."""
    newer = linear_model(LINEAR, unequal_patients()[:-40])
    warm = quick(newer, start_from=unequal_fit, draws=400)
    cold = quick(newer, warmup=100, draws=400)
    assert warm.attributes["warmup"] == 100
    one, other = (fit.tree["posterior"]["slope_typical"].values for fit in (warm, cold))
    assert not np.array_equal(one, other)
    assert one.mean() == pytest.approx(other.mean(), abs=other.std())


def test_a_resumed_run_needs_the_same_start(unequal_fit, line, tmp_path):
    quick(line, warmup=20, start_from=unequal_fit, checkpoint=tmp_path)
    with pytest.raises(ht.SamplingError, match="start_from: got 'none'"):
        quick(line, warmup=20, checkpoint=tmp_path, resume=True)


def test_what_is_refused(unequal_fit, line):
    with pytest.raises(ht.SamplingError, match="start_from: got a fit of another spec"):
        quick(sleep_model(3), start_from=unequal_fit)
    with pytest.raises(ht.SamplingError, match="got a str; expected a Fit"):
        quick(line, start_from="fit.nc")
    tree = unequal_fit.tree.copy()
    del tree["adaptation"]
    with pytest.raises(ht.SamplingError, match="a fit without its adaptation"):
        quick(line, start_from=ht.Fit(tree))
