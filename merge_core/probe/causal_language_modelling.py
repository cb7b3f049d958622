"""Plain texts, and how well a language model foresees them."""

from __future__ import annotations

import math

from merge_core.probe.fields import Fields
from merge_core.probe.intervals import ratio
from merge_core.probe.likelihood import Sequel, log_likelihoods, opening_token, token_ids
from merge_core.probe.local_model import CAUSAL_MODEL, LocalModel
from merge_core.probe.probe_set import ProbeResult, ProbeSet
from merge_core.probe.work import Work


class CausalLanguageModelling:
    """Bits per UTF-8 byte over all texts, less is better, comparable between tokenizers; interval by the delta method.

    Σ −log2 p(token | all before it) / Σ bytes. A text longer than the model's window, or than 512 tokens, is judged in
    pieces, each after the last token of the one before. A tokenizer that writes what it cannot spell as an unknown
    token gets those bytes too cheaply.
    """

    name = "causal-language-modelling"
    head = CAUSAL_MODEL
    least_items = 2  # an interval over items needs two
    has_labels = False

    def read(self, fields: Fields, labels: tuple[str, ...]) -> str:
        """An item: `text`."""
        fields.only("text")
        return fields.text("text")

    def check(self, model: LocalModel, probe: ProbeSet) -> None:
        """The model has a tokenizer with a token that opens a text."""
        opening_token(model, probe.name)

    def measure(self, model: LocalModel, probe: ProbeSet, work: Work) -> list[ProbeResult]:
        """One figure."""
        opening = opening_token(model, probe.name)
        owners: list[int] = []
        sequels: list[Sequel] = []
        for place, text in enumerate(probe.items):
            work.check()
            with model.answering(probe.name):
                pieces = _pieces((opening, *token_ids(model, text)), model.window)
            owners += [place] * len(pieces)
            sequels += pieces
        nats = [0.0] * len(probe.items)
        for place, value in zip(owners, log_likelihoods(model, probe.name, sequels, work.reach), strict=True):
            nats[place] -= value
        bits = [value / math.log(2) for value in nats]
        score, low, high = ratio(bits, [len(text.encode()) for text in probe.items])
        return [ProbeResult(probe.name, "bits per byte", score, low, high, len(probe.items))]


def _pieces(ids: tuple[int, ...], window: int) -> list[Sequel]:
    """Every token but the first, judged once, in pieces that overlap by one token."""
    step = window - 1
    pieces = (ids[begin : begin + window] for begin in range(0, len(ids) - 1, step))
    return [Sequel(piece, len(piece) - 1) for piece in pieces]
