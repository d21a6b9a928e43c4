"""The progress bar."""

from __future__ import annotations

import os
import sys
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
