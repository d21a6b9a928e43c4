"""What we do with a model: sample it, keep the result."""
