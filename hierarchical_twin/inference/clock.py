"""How long each stage of a run takes, and how much of that JAX spends on compiling.

JAX reports each tracing, lowering and compiling when it ends; one inside another counts once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax

_COMPILING = "/jax/core/compile/"


@dataclass
class Clock:
    """Wall seconds of stages by name, and of these what was spent on compiling."""

    wall: dict[str, float] = field(default_factory=dict)
    compiling: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _listener()  # before there are threads, of which two might make one each

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add this block to a stage."""
        heard = _listener()
        before, begin = heard.total, time.perf_counter()
        try:
            yield
        finally:
            wall = time.perf_counter() - begin
            self.wall[name] = self.wall.get(name, 0.0) + wall
            # Threads may compile side by side.
            self.compiling[name] = self.compiling.get(name, 0.0) + min(heard.total - before, wall)

    def each[T](self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items, the time that they take to come added to a stage."""
        source = iter(items)
        while True:
            with self.stage(name):
                item = next(source, None)
            if item is None:
                return
            yield item


@contextmanager
def unheard() -> Iterator[None]:
    """What this thread compiles in this block is no stage's; what is waited for counts where it is."""
    with _listener().deaf():
        yield


class _Listener:
    """Seconds that this process has spent on compiling, in all its threads."""

    def __init__(self) -> None:
        self.total = 0.0
        self._own = threading.local()
        self._lock = threading.Lock()

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Hear nothing of this thread meanwhile."""
        before, self._own.is_deaf = getattr(self._own, "is_deaf", False), True
        try:
            yield
        finally:
            self._own.is_deaf = before

    def hear(self, event: str, seconds: float, **_: Any) -> None:
        """Count an event that ends now, in place of those that lie within it."""
        if not event.startswith(_COMPILING) or getattr(self._own, "is_deaf", False):
            return
        begin = time.perf_counter() - seconds
        spans = self._own.__dict__.setdefault("spans", [])
        within = 0.0
        while spans and spans[-1][0] >= begin:
            within += spans.pop()[1]
        spans.append((begin, seconds))
        with self._lock:
            self.total += seconds - within


@cache
def _listener() -> _Listener:
    """The one listener of this process: JAX has no public way to take one away again."""
    listener = _Listener()
    jax.monitoring.register_event_duration_secs_listener(listener.hear)
    return listener
