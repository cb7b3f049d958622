"""Exact trim thresholds over a tensor or the whole model, and what a trim leaves of each piece."""
