"""What a model's files are for, told from their names: weights, what a merged model needs as well, or neither."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from merge_core.checkpoint.checkpoint import ADAPTER_WEIGHTS
from merge_core.errors import UserError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"

LARGEST_JSON = 100_000_000  # bytes; an index of a million tensors takes less

_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")
_PICKLES = re.compile(r".*\.(bin|pt|pth|ckpt|pkl|pickle)")
_ADAPTERS = (ADAPTER_WEIGHTS, "adapter_model.bin")

_COMPANION_ENDINGS = (".json", ".txt", ".jinja", ".model", ".tiktoken", ".bpe", ".spm")
_LEGAL = re.compile(r"(licen[cs]e|notice|copying|use_policy).*", re.IGNORECASE)
# Notes of a training run, and what describes files that the merge does not take over.
_LEFT_OUT = re.compile(
    r".*\.index\.json|adapter_config\.json|requirements\.txt|trainer_state\.json|training_args\.json"
    r"|(all|train|eval|test|predict)_results\.json|.*\.(onnx|gguf)\.json"
)
# Folders of a sentence-transformers pipeline, and of a tokenizer with several templates.
_COMPANION_FOLDERS = re.compile(r"\d+_[A-Za-z]+|additional_chat_templates")


def is_companion(name: str) -> bool:
    """True for what a complete model folder needs beside its weights: configuration, tokenizer, processor, licence.

    A model card is not taken over, for the merge gets its own; code is not, for nobody has read it.

    Args:
        name: relative to the model's folder, with `/` between its parts.
    """
    *folders, file = name.split("/")
    if any(part.startswith(".") or part in ("", "..") or "\\" in part for part in (*folders, file)):
        return False
    if folders:
        if len(folders) > 1 or not _COMPANION_FOLDERS.fullmatch(folders[0]):
            return False
        return file.endswith((*_COMPANION_ENDINGS, ".safetensors")) and not _LEFT_OUT.fullmatch(file)
    if _LEGAL.fullmatch(file):
        return not file.lower().endswith((".py", ".html"))
    return file.endswith(_COMPANION_ENDINGS) and not _LEFT_OUT.fullmatch(file)


def weight_files(names: Iterable[str], ref: str) -> tuple[str, ...]:
    """The weight files among a model's files; the index alone where there is one.

    Args:
        names: all files at the top of the model's folder.
        ref: the model's name, for errors.

    Raises:
        UserError: there are none, or it cannot be told which.
    """
    names = set(names)
    if SINGLE in names:
        return (SINGLE,)
    if INDEX in names:
        return (INDEX,)
    found = sorted(name for name in names if name.endswith(".safetensors") and name not in _ADAPTERS)
    if not found:
        raise _no_weights(names, ref)
    if len(found) == 1 and not _NUMBERED.fullmatch(found[0]):
        return (found[0],)
    return _numbered(found, ref)


def adapter_files(names: Iterable[str], ref: str) -> tuple[str, ...]:
    """The weight file of an adapter.

    Args:
        names: all files at the top of the adapter's folder.
        ref: its name, for errors.

    Raises:
        UserError: there is no adapter in PEFT's form, or only a pickle.
    """
    names = set(names)
    if ADAPTER_CONFIG not in names:
        what = "a full model" if CONFIG in names else f"no adapter: it has no {ADAPTER_CONFIG}"
        raise UserError(f"{ref} is {what}.", "After `+` comes a LoRA adapter in PEFT's form.")
    if ADAPTER_WEIGHTS not in names:
        pickled = (
            " only as a pickle, which can run code when it is opened"
            if names & set(_ADAPTERS)
            else " nowhere"
        )
        raise UserError(
            f"{ref} has the adapter's weights{pickled}.",
            "Save it again with PEFT's `save_pretrained(folder, safe_serialization=True)`.",
        )
    return (ADAPTER_WEIGHTS,)


def _numbered(found: list[str], ref: str) -> tuple[str, ...]:
    """Shards without an index: complete, or an error."""
    parts = [_NUMBERED.fullmatch(name) for name in found]
    stems = {(part["stem"], int(part["count"])) for part in parts if part}
    if not all(parts) or len(stems) != 1:
        raise UserError(
            f"{ref} holds {len(found)} safetensors files and no {INDEX} that says which belong together.",
            f"Keep one model per folder, called {SINGLE}, or add the index.",
        )
    stem, count = stems.pop()
    wanted = [f"{stem}-{number + 1:05}-of-{count:05}.safetensors" for number in range(min(count, 10_000))]
    for name in wanted:
        if name not in found:
            raise missing_shard(ref, name)
    return tuple(wanted)


def missing_shard(ref: str, name: str) -> UserError:
    """The error for a weight file that is not there."""
    return UserError(f"{ref} lacks its weight file {name!r}.", "Download or copy the model again, whole.")


def _no_weights(names: set[str], ref: str) -> UserError:
    if names & set(_ADAPTERS):
        return UserError(
            f"{ref} is an adapter, not a full model.",
            f"Write `base+{ref}`: the model that it was trained on, a plus, and the adapter.",
        )
    pickled = sorted(name for name in names if _PICKLES.fullmatch(name))
    if pickled:
        return UserError(
            f"{ref} has its weights in {pickled[0]!r} only, a pickle, which can run code when it is opened.",
            "Convert it: in a place you trust, load it with transformers and save it again with "
            "`save_pretrained(folder, safe_serialization=True)`; on the Hub, the Space safetensors/convert does it.",
        )
    return UserError(
        f"{ref} holds no weights: expected {SINGLE} or {INDEX}.",
        "Name the folder that holds the model's files.",
    )


def read_index(text: bytes, ref: str) -> dict[str, str]:
    """Read an index: tensor name → weight file.

    Raises:
        UserError: it is no JSON with a `weight_map`, or names a file outside the model's folder.
    """
    document = read_object(text, f"{ref}: {INDEX}")
    mapped = document.get("weight_map")
    if not isinstance(mapped, dict) or not mapped:
        raise UserError(
            f"{ref}: {INDEX}: expected a `weight_map` of tensors to files.",
            "Download or save the model again.",
        )
    for tensor, file in mapped.items():
        if not isinstance(file, str) or not re.fullmatch(r"[^./\\\0][^/\\\0]*\.safetensors", file):
            raise UserError(
                f"{ref}: {INDEX}: tensor {tensor[:120]!r}: expected the name of a safetensors file in the same folder, "
                f"found {str(file)[:120]!r}.",
                "Download or save the model again.",
            )
    return mapped


def read_object(text: bytes, where: str) -> Mapping[str, Any]:
    """A JSON object.

    Raises:
        UserError: `text` is none.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{where} is not JSON.", "Download or save the model again.") from None
    if not isinstance(document, dict):
        raise UserError(
            f"{where}: expected an object, found {type(document).__name__}.",
            "Download or save the model again.",
        )
    return document
