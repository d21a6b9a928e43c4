"""What every test shares: float64, and a compilation cache that outlives the run."""

from __future__ import annotations

import os
from pathlib import Path

import jax

# Commands that tests run keep their programs here as well, not in the user's own cache.
os.environ.setdefault("HIERARCHICAL_TWIN_CACHE", str(Path(__file__).parents[1] / ".jax_cache" / "commands"))
jax.config.update("jax_enable_x64", True)
_CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(Path(__file__).parents[1] / ".jax_cache")
jax.config.update("jax_compilation_cache_dir", _CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
