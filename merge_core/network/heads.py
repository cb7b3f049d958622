"""How attention lays out its heads in a weight, as far as a configuration tells and the shape confirms.

A configuration is a stranger's text: a number in it counts only where the tensor's shape is exactly what it implies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from merge_core.network.data_flow import role_of
from merge_core.network.layers import locate

Shape = tuple[int, ...]

MOST_HEADS = 256  # in one picture

_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num")
_HEAD_DIM = ("head_dim", "d_kv", "kv_channels", "attention_head_dim")
_WIDTH = ("hidden_size", "n_embd", "d_model", "dim")
_PARTS = {
    "vision": "vision_config",
    "visual": "vision_config",
    "audio": "audio_config",
    "text": "text_config",
}
# How a fused weight of query, key and value is ordered cannot be read off its shape.
_ONE_AFTER_THE_OTHER = {
    "gpt2",
    "openai-gpt",
    "decision_transformer",
    "imagegpt",
    "phi3",
    "mpt",
    "dbrx",
    "qwen",
}
_HEAD_BY_HEAD = {"gpt_neox", "gpt_neox_japanese", "bloom"}


@dataclass(frozen=True)
class Heads:
    """Which part of a weight belongs to which head.

    Args:
        axis: 0 where the heads are runs of rows, 1 of columns.
        parts: in order along the axis: (what it is, "query" and the like; heads of it).
        size: rows or columns of one head.
    """

    axis: int
    parts: tuple[tuple[str, int], ...]
    size: int


@dataclass(frozen=True)
class _Attention:
    """What a configuration says, where it says it in whole numbers."""

    heads: int
    kv_heads: int
    head_dim: int | None
    width: int | None

    def sizes(self, inputs: int) -> Iterator[int]:
        """Sizes that a head may have in a model of so many inputs."""
        if self.head_dim is not None:
            yield self.head_dim
        elif (self.width or inputs) % self.heads == 0:
            yield (self.width or inputs) // self.heads


def heads_of(name: str, shapes: Mapping[str, Shape], config: Mapping[str, Any]) -> tuple[Heads | None, str]:
    """(the heads of the tensor called `name`, ""), or (None, why not); ("" too where it is no part of attention).

    Args:
        name: the tensor's.
        shapes: of all tensors of the model.
        config: the model's, as it was read: nothing in it is believed.
    """
    role = _role(name)
    if role is None or len(shapes[name]) not in (1, 2) or (role == "o" and len(shapes[name]) == 1):
        return None, ""
    said = _attention(name, config)
    if said is None:
        return None, "The model’s configuration does not tell how many heads it has."
    found = _fused(name, shapes, config, said) if role == "qkv" else _single(name, role, shapes, said)
    if isinstance(found, str):
        return None, found
    if found is None:
        size = " × ".join(str(n) for n in shapes[name])
        return None, f"The {said.heads} heads that the configuration tells of do not fit {size} weights."
    return found, ""


def _role(name: str) -> str | None:
    """q, k, v, o or qkv for a weight or bias of attention."""
    module = locate(name).module
    label = role_of(module.removesuffix(".weight").removesuffix(".bias"))[1]
    side, _, role = label.partition(".")
    return role if side in ("attn", "cross") and role in ("q", "k", "v", "o", "qkv") else None


def _attention(name: str, config: Mapping[str, Any]) -> _Attention | None:
    """The numbers of the part of the model that the tensor is in."""
    inner = next((config.get(part) for word, part in _PARTS.items() if word in name.split(".", 1)[0]), None)
    for said in (inner, config, config.get("text_config")):
        if not isinstance(said, Mapping):
            continue
        side = "decoder" if "decoder" in name else "encoder"
        heads = _number(said, (*_HEADS, f"{side}_attention_heads"))
        if heads is None or heads > MOST_HEADS:
            continue
        one = said.get("multi_query") is True and not said.get("new_decoder_architecture")
        kv_heads = 1 if one else _number(said, _KV_HEADS) or heads
        return _Attention(heads, kv_heads, _number(said, _HEAD_DIM), _number(said, _WIDTH))
    return None


def _number(said: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = said.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _single(name: str, role: str, shapes: Mapping[str, Shape], said: _Attention) -> Heads | None:
    """Query, key and value have a head's rows, the output its columns; GPT-2 stores them the other way round."""
    shape = shapes[name]
    heads = said.kv_heads if role in ("k", "v") else said.heads
    word = {"q": "query", "k": "key", "v": "value", "o": "output"}[role]
    axis = (role == "o") != (len(shape) == 2 and _stored_transposed(name, shapes, said))
    inputs = shape[1 - axis] if len(shape) == 2 else shape[0]
    for size in said.sizes(inputs):
        if shape[axis] == heads * size:
            return Heads(int(axis), ((word, heads),), size)
    return None


def _stored_transposed(name: str, shapes: Mapping[str, Shape], said: _Attention) -> bool:
    """Whether the weight is inputs × outputs. GPT-2's output projection is square: its query, key and value tell."""
    if "c_proj" not in name:
        return False
    shape = shapes.get(name.replace("c_proj", "c_attn"), ())
    return len(shape) == 2 and shape[1] > shape[0]


def _fused(
    name: str, shapes: Mapping[str, Shape], config: Mapping[str, Any], said: _Attention
) -> Heads | str | None:
    shape = shapes[name]
    kind = str(config.get("model_type"))
    in_turn = kind in _ONE_AFTER_THE_OTHER or (kind in ("falcon", "gpt_bigcode") and said.kv_heads == 1)
    if not in_turn and kind not in _HEAD_BY_HEAD:
        return "How this kind of model orders query, key and value in one weight is not known here."
    for axis in range(len(shape)):
        inputs = shape[1 - axis] if len(shape) == 2 else said.width or shape[0] // 3
        for size in said.sizes(inputs):
            if in_turn and shape[axis] == (said.heads + 2 * said.kv_heads) * size:
                parts = (("query", said.heads), ("key", said.kv_heads), ("value", said.kv_heads))
                return Heads(axis, parts, size)
            if not in_turn and shape[axis] == 3 * said.heads * size:
                return Heads(axis, (("query, key and value", said.heads),), 3 * size)
    return None
