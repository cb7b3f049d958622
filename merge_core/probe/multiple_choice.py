"""A beginning and several ways to go on, one of them right."""

from __future__ import annotations

from dataclasses import dataclass

from merge_core.probe.fields import Fields
from merge_core.probe.intervals import wilson
from merge_core.probe.likelihood import Sequel, log_likelihoods, opening_token, token_ids
from merge_core.probe.local_model import CAUSAL_MODEL, LocalModel
from merge_core.probe.probe_set import ProbeResult, ProbeSet
from merge_core.probe.work import Work


@dataclass(frozen=True)
class Question:
    """One item.

    Args:
        context: what comes before every choice; may be empty.
        choices: what may follow it, two or more.
        answer: the right one's place.
    """

    context: str
    choices: tuple[str, ...]
    answer: int


class MultipleChoice:
    """Accuracy by summed log-likelihood of the choices, and by log-likelihood per UTF-8 byte, with Wilson's intervals.

    The model's answer is the likeliest choice after the context, the first among equals. A context that does not fit
    into the model's window, or into 512 tokens, loses its beginning.
    """

    name = "multiple-choice"
    head = CAUSAL_MODEL
    least_items = 1
    has_labels = False

    def read(self, fields: Fields, labels: tuple[str, ...]) -> Question:
        """An item: `context`, `choices`, `answer`."""
        fields.only("context", "choices", "answer")
        choices = fields.texts("choices", 2)
        return Question(fields.text("context", empty=True), choices, fields.place("answer", len(choices)))

    def check(self, model: LocalModel, probe: ProbeSet) -> None:
        """The model has a tokenizer with a token that opens a text."""
        opening_token(model, probe.name)

    def measure(self, model: LocalModel, probe: ProbeSet, work: Work) -> list[ProbeResult]:
        """Two accuracies: plain, and per byte."""
        sequels: list[Sequel] = []
        for item in probe.items:
            work.check()
            with model.answering(probe.name):
                sequels += _sequels(model, item, probe.name)
        scores = iter(log_likelihoods(model, probe.name, sequels, work.reach))
        plain = per_byte = 0
        for item in probe.items:
            likelihoods = [next(scores) for _ in item.choices]
            rates = [s / len(c.encode()) for s, c in zip(likelihoods, item.choices, strict=True)]
            plain += _best(likelihoods) == item.answer
            per_byte += _best(rates) == item.answer
        n = len(probe.items)
        return [
            ProbeResult(probe.name, "accuracy", plain / n, *wilson(plain, n), n),
            ProbeResult(probe.name, "accuracy per byte", per_byte / n, *wilson(per_byte, n), n),
        ]


def _best(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _sequels(model: LocalModel, item: Question, probe: str) -> list[Sequel]:
    """A sequence for every choice, judged from the same place on.

    A token may span the seam between context and choice, and not for every choice. What all sequences and the context
    have in common is what the choices are judged after: so all are judged on the same text.
    """
    opening = opening_token(model, probe)
    context = (opening, *token_ids(model, item.context))
    whole = [(opening, *token_ids(model, item.context + choice)) for choice in item.choices]
    common = min(_common(context, ids) for ids in whole)
    common = min(common, *(len(ids) - 1 for ids in whole))
    cut = max(0, max(map(len, whole)) - model.window)
    if cut >= common:
        raise model.unfit(probe, f"a choice alone is longer than {model.window - 1} tokens")
    return [Sequel(ids[cut:], len(ids) - common) for ids in whole]


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Length of the longest common beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
