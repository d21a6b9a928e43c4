"""One module for each engine: from a table on disk to draws, with its times. None is imported unless run."""
