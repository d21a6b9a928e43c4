"""The prodrug posterior by hand; see `benchmarks.models`."""
