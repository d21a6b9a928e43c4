"""Ctrl-C that is not lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def remembered_interrupts() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether Ctrl-C was pressed since.

    Ctrl-C still raises ``KeyboardInterrupt`` as ever. Python drops an exception that is raised inside a
    callback of its garbage collector, though, and while JAX traces a model there are many of those: a run
    must not go on for an hour because it was interrupted at such a moment.

    Elsewhere than in the main thread, or where Ctrl-C is ignored, nothing is remembered.
    """
    earlier = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(earlier):
        yield lambda: False
        return
    pressed, told = threading.Event(), sys.unraisablehook

    def tell(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is not KeyboardInterrupt:  # that one is not lost: it is remembered
            told(lost)

    def remember(number: int, frame: FrameType | None) -> None:
        pressed.set()
        earlier(number, frame)

    signal.signal(signal.SIGINT, remember)
    sys.unraisablehook = tell
    try:
        yield pressed.is_set
    finally:
        sys.unraisablehook = told
        signal.signal(signal.SIGINT, earlier)
