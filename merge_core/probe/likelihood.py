"""How likely a causal language model holds token sequences to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from merge_core.probe.local_model import CAUSAL_MODEL, LocalModel

LARGEST_LOGITS = 128 << 20  # bytes of a batch's answers in float32
SLICE = 64  # positions whose probabilities are normalised at once


@dataclass(frozen=True)
class Sequel:
    """Tokens of which the last are judged.

    Args:
        ids: token numbers, two at least, no more than the model's window.
        judged: how many of them, from the end; at least one is not.
    """

    ids: tuple[int, ...]
    judged: int


def opening_token(model: LocalModel, probe: str) -> int:
    """The token that stands before a text, so that the text's first token is a prediction too.

    Begin-of-text, or end-of-text where there is none, which is how such models see texts follow each other.

    Raises:
        UserError: the tokenizer has neither.
    """
    for token in (model.tokenizer.bos_token_id, model.tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise model.unfit(probe, "its tokenizer has no token for the beginning or the end of a text")


def token_ids(model: LocalModel, text: str) -> tuple[int, ...]:
    """A text's tokens and nothing else."""
    return tuple(model.tokenizer(text, add_special_tokens=False)["input_ids"])


def log_likelihoods(
    model: LocalModel, probe: str, sequels: Sequence[Sequel], reach: Callable[[float], None]
) -> list[float]:
    """Σ ln p(token | all before it) over the judged tokens of every sequence, natural logarithm, float64.

    Args:
        probe: its name, for errors.
        reach: told the share done after every batch.

    Raises:
        UserError: the model fails, or answers with values that are not finite.
    """
    # Neighbours of like length waste no work on padding; the first of a batch, its longest, decides how many fit.
    order = sorted(range(len(sequels)), key=lambda place: -len(sequels[place].ids))
    found = [0.0] * len(sequels)
    begin = 0
    while begin < len(order):
        count = _batch(model, len(sequels[order[begin]].ids))
        places = order[begin : begin + count]
        batch = [sequels[place] for place in places]
        for place, value in zip(places, _judge(model, probe, batch), strict=True):
            found[place] = value
        begin += len(places)
        reach(begin / len(order))
    return found


def _batch(model: LocalModel, length: int) -> int:
    """Sequences a batch, none longer than `length` tokens."""
    vocabulary = getattr(model.config.get_text_config(), "vocab_size", 0) or 1
    return max(1, min(model.batch(length), LARGEST_LOGITS // (4 * vocabulary * length)))


def _judge(model: LocalModel, probe: str, batch: Sequence[Sequel]) -> list[float]:
    import torch

    length = max(len(sequel.ids) for sequel in batch)
    # Padded on the right: what stands there is after every judged token, and a causal model cannot look ahead.
    ids = torch.tensor([[*sequel.ids, *[0] * (length - len(sequel.ids))] for sequel in batch])
    mask = torch.tensor([[1] * len(sequel.ids) + [0] * (length - len(sequel.ids)) for sequel in batch])
    weights = model.weights(CAUSAL_MODEL)
    with model.answering(probe):
        logits = weights(input_ids=ids, attention_mask=mask, use_cache=False).logits
        if logits.dim() != 3 or tuple(logits.shape[:2]) != tuple(ids.shape):
            raise ValueError(f"expected answers for every token, found shape {tuple(logits.shape)}")
        values = []
        for row, sequel in enumerate(batch):
            first, last = len(sequel.ids) - sequel.judged, len(sequel.ids)
            total = 0.0
            for start in range(first, last, SLICE):
                stop = min(start + SLICE, last)
                said = logits[row, start - 1 : stop - 1].float()
                model.require_finite(said, probe)
                right = said.gather(1, ids[row, start:stop, None])[:, 0]
                total += float((right - said.logsumexp(dim=1)).double().sum())
            values.append(total)
    return values
