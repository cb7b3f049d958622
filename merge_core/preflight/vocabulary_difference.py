"""In what two vocabularies differ. That is small and kept, so that each file is read once however often it is asked."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from merge_core.checkpoint import Checkpoint
from merge_core.preflight.tokenizer_files import Vocabulary, same_tokenizer, token_file, vocabulary

MOST_NAMED = 4  # tokens
KEPT = 256  # differences


@dataclass(frozen=True)
class Tokens:
    """How many tokens, and the first few of them in the order of their rows."""

    count: int
    first: tuple[str, ...]


@dataclass(frozen=True)
class VocabularyDifference:
    """What sets a vocabulary apart from another.

    Args:
        added: tokens that the other lacks.
        lost: tokens of the other that it lacks.
        moved: tokens that stand for another row of the embedding.
        sizes: tokens in all of the other, and of this one.
        opaque: that they differ is all that is known.
    """

    added: Tokens = Tokens(0, ())
    lost: Tokens = Tokens(0, ())
    moved: Tokens = Tokens(0, ())
    sizes: tuple[int, int] = (0, 0)
    opaque: bool = False


def compare_vocabularies(other: Checkpoint, this: Checkpoint) -> VocabularyDifference | None:
    """What sets the vocabulary of `this` apart from that of `other`; None where nothing does, or nothing is known."""
    if same_tokenizer(other, this):
        return None
    key = token_file(other), token_file(this)
    with _lock:
        if key in _kept:
            return _kept[key]
    ours, theirs = vocabulary(other), vocabulary(this)
    if ours is None or theirs is None:  # perhaps it can be read the next time
        return None
    found = None if ours == theirs else _difference(ours, theirs)
    with _lock:
        _kept[key] = found
        if len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found


def _difference(ours: Vocabulary, theirs: Vocabulary) -> VocabularyDifference:
    if isinstance(ours, str) or isinstance(theirs, str):
        return VocabularyDifference(opaque=True)
    return VocabularyDifference(
        added=_tokens((token for token in theirs if token not in ours), theirs),
        lost=_tokens((token for token in ours if token not in theirs), ours),
        moved=_tokens((token for token, row in theirs.items() if ours.get(token, row) != row), theirs),
        sizes=(len(ours), len(theirs)),
    )


def _tokens(found: Iterable[str], rows: Mapping[str, int]) -> Tokens:
    ordered = sorted(found, key=rows.__getitem__)
    return Tokens(len(ordered), tuple(ordered[:MOST_NAMED]))


_Key = tuple[tuple[str, str] | None, tuple[str, str] | None]
_lock = threading.Lock()
_kept: OrderedDict[_Key, VocabularyDifference | None] = OrderedDict()
