"""The apoptosis posterior by hand; see `benchmarks.models`."""
