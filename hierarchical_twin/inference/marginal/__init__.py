"""NUTS on the population alone: patients' effects integrated out, then drawn given the population."""
