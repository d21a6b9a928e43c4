"""The five posteriors, written by hand in NumPyro, PyMC and Stan, one folder each.

Priors and error models are those of the shipped specs. Every program names its quantities alike:
``typical`` (link scale, every estimated parameter), ``omega``, ``rho`` or ``beta`` where there is one,
``sigma``, and ``effects`` ``[patient, effect]``, each patient's own parameters on the link scale.
"""
