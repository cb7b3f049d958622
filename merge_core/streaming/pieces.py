"""How tensors are cut: into pieces that one thread takes, and those into chunks that fit the second-level cache."""

from __future__ import annotations

from dataclasses import dataclass

from merge_core.plan import TensorPlan

CHUNK = 1 << 17  # entries a method is given at a time; fewer would cost more calls than they save misses
PIECE = 1 << 25  # most entries that one thread takes at a time; a piece is the unit of resumption


@dataclass(frozen=True)
class Piece:
    """Entries start … stop − 1 of the plan's tensor number `tensor`, in row-major order."""

    tensor: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many entries."""
        return self.stop - self.start


def pieces_of(number: int, tensor: TensorPlan) -> list[Piece]:
    """The pieces a tensor is cut into, alike in size; one empty piece for a tensor without entries."""
    count = max(1, -(-tensor.numel // PIECE))
    size = max(1, -(-tensor.numel // (count * CHUNK))) * CHUNK
    starts = range(0, max(tensor.numel, 1), size)
    return [Piece(number, s, min(s + size, tensor.numel)) for s in starts]
