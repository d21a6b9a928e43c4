"""The memory a run needs is counted before it starts, and a run that needs too much does not start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hierarchical_twin as ht
from hierarchical_twin.errors import SamplingError
from hierarchical_twin.graph.evaluate import flat_size
from hierarchical_twin.inference import loop, sample
from hierarchical_twin.inference.device import choose_place
from hierarchical_twin.inference.draws import unfold_draws
from hierarchical_twin.inference.memory import (
    SAMPLER_DRAWS,
    Memory,
    available_bytes,
    check_memory,
    memory_needed,
    readable_bytes,
)
from hierarchical_twin.inference.settings import Schedule, Settings

SETTINGS = Settings(Schedule(chains=2, draws=100), "numpyro", "joint", 0.9, 10)


def held(arrays) -> int:
    return sum(value.nbytes for value in arrays.values())


def test_it_counts_what_is_made(sleep):
    points = np.zeros((2, 100, flat_size(sleep)))
    made = unfold_draws(sleep, points, choose_place("cpu", 2), seed=0)
    counted = memory_needed(sleep, SETTINGS, "draws", workers=2)
    assert counted.positions == points.nbytes
    assert counted.unfolded == held(made.posterior)
    assert counted.log_likelihood == held(made.log_likelihood)
    assert counted.replicates == held(made.replicates)
    parts = counted.positions + counted.unfolded + counted.log_likelihood + counted.replicates
    assert counted.peak >= parts


def test_a_summary_and_thinning_need_less(sleep):
    many = replace(SETTINGS, schedule=Schedule(chains=4, draws=10_000))
    thinned = replace(SETTINGS, schedule=Schedule(chains=4, draws=10_000, thin=10))
    whole = memory_needed(sleep, many, "draws", workers=2)
    summary = memory_needed(sleep, many, "summary", workers=2)
    assert summary.log_likelihood == summary.replicates == 0
    assert summary.unfolded < whole.unfolded / 3
    few = memory_needed(sleep, thinned, "draws", workers=2)
    assert few.positions * 10 == whole.positions and few.unfolded * 10 == whole.unfolded
    marginal = memory_needed(sleep, replace(many, method="marginal"), "summary", workers=2)
    assert marginal.positions < summary.positions and marginal.peak < summary.peak


def test_too_much_is_refused_with_what_would_do():
    memory = Memory(0, 0, 0, 0, 0, peak=8_000_000_000)
    long = replace(SETTINGS, schedule=Schedule(chains=4, draws=2000))
    check_memory(memory, long, "draws", None)
    check_memory(memory, long, "draws", 12_000_000_000)
    with pytest.raises(SamplingError) as refused:
        check_memory(memory, long, "draws", 11_000_000_000)
    said = str(refused.value)
    assert "8.0 GB" in said and "7.7 GB, 70 % of the 11.0 GB" in said
    assert "--patients summary" in said and "--thin 4" in said
    with pytest.raises(SamplingError, match="method='marginal'"):
        check_memory(memory, long, "summary", 11_000_000_000)


def test_a_run_is_refused_before_it_samples(sleep, monkeypatch):
    monkeypatch.setattr(sample, "available_bytes", lambda: 1_000_000)
    monkeypatch.setattr(sample, "run_chains", lambda *_, **__: pytest.fail("it sampled"))
    with pytest.raises(SamplingError, match="memory: got a run that needs"):
        ht.sample(sleep, chains=2, draws=100, warmup=50, device="cpu", progress=False)


def test_the_sampler_s_buffers_are_those_counted():
    assert SAMPLER_DRAWS == loop.BUFFER


def fake_system(root, available_kb, groups="", **limits):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 999 kB\nMemAvailable:   {available_kb} kB\n")
    (root / "proc/self/cgroup").write_text(groups)
    for path, numbers in limits.items():
        folder = root / "sys/fs/cgroup" / path.replace("__", "/").strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in numbers.items():
            (folder / name).write_text(value)


def test_available_is_the_machine_s_or_the_group_s(tmp_path):
    assert available_bytes(tmp_path) is None
    fake_system(tmp_path, 8_000)
    assert available_bytes(tmp_path) == 8_000 * 1024
    second = {"memory.max": "5000000", "memory.current": "2000000", "memory.stat": "inactive_file 500000\n"}
    unlimited = {"memory.max": "max", "memory.current": "1", "memory.stat": ""}
    fake_system(tmp_path / "v2", 8_000, "0::/job/inner\n", job=second, job__inner=unlimited)
    assert available_bytes(tmp_path / "v2") == 3_500_000
    first = {
        "memory.limit_in_bytes": "4000000",
        "memory.usage_in_bytes": "1000000",
        "memory.stat": "total_inactive_file 7\n",
    }
    fake_system(tmp_path / "v1", 8_000, "5:cpu,memory:/job\n", memory=first)
    assert available_bytes(tmp_path / "v1") == 3_000_007


@pytest.mark.parametrize(
    ("count", "said"), [(10, "1 MB"), (3.2e8, "320 MB"), (6.44e9, "6.4 GB"), (2e12, "2,000 GB")]
)
def test_bytes_for_people(count, said):
    assert readable_bytes(count) == said
