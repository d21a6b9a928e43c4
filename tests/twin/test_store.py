"""Twins in a folder: the same to the bit when opened, whole after any crash, never lost to another writer."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from prediction.models import LINE, line_rows

import hierarchical_twin as ht
from hierarchical_twin.analysis import files
from hierarchical_twin.twin import folder as folder_module
from hierarchical_twin.twin import kept, kept_population, store
from hierarchical_twin.twin.kept import TWIN_VERSION, read_twin
from hierarchical_twin.twin.particles import Particles
from hierarchical_twin.twin.store import TwinStore
from hierarchical_twin.twin.twin import Doubt, Step, Surprise, Twin
from twin.posited import posited

HOSTILE = (
    "../../outside",
    "/etc/passwd",
    "a/b\\c",
    "Anna",
    "anna",
    "ANNA ",
    ".hidden",
    "con",
    "m1.npz",
    "Ω 患者 7",
    "e\u0301",
    "\u00e9",
    "x" * 300,
    'a"b<c>|?*:\n',
    "*",
)
CASES = Path(__file__).parents[2] / "case_studies"
SHIPPED = {
    "apoptosis_threshold": "apoptosis_threshold/cll_exvivo_fludarabine_nutlin3.csv",
    "apoptosis_threshold_nutlin3": "apoptosis_threshold/cll_exvivo_fludarabine_nutlin3.csv",
    "glucose_minimal_model": "glucose_minimal_model/simulated_cohort.csv",
    "glucose_minimal_model_single": "glucose_minimal_model/fsigt_pacini_bergman.csv",
    "prodrug_activation": "prodrug_activation/losartan_cyp2c9_arms.csv",
    "sleep": "sleep/sleepstudy.csv",
    "tumor_growth": "tumor_growth/lung_xenograft_control.csv",
}
NEW = {"age": 50.0, "site": "s1"}
FEW = Doubt("few effective particles", "only 30 effective particles", "start with more", is_lasting=False)


@pytest.fixture(scope="module")
def fit() -> ht.Fit:
    """Lines with a covariate and sites."""
    return posited(ht.parse_spec(LINE), line_rows(6))


@pytest.fixture(scope="module")
def started(fit) -> dict[str, Twin]:
    """A patient of the fit, and two new ones."""
    rows = pd.DataFrame([{"id": label, **NEW} for label in ("n1", "n2")])
    twins = [*ht.start_twins(fit, rows=rows, particles=40, seed=3)]
    twins += ht.start_twins(fit, patients=["p2"], particles=40, seed=3)
    return {twin.patient: twin for twin in twins}


@pytest.fixture
def folder(fit, tmp_path) -> Path:
    """An empty store."""
    return TwinStore.create(tmp_path / "twins", fit).folder


def learned(twin: Twin, record: str, value: float = 1.0, *, corrects: bool = False) -> Twin:
    """A twin with one more record and a step for it, without the work of an update."""
    row = {**dict.fromkeys(twin.records.columns), "record": record, "t": 2.0, "y": value}
    frame = twin.records[twin.records["record"] != record]
    surprise = Surprise(record, "y", 2.0, value, 0.001 if value > 50 else 0.4)
    table = pd.DataFrame({"parameter": ["slope"], "mean": [value], "sd": [0.1]})
    names = ((), (record,)) if corrects else ((record,), ())
    step = Step(*names, (), (), (surprise,), 30.0, 20.0, float("nan"), 1, 0.25, -1.5, table, (FEW,))
    return replace(
        twin,
        records=pd.concat([frame, pd.DataFrame([row], dtype=object)], ignore_index=True).astype(object),
        steps=(*twin.steps, step),
    )


def assert_same(one: Twin, other: Twin) -> None:
    """Every value of two twins is the same, to the bit, and of the same type."""
    assert (one.patient, one.seed, one.revision) == (other.patient, other.seed, other.revision)
    assert dict(one.static) == dict(other.static)
    pairs = [
        *((one.particles[at], other.particles[at]) for at in (0, 1, 3)),
        (one.particles.outer, other.particles.outer),
        (one.arrays, other.arrays),
        (one.parameters, other.parameters),
        (one.population.draws, other.population.draws),
        (one.population.root, other.population.root),
    ]
    for left, right in pairs:
        named = left if isinstance(left, dict) else {"": left}
        others = right if isinstance(right, dict) else {"": right}
        assert set(named) == set(others)
        for name, value in named.items():
            assert value.dtype == others[name].dtype and value.shape == others[name].shape
            assert value.tobytes() == others[name].tobytes(), name
    assert list(one.parameters) == list(other.parameters)
    pd.testing.assert_frame_equal(one.records, other.records, check_dtype=False)
    for left, right in zip(one.records.to_numpy().ravel(), other.records.to_numpy().ravel(), strict=True):
        assert type(left) is type(right)
    for left, right in zip(one.steps, other.steps, strict=True):
        pd.testing.assert_frame_equal(left.parameters, right.parameters)
        for name in {one.name for one in fields(Step)} - {"parameters"}:
            pair = getattr(left, name), getattr(right, name)
            assert repr(pair[0]) == repr(pair[1]) and type(pair[0]) is type(pair[1]), name
    assert dict(one.population.provenance) == dict(other.population.provenance)


@pytest.mark.parametrize("patient", ["n1", "p2"])
def test_an_opened_twin_is_the_one_that_was_saved(folder, started, patient):
    twin = learned(learned(started[patient], "r1"), "r2", 60.0)
    path = TwinStore(folder).save(twin)
    assert path.is_file() and path.parent.parent == folder
    opened = TwinStore(folder).open(patient)
    assert opened is not twin
    assert_same(opened, twin)
    assert opened.steps[1].warnings == twin.steps[1].warnings != ()
    pd.testing.assert_frame_equal(opened.intervals(), twin.intervals())


def test_everything_that_a_twin_is_made_of_is_kept(folder, started):
    """A new attribute of `Twin` or `Particles` must find its way into the file."""
    known = {"population", "patient", *read_twin(TwinStore(folder).save(started["n1"]))._others}
    assert {one.name for one in fields(Twin)} == known
    assert Particles._fields == ("draw", "effects", "outer", "log_weights")


def test_a_twin_of_an_earlier_version_is_opened_and_goes_on(folder, started):
    """Its steps say less: what they do not say has its default."""
    opened = TwinStore(folder)
    path = opened.save(learned(started["n1"], "a"))
    arrays = dict(np.load(path))
    told = json.loads(arrays["told"].tobytes())
    assert told["steps"][0].pop("doubts") == [asdict(FEW)]
    np.savez(path, **{**arrays, "told": np.frombuffer(json.dumps(told).encode(), np.uint8)})
    twin = opened.open("n1")
    assert twin.steps[0].doubts == ()
    opened.save(learned(twin, "b"))
    assert opened.open("n1").revision == 2


def test_what_a_later_version_says_of_a_step_beside_is_left_out(folder, started):
    """The layout is the same: its version is raised where an older reader could misread it."""
    opened = TwinStore(folder)
    path = opened.save(learned(started["n1"], "a"))
    arrays = dict(np.load(path))
    told = json.loads(arrays["told"].tobytes())
    told["steps"][0] |= {"later": 1}
    told["steps"][0]["surprises"][0] |= {"later": 1}
    np.savez(path, **{**arrays, "told": np.frombuffer(json.dumps(told).encode(), np.uint8)})
    assert_same(opened.open("n1"), learned(started["n1"], "a"))


def test_a_reopened_twin_knows_what_a_corrected_record_said_at_first(folder, started):
    opened = TwinStore(folder)
    row = {"t": 1.0, "y": 2.0}
    first = ht.update(started["n1"], {**row, "record": "a"})
    opened.save(first)
    opened.save(ht.update(first, {**row, "y": 3.0, "record": "a"}))
    twin = opened.open("n1")
    assert ht.update(twin, row) is twin
    opened.save(ht.update(twin, {**row, "y": 4.0, "record": "a"}))
    twin = opened.open("n1")
    assert list(twin.records["y"]) == [4.0] and ht.update(twin, row) is twin


def test_updates_of_an_opened_twin_give_the_same_bits(folder, started):
    """Saved and opened after every update, or never: one and the same twin at the end."""
    records = (
        [{"t": 1.0, "y": 2.1}, {"t": 2.0, "y": 3.2}],
        {"t": 0.5, "y": 1.4, "record": "late"},
        {"t": 0.5, "y": 9.0, "record": "late"},
    )
    never = stored = started["n1"]
    first, second = TwinStore(folder), TwinStore(folder)
    for number, (opened, told) in enumerate(zip((first, second, second), records, strict=True)):
        never = ht.update(never, told)
        opened.save(stored)
        stored = ht.update(opened.open("n1"), told)
        assert stored.revision == number + 1
        assert_same(stored, never)
    assert never.steps[2].corrected == ("late",)
    assert not np.array_equal(never.particles.effects, started["n1"].particles.effects)


def test_twins_of_one_start_share_their_population(folder, started):
    """So that they are updated together."""
    opened = TwinStore(folder)
    opened.save_many(list(started.values()))
    # The patient of the fit was started by itself, from the same draws.
    first, second, third = opened.open_many(["n2", "p2", "n1"])
    assert [first.patient, second.patient, third.patient] == ["n2", "p2", "n1"]
    assert first.population is second.population is third.population


def test_the_second_of_two_writers_is_told_and_nothing_is_lost(folder, started):
    TwinStore(folder).save(started["n1"])
    ours, theirs = TwinStore(folder), TwinStore(folder)
    mine, other = ours.open("n1"), theirs.open("n1")
    ours.save(learned(mine, "a"))
    # Two updates, so that the number of revisions alone does not tell.
    with pytest.raises(
        ht.TwinError, match=r"not made from it; expected a twin made from revision 1; open it"
    ):
        theirs.save(learned(learned(other, "b"), "c"))
    assert list(TwinStore(folder).open("n1").records["record"]) == ["a"]
    theirs.save(learned(learned(theirs.open("n1"), "b"), "c"))
    assert list(ours.open("n1").records["record"]) == ["a", "b", "c"]


def test_none_of_many_is_saved_where_one_clashes(folder, started):
    opened = TwinStore(folder)
    opened.save_many([started["n1"], started["n2"]])
    opened.save(learned(started["n2"], "a"))
    with pytest.raises(ht.TwinError, match="'n2'"):
        opened.save_many([learned(started["n1"], "b"), learned(started["n2"], "b")])
    assert opened.open("n1").revision == 0 and list(opened.open("n2").records["record"]) == ["a"]


def test_the_same_update_by_two_writers_is_one(folder, started):
    opened = TwinStore(folder)
    path = opened.save(learned(started["n1"], "a"))
    before = path.stat().st_mtime_ns
    opened.save(learned(started["n1"], "a"))
    assert path.stat().st_mtime_ns == before, "what is there is not written again"
    opened.save(learned(learned(started["n1"], "a"), "b"))
    assert opened.open("n1").revision == 2


def test_an_older_twin_is_refused_and_can_be_forced(folder, started):
    opened = TwinStore(folder)
    opened.save(learned(started["n1"], "a"))
    with pytest.raises(ht.TwinError, match="revision 0, which is older"):
        opened.save(started["n1"])
    assert opened.open("n1").revision == 1
    opened.save(started["n1"], overwrite=True)
    assert opened.open("n1").revision == 0


def test_another_start_of_the_patient_is_refused(folder, fit, started):
    opened = TwinStore(folder)
    opened.save(learned(started["n1"], "a"))
    again = ht.start_twin(fit, patient="n1", covariates=NEW, particles=40, seed=4)
    with pytest.raises(ht.TwinError, match="not made from it"):
        opened.save(learned(learned(again, "a"), "b"))


def test_a_record_that_said_nothing_is_not_lost_either(folder, started):
    """Two records of one name that change no estimate leave the same steps, and are not the same."""
    opened = TwinStore(folder)
    stored = learned(started["n1"], "a")
    opened.save(stored)
    other = stored.records.assign(t=7.0).astype(object)
    later = learned(replace(stored, records=other), "b")
    with pytest.raises(ht.TwinError, match="not made from it"):
        opened.save(later)
    opened.save(learned(stored, "a", 5.0, corrects=True))
    assert opened.open("n1").steps[1].corrected == ("a",)


def test_none_of_many_is_saved_where_the_disk_is_full(folder, started, monkeypatch):
    """The first is written whole before there is no room for the second."""
    opened = TwinStore(folder)
    opened.save_many([started["n1"], started["n2"]])
    real, written = store.write_twin, []

    def full(twin: Twin, places: Any, header: Any, path: Path) -> None:
        if written:
            path.write_bytes(b"PK")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(twin, places, header, path)
        written.append(twin.patient)

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_twin", full)
        with pytest.raises(ht.TwinError, match="No space left"):
            opened.save_many([learned(started["n1"], "a"), learned(started["n2"], "a")])
    assert written == ["n1"]
    assert [twin.revision for twin in opened.open_many()] == [0, 0]
    assert len(list((folder / "twins").iterdir())) == 2, "nothing is left"


def test_a_saved_twin_is_on_the_disk_under_its_name(folder, started, monkeypatch):
    """A file that is renamed but whose folder is not written through may be the old one after a power cut."""
    opened, done = TwinStore(folder), []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def replaced(*paths: Any) -> None:
        done.append("name")
        real_replace(*paths)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replaced)
    opened.save_many([started["n1"], started["n2"]])
    assert done == ["file", "file", "name", "name", *(["folder"] if os.name != "nt" else [])]


class Killed(BaseException):
    """The process ends here."""


MOMENTS = {
    "before a byte is written": (np, "savez", "before"),
    "half of the bytes are written": (np, "savez", "half"),
    "before they are on the disk": (os, "fsync", "before"),
    "before the file has its name": (files.os, "replace", "before"),
    "after the file has its name": (files.os, "replace", "after"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_crash_at_any_moment_leaves_the_old_or_the_new(folder, started, moment, monkeypatch):
    opened = TwinStore(folder)
    old, new = started["n1"], learned(started["n1"], "a")
    opened.save(old)
    place, name, when = MOMENTS[moment]
    real = getattr(place, name)

    def dying(*given: Any, **named: Any) -> None:
        if when == "half":
            given[0].write(b"PK\x03\x04 half of a file")
        if when == "after":
            real(*given, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(place, name, dying)
        # A process that is killed cleans nothing up.
        patched.setattr(files, "_remove", lambda path: None)
        with pytest.raises(Killed):
            opened.save(new)
    found = TwinStore(folder)
    assert found.patients() == ("n1",)
    assert_same(found.open("n1"), new if when == "after" else old)
    found.save(new)
    assert_same(found.open("n1"), new)
    assert [path.name for path in (folder / "twins").iterdir()] == [found._path("n1").name], "nothing is left"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_a_store_is_made_leaves_nothing(tmp_path, fit, started, when, monkeypatch):
    """Before or after the population has its name; whoever makes the store next sweeps."""
    path, real = tmp_path / "twins", os.replace

    def dying(*given: Any) -> None:
        if when == "after":
            real(*given)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", dying)
        patched.setattr(files, "_remove", lambda path: None)
        with pytest.raises(Killed):
            TwinStore.create(path, fit)
    assert len(list(path.glob(".population.partial-*"))) == (when == "before")
    opened = TwinStore.create(path, fit)
    assert {one.name for one in path.iterdir()} == {"population.nc", "twins", "lock"}
    opened.save(started["n1"])
    assert_same(TwinStore(path).open("n1"), started["n1"])


VERSIONS = {"older": TWIN_VERSION - 1, "newer": TWIN_VERSION + 1}
DAMAGES = ["cut", "flipped", "empty", "words", "packed otherwise", "encrypted", *VERSIONS]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_told(folder, started, damage):
    opened = TwinStore(folder)
    path = opened.save(started["n1"])
    data = path.read_bytes()
    if damage in VERSIONS:
        arrays = dict(np.load(path))
        header = bytes(arrays["header"]).replace(
            f'"hierarchical_twin_twin": {TWIN_VERSION}'.encode(),
            f'"hierarchical_twin_twin": {VERSIONS[damage]}'.encode(),
        )
        np.savez(path, **{**arrays, "header": np.frombuffer(header, np.uint8)})
    else:
        # In the middle of the particles' effects.
        at = data.index(np.ascontiguousarray(started["n1"].particles.effects).tobytes()) + 50
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        # In the list at the end of a zip: each name's flags at 8, its method of packing at 10.
        name = data.index(b"PK\x01\x02")
        locked = data[: name + 8] + b"\x01" + data[name + 9 :]
        packed = data[: name + 10] + b"\x63" + data[name + 11 :]
        damaged = {"cut": data[:-200], "flipped": flipped, "empty": b"", "words": b"a,b\n1,2\n"}
        path.write_bytes((damaged | {"packed otherwise": packed, "encrypted": locked})[damage])
    told = f"a twin of version {VERSIONS[damage]}" if damage in VERSIONS else "damaged"
    with pytest.raises(ht.SamplingError, match=told):
        opened.open("n1")
    opened.save(started["n1"], overwrite=True)
    assert_same(opened.open("n1"), started["n1"])


def refusing(*_: Any, **__: Any) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_file_that_may_not_be_read_is_not_called_damaged(folder, started, monkeypatch):
    """Starting the twin again would lose it."""
    opened = TwinStore(folder)
    opened.save(started["n1"])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refusing)
        for read in (opened.patients, lambda: opened.open("n1"), opened.table):
            with pytest.raises(ht.SamplingError, match=r"cannot be read \(Permission denied\)") as told:
                read()
            assert "overwrite" not in str(told.value) and "damaged" not in str(told.value)
    with monkeypatch.context() as patched:
        patched.setattr(kept_population.xr, "open_datatree", refusing)
        with pytest.raises(ht.SamplingError, match=r"cannot be read \(Permission denied\)") as told:
            TwinStore(folder).open("n1")
        assert "anew" not in str(told.value)
    assert opened.open("n1").patient == "n1"


def test_a_damaged_file_is_no_hindrance_to_the_others(folder, started):
    opened = TwinStore(folder)
    opened.save_many(list(started.values()))
    for label in ("n1", "p2"):
        opened._path(label).write_bytes(b"")
    assert_same(opened.open("n2"), started["n2"])
    with pytest.raises(ht.DataError, match="'N2'; expected a patient who has a twin here"):
        opened.open("N2")
    for use in (
        opened.patients,
        opened.open_many,
        opened.table,
        lambda: opened.open_many(["p2", "n1"]),
        lambda: opened.save_many(list(started.values())),
    ):
        with pytest.raises(ht.SamplingError) as told:
            use()
        assert len(told.value.problems) == 2, "both are named"
    opened.save_many(list(started.values()), overwrite=True)
    assert len(opened.patients()) == 3


def test_any_label_is_a_safe_file_name(folder, fit):
    labels = [label.strip() for label in HOSTILE]
    rows = pd.DataFrame([{"id": label, **NEW} for label in dict.fromkeys(labels)])
    twins = ht.start_twins(fit, rows=rows, particles=10)
    opened = TwinStore(folder)
    opened.save_many(twins)
    names = [path.name for path in (folder / "twins").iterdir()]
    assert len({name.lower() for name in names}) == len(twins) == len(names), "also where case does not count"
    assert all(name.isascii() and len(name) < 100 and not set(name) & set('<>:"/\\|?*') for name in names)
    assert set(opened.patients()) == {twin.patient for twin in twins}
    for twin in twins:
        assert_same(opened.open(twin.patient), twin)


def test_a_store_is_of_one_fit(folder, fit, started):
    assert TwinStore.create(folder, fit).folder == folder, "the same fit may come again"
    other = posited(ht.parse_spec(LINE), line_rows(6), seed=1)
    with pytest.raises(ht.SamplingError, match="another fit"):
        TwinStore.create(folder, other)
    stranger = ht.start_twin(other, patient="n1", covariates=NEW, particles=40)
    with pytest.raises(ht.DataError, match="a twin of another fit"):
        TwinStore(folder).save_many([started["n2"], stranger])
    assert TwinStore(folder).patients() == ()


def test_twins_with_other_numbers_of_particles_share_a_store(folder, fit, started):
    """Their populations are other draws of the fit."""
    opened = TwinStore(folder)
    more = ht.start_twin(fit, patient="more", covariates=NEW, particles=130)
    opened.save_many([started["n1"], more])
    assert_same(TwinStore(folder).open("more"), more)
    assert_same(TwinStore(folder).open("n1"), started["n1"])


def test_a_fit_without_draws_of_patients_has_a_store(tmp_path):
    summary = posited(ht.parse_spec(LINE), line_rows(6), without=("eta", "intercept", "slope"))
    opened = TwinStore.create(tmp_path / "deep" / "twins", summary)
    twin = ht.start_twin(summary, patient="n1", covariates=NEW, particles=40)
    opened.save(twin)
    assert_same(TwinStore(opened.folder).open("n1"), twin)


def test_what_is_no_store(tmp_path, folder, fit, started):
    with pytest.raises(ht.SamplingError, match="no store of twins"):
        TwinStore(tmp_path / "nowhere")
    with pytest.raises(ht.SamplingError, match="no store of twins"):
        TwinStore(str(tmp_path))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ht.TwinError, match="a folder that can be made") as told:
        TwinStore.create(tmp_path / "file", fit)
    assert type(told.value) is ht.TwinError, "as for every folder that cannot be written to"
    (folder / "population.nc").write_bytes(b"\x89HDF not")
    with pytest.raises(ht.SamplingError, match="cannot be read"):
        TwinStore(folder).save(started["n1"])


def test_a_patient_without_a_twin_is_told(folder, started):
    opened = TwinStore(folder)
    opened.save(started["n1"])
    with pytest.raises(ht.DataError, match=r"'N1'.*did you mean 'n1'"):
        opened.open("N1")
    with pytest.raises(ht.DataError, match=r"'5'.*\n.*3 more who have none"):
        opened.open_many([*"12345", *"678"])
    with pytest.raises(ht.DataError, match="two twins of 'n1'"):
        opened.save_many([started["n1"], started["n1"]])


def test_a_writer_waits_for_another_and_then_says_so(folder, started, monkeypatch):
    monkeypatch.setattr(folder_module, "_PATIENCE", 0.3)
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool, FileLock(folder / "lock"):
        told = pool.submit(TwinStore(folder).save, started["n1"]).exception()
    assert isinstance(told, ht.TwinError) and "another process has been writing" in str(told)
    assert time.monotonic() - begun >= 0.3
    TwinStore(folder).save(started["n1"])


def test_many_writers_lose_nothing(folder, started):
    """Each adds records of its own, and opens again when it is told that it came second."""
    TwinStore(folder).save(started["n1"])

    def write(writer: int) -> int:
        told, opened = 0, TwinStore(folder)
        for number in range(5):
            while True:
                try:
                    opened.save(learned(opened.open("n1"), f"{writer}-{number}"))
                except ht.TwinError:
                    told += 1
                    continue
                break
        return told

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    found = TwinStore(folder).open("n1")
    assert sorted(found.records["record"]) == sorted(f"{w}-{n}" for w in range(3) for n in range(5))
    assert found.revision == 15


def test_update_saves_who_has_learned_something(folder, started):
    opened = TwinStore(folder)
    opened.save_many(list(started.values()))
    table = pd.DataFrame({"id": ["n2", "n1", "n2"], "t": [1.0, 1.0, 2.0], "y": [2.0, 2.5, 3.0], "note": "x"})
    changed = opened.update(table)
    assert [twin.patient for twin in changed] == ["n2", "n1"]
    assert [len(twin.steps[-1].added) for twin in changed] == [2, 1]
    assert opened.update(table) == [], "the same table again says nothing new"
    assert [TwinStore(folder).open(label).revision for label in ("n1", "n2", "p2")] == [1, 1, 0]
    more = pd.concat([table, pd.DataFrame({"id": ["n1"], "t": [3.0], "y": [4.0]})], ignore_index=True)
    (again,) = opened.update(more)
    assert again.patient == "n1" and len(again.steps[-1].added) == 1


def test_update_goes_on_from_what_another_has_saved_meanwhile(folder, started, monkeypatch):
    """Theirs is opened and updated too; only where others never stop is it given up."""
    opened, other = TwinStore(folder), TwinStore(folder)
    opened.save(started["n1"])
    real = TwinStore.save_many
    others = iter(["a", "b"])

    def late(self: TwinStore, twins: list[Twin], **words: Any) -> None:
        for name in others:
            other.save(learned(other.open("n1"), name))
            break
        real(self, twins, **words)

    def at_once(twins: list[Twin], records: pd.DataFrame) -> list[Twin]:
        return [learned(twin, f"ours {twin.revision}") for twin in twins]

    monkeypatch.setattr(store, "update_many", at_once)
    with monkeypatch.context() as patched:
        patched.setattr(opened, "save_many", late.__get__(opened))
        (found,) = opened.update(pd.DataFrame({"id": ["n1"], "t": [1.0], "y": [2.0]}))
        assert list(found.records["record"]) == ["a", "b", "ours 2"]
        assert_same(TwinStore(folder).open("n1"), found)
        others = iter("cdefghijklmnop")
        with pytest.raises(ht.TwinError, match="not made from it"):
            opened.update(pd.DataFrame({"id": ["n1"], "t": [1.0], "y": [2.0]}))
    assert TwinStore(folder).open("n1").revision == 8, "five tries, and what the others saved"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"id": ["n1", "nobody"], "t": [1.0, 1.0], "y": [2.0, 2.0]}, "'nobody'"),
        ({"id": ["n1", None, " "], "t": [1.0] * 3, "y": [2.0] * 3}, "nobody in row 2, 3"),
        ({"patient": ["n1"], "t": [1.0], "y": [2.0]}, "'id' among them"),
        ({"id": [], "t": [], "y": []}, "no rows"),
        ({"id": ["n1", "n2"], "t": [1.0, 1.0], "y": [2.0, "much"]}, "much"),
    ],
)
def test_records_that_cannot_all_be_read_change_nothing(folder, started, table, told):
    opened = TwinStore(folder)
    opened.save_many([started["n1"], started["n2"]])
    with pytest.raises(ht.DataError, match=told):
        opened.update(pd.DataFrame(table))
    assert [twin.revision for twin in opened.open_many()] == [0, 0]


def test_history_has_every_revision_and_when_it_was_saved(folder, started, monkeypatch):
    opened = TwinStore(folder)
    opened.save(started["n1"])
    first = opened.history("n1")["saved"].iloc[0]
    twin = learned(started["n1"], "a", 60.0)
    opened.save(twin)
    # Two updates before the next saving.
    opened.save(learned(learned(twin, "b"), "a", 2.0, corrects=True))
    found = opened.history("n1")
    assert list(found["revision"]) == [0, 1, 2, 3]
    assert list(found["added"]) == ["", "a", "b", ""] and list(found["corrected"]) == ["", "", "", "a"]
    assert list(found["surprising"]) == [0, 1, 0, 0]
    assert found["warnings"].iloc[1].startswith("y of 60 at 2 does not fit")
    assert found["warnings"].iloc[2] == str(FEW)
    assert found["saved"].iloc[0] == first and found["saved"].is_monotonic_increasing
    assert found["saved"].iloc[2] == found["saved"].iloc[3]
    assert abs(found["saved"].iloc[3] - pd.Timestamp.now("UTC")) < pd.Timedelta("60s")


def test_history_is_of_the_twin_that_was_opened(folder, started, monkeypatch):
    """Read once: between two readings another writer may have started the twin again."""
    opened, real = TwinStore(folder), store.read_twin
    opened.save(started["n1"])

    def overtaken(path: Path) -> Any:
        found = real(path)
        again = replace(found.header, saved=("2001-01-01T00:00:00+00:00",))
        kept.write_twin(started["n1"], found.places, again, path)
        return found

    monkeypatch.setattr(store, "read_twin", overtaken)
    assert opened.history("n1")["saved"].iloc[0].year > 2001
    assert opened.history("n1")["saved"].iloc[0].year == 2001


def test_the_table_has_every_patient_and_parameter(folder, started, tmp_path):
    opened = TwinStore(folder)
    assert opened.table().empty
    opened.save_many([learned(started["n1"], "a"), started["p2"]])
    found = opened.table(prob=0.5)
    assert list(found["patient"]) == ["n1", "n1", "p2", "p2"]
    assert list(found["parameter"]) == ["intercept", "slope"] * 2 and set(found["prob"]) == {0.5}
    assert list(found["revision"]) == [1, 1, 0, 0]
    own = started["p2"].intervals(0.5)
    pd.testing.assert_frame_equal(found[found["patient"] == "p2"][list(own)].reset_index(drop=True), own)
    path = files.write_table(found, tmp_path / "twins.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), found)


@pytest.mark.parametrize(
    "cell",
    [
        *(None, "x", " padded ", "", 3, 1.5, True, float("nan"), float("inf"), 1e-320, 0.1 + 0.2, -0.0),
        *(np.int64(3), np.float64(0.1), np.float32(0.1), np.bool_(True)),
    ],
    ids=repr,
)
def test_a_cell_comes_back_as_it_was(cell):
    found = kept._from_words(kept.json.loads(kept._json(kept._to_words(cell))))
    assert type(found) is type(cell) and repr(found) == repr(cell)


def test_other_cells_come_back_as_they_are_read():
    assert kept._to_words(np.str_("a")) == "a"
    assert kept._to_words(pd.Timestamp("2026-01-02")) == "2026-01-02 00:00:00"
    assert kept._to_words(pd.NA) is None and kept._to_words(pd.NaT) is None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "table"), SHIPPED.items())
def test_twins_of_every_shipped_spec(name, table, tmp_path):
    """Their doses, inputs, censoring marks and numbers of trials come back as well."""
    frame = pd.read_csv(CASES / table)
    fit = posited(ht.read_spec(ht.shipped_specs()[name]), frame[frame["id"].isin(frame["id"].unique()[:4])])
    twins = ht.start_twins(fit, particles=20)
    TwinStore.create(tmp_path / "twins", fit).save_many(twins)
    opened = TwinStore(tmp_path / "twins").open_many([twin.patient for twin in twins])
    for found, twin in zip(opened, twins, strict=True):
        assert_same(found, twin)
        known = ht.update(found, twin.records)
        assert known is found, "it knows its own records, as they were written"


def test_every_shipped_spec_has_a_row():
    assert set(SHIPPED) == set(ht.shipped_specs())


WRITER = """
import os, signal, sys
sys.path.insert(0, TESTS)
import numpy as np
from hierarchical_twin import TwinError
from hierarchical_twin.twin.store import TwinStore
from twin.test_store import learned

store = TwinStore(FOLDER)


def wait(word):
    print(word, flush=True)
    sys.stdin.readline()

"""


def writer(folder: Path, program: str) -> subprocess.Popen[str]:
    """Another process that writes to a store."""
    tests = str(Path(__file__).parents[1])
    text = WRITER.replace("TESTS", repr(tests)).replace("FOLDER", repr(str(folder)))
    words = [sys.executable, "-c", text + textwrap.dedent(program)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("on\n")
    process.stdin.flush()


@pytest.mark.slow
def test_two_processes_write_one_store_and_nothing_is_lost(folder, started):
    """Both open the same revision before either saves; after that they go on as fast as they can."""
    opened = TwinStore(folder)
    opened.save_many([started["n1"], started["n2"]])
    program = """
        told = 0
        for number in range(20):
            while True:
                twins = store.open_many(["n1", "n2"])
                if number == 0 and told == 0:
                    wait("opened")
                try:
                    store.save_many([learned(twin, f"NAME-{number}") for twin in twins])
                    break
                except TwinError as error:
                    assert "not made from it" in str(error), error
                    told += 1
        print(told, flush=True)
        """
    both = [writer(folder, program.replace("NAME", name)) for name in "ab"]
    try:
        assert [said_by(one) for one in both] == ["opened"] * 2
        for one in both:
            tell(one)
        told = [int(said_by(one)) for one in both]
        assert [one.wait(60) for one in both] == [0, 0]
    finally:
        for one in both:
            one.kill()
            one.communicate()
    assert sum(told) >= 1, "one of them came second at least once"
    for twin in opened.open_many(["n1", "n2"]):
        assert twin.revision == 40
        assert sorted(twin.records["record"]) == sorted(f"{name}-{n}" for name in "ab" for n in range(20))
    assert len(list((folder / "twins").iterdir())) == 2


KILLS = {
    "half of a file is written": """
        def dying(file, **arrays):
            file.write(b"PK half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        np.savez = dying
        """,
    "one of two files has its name": """
        replace = os.replace
        def dying(*paths):
            replace(*paths)
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace = dying
        """,
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("moment", KILLS)
def test_a_process_killed_in_the_middle_of_a_save_leaves_whole_twins(folder, started, moment):
    opened = TwinStore(folder)
    opened.save_many([started["n1"], started["n2"]])
    saving = """
        store.save_many([learned(twin, "a") for twin in store.open_many(["n1", "n2"])])
        """
    with writer(folder, textwrap.dedent(KILLS[moment]) + textwrap.dedent(saving)) as process:
        assert process.wait(60) == -signal.SIGKILL
    found = TwinStore(folder)
    revisions = sorted(twin.revision for twin in found.open_many(["n1", "n2"]))
    assert revisions == ([0, 1] if "name" in moment else [0, 0])
    for twin in found.open_many():
        assert_same(twin, learned(started[twin.patient], "a") if twin.revision else started[twin.patient])
    # The lock went with the process, and the next writer sweeps what it has left.
    assert len(list((folder / "twins").iterdir())) == 3
    found.save_many([learned(started[label], "a") for label in ("n1", "n2")])
    assert [twin.revision for twin in found.open_many()] == [1, 1]
    assert len(list((folder / "twins").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_process_that_is_killed_leaves_a_whole_twin(folder, started):
    """It writes revision after revision, and is killed somewhere in between."""
    TwinStore(folder).save(started["n1"])
    program = """
        twin = store.open("n1")
        for number in range(100000):
            twin = learned(twin, f"r{twin.revision}")
            store.save(twin)
            if number == 0:
                print("writing", flush=True)
        """
    before = 0
    for pause in (0.05, 0.13, 0.31):
        with writer(folder, program) as process:
            assert said_by(process) == "writing"
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        found = TwinStore(folder)
        twin = found.open("n1")
        assert twin.revision > before
        assert list(twin.records["record"]) == [f"r{number}" for number in range(twin.revision)]
        # The lock went with the process.
        found.save(learned(twin, f"r{twin.revision}"))
        before = twin.revision + 1
        assert len(list((folder / "twins").iterdir())) == 1
