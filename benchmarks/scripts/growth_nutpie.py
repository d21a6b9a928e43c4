"""Tumor growth in PyMC, sampled by nutpie: ``python -m benchmarks.scripts.growth_nutpie TABLE OUT``."""

from __future__ import annotations

import sys
from pathlib import Path

import nutpie

from benchmarks.models.growth.pymc_model import build
from benchmarks.scripts.finish import save_and_print
from benchmarks.tables import read_arrays


def main() -> None:
    """Read, sample, save, print."""
    compiled = nutpie.compile_pymc_model(build(read_arrays("growth", Path(sys.argv[1])), is_centered=True))
    tree = nutpie.sample(compiled, draws=1000, chains=4, cores=2, seed=1, progress_bar=False)
    posterior = tree["posterior"]
    save_and_print({str(name): posterior[name].to_numpy() for name in posterior.data_vars}, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
