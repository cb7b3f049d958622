"""Where each output tensor lies: in which file, at which byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from merge_core.checkpoint import build_header
from merge_core.checkpoint.safetensors import DTYPE_BITS


@dataclass(frozen=True)
class Stored:
    """What the layout must know of a tensor: its name, safetensors' name of its dtype, its shape and size in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True)
class Shard:
    """One output weight file: its name, its header (written first) and its size in bytes."""

    file: str
    header: bytes
    size: int


def lay_out(
    tensors: Sequence[Stored], shard_bytes: int, metadata: Mapping[str, str]
) -> tuple[dict[str, tuple[int, int]], tuple[Shard, ...]]:
    """(name → number of its shard and first byte in it, the shards), named as Hugging Face libraries name them.

    Args:
        tensors: in the order in which shards are filled.
        shard_bytes: the size past which a new file is begun; a larger tensor gets one of its own.
        metadata: what every header says beside its tensors.
    """
    places = {}
    shards = []
    groups = list(_groups(tensors, shard_bytes))
    for number, group in enumerate(groups):
        # Wide entries first, so that every tensor starts at a multiple of its entries' size.
        group = sorted(group, key=lambda t: -DTYPE_BITS[t.dtype])
        header = build_header([(t.name, t.dtype, t.shape) for t in group], metadata)
        offset = len(header)
        for tensor in group:
            places[tensor.name] = (number, offset)
            offset += tensor.nbytes
        numbered = f"model-{number + 1:05}-of-{len(groups):05}.safetensors"
        shards.append(Shard("model.safetensors" if len(groups) == 1 else numbered, header, offset))
    return places, tuple(shards)


def _groups(tensors: Iterable[Stored], shard_bytes: int) -> Iterable[list[Stored]]:
    group: list[Stored] = []
    room = shard_bytes
    for tensor in tensors:
        if group and tensor.nbytes > room:
            yield group
            group, room = [], shard_bytes
        group.append(tensor)
        room -= tensor.nbytes
    yield group
