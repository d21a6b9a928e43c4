"""The linear posterior by hand; see `benchmarks.models`."""
