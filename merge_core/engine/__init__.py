"""MergePlan → a model folder: read, compute and write, piece by piece, resumable and in bounded memory."""

from merge_core.engine.merging import merge

__all__ = ["merge"]
