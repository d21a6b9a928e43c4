"""A Ctrl-C whose exception was lost is still known of."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

import hierarchical_twin as ht
from hierarchical_twin.inference import sample as sampling
from hierarchical_twin.inference.interrupt import remembered_interrupts
from inference.models import LINEAR, linear_model


def press() -> None:
    """Ctrl-C, its exception dropped as in a callback of the garbage collector."""
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)


def test_it_is_remembered_and_the_handler_put_back():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with remembered_interrupts() as is_interrupted:
        assert not is_interrupted()
        press()
        assert is_interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_lost_one_is_not_told():
    class Careless:
        """Raises where nobody hears."""

        def __init__(self, error: BaseException) -> None:
            self.error = error

        def __del__(self) -> None:
            raise self.error

    seen, earlier = [], sys.unraisablehook
    sys.unraisablehook = lambda lost: seen.append(lost.exc_type)
    try:
        with remembered_interrupts():
            Careless(KeyboardInterrupt())
            Careless(ValueError())
    finally:
        sys.unraisablehook = earlier
    assert seen == [ValueError]


def test_elsewhere_nothing_is_touched():
    earlier, seen = signal.getsignal(signal.SIGINT), []

    def other() -> None:
        with remembered_interrupts() as is_interrupted:
            seen.append((is_interrupted(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [(False, earlier)]


def test_a_lost_interrupt_stops_the_run(monkeypatch):
    """Pressed before the chains run, and lost: the run ends at once, as if it had been heard."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    prepare = sampling.prepare_run

    def prepared(*given, **named):
        press()
        return prepare(*given, **named)

    monkeypatch.setattr(sampling, "prepare_run", prepared)
    rows = [(f"p{n}", t, 10.0 + n + (2 + 0.1 * n) * t) for n in range(4) for t in (0.0, 1.0, 3.0, 6.0)]
    with pytest.raises(KeyboardInterrupt):
        ht.sample(
            linear_model(LINEAR, rows), chains=1, warmup=5_000_000, draws=10, progress=False, device="cpu"
        )
