"""A model's tokenizer files, read without the libraries that run them, and no further than a comparison needs.

Files are strangers': what is not of the expected form counts as not known.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from merge_core.checkpoint import Checkpoint

LARGEST = 64 << 20  # bytes of a tokenizer.json; that of a vocabulary of 256,000 tokens takes 35 MB
LARGEST_SETTINGS = 8 << 20
KEPT = 8  # vocabularies that are remembered

TOKENIZER = "tokenizer.json"
OPAQUE = ("tokenizer.model", "spiece.model")  # compared as they are
ROLES = ("bos_token", "eos_token", "unk_token")

Vocabulary = Mapping[str, int] | str


def vocabulary(checkpoint: Checkpoint) -> Vocabulary | None:
    """Token → number of its embedding's row; or a hash, where only equality can be told; None where nothing can."""
    for read, names in (
        (_from_tokenizer, (TOKENIZER,)),
        (_hash, OPAQUE),
        (_from_vocab_json, ("vocab.json",)),
        (_from_lines, ("vocab.txt",)),
    ):
        for name in names:
            content = checkpoint.content_of(name)
            if content is None:
                continue
            key = f"{name} {content}"
            known, found = _kept.get(key)
            if not known:
                text = checkpoint.start_of(name, LARGEST + 1)
                found = None if text is None or len(text) > LARGEST else _tolerant(read, text)
                _kept.put(key, found)
            return found
    return None


def same_tokenizer(a: Checkpoint, b: Checkpoint) -> bool:
    """True where the files that hold their tokens are known to be the same, without reading them."""
    names = [name for name in (TOKENIZER, *OPAQUE) if a.content_of(name) or b.content_of(name)]
    return bool(names) and all(a.content_of(name) == b.content_of(name) for name in names)


def special_tokens(checkpoint: Checkpoint) -> Mapping[str, str]:
    """What marks the beginning and end of a text, and unknown tokens, by `ROLES`, as far as that is said."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        settings = _settings(checkpoint, name)
        for role in ROLES:
            token = settings.get(role)
            if isinstance(token, Mapping):
                token = token.get("content")
            if isinstance(token, str) and token:
                found[role] = token
    return found


def has_chat_template(checkpoint: Checkpoint) -> bool:
    """Whether the model says how conversations are written for it."""
    if checkpoint.content_of("chat_template.jinja") or checkpoint.content_of("chat_template.json"):
        return True
    return bool(_settings(checkpoint, "tokenizer_config.json").get("chat_template"))


def _settings(checkpoint: Checkpoint, name: str) -> Mapping[str, Any]:
    if checkpoint.content_of(name) is None:
        return {}
    text = checkpoint.start_of(name, LARGEST_SETTINGS + 1)
    found = None if text is None or len(text) > LARGEST_SETTINGS else _tolerant(json.loads, text)
    return found if isinstance(found, dict) else {}


def _tolerant(read: Any, text: bytes) -> Any:
    try:
        return read(text)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None


def _from_tokenizer(text: bytes) -> Vocabulary:
    tokenizer = json.loads(text)
    stored = tokenizer["model"]["vocab"]
    if isinstance(stored, dict):
        found = {str(token): int(number) for token, number in stored.items()}
    else:  # [token, score] in order
        found = {str(token): number for number, (token, _) in enumerate(stored)}
    for token in tokenizer.get("added_tokens", ()):
        found[str(token["content"])] = int(token["id"])
    return found


def _from_vocab_json(text: bytes) -> Vocabulary:
    return {str(token): int(number) for token, number in json.loads(text).items()}


def _from_lines(text: bytes) -> Vocabulary:
    return {token: number for number, token in enumerate(text.decode().split("\n")) if token}


def _hash(text: bytes) -> Vocabulary:
    return hashlib.sha256(text).hexdigest()


class _Recent:
    """The vocabularies read last, by their files' content."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Vocabulary | None] = OrderedDict()

    def get(self, key: str) -> tuple[bool, Vocabulary | None]:
        """(whether it was kept, what)."""
        with self._lock:
            if key not in self._found:
                return False, None
            self._found.move_to_end(key)
            return True, self._found[key]

    def put(self, key: str, found: Vocabulary | None) -> None:
        """Keep one, and let go of the one not used for longest."""
        with self._lock:
            self._found[key] = found
            if len(self._found) > KEPT:
                self._found.popitem(last=False)


_kept = _Recent()
