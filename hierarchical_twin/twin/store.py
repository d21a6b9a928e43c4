"""A folder of twins: saved whole, opened to the bit, and never overwritten by who did not know the latest.

    population.nc            the draws of the fit, its spec and its table; written once
    twins/<label>-<hash>.npz a twin with all its history
    lock                     held by the system while a process writes here

Every file appears whole or not at all; of twins that are saved together, none does before all are written.
Readers take no lock.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.analysis.files import written_whole
from hierarchical_twin.analysis.intervals import DEFAULT_PROB
from hierarchical_twin.errors import DataError, Problem, SamplingError, TwinError, nearest
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.twin.folder import (
    file_name,
    make_folder,
    names_to_disk,
    one_writer,
    sweep,
    whole_files,
)
from hierarchical_twin.twin.history import history_of
from hierarchical_twin.twin.kept import (
    Header,
    Kept,
    header_of,
    read_all,
    read_header,
    read_twin,
    why_not_after,
    write_twin,
)
from hierarchical_twin.twin.kept_population import (
    KeptPopulation,
    population_of_fit,
    read_population,
    write_population,
)
from hierarchical_twin.twin.population import Population
from hierarchical_twin.twin.records import labels_of
from hierarchical_twin.twin.twin import Twin
from hierarchical_twin.twin.update import update_many

_POPULATION, _TWINS = "population.nc", "twins"
_TRIES = 5
_SHOWN = 5


class _Stale(TwinError):
    """A stored twin is not what the new one was made from."""


class TwinStore:
    """Twins of one fit in a folder; `TwinStore.create` makes one.

    Parameters
    ----------
    folder : path

    Raises
    ------
    SamplingError
        There is no store in the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._populations: dict[Any, Population] = {}
        self._one_at_a_time = Lock()
        if not (self.folder / _POPULATION).is_file():
            hint = "make one: TwinStore.create(folder, fit), or hierarchical-twin twin start FIT --store DIR"
            raise SamplingError(Problem(str(self.folder), "no store of twins", "the folder of one", hint))

    def __repr__(self) -> str:
        return f"<TwinStore {self.folder}>"

    @classmethod
    def create(cls, folder: str | os.PathLike[str], fit: Fit) -> TwinStore:
        """Make a store for the twins of a fit, or open the one that is there for the same fit.

        Raises
        ------
        SamplingError
            The folder is the store of another fit, or the fit does not keep its table.
        TwinError
            The folder cannot be made or written to.
        """
        path = Path(folder)
        population = population_of_fit(fit)
        make_folder(path / _TWINS)
        with one_writer(path):
            sweep(path)
            if not (path / _POPULATION).exists():
                write_population(fit, population, path / _POPULATION)
                names_to_disk(path)
        store = cls(path)
        if not store._kept.is_same(population):
            hint = "make another store for this fit"
            raise SamplingError(Problem(str(path), "a store of another fit's twins", "a new folder", hint))
        return store

    def save(self, twin: Twin, *, overwrite: bool = False) -> Path:
        """Save a twin; see `save_many`. Returns its file."""
        self.save_many([twin], overwrite=overwrite)
        return self._path(twin.patient)

    def save_many(self, twins: Sequence[Twin], *, overwrite: bool = False) -> None:
        """Save twins; a twin that is stored as it is stays as it is.

        All are written before the first takes its place: where one cannot be, none is saved. Each file is
        whole or not there at all; a crash while they take their places leaves some old and some new.

        Parameters
        ----------
        twins : sequence of Twin
            One for each patient.
        overwrite : bool
            Replace a stored twin of another history, whose updates are lost.

        Raises
        ------
        TwinError
            A stored twin is not what the new one was made from: somebody else has saved an update since it
            was opened; open them again and repeat the update. Also where the folder cannot be written to.
        DataError
            A twin is of another fit, or two are of one patient.
        SamplingError
            A stored file is damaged or cannot be read.
        """
        asked = self._placed(twins)
        with one_writer(self.folder):
            sweep(self.folder / _TWINS)
            paths = [path for twin, *_ in asked if (path := self._path(twin.patient)).exists()]
            stored = {} if overwrite else dict(zip(paths, read_all(read_header, paths), strict=True))
            writes, problems = [], []
            for twin, places, header in asked:
                path = self._path(twin.patient)
                known = stored.get(path)
                if known is not None and known.is_same(header):
                    continue
                clash = None if known is None else self._clash(known, header, twin)
                problems += [] if clash is None else [clash]
                writes.append((twin, places, _stamped(header, known), path))
            if problems:
                raise _Stale(problems)
            with ExitStack() as together:  # they take their places when it ends
                for twin, places, header, path in writes:
                    write_twin(twin, places, header, together.enter_context(written_whole(path)))
            names_to_disk(self.folder / _TWINS)

    def open(self, patient: str) -> Twin:
        """A stored twin: its updates give the same numbers, to the bit, as if it had never been saved.

        Raises
        ------
        DataError
            No twin of this patient is here.
        SamplingError
            Its file is damaged or cannot be read.
        """
        return self.open_many([patient])[0]

    def open_many(self, patients: Sequence[str] | None = None) -> list[Twin]:
        """Stored twins in the order asked for; all for None. Those of one start share their population.

        Raises
        ------
        DataError, SamplingError
            As `open`, of all patients of whom it is true.
        """
        labels = self.patients() if patients is None else tuple(map(str, patients))
        self._require(labels)
        found = read_all(read_twin, [self._path(label) for label in labels])
        return [kept.twin(self._population(kept)) for kept in found]

    def update(self, records: pd.DataFrame) -> list[Twin]:
        """Update the stored twins of a table's patients, and save them.

        Where another writer has saved an update in the meantime, theirs is opened and updated instead.

        Parameters
        ----------
        records : DataFrame
            As `update_many` takes them, with the spec's patient column.

        Returns
        -------
        list of Twin
            Those that have learned something, in the order of the table.

        Raises
        ------
        DataError
            A row names no patient, or one who has no twin here, or cannot be read.
        SamplingError
            No particle can explain a patient's records.
        TwinError
            Others go on saving updates of these patients, or the folder cannot be written to. Nothing is
            saved where any of these is raised.
        """
        labels = labels_of(records, self._kept.model.spec)
        for _ in range(_TRIES - 1):
            with suppress(_Stale):
                return self._update_once(records, labels)
        return self._update_once(records, labels)

    def patients(self) -> tuple[str, ...]:
        """Labels of the patients who have a twin here, sorted.

        Raises
        ------
        SamplingError
            Files are damaged or cannot be read; it names all of them.
        """
        headers = read_all(read_header, whole_files(self.folder / _TWINS))
        return tuple(sorted(header.patient for header in headers))

    def history(self, patient: str) -> pd.DataFrame:
        """What each update of a stored twin has done.

        Returns
        -------
        pandas.DataFrame
            One row for each revision, as in `twin.history.history_of`.

        Raises
        ------
        DataError, SamplingError
            As `open`.
        """
        label = str(patient)
        self._require([label])
        kept = read_twin(self._path(label))
        return history_of(kept.twin(self._population(kept)), kept.header.saved)

    def table(self, prob: float = DEFAULT_PROB) -> pd.DataFrame:
        """Every stored twin's parameters with equal-tailed credible intervals.

        Parameters
        ----------
        prob : float
            Inside each interval, between 0 and 1.

        Returns
        -------
        pandas.DataFrame
            As `Twin.intervals`, then ``revision, records, effective, is_trustworthy``.

        Raises
        ------
        SamplingError
            Files are damaged or cannot be read, or `prob` is not between 0 and 1.
        """
        parts = [
            twin.intervals(prob).assign(
                revision=twin.revision,
                records=len(twin.records),
                effective=twin.effective,
                is_trustworthy=not twin.doubts,
            )
            for twin in self.open_many()
        ]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def _update_once(self, records: pd.DataFrame, labels: np.ndarray) -> list[Twin]:
        twins = self.open_many(list(dict.fromkeys(labels)))
        following = _updated(twins, records, labels)
        changed = [following[twin.patient] for twin in twins if following[twin.patient] is not twin]
        self.save_many(changed)
        return changed

    @cached_property
    def _kept(self) -> KeptPopulation:
        return read_population(self.folder / _POPULATION)

    def _population(self, kept: Kept) -> Population:
        key = (kept.places.tobytes(), tuple(sorted(kept.provenance.items())))
        with self._one_at_a_time:  # twins are updated together only over one and the same population
            if key not in self._populations:
                self._populations[key] = self._kept.at(kept.places, kept.provenance)
            return self._populations[key]

    def _placed(self, twins: Sequence[Twin]) -> list[tuple[Twin, np.ndarray, Header]]:
        """Each twin with the places of its population's draws, and its header."""
        labels = [twin.patient for twin in twins]
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise DataError(Problem("TwinStore.save_many", f"two twins of '{twice}'", "one of each patient"))
        populations = {id(twin.population): twin.population for twin in twins}
        places = {key: self._kept.places_of(population) for key, population in populations.items()}
        found = []
        for twin in twins:
            own = places[id(twin.population)]
            if own is None:
                got, hint = f"a twin of another fit ('{twin.patient}')", "make a store for that fit"
                raise DataError(Problem(str(self.folder), got, "twins of the fit it was made for", hint))
            found.append((twin, own, header_of(twin, own)))
        return found

    def _clash(self, known: Header, header: Header, twin: Twin) -> Problem | None:
        got = why_not_after(known, header, twin)
        if got is None:
            return None
        where = f"{self.folder} twin of '{twin.patient}' (revision {known.revision})"
        hint = "open it again and repeat the update, or overwrite it and lose what is stored"
        return Problem(where, got, f"a twin made from revision {known.revision}", hint)

    def _path(self, patient: str) -> Path:
        return self.folder / _TWINS / file_name(patient)

    def _require(self, labels: Sequence[str]) -> None:
        lost = [label for label in labels if not self._path(label).is_file()]
        if not lost:
            return
        known: tuple[str, ...] = ()
        with suppress(SamplingError):  # what else is wrong here is not what is asked
            known = self.patients()
        where, expected = str(self.folder), "a patient who has a twin here"
        problems = [Problem(where, f"'{one}'", expected, nearest(one, known)) for one in lost[:_SHOWN]]
        if len(lost) > _SHOWN:
            problems.append(Problem(where, f"{len(lost) - _SHOWN} more who have none", expected))
        raise DataError(problems)


def _updated(twins: Sequence[Twin], records: pd.DataFrame, labels: np.ndarray) -> dict[str, Twin]:
    """Twins by label after an update with their own rows, those of one population at once."""
    groups: dict[int, list[Twin]] = {}
    for twin in twins:
        groups.setdefault(id(twin.population), []).append(twin)
    following: dict[str, Twin] = {}
    for group in groups.values():
        own = records[np.isin(labels, [twin.patient for twin in group])]
        following |= {twin.patient: twin for twin in update_many(group, own)}
    return following


def _stamped(header: Header, known: Header | None) -> Header:
    """With the time of saving of each revision; those that were stored keep theirs."""
    earlier = () if known is None else known.saved
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return replace(header, saved=(*earlier, *(now for _ in header.lineage[len(earlier) :])))
