"""What a run saves and finds again: arrays by name, chains with their draws. Or nothing, for a run not kept.

The folder, and who may use it, is `inference.checkpoint`'s matter. Knows no JAX.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hierarchical_twin.analysis.files import written_whole
from hierarchical_twin.errors import Problem, SamplingError

RUN = "run.json"
"""File of what a run was asked to do; without it a folder holds no run."""
ANEW = "start anew with --overwrite (in Python: delete the folder)"
"""What to try where a run cannot go on."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SavedChain:
    """A chain (or a batch of them) as it is on disk.

    Attributes
    ----------
    leaves : tuple of ndarray
        The leaves of the kernel's state.
    done : int
        Iterations made.
    counts : mapping of str to float
        Sums over them: divergences, gradients, seconds.
    parts : tuple of mapping of str to ndarray, shape [draw, ...]
        Positions and statistics of the kept draws, in order.
    """

    leaves: tuple[np.ndarray, ...]
    done: int
    counts: Mapping[str, float]
    parts: tuple[Arrays, ...] = ()


@dataclass(frozen=True)
class NoCheckpoint:
    """For a run that is not to be kept: finds nothing, saves nothing."""

    is_kept = False

    def device(self, asked: str) -> str:
        """The device word to use."""
        return asked

    def begin(self, run: Mapping[str, Any]) -> None:
        """Nothing to compare with."""

    def find(self, name: str) -> Arrays | None:
        """Nothing."""

    def save(self, name: str, arrays: Arrays) -> None:
        """Nothing."""

    def find_chain(self, number: int) -> SavedChain | None:
        """Nothing."""

    def save_chain(self, number: int, chain: SavedChain, parts: int, part: Arrays) -> None:
        """Nothing."""

    def damaged(self, name: str, reason: str) -> SamplingError:
        """Never needed."""
        return SamplingError(Problem(name, reason, "nothing"))


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint; `run` is what the run in it was asked to do, empty where it is a new one."""

    folder: Path
    run: Mapping[str, Any]

    is_kept = True

    def device(self, asked: str) -> str:
        """The device word to use: where it was measured before, it is not measured again."""
        return str(self.run["device"]) if asked == "auto" and "device" in self.run else asked

    def begin(self, run: Mapping[str, Any]) -> None:
        """Write down what a new run is asked to do, or compare it with the run that is here.

        Raises
        ------
        SamplingError
            The run that is here was asked something else; all differences at once.
        """
        if not self.run:
            text = json.dumps(run, indent=1)
            _write(self.folder / RUN, lambda path: _write_text(path, text))
            return
        problems = [
            Problem(
                f"{self.folder} {name}", _told(run, name), f"{_told(self.run, name)} as at its start", hint
            )
            for name in dict.fromkeys([*run, *self.run])
            if run.get(name) != self.run.get(name)
            for hint in [f"a run goes on only as it began: ask for the same, or {ANEW}"]
        ]
        if problems:
            raise SamplingError(problems)

    def find(self, name: str) -> Arrays | None:
        """Arrays saved under a name, or None.

        Raises
        ------
        SamplingError
            The file is damaged.
        """
        path = self.folder / f"{name}.npz"
        if not path.exists():
            return None
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                damaged = archive.zip.testzip()
                if damaged is None:
                    return {key: archive[key] for key in archive.files}
        except Exception as error:  # whatever the file libraries raise on bytes that are not theirs
            raise self.damaged(name, f"a file that cannot be read ({type(error).__name__})") from error
        raise self.damaged(name, f"a damaged file ({damaged})")

    def save(self, name: str, arrays: Arrays) -> None:
        """Write arrays under a name, replacing older ones only when complete.

        Raises
        ------
        TwinError
            There is no room, or no right to write.
        """
        _write(self.folder / f"{name}.npz", lambda path: _write_arrays(path, arrays))

    def find_chain(self, number: int) -> SavedChain | None:
        """A chain as it was last saved, with all its draws, or None.

        Raises
        ------
        SamplingError
            A file is damaged or missing.
        """
        name = f"chain_{number}"
        state = self.find(name)
        if state is None:
            return None
        leaves = [key for key in state if key.startswith("leaf_")]
        if not {"done", "parts"} <= set(state):
            raise self.damaged(name, "a file without all that belongs in it")
        parts = [_part_name(number, part) for part in range(int(state["parts"]))]
        found = [self.find(part) for part in parts]
        for part, arrays in zip(parts, found, strict=True):
            if not arrays:
                raise self.damaged(part, "no such file")
        counts = {key.removeprefix("count_"): float(state[key]) for key in state if key.startswith("count_")}
        return SavedChain(
            tuple(state[f"leaf_{place}"] for place in range(len(leaves))),
            int(state["done"]),
            counts,
            tuple(arrays for arrays in found if arrays),
        )

    def save_chain(self, number: int, chain: SavedChain, parts: int, part: Arrays) -> None:
        """Save a chain; of its draws only those since it was last saved.

        Parameters
        ----------
        number : int
        chain : SavedChain
            `parts` is not looked at.
        parts : int
            How many parts are on disk already.
        part : mapping of str to ndarray
            The draws since then; empty where there are none.
        """
        if part:
            self.save(_part_name(number, parts), part)
        state = {f"leaf_{place}": leaf for place, leaf in enumerate(chain.leaves)}
        state |= {f"count_{name}": np.asarray(value) for name, value in chain.counts.items()}
        state |= {"done": np.asarray(chain.done), "parts": np.asarray(parts + bool(part))}
        self.save(f"chain_{number}", state)

    def damaged(self, name: str, reason: str) -> SamplingError:
        """The error for a file that is not what was saved."""
        path = self.folder / f"{name}.npz"
        return SamplingError(Problem(str(path), reason, "what the unfinished run saved", ANEW))


Keeper = Checkpoint | NoCheckpoint


def _write(path: Path, write: Callable[[Path], None]) -> None:
    with written_whole(path) as partial:
        write(partial)


def _write_arrays(path: Path, arrays: Arrays) -> None:
    with open(path, "wb") as file:
        np.savez(file, **arrays)
        _settle(file)


def _write_text(path: Path, text: str) -> None:
    with open(path, "wb") as file:
        file.write(text.encode())
        _settle(file)


def _settle(file: Any) -> None:
    """On disk before the rename, or a power cut could leave the name without the bytes."""
    file.flush()
    os.fsync(file.fileno())


def _part_name(number: int, part: int) -> str:
    return f"chain_{number}_part_{part:05d}"


def _told(run: Mapping[str, Any], name: str) -> str:
    value = str(run.get(name, "none"))
    if value == "None":
        return "the default"
    return f"{value[:12]}…" if len(value) == 64 else repr(run.get(name))
