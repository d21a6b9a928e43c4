"""How a fit looks. Nothing is loaded until a figure is asked for."""
