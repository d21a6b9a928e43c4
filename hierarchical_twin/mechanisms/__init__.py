"""Physiology: one family per file, pure JAX. `table` holds the words, without JAX."""

from hierarchical_twin.mechanisms.table import MECHANISMS, Mechanism

__all__ = ["MECHANISMS", "Mechanism"]
