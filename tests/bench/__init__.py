"""Measurements of the solvers: `make bench`."""
