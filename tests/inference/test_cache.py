"""The compilation cache: where it is, that it works, and that it leaves no trace in JAX's settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from filelock import FileLock
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from hierarchical_twin.inference import cache
from hierarchical_twin.inference.cache import VARIABLE, cache_folder, compilation_cache


def settings() -> dict[str, object]:
    return {name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir", *cache._SETTINGS)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own, in a process whose user has set up none."""
    before = settings()
    jax.config.update("jax_compilation_cache_dir", None)
    # Anything compiled would be written, were there a cache.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    reset_cache()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    yield tmp_path / "kept" / "jax"
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*-cache")}


def compile_new(number: float) -> float:
    """Compile a program that differs with `number`."""
    return float(jax.jit(lambda x: jnp.sin(x) * number)(1.0))


def test_the_environment_moves_it_and_turns_it_off(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path / "jax"
    monkeypatch.setenv(VARIABLE, "off")
    assert cache_folder() is None
    monkeypatch.setenv(VARIABLE, "")
    assert cache_folder() is not None and cache_folder().parent.name == "hierarchical_twin"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG is Linux's rule")
def test_the_platform_decides_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hierarchical_twin" / "jax"


def test_it_is_on_inside_only(folder):
    compile_new(0.5)  # JAX decides at its first compilation whether there is a cache.
    before = settings()
    filters = list(warnings.filters)
    with compilation_cache() as found:
        assert found == folder and jax.config.jax_compilation_cache_dir == str(folder)
        compile_new(1.5)
    kept = entries(folder)
    assert kept
    assert settings() == before and warnings.filters == filters
    compile_new(2.5)
    assert entries(folder) == kept


def test_a_cache_that_was_given_up_before_is_not_written(folder, tmp_path):
    """JAX holds on to the first it opened, whatever its setting says later."""
    theirs = tmp_path / "theirs"
    jax.config.update("jax_compilation_cache_dir", str(theirs))
    compile_new(0.25)
    kept = entries(theirs)
    jax.config.update("jax_compilation_cache_dir", None)
    with compilation_cache():
        compile_new(1.25)
    assert kept and entries(theirs) == kept and entries(folder)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_its_owner_may_read_it(folder):
    with compilation_cache():
        pass
    assert folder.stat().st_mode & 0o077 == 0


def test_settings_come_back_after_an_error(folder):
    before = settings()
    with pytest.raises(KeyboardInterrupt), compilation_cache():
        raise KeyboardInterrupt
    assert settings() == before
    with compilation_cache() as again:
        assert again == folder


def test_blocks_may_overlap(folder):
    """Two threads sample: the first to end does not turn the cache off for the other."""
    before = settings()
    is_inside, may_end = threading.Event(), threading.Event()

    def other() -> None:
        with compilation_cache():
            is_inside.set()
            may_end.wait(20)

    thread = threading.Thread(target=other)
    with compilation_cache():
        thread.start()
        assert is_inside.wait(20)
    assert jax.config.jax_compilation_cache_dir == str(folder)
    may_end.set()
    thread.join()
    assert settings() == before


def test_a_users_own_cache_is_left_alone(folder, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    before = settings()
    with compilation_cache() as found:
        assert found is None and settings() == before
    assert not folder.exists()


def test_off_is_off(folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, "OFF")
    with compilation_cache() as found:
        assert found is None and jax.config.jax_compilation_cache_dir is None
    monkeypatch.setenv(VARIABLE, str(folder.parent))
    monkeypatch.setattr(cache, "_OLDEST_JAXLIB", (99, 0))
    with compilation_cache() as found:
        assert found is None


def test_jax_own_switch_counts(folder):
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        with compilation_cache() as found:
            assert found is None
    finally:
        jax.config.update("jax_enable_compilation_cache", True)


def test_a_folder_that_cannot_be_made_is_a_note(folder, monkeypatch, tmp_path):
    (tmp_path / "a_file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "a_file"))
    said: list[str] = []
    with compilation_cache(said.append) as found:
        assert found is None
        assert compile_new(3.5)
    assert len(said) == 1 and "not kept" in said[0] and VARIABLE in said[0]


def test_a_damaged_entry_is_compiled_anew_and_replaced(folder):
    """It neither warns (warnings are errors here) nor stays."""
    with compilation_cache():
        compile_new(4.5)
    for entry in folder.glob("*-cache"):
        entry.write_bytes(b"half of a")
    jax.clear_caches()
    said: list[str] = []
    with compilation_cache(said.append):
        assert compile_new(4.5)
    assert not entries(folder) and not said
    jax.clear_caches()
    with compilation_cache():
        compile_new(4.5)
    assert entries(folder)
    assert (
        all(zlib.decompress(entry.read_bytes()) for entry in folder.glob("*-cache")) or "zstd" in sys.modules
    )


def test_what_cannot_be_written_is_a_note(folder, monkeypatch):
    """As on a full disk."""
    from jax._src import lru_cache

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lru_cache.LRUCache, "put", full)
    said: list[str] = []
    with compilation_cache(said.append):
        assert compile_new(5.5)
    assert len(said) == 1 and "No space left" in said[0]


def test_other_warnings_pass(folder):
    with pytest.warns(UserWarning, match="of somebody else"), compilation_cache():
        warnings.warn("of somebody else", stacklevel=1)


def test_it_is_bounded(folder, monkeypatch):
    with compilation_cache():
        compile_new(6.5)
    size = sum(entry.stat().st_size for entry in folder.glob("*-cache"))
    monkeypatch.setitem(cache._SETTINGS, "jax_compilation_cache_max_size", 2 * size)
    with compilation_cache():
        for number in range(8):
            compile_new(7.5 + number)
    assert sum(entry.stat().st_size for entry in folder.glob("*-cache")) <= 2 * size


def test_a_lock_held_by_another_process_is_waited_for(folder):
    with compilation_cache():
        compile_new(20.5)
    lock = FileLock(folder / ".lockfile", thread_local=False)
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    kept = entries(folder)
    with compilation_cache():
        compile_new(21.5)
    assert entries(folder) > kept


def test_a_lock_that_nobody_gives_back_is_a_note(folder, monkeypatch):
    monkeypatch.setattr(cache, "_LOCK_SECONDS", 0.1)
    folder.mkdir(parents=True)
    said: list[str] = []
    with FileLock(folder / ".lockfile"), compilation_cache(said.append) as found:
        assert found is None
    assert len(said) == 1 and "lock" in said[0]


PROGRAM = """
import json, warnings
warnings.simplefilter("error")
import jax, jax.numpy as jnp
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name.split("/")[-1]))
jax.jit(lambda x: x + 1)(1.0)
from hierarchical_twin.inference.cache import compilation_cache
with compilation_cache():
    jax.jit(lambda x: jnp.linalg.cholesky(x @ x.T + jnp.eye(4)))(jnp.ones((4, 4)))
print(json.dumps({word: events.count(word) for word in ("cache_hits", "cache_misses")}))
"""


def start(environment: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_later_process_compiles_nothing_and_says_nothing(tmp_path):
    """Two at once fill it; the third reads all."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    environment = {**unset, VARIABLE: str(tmp_path)}
    both = [start(environment), start(environment)]
    ended = [process.communicate(timeout=120) for process in both]
    last, errors = start(environment).communicate(timeout=120)
    assert [text for _, text in ended] == ["", ""] and errors == ""
    assert any(json.loads(text)["cache_misses"] for text, _ in ended)
    found = json.loads(last)
    assert found["cache_misses"] == 0 and found["cache_hits"] > 0
