"""The growth posterior by hand; see `benchmarks.models`."""
