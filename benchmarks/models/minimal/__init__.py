"""The minimal posterior by hand; see `benchmarks.models`."""
