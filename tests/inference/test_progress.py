"""The progress bar."""

from __future__ import annotations

import io
import os
import sys
import time
from contextlib import suppress
from unittest.mock import patch

from hierarchical_twin.inference.nuts import Progress
from hierarchical_twin.inference.progress import progress_bar


def test_a_bar_that_nobody_reads_any_more_ends_no_run():
    read, write = os.pipe()
    os.close(read)
    # What is left in the stream's buffer cannot be written when it is closed.
    with suppress(BrokenPipeError), os.fdopen(write, "w") as broken:
        with patch.object(sys, "stderr", broken), progress_bar() as watch:
            watch(Progress(total=10, done=5))
        is_finished = True
    assert is_finished


def test_a_resumed_run_is_told_at_the_speed_of_what_is_new():
    with patch.object(sys, "stderr", io.StringIO()) as told, progress_bar() as watch:
        watch(Progress(total=2_000_000, done=1_000_000))
        time.sleep(0.6)
        watch(Progress(total=2_000_000, done=1_000_060))
    last = told.getvalue().splitlines()[-1]
    speed = float(last.split(" iterations, ")[1].split(" it/s")[0].replace(",", ""))
    # 60 iterations in at least 0.6 seconds, however slow the machine.
    assert speed <= 100


def test_at_once_no_speed_is_told():
    with patch.object(sys, "stderr", io.StringIO()) as told, progress_bar() as watch:
        watch(Progress(total=10, done=0))
        watch(Progress(total=10, done=10))
    assert "10/10 iterations" in told.getvalue()
    if "it/s" in told.getvalue():
        # On a machine so slow that half a second passed in between.
        assert float(told.getvalue().split(" iterations, ")[-1].split(" it/s")[0]) <= 20
