"""Which CSS colour stands for which model, everywhere on the page."""

from __future__ import annotations

from collections.abc import Sequence

BASE = "--tb-base"
MERGE = "--tb-accent"
MODELS = tuple(f"--tb-m{i}" for i in range(8))


def model_colours(names: Sequence[str]) -> dict[str, str]:
    """Name → CSS variable for fine-tunes in recipe order; the ninth takes the first one's colour again."""
    return {name: MODELS[i % len(MODELS)] for i, name in enumerate(names)}
