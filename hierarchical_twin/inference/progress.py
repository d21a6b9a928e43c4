"""The progress bar of a run: iterations a second, time left, divergences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from hierarchical_twin.inference.nuts import Progress, Watcher

_LEAST_SECONDS = 0.5
"""Before that a speed says more of the clock than of the run."""


class _StandardError(Console):
    """Where the bar goes; once nobody reads it there, nowhere: no reason to end a run, as rich would."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def on_broken_pipe(self) -> None:
        self.quiet = True


@contextmanager
def progress_bar() -> Iterator[Watcher]:
    """A bar on standard error; yields the function that moves it."""
    columns = (
        TextColumn("[bold]sampling"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=_StandardError(), refresh_per_second=8) as bar:
        task = bar.add_task("sampling", total=None, told="compiling")
        earlier: int | None = None

        def watch(progress: Progress) -> None:
            nonlocal earlier
            if earlier is None:
                # Of a resumed run a part is done already, and took no time here.
                earlier = progress.done
                bar.reset(task, total=progress.total, completed=progress.done)
            elapsed = bar.tasks[task].elapsed or 0.0
            told = f"{progress.done:,}/{progress.total:,} iterations"
            if elapsed >= _LEAST_SECONDS:
                told += f", {(progress.done - earlier) / elapsed:,.0f} it/s"
            told += f", {progress.divergences} divergences" if progress.divergences else ""
            bar.update(task, completed=progress.done, told=told)

        yield watch
