"""The folder twins lie in: names that any file system takes, one writer at a time, on the disk when saved.

What a writer that was stopped has left is swept by the next one.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from hierarchical_twin.errors import Problem, TwinError

SUFFIX = ".npz"
_LOCK = "lock"
_PATIENCE = 60.0
"""Seconds to wait for another writer."""


def file_name(patient: str) -> str:
    """The file of a label: part of it for people, and what no file system can take for another's."""
    words = re.sub(r"[^a-z0-9]+", "-", patient.lower()).strip("-")[:40]
    digest = sha256(patient.encode("utf-8", "surrogatepass")).hexdigest()[:20]
    return f"{words or 'patient'}-{digest}{SUFFIX}"


def whole_files(folder: Path) -> list[Path]:
    """Files of twins, by name."""
    # A hidden file is being written, or was when its writer was stopped.
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.name[0] != ".")


def make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in.

    Raises
    ------
    TwinError
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        expected = "a folder that can be made"
        raise TwinError(Problem(str(folder), str(error.strerror or error), expected)) from error


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """The system's own lock on writing to a store: it ends with the process, however that ends.

    Raises
    ------
    TwinError
        Another process writes for long, or the folder cannot be written to.
    """
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout as error:
        got = f"a store that another process has been writing to for {_PATIENCE:g} s"
        raise TwinError(Problem(str(folder), got, "a store that is free", "try again")) from error
    except (OSError, NotImplementedError) as error:  # the latter where a file system has no locks
        reason = f"a folder that cannot be locked ({getattr(error, 'strerror', None) or error})"
        raise TwinError(Problem(str(folder), reason, "a folder that can be written to")) from error
    try:
        yield
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Remove what a writer left that was stopped; for who holds the lock, the only one to write."""
    for path in folder.glob(".*.partial-*"):
        path.unlink(missing_ok=True)


def to_disk(file: IO[bytes]) -> None:
    """Have the system write an open file to the disk; what takes a name after that is whole."""
    file.flush()
    os.fsync(file.fileno())


def names_to_disk(folder: Path) -> None:
    """Have the system write to the disk which files a folder has: a renamed one may have its old name till then.

    Raises
    ------
    TwinError
    """
    if os.name == "nt":  # which opens no folder, and writes names through by itself
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTSUP):  # a file system that keeps no such thing
            return
        expected = "a folder that can be written to"
        raise TwinError(Problem(str(folder), str(error.strerror or error), expected)) from error


def why_not_given(error: Exception) -> str | None:
    """Why a file could not be read, such as ``Permission denied``; None where its bytes are the fault."""
    if isinstance(error, MemoryError):
        return "out of memory"
    # Bytes that send the reader to before their beginning are at fault too (EINVAL).
    if not isinstance(error, OSError) or error.errno in (None, errno.EINVAL):
        return None
    return str(error.strerror or error)
