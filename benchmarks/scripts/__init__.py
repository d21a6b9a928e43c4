"""Whole scripts of peers, as one would write them: read a table, sample, save NetCDF, print intervals."""
