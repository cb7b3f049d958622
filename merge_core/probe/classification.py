"""Accuracy of a classifier: the part that images and texts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from merge_core.probe.intervals import wilson
from merge_core.probe.local_model import Head, LocalModel
from merge_core.probe.probe_set import ProbeResult, ProbeSet
from merge_core.probe.work import Work

Inputs = Callable[[Sequence[Any]], Mapping[str, Any]]


def accuracy(
    model: LocalModel, head: Head, probe: ProbeSet, work: Work, batch: int, inputs: Inputs
) -> list[ProbeResult]:
    """Share of items whose class the model holds for the likeliest of all classes it knows, the first among equals.

    Args:
        batch: items a batch.
        inputs: items → what the model is called with; items have a `label`.
    """
    classifier, names, right = model.weights(head), model.labels, 0
    for begin in range(0, len(probe.items), batch):
        items = probe.items[begin : begin + batch]
        with model.answering(probe.name):
            logits = classifier(**inputs(items)).logits
            # Anything else is a model for another task, such as one answer for every token.
            if tuple(logits.shape) != (len(items), len(names)):
                raise ValueError(f"expected {len(names)} answers an item, found shape {tuple(logits.shape)}")
        model.require_finite(logits, probe.name)
        answers = logits.argmax(dim=1).tolist()
        right += sum(names[answer] == item.label for answer, item in zip(answers, items, strict=True))
        work.reach((begin + len(items)) / len(probe.items))
    n = len(probe.items)
    return [ProbeResult(probe.name, "accuracy", right / n, *wilson(right, n), n)]
