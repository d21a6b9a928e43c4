"""Saving and opening: everything comes back, nothing is left half-written, bad files are refused."""

import numpy as np
import pytest
import xarray as xr

from hierarchical_twin.errors import SamplingError
from hierarchical_twin.inference.fit import FIT_VERSION, Fit, open_fit


@pytest.fixture
def fit() -> Fit:
    """A fit whose variables are not in alphabetical order."""
    rng = np.random.default_rng(0)
    draws = (("chain", "draw", "patient"), rng.normal(size=(2, 30, 3)))
    posterior = xr.Dataset({"r": draws, "K": draws, "V_0": draws}, {"patient": ["ä", "b", "c"]})
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((2, 30), dtype=bool))})
    tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    tree.attrs = {"spec": "spec: 1\nname: ü\n", "seed": 7, "wall": 1.5, "unit": '{"r": "1/day"}'}
    return Fit(tree)


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_round_trip(fit, tmp_path, suffix):
    path = fit.save(tmp_path / f"fit.{suffix}")
    found = open_fit(path)
    for group in ("posterior", "sample_stats"):
        xr.testing.assert_identical(found.tree[group].to_dataset(), fit.tree[group].to_dataset())
    assert list(found.tree["posterior"].data_vars) == ["r", "K", "V_0"]
    assert dict(found.attributes) == dict(fit.attributes)
    assert found.spec_text == "spec: 1\nname: ü\n"
    assert found.intervals().equals(fit.intervals())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_saving_an_opened_fit_over_itself(fit, tmp_path, suffix):
    path = fit.save(tmp_path / f"fit.{suffix}")
    open_fit(path).save(path)
    assert open_fit(path).intervals().equals(fit.intervals())


@pytest.mark.parametrize(("suffix", "writer"), [("nc", "to_netcdf"), ("zarr", "to_zarr")])
def test_a_failing_save_leaves_the_old_fit(fit, tmp_path, monkeypatch, suffix, writer):
    path = fit.save(tmp_path / f"fit.{suffix}")
    whole = getattr(xr.DataTree, writer)

    def write_then_fail(tree, *arguments, **options):
        whole(tree, *arguments, **options)
        raise RuntimeError("disk full")

    monkeypatch.setattr(xr.DataTree, writer, write_then_fail)
    with pytest.raises(RuntimeError, match="disk full"):
        fit.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert open_fit(path).intervals().equals(fit.intervals())


def test_no_such_file_names_the_nearest(fit, tmp_path):
    fit.save(tmp_path / "fit.nc")
    with pytest.raises(SamplingError, match=r"no such file.*did you mean 'fit\.nc'"):
        open_fit(tmp_path / "fitt.nc")
    with pytest.raises(SamplingError, match="its folder does not exist"):
        open_fit(tmp_path / "nowhere" / "fit.nc")


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_nonsense_is_not_a_fit(tmp_path, suffix):
    path = tmp_path / f"fit.{suffix}"
    path.write_bytes(b"not a fit at all")
    with pytest.raises(SamplingError, match="cannot be read"):
        open_fit(path)


def test_truncated_file(fit, tmp_path):
    path = fit.save(tmp_path / "fit.nc")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SamplingError, match="cannot be read"):
        open_fit(path)


def test_another_netcdf_is_not_a_fit(tmp_path):
    xr.Dataset({"x": ("a", np.zeros(3))}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(SamplingError, match="not a fit"):
        open_fit(tmp_path / "other.nc")


@pytest.mark.parametrize("version", [FIT_VERSION + 1, "two"])
def test_another_version(fit, tmp_path, version):
    fit.tree.attrs["hierarchical_twin_fit"] = version
    fit.tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with pytest.raises(SamplingError, match=f"a fit of version {version}; expected version {FIT_VERSION}"):
        open_fit(tmp_path / "fit.nc")


def test_unknown_suffix(fit, tmp_path):
    with pytest.raises(SamplingError, match=r"a name ending in \.nc or \.zarr"):
        fit.save(tmp_path / "fit.pickle")


def test_a_tree_without_posterior_is_refused():
    with pytest.raises(SamplingError, match="a group named 'posterior'"):
        Fit(xr.DataTree()).intervals()


def test_attributes_cannot_be_changed(fit):
    with pytest.raises(TypeError):
        fit.attributes["seed"] = 2
