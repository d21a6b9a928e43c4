"""The folder in which a run leaves what it needs to go on after it was killed.

    run.json                 what the run was asked to do: a run that asks for anything else is refused
    pilot.npz                what the pilot found
    polynomials.npz          what joint chains follow, if anything
    chain_0.npz              a chain between two iterations, and how many parts belong to it
    chain_0_part_00000.npz   draws, in order; never rewritten once a state counts them
    lock, owner              held while a process works here, and by which

Every file appears whole or not at all. A part is written before the state that counts it, so a part
that no state counts is of no consequence: it is written again. Knows no JAX.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hierarchical_twin.errors import DataError, Problem, SamplingError, TwinError
from hierarchical_twin.inference.keeper import ANEW, RUN, Checkpoint, Keeper, NoCheckpoint

FOLDER = "checkpoint"
"""Name of the folder inside the one a fit is written to."""
_LOCK, _OWNER = "lock", "owner"
_OURS = ("chain_*.npz", "pilot.npz", "polynomials.npz", ".*.partial-*", _OWNER)
GO_ON = "go on with --resume (in Python resume=True)"


@contextmanager
def open_checkpoint(folder: str | Path | None, *, resume: bool) -> Iterator[Keeper]:
    """Hold a checkpoint for a new run, or for the run that is in it.

    Parameters
    ----------
    folder : path or None
        Made if need be. None: nothing is kept.
    resume : bool
        Go on with the run that is there.

    Raises
    ------
    SamplingError
        There is no run to resume, there is one that nobody asked to resume, or another process is at it.
    """
    if folder is None:
        if resume:
            raise SamplingError(Problem("sample resume", "no checkpoint", "the folder of an unfinished run"))
        yield NoCheckpoint()
        return
    folder = Path(folder)
    if resume and not has_run(folder):
        raise SamplingError(_nothing_to_resume(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SamplingError(Problem(str(folder), str(error.strerror), "a folder that can be made")) from error
    with _held(folder):
        if has_run(folder) and not resume:
            raise SamplingError(_unfinished(folder))
        run = _read_run(folder) if resume else {}
        _remove_files(folder, (".*.partial-*",) if resume else _OURS[:-1])
        try:
            yield Checkpoint(folder, run)
        except Exception:
            # A run that was refused, or failed before its first draw, leaves nothing to go on with.
            if not resume and not any(folder.glob("chain_*.npz")):
                _remove_run(folder)
            raise


def has_run(folder: Path) -> bool:
    """Whether an unfinished run is in a folder."""
    return os.path.isfile(folder / RUN)


def check_output(fit: Path, folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to begin where something would be lost, or where there is nothing to go on with.

    Parameters
    ----------
    fit : Path
        Where the fit is to be written.
    folder : Path
        Its checkpoint.
    resume, overwrite : bool

    Raises
    ------
    DataError
        A fit is there already, and neither word was said.
    SamplingError
        An unfinished run is there, and neither word was said; or both were; or there is none to resume.
    """
    if resume and overwrite:
        raise SamplingError(Problem("--resume --overwrite", "both", "one of them"))
    if resume and not has_run(folder):
        if not os.path.lexists(fit):
            raise SamplingError(_nothing_to_resume(folder))
        hint = "there is nothing to resume; --overwrite samples anew"
        raise SamplingError(Problem(str(fit), "a fit and no unfinished run", "an unfinished run", hint))
    if resume or overwrite:
        return
    if has_run(folder):
        raise SamplingError(_unfinished(folder))
    if os.path.lexists(fit):
        raise DataError(
            Problem(str(fit), "a fit that exists", "a new folder", "choose another, or --overwrite")
        )


def discard_checkpoint(folder: Path) -> None:
    """Delete a checkpoint, once its fit is saved or not wanted; files of others in the folder stay.

    Raises
    ------
    SamplingError
        A process is still at it.
    """
    if not os.path.isdir(folder):
        return
    with _held(folder):
        _remove_run(folder)
    with suppress(OSError):
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def discard_all(folder: Path) -> None:
    """Delete a checkpoint and the one it took the place of, which stays where a run that replaces it is killed."""
    discard_checkpoint(folder)
    discard_checkpoint(_aside(folder))


@contextmanager
def hold_output(folder: Path) -> Iterator[None]:
    """Keep other processes from writing a fit to a folder, from before sampling until the last picture.

    Raises
    ------
    SamplingError
        Another process writes there.
    """
    with _held(folder, hidden="."):
        try:
            yield
        finally:
            (folder / f".{_LOCK}").unlink(missing_ok=True)


@contextmanager
def set_aside(folder: Path) -> Iterator[None]:
    """Put an unfinished run out of the way of a new one, and back if the new one is refused.

    Raises
    ------
    SamplingError
        A process is still at it.
    """
    aside = _aside(folder)
    discard_checkpoint(aside)
    if os.path.isdir(folder):
        with _held(folder):
            pass
        folder.rename(aside)
    try:
        yield
    except TwinError:
        discard_checkpoint(folder)
        if os.path.isdir(aside):
            aside.rename(folder)
        raise
    discard_checkpoint(aside)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.replaced")


@contextmanager
def _held(folder: Path, hidden: str = "") -> Iterator[None]:
    """The system's own lock on the folder: it ends with the process, however that ends."""
    lock, owner = FileLock(folder / f"{hidden}{_LOCK}"), folder / f"{hidden}{_OWNER}"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        pid = owner.read_text(encoding="utf-8") if owner.exists() else "unknown"
        hint = "wait for it, or end it, then use --resume"
        raise SamplingError(
            Problem(
                str(folder), f"a run that process {pid} is working on", "one that no process works on", hint
            )
        ) from error
    except (OSError, NotImplementedError) as error:  # the latter where a file system has no locks
        reason = f"a folder that cannot be locked ({getattr(error, 'strerror', None) or error})"
        raise SamplingError(Problem(str(folder), reason, "a folder that can be written to")) from error
    try:
        owner.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / RUN
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SamplingError(Problem(str(path), "a damaged file", "what the run was asked", ANEW)) from error
    if not isinstance(run, dict) or not run:
        raise SamplingError(Problem(str(path), "a damaged file", "what the run was asked", ANEW))
    return run


def _remove_run(folder: Path) -> None:
    # What a run is known by goes first, so that what a kill leaves behind is not taken for one.
    (folder / RUN).unlink(missing_ok=True)
    _remove_files(folder, _OURS)


def _remove_files(folder: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _nothing_to_resume(folder: Path) -> Problem:
    return Problem(str(folder), "no unfinished run", "one to go on with", "leave out --resume to begin one")


def _unfinished(folder: Path) -> Problem:
    return Problem(str(folder), "an unfinished run", "a new folder", f"{GO_ON}, or {ANEW}")
