"""JAX's persistent compilation cache in the user's cache folder, on for a block only.

Compiling is most of a short run; the same shapes need it once per machine. JAX keys an entry by the
program, its own version, the XLA flags and the processor's features. A cache that the user has set up
for JAX, or switched off there, is left alone. Several processes may share the folder: every read and
write holds a file lock.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jaxlib
from filelock import FileLock
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from platformdirs import user_cache_path

VARIABLE = "HIERARCHICAL_TWIN_CACHE"
"""Environment variable: a folder to use instead of the user's cache folder, or ``off``."""
_MOST_BYTES = 256 * 2**20
_LOCK, _LOCK_SECONDS = ".lockfile", 2.0
_SETTINGS = {
    # A run makes some forty programs, most of them in milliseconds: together they are half of what is saved.
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_compilation_cache_max_size": _MOST_BYTES,
    # With it a damaged entry would end the run instead of being compiled anew.
    "jax_raise_persistent_cache_errors": False,
}
_OLDEST_JAXLIB = (0, 12)
"""Earlier loaders print an error for every entry on some processors (JAX issue 38445)."""
_FAILURE = re.compile(r"Error (reading|writing) persistent compilation cache entry")

Announce = Callable[[str], None]


def cache_folder() -> Path | None:
    """Where compiled programs are kept, by the platform's rules and the environment; None where nowhere."""
    given = os.environ.get(VARIABLE, "").strip()
    if given.lower() == "off":
        return None
    own = user_cache_path("hierarchical_twin", appauthor=False, opinion=False)
    return (Path(given).expanduser() if given else own).absolute() / "jax"


@contextmanager
def compilation_cache(announce: Announce | None = None) -> Iterator[Path | None]:
    """Keep compiled programs, and find those of earlier runs, within this block.

    JAX's settings are the process's, so other threads compile into the cache meanwhile; blocks may
    overlap, and the last to end puts the settings back.

    Parameters
    ----------
    announce : callable, optional
        Called with a line of text where the folder cannot be used. That is never an error.

    Yields
    ------
    Path or None
        The folder; None where the cache is off or left as the user has set it.
    """
    say = announce or (lambda line: None)
    with _SHARED.lock:
        folder = _SHARED.folder if _SHARED.blocks else _find_folder(say)
        if folder is not None:
            _SHARED.enter(folder)
    try:
        yield folder
    finally:
        if folder is not None:
            with _SHARED.lock:
                _SHARED.leave(say)


def _find_folder(say: Announce) -> Path | None:
    """A folder that can be written, if this process is to use one of ours."""
    is_theirs = jax.config.jax_compilation_cache_dir is not None
    is_off = not jax.config.jax_enable_compilation_cache
    is_too_old = jaxlib.version.__version_info__[:2] < _OLDEST_JAXLIB
    folder = cache_folder()
    if is_theirs or is_off or is_too_old or folder is None:
        return None
    try:
        # What is read from here is run as a program: others must not write to it.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Some network file systems have no locks; JAX would wait ten seconds for each program.
        with tempfile.TemporaryFile(dir=folder), FileLock(folder / _LOCK).acquire(timeout=_LOCK_SECONDS):
            pass
    except (OSError, NotImplementedError) as error:
        hint = f"set {VARIABLE} to a folder that can be written, or to off"
        say(f"compiled programs are not kept: {folder}: {getattr(error, 'strerror', None) or error}; {hint}")
        return None
    return folder


@dataclass
class _Shared:
    """The one state of JAX's cache in this process, while blocks use it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    blocks: int = 0
    folder: Path | None = None
    failures: list[str] = field(default_factory=list)
    undo: ExitStack = field(default_factory=ExitStack)

    def enter(self, folder: Path) -> None:
        """Count a block; the first turns the cache on."""
        self.blocks += 1
        if self.blocks > 1:
            return
        self.folder, self.failures = folder, []
        self.undo.enter_context(warnings.catch_warnings())
        _catch_failures(self.failures)
        # JAX opens its cache once, at the first compilation; without this it would never see ours,
        # nor, afterwards, that ours is gone.
        self.undo.callback(reset_cache)
        for name, value in {"jax_compilation_cache_dir": str(folder), **_SETTINGS}.items():
            self.undo.callback(jax.config.update, name, getattr(jax.config, name))
            jax.config.update(name, value)
        reset_cache()

    def leave(self, say: Announce) -> None:
        """Count a block's end; the last puts everything back."""
        self.blocks -= 1
        if self.blocks or self.folder is None:
            return
        folder, self.folder = self.folder, None
        self.undo.close()
        if any("Error writing" in failure for failure in self.failures):
            say(f"not every compiled program could be kept: {self.failures[-1]}")
        if any("Error reading" in failure and "Timeout" not in failure for failure in self.failures):
            _empty(folder)


_SHARED = _Shared()


def _catch_failures(failures: list[str]) -> None:
    """Collect the cache's own warnings instead of showing them; until `catch_warnings` ends."""
    shown = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        if _FAILURE.match(str(message)):
            failures.append(str(message))
        else:
            shown(message, category, filename, lineno, file, line)

    warnings.filterwarnings("always", message=_FAILURE.pattern)
    warnings.showwarning = show


def _empty(folder: Path) -> None:
    """Delete all entries: a damaged one, of a process that died while writing, would never be replaced."""
    with suppress(OSError), FileLock(folder / _LOCK).acquire(timeout=_LOCK_SECONDS):
        for entry in (*folder.glob("*-cache"), *folder.glob("*-atime")):
            entry.unlink(missing_ok=True)
