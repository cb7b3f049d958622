"""A model's tokenizer files, read without the libraries that run them, and no further than a comparison needs.

Files are strangers': what is not of the expected form counts as not known.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from merge_core.checkpoint import Checkpoint

LARGEST = 64 << 20  # bytes of a tokenizer.json; that of a vocabulary of 256,000 tokens takes 35 MB
LARGEST_SETTINGS = 8 << 20
KEPT = 3  # vocabularies that are remembered: the one that others are compared with, and few of those

TOKENIZER = "tokenizer.json"
OPAQUE = ("tokenizer.model", "spiece.model")  # compared as they are
SPECIAL = ("special_tokens_map.json", "tokenizer_config.json")  # the latter has the last word
CHAT_TEMPLATES = ("chat_template.jinja", "chat_template.json")
ROLES = ("bos_token", "eos_token", "unk_token")

_SHA256 = re.compile(
    r"[0-9a-f]{64}"
)  # what the Hub says of a large file's content, and what `_hash` makes of a local one

T = TypeVar("T")
Vocabulary = Mapping[str, int] | str


def token_file(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """The file that says which tokens a model knows, and what tells its content apart; None where there is none."""
    return next(
        ((name, content) for name in _READ if (content := checkpoint.content_of(name)) is not None), None
    )


def vocabulary(checkpoint: Checkpoint) -> Vocabulary | None:
    """Token → number of its embedding's row; or a hash, where only equality can be told; None where nothing can."""
    file = token_file(checkpoint)
    if file is None:
        return None
    name, content = file
    if name in OPAQUE and _SHA256.fullmatch(content):
        return content
    known, found = _kept.get(f"{name} {content}")
    if known:
        return found
    text = checkpoint.small_file(name, LARGEST)
    if text is None:
        return None
    found = _tolerant(_READ[name], text)
    _kept.put(f"{name} {content}", found)
    return found


def same_tokenizer(a: Checkpoint, b: Checkpoint) -> bool:
    """True where the files that hold their tokens are known to be the same, without reading them."""
    file = token_file(a)
    return file is not None and file == token_file(b)


def same_settings(a: Checkpoint, b: Checkpoint) -> bool:
    """True where the files that say what is special, and how conversations are written, are known to be the same."""
    return all(a.content_of(name) == b.content_of(name) for name in (*SPECIAL, *CHAT_TEMPLATES))


def special_tokens(checkpoint: Checkpoint) -> Mapping[str, str]:
    """What marks the beginning and end of a text, and unknown tokens, by `ROLES`, as far as that is said."""
    found: dict[str, str] = {}
    for name in SPECIAL:
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
    if any(checkpoint.content_of(name) for name in CHAT_TEMPLATES):
        return True
    return bool(_settings(checkpoint, "tokenizer_config.json").get("chat_template"))


def _settings(checkpoint: Checkpoint, name: str) -> Mapping[str, Any]:
    if checkpoint.content_of(name) is None:
        return {}
    text = checkpoint.small_file(name, LARGEST_SETTINGS)
    found = None if text is None else _tolerant(json.loads, text)
    return found if isinstance(found, dict) else {}


def _tolerant(read: Callable[[bytes], T], text: bytes) -> T | None:
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


# The first of these files that a model has is the one that counts.
_READ: Mapping[str, Callable[[bytes], Vocabulary]] = {
    TOKENIZER: _from_tokenizer,
    **dict.fromkeys(OPAQUE, _hash),
    "vocab.json": _from_vocab_json,
    "vocab.txt": _from_lines,
}


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
