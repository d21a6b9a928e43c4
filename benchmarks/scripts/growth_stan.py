"""Tumor growth in Stan: ``python -m benchmarks.scripts.growth_stan TABLE OUT CACHE``."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.engines.stan import run
from benchmarks.measure import Settings
from benchmarks.scripts.finish import save_and_print


def main() -> None:
    """Read, compile unless it is in the cache, sample, save, print."""
    table, out, cache = (Path(word) for word in sys.argv[1:4])
    scratch = out.with_suffix(".scratch")
    found = run("growth", table, Settings(), variant="centered", cache=cache, scratch=scratch)
    save_and_print(found.draws, out)


if __name__ == "__main__":
    main()
