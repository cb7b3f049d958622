"""Texts and their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merge_core.probe.classification import accuracy
from merge_core.probe.fields import Fields
from merge_core.probe.local_model import TEXT_CLASSIFIER, LocalModel
from merge_core.probe.probe_set import ProbeResult, ProbeSet
from merge_core.probe.work import Work


@dataclass(frozen=True)
class LabelledText:
    """One item."""

    text: str
    label: str


class TextClassification:
    """Accuracy, among all classes that the model knows, with Wilson's interval; a text is cut to 512 tokens."""

    name = "text-classification"
    head = TEXT_CLASSIFIER
    least_items = 1
    has_labels = True

    def read(self, fields: Fields, labels: tuple[str, ...]) -> LabelledText:
        """An item: `text`, `label`."""
        fields.only("text", "label")
        return LabelledText(fields.text("text"), fields.label(labels))

    def check(self, model: LocalModel, probe: ProbeSet) -> None:
        """The model knows the classes, and has a tokenizer."""
        model.check_labels(probe.labels, probe.name)
        _ = model.tokenizer

    def measure(self, model: LocalModel, probe: ProbeSet, work: Work) -> list[ProbeResult]:
        """One accuracy."""
        padded = model.tokenizer.pad_token is not None and model.config.pad_token_id is not None

        def inputs(items: Sequence[LabelledText]) -> Mapping[str, Any]:
            made: Mapping[str, Any] = model.tokenizer(
                [item.text for item in items],
                truncation=True,
                max_length=model.window,
                padding=padded,
                return_tensors="pt",
            )
            return made

        batch = (
            model.batch(model.window) if padded else 1
        )  # texts of unequal length need padding to share a batch
        return accuracy(model, self.head, probe, work, batch, inputs)
