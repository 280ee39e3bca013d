"""Data sets whose tasks are optimisation problems: a loss of parameters phi, and a start."""
