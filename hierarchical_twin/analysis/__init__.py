"""What a fit says: intervals, population, shrinkage, diagnostics.

Everything here reads an xarray `DataTree`, never samples, and imports neither JAX nor a backend.
"""
