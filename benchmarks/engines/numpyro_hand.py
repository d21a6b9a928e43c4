"""The hand-written NumPyro model: jitted as a whole, or through `MCMC.run` as its users do.

NumPyro's default NUTS. Chains start at medians of the priors (`init_to_median`): from NumPyro's default,
uniform(-2, 2), several of these posteriors take minutes to warm up.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from benchmarks.measure import Outcome, Settings, split_by_gradients
from benchmarks.tables import read_arrays

QUANTITIES = ("typical", "beta", "omega", "rho", "sigma", "effects")


def run(key: str, table: Path, settings: Settings, *, variant: str, style: str) -> Outcome:
    """Sample one problem.

    Parameters
    ----------
    key : str
        A problem's key.
    table : Path
    settings : Settings
    variant : {"centered", "noncentered"}
    style : {"jit", "run"}
        ``jit``: one compiled program for each phase, two chains at a time in threads. ``run``:
        `MCMC.run` with its default chain method over one host device for each chain.
    """
    begin = time.perf_counter()
    import numpyro

    if style == "run":
        numpyro.set_host_device_count(settings.chains)
    import jax
    import numpyro.infer

    jax.config.update("jax_enable_x64", True)
    imported = time.perf_counter() - begin
    begin = time.perf_counter()
    program = import_module(f"benchmarks.models.{key}.numpyro_model").model
    data = read_arrays(key, table)
    seconds = {"import": imported, "build": time.perf_counter() - begin}
    arguments = ((data,), {"is_centered": variant == "centered"})
    sampler = _run_jitted if style == "jit" else _run_as_users_do
    return sampler(program, arguments, settings, seconds)


def _kernel(program):
    from numpyro.infer import NUTS, init_to_median

    return NUTS(program, init_strategy=init_to_median)


def _run_jitted(program, arguments, settings: Settings, seconds: dict[str, float]) -> Outcome:
    import jax
    import numpy as np
    from numpyro.infer import MCMC

    data, words = arguments

    def chain():
        return MCMC(
            _kernel(program), num_warmup=settings.warmup, num_samples=settings.draws, progress_bar=False
        )

    sampler = chain()

    def warm(key):
        sampler.warmup(key, *data, collect_warmup=True, extra_fields=("num_steps",), **words)
        return sampler.last_state, sampler.get_extra_fields()["num_steps"].sum()

    def draw(state):
        sampler.post_warmup_state = state
        sampler.run(state.rng_key, *data, extra_fields=("num_steps",), **words)
        return sampler.get_samples(), sampler.get_extra_fields()

    begin = time.perf_counter()
    keys = jax.random.split(jax.random.PRNGKey(settings.seed), settings.chains)
    # Two programs, so that the phases can be timed; one for both would compile in little over half the time.
    warmed = jax.jit(warm).lower(keys[0]).compile()
    shapes = jax.eval_shape(warm, keys[0])[0]
    drawn = jax.jit(draw).lower(shapes).compile()
    seconds = seconds | {"compile": time.perf_counter() - begin}

    def one(key):
        start = time.perf_counter()
        state, steps = jax.block_until_ready(warmed(key))
        middle = time.perf_counter()
        samples, extra = jax.block_until_ready(drawn(state))
        return samples, extra, int(steps), middle - start, time.perf_counter() - middle

    begin = time.perf_counter()
    with ThreadPoolExecutor(settings.cores) as pool:
        done = list(pool.map(one, keys))
    total = time.perf_counter() - begin
    phases = [sum(part[place] for part in done) for place in (3, 4)]
    seconds |= {"warmup": total * phases[0] / sum(phases), "sampling": total * phases[1] / sum(phases)}
    return Outcome(
        {name: np.stack([part[0][name] for part in done]) for name in QUANTITIES if name in done[0][0]},
        int(sum(part[1]["diverging"].sum() for part in done)),
        seconds,
        {
            "warmup": float(sum(part[2] for part in done)),
            "sampling": float(sum(part[1]["num_steps"].sum() for part in done)),
        },
    )


def _run_as_users_do(program, arguments, settings: Settings, seconds: dict[str, float]) -> Outcome:
    import jax
    import numpy as np
    from numpyro.infer import MCMC

    data, words = arguments
    sampler = MCMC(
        _kernel(program),
        num_warmup=settings.warmup,
        num_samples=settings.draws,
        num_chains=settings.chains,
        progress_bar=False,
    )

    def once(seed: int) -> float:
        begin = time.perf_counter()
        sampler.run(jax.random.PRNGKey(seed), *data, extra_fields=("num_steps",), **words)
        jax.block_until_ready(sampler.get_samples())
        return time.perf_counter() - begin

    # The first run compiles, the second is what a warm process pays.
    first, warm = once(settings.seed + 1000), once(settings.seed)
    samples, extra = sampler.get_samples(group_by_chain=True), sampler.get_extra_fields(group_by_chain=True)
    steps = np.asarray(extra["num_steps"])
    # Warm-up steps are not kept by `run`; iterations are taken to cost the same in both phases.
    share = settings.warmup / settings.draws
    gradients = {"warmup": float(steps.sum()) * share, "sampling": float(steps.sum())}
    return Outcome(
        {name: np.asarray(samples[name]) for name in QUANTITIES if name in samples},
        int(np.asarray(extra["diverging"]).sum()),
        seconds | {"compile": max(first - warm, 0.0)} | split_by_gradients(warm, gradients),
        gradients,
        split="by iterations",
    )
