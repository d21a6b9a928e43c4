"""A twin as one file: exact to the bit, with what tells one history from another, and no code inside.

The file is a zip of NumPy arrays and two JSON texts (``.npz``). It is written in 2 ms where NetCDF takes
80, NumPy alone reads it, and its checksums tell a damaged one. Where files lie, and who may write them, is
`twin.store`'s matter; the draws that all twins of a fit share are in `twin.kept_population`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.columns import as_text
from hierarchical_twin.errors import Problem, SamplingError
from hierarchical_twin.inference.provenance import package_version
from hierarchical_twin.twin.folder import to_disk, why_not_given
from hierarchical_twin.twin.merging import FIRST, RECORD
from hierarchical_twin.twin.particles import Particles
from hierarchical_twin.twin.population import Population
from hierarchical_twin.twin.twin import Doubt, Step, Surprise, Twin

TWIN_VERSION = 2
"""Version of the layout of a twin's file; raised when an older reader could misread a newer one."""

_HEADER, _TOLD, _PLACES = "header", "told", "population/places"
_DRAW, _EFFECTS, _WEIGHTS = "particles/draw", "particles/effects", "particles/log_weights"
_OUTER, _ARRAYS, _PARAMETERS = "outer/", "arrays/", "parameters/"
_TELLING = ("added", "corrected", "repeated", "log_evidence", "parameters")
"""What tells an update from any other; no more, so that what is added to `Step` leaves stored twins known."""


@dataclass(frozen=True)
class Header:
    """What tells a twin from another of the same patient.

    Attributes
    ----------
    patient : str
    lineage : tuple of str
        A digest of how the twin was started, then one of each update.
    records : mapping of str to str
        Identifier of each record to a digest of its cells.
    content : str
        Digest of particles, parameters and arrays.
    saved : tuple of str
        When each revision was first saved: ISO 8601, UTC.
    """

    patient: str
    lineage: tuple[str, ...]
    records: Mapping[str, str]
    content: str
    saved: tuple[str, ...]

    @property
    def revision(self) -> int:
        """Number of updates."""
        return len(self.lineage) - 1

    def is_same(self, other: Header) -> bool:
        """Whether the other is of the same twin, whenever each was saved."""
        return (self.lineage, self.records, self.content) == (other.lineage, other.records, other.content)


@dataclass(frozen=True, eq=False)
class Kept:
    """A twin's file, read: all but the population, of which it says which draws the twin has.

    Attributes
    ----------
    header : Header
    places : ndarray of int, shape [draw]
        Places of the twin's population draws among those of the store.
    provenance : mapping of str to str
    """

    header: Header
    places: np.ndarray
    provenance: Mapping[str, str]
    _others: Mapping[str, Any]

    def twin(self, population: Population) -> Twin:
        """The twin, over its population."""
        return Twin(population, self.header.patient, **self._others)


def header_of(twin: Twin, places: np.ndarray) -> Header:
    """The header of a twin that is about to be saved; `places` as in `Kept`."""
    origin = {
        "patient": twin.patient,
        "seed": twin.seed,
        "static": {name: _to_words(cell) for name, cell in twin.static.items()},
        "particles": len(twin.particles.draw),
        "draws": _digest(np.ascontiguousarray(places, dtype=np.int64).tobytes()),
    }
    lineage = (origin, *({name: _step_words(step)[name] for name in _TELLING} for step in twin.steps))
    cells = twin.records.drop(columns=[RECORD, FIRST], errors="ignore").to_dict("records")
    records = {
        str(name): _text_digest({str(column): _to_words(cell) for column, cell in row.items()})
        for name, row in zip(twin.records[RECORD], cells, strict=True)
    }
    content = sha256()
    for name, value in sorted(_numbers(twin).items()):
        content.update(f"{name} {value.dtype.str} {value.shape}".encode())
        content.update(np.ascontiguousarray(value).tobytes())
    return Header(twin.patient, tuple(map(_text_digest, lineage)), records, content.hexdigest(), ())


def why_not_after(known: Header, header: Header, twin: Twin) -> str | None:
    """What a twin is, if it was not made from the stored one; None if it was.

    It was if the stored updates are the first of its own, and it has every stored record, unchanged but
    for those that its later updates have corrected.

    Parameters
    ----------
    known : Header
        Of the stored twin.
    header : Header
        Of the twin that is to take its place.
    twin : Twin
    """
    done = len(known.lineage)
    if header.revision < known.revision and header.lineage == known.lineage[: len(header.lineage)]:
        return f"revision {header.revision}, which is older"
    later = {name for step in twin.steps[known.revision :] for name in step.corrected}
    has_all = all(name in later or header.records.get(name) == cells for name, cells in known.records.items())
    if done < len(header.lineage) and header.lineage[:done] == known.lineage and has_all:
        return None
    return f"revision {header.revision} of a twin that was not made from it"


def write_twin(twin: Twin, places: np.ndarray, header: Header, path: Path) -> None:
    """Write a twin, through to the disk; `places` as in `Kept`."""
    told = {
        "static": {name: _to_words(cell) for name, cell in twin.static.items()},
        "records": {str(name): [_to_words(cell) for cell in cells] for name, cells in twin.records.items()},
        "parameters": list(twin.parameters),
        "steps": [_step_words(step) for step in twin.steps],
        "seed": int(twin.seed),
        "provenance": dict(twin.population.provenance),
    }
    stamp = {"hierarchical_twin_twin": TWIN_VERSION, "version": package_version("hierarchical_twin")}
    texts = {_HEADER: {**stamp, **asdict(header)}, _TOLD: told}
    as_bytes: dict[str, Any] = {
        name: np.frombuffer(_json(words).encode(), dtype=np.uint8) for name, words in texts.items()
    }
    with path.open("wb") as file:
        np.savez(file, **(as_bytes | _numbers(twin) | {_PLACES: places}))
        to_disk(file)


def read_header(path: Path) -> Header:
    """The header of a twin's file.

    Raises
    ------
    SamplingError
        The file is damaged or cannot be read, or another version of this package wrote it.
    """
    with _opened(path) as archive:
        return _header(archive, path)


def read_twin(path: Path) -> Kept:
    """A twin's file.

    Raises
    ------
    SamplingError
        As `read_header`.
    """
    with _opened(path) as archive:
        header = _header(archive, path)
        words = json.loads(archive[_TOLD].tobytes())
        arrays = {name: archive[name] for name in archive.files if name not in (_HEADER, _TOLD)}
        steps = tuple(_step(step) for step in words["steps"])
        if len(steps) != header.revision:
            raise ValueError("steps are missing")
        particles = Particles(arrays[_DRAW], arrays[_EFFECTS], _below(arrays, _OUTER), arrays[_WEIGHTS])
        others = {
            "static": {name: _from_words(cell) for name, cell in words["static"].items()},
            "records": _frame(words["records"]),
            "arrays": _below(arrays, _ARRAYS),
            "particles": particles,
            "parameters": {name: arrays[_PARAMETERS + name] for name in words["parameters"]},
            "steps": steps,
            "seed": words["seed"],
        }
        return Kept(header, arrays[_PLACES], words["provenance"], others)


def read_all[Found](read: Callable[[Path], Found], paths: Sequence[Path]) -> list[Found]:
    """What is read of each file.

    Raises
    ------
    SamplingError
        Of all files that cannot be read.
    """
    found: list[Found] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            found.append(read(path))
        except SamplingError as error:
            problems += error.problems
    if problems:
        raise SamplingError(problems)
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open file of arrays; whatever is wrong with it is one error."""
    try:
        # Opened here: NumPy leaves a file that is no archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            yield archive
    except SamplingError:
        raise
    except Exception as error:  # whatever NumPy, zip and JSON raise on bytes that are not theirs
        expected, refused = "a twin as it was saved", why_not_given(error)
        if refused is not None:
            hint = "the twin may be whole: try again, as a user who may read it"
            got = f"a file that cannot be read ({refused})"
        else:
            hint = "put a copy of it back, or start the twin again with overwrite"
            got = f"a damaged file ({type(error).__name__})"
        raise SamplingError(Problem(str(path), got, expected, hint)) from error


def _header(archive: Any, path: Path) -> Header:
    words = json.loads(archive[_HEADER].tobytes())
    version = words.pop("hierarchical_twin_twin")
    if version != TWIN_VERSION:
        hint = "use the version of hierarchical_twin that wrote it"
        raise SamplingError(
            Problem(str(path), f"a twin of version {version}", f"version {TWIN_VERSION}", hint)
        )
    return Header(
        words["patient"],
        tuple(words["lineage"]),
        words["records"],
        words["content"],
        tuple(words["saved"]),
    )


def _numbers(twin: Twin) -> dict[str, np.ndarray]:
    """Every array of a twin by the name it has in the file."""
    particles = twin.particles
    own = {_DRAW: particles.draw, _EFFECTS: particles.effects, _WEIGHTS: particles.log_weights}
    groups = {_OUTER: particles.outer, _ARRAYS: twin.arrays, _PARAMETERS: twin.parameters}
    own |= {f"{group}{name}": value for group, named in groups.items() for name, value in named.items()}
    return {name: np.asarray(value) for name, value in own.items()}


def _below(arrays: Mapping[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(group): value for name, value in arrays.items() if name.startswith(group)}


def _step_words(step: Step) -> dict[str, Any]:
    words = {one.name: getattr(step, one.name) for one in fields(step)}
    table = {str(name): cells.tolist() for name, cells in step.parameters.items()}
    listed = {name: [asdict(one) for one in words[name]] for name in ("surprises", "doubts")}
    return {**words, **listed, "parameters": table}


def _step(words: Mapping[str, Any]) -> Step:
    """A step, without what a later version says of it beside."""
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in words.items()}
    plain["surprises"] = tuple(Surprise(**_known(Surprise, one)) for one in words["surprises"])
    plain["doubts"] = tuple(Doubt(**_known(Doubt, one)) for one in words.get("doubts", ()))
    return Step(**_known(Step, {**plain, "parameters": pd.DataFrame(words["parameters"])}))


def _known(kind: type, words: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in words.items() if name in names}


def _frame(columns: Mapping[str, list[Any]]) -> pd.DataFrame:
    series = {
        name: pd.Series([_from_words(cell) for cell in cells], dtype=object)
        for name, cells in columns.items()
    }
    return pd.DataFrame(series, columns=list(columns))


def _to_words(cell: Any) -> Any:
    """A cell in JSON, from which the same value and type come back."""
    if cell is None or type(cell) in (str, bool, int, float):
        return cell
    if isinstance(cell, np.generic) and cell.dtype.kind in "biuf" and cell.dtype.itemsize <= 8:
        return {"dtype": cell.dtype.str, "value": cell.item()}
    # Dates and other objects are read by their text.
    return str(cell) if isinstance(cell, str) else as_text(cell)


def _from_words(words: Any) -> Any:
    return np.dtype(words["dtype"]).type(words["value"]) if isinstance(words, dict) else words


def _json(words: Any) -> str:
    return json.dumps(words, default=lambda value: value.item())


def _text_digest(words: Any) -> str:
    return _digest(_json(words).encode())


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:32]
