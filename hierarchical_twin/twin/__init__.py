"""Twins: patients whose posterior goes on learning, record by record, under a fitted population."""
