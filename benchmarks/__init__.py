"""Side by side with the engines a statistician might write the same posterior in: ``python -m benchmarks``."""
