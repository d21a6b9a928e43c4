"""Where commands read fits from and write to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hierarchical_twin.errors import DataError, Problem, SamplingError, TwinError

if TYPE_CHECKING:
    from hierarchical_twin.inference.fit import Fit


def open_saved(path: Path) -> Fit:
    """A saved fit, or the one in the folder that `fit` wrote."""
    from hierarchical_twin.inference.checkpoint import FOLDER, has_run
    from hierarchical_twin.inference.fit import open_fit

    if has_run(path / FOLDER) and not os.path.lexists(path / "fit.nc"):
        hint = "wait for it, or go on with it by `fit`, the words it was begun with, and --resume"
        raise SamplingError(Problem(str(path), "an unfinished run", "a folder with a saved fit", hint))
    if not path.suffix and not os.path.exists(path):
        expected = "the folder `fit` wrote, or a saved fit (.nc, .zarr)"
        raise SamplingError(Problem(str(path), "no such file or folder", expected))
    return open_fit(path / "fit.nc" if path.suffix != ".zarr" and os.path.isdir(path) else path)


@contextmanager
def folder_for_run(folder: Path, checkpoint: Path) -> Iterator[None]:
    """A folder to sample into; where the run is refused, a folder made for it goes again."""
    from hierarchical_twin.inference.checkpoint import discard_checkpoint, has_run

    is_new = not os.path.lexists(folder)
    folder_for(folder)
    try:
        yield
    except TwinError:
        if is_new and not has_run(checkpoint):
            discard_checkpoint(checkpoint)
            with suppress(OSError):
                folder.rmdir()
        raise


def folder_for(folder: Path) -> None:
    """Make a folder that can be written to, or say why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Asked now: after an hour of sampling is too late to find out.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = "a file" if os.path.isfile(folder) else str(error.strerror)
        raise DataError(Problem(str(folder), reason, "a folder that can be written to")) from error
