"""Where in a network a tensor stands, told by its name alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Place(NamedTuple):
    """Where a tensor stands.

    Args:
        layer: index of its layer, None for tensors outside the layers (embeddings, final norm, head).
        module: what it is within its layer: the rest of the name, later indices such as experts included.
        stack: the name before the layer index, which keeps an encoder's layers apart from a decoder's.
    """

    layer: int | None
    module: str
    stack: str = ""


LONGEST_INDEX = (
    6  # digits; a longer number in a name is no layer, and a hostile one must not become a huge picture
)


def locate(name: str) -> Place:
    """The place of the tensor called `name`: its first numeric path component is the layer.

    >>> locate("model.layers.3.mlp.experts.7.w1.weight")
    Place(layer=3, module='mlp.experts.7.w1.weight', stack='model.layers')
    """
    parts = name.split(".")
    for position, part in enumerate(parts):
        if part.isascii() and part.isdigit() and len(part) <= LONGEST_INDEX:
            return Place(int(part), ".".join(parts[position + 1 :]), ".".join(parts[:position]))
    return Place(None, name)


def stack_depths(names: Iterable[str]) -> dict[str, int]:
    """Number of layers of each stack, in order of first appearance: highest index + 1."""
    depths: dict[str, int] = {}
    for name in names:
        layer, _, stack = locate(name)
        if layer is not None:
            depths[stack] = max(depths.get(stack, 0), layer + 1)
    return depths


def layer_count(names: Iterable[str]) -> int:
    """Number of layers of the deepest stack; 0 where no name has a layer."""
    return max(stack_depths(names).values(), default=0)
