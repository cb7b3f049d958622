"""Tiebreak's engine: recipes, checkpoints, merge methods, interference, probes and publishing; no user interface."""

__version__ = "0.1.0"
