"""Tumor growth in NumPyro, jitted as a whole: ``python -m benchmarks.scripts.growth_numpyro TABLE OUT``."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from numpyro.infer import MCMC, NUTS, init_to_median

from benchmarks.models.growth.numpyro_model import model
from benchmarks.scripts.finish import save_and_print
from benchmarks.tables import read_arrays


def main() -> None:
    """Read, sample, save, print."""
    jax.config.update("jax_enable_x64", True)
    data = read_arrays("growth", Path(sys.argv[1]))

    def chain(key):
        kernel = NUTS(model, init_strategy=init_to_median)
        sampler = MCMC(kernel, num_warmup=1000, num_samples=1000, progress_bar=False)
        sampler.run(key, data, is_centered=True)
        return sampler.get_samples()

    keys = jax.random.split(jax.random.PRNGKey(1), 4)
    compiled = jax.jit(chain).lower(keys[0]).compile()
    with ThreadPoolExecutor(2) as pool:
        chains = list(pool.map(lambda key: jax.block_until_ready(compiled(key)), keys))
    save_and_print(
        {name: np.stack([samples[name] for samples in chains]) for name in chains[0]}, Path(sys.argv[2])
    )


if __name__ == "__main__":
    main()
