"""The weight files that a plan reads: open on this machine, or read piece by piece where they lie on the Hub."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.checkpoint.weight_file import STORED_AS, WeightFile
from merge_core.plan import MergePlan, TensorPlan
from merge_core.progress import CancelCheck
from merge_core.streaming import pieces as cutting
from merge_core.streaming.pieces import Piece
from merge_core.streaming.remote_file import RemoteFile
from merge_core.streaming.spool import Part, Spool

Array = np.ndarray[Any, np.dtype[Any]]

LONGEST = 1 << 21  # entries of a tensor that are asked for at a time
LOOK_AHEAD = 64  # scopes, at most, that are fetched before their turn
QUIET = 5.0  # seconds of waiting for the Hub after which that is mentioned
AHEAD = 8  # so many such requests of every model find room, unless they are shortest already


InputFile = WeightFile | RemoteFile


class Inputs:
    """The files of a plan's checkpoints. Safe to use from several threads; close it in the end.

    Args:
        plan: whose.
        room: bytes for what is fetched ahead, where something is.
        cancelled: asked while bytes from the Hub are waited for.
    """

    def __init__(self, plan: MergePlan, room: int = 0, cancelled: CancelCheck = lambda: False) -> None:
        self._plan = plan
        self._files: dict[Path | tuple[str, str], InputFile] = {}
        self._found: dict[tuple[int, str], InputFile] = {}  # by checkpoint and name, which is told quickly
        self._lock = threading.Lock()
        self._spool = Spool(room, cancelled) if streams(plan) else None
        self._read = self._merged() if self._spool is not None else {}
        self._held = self._spool is None

    @property
    def streamed(self) -> bool:
        """Whether something is read from the Hub."""
        return self._spool is not None

    @property
    def fetched(self) -> int:
        """Bytes that came over the network so far."""
        return self._spool.fetched if self._spool is not None else 0

    @property
    def waited(self) -> float:
        """Seconds that the work has waited for the Hub by now."""
        return self._spool.waited if self._spool is not None else 0.0

    @property
    def held(self) -> bool:
        """Whether what is worked on is here, to be read as often as one likes."""
        return self._held

    def file(self, owner: Checkpoint, spec: TensorSpec) -> InputFile:
        """The open file that holds `spec`, a tensor of `owner`.

        Raises:
            UserError: it is gone.
        """
        asked = id(owner), spec.file
        with self._lock:
            if asked not in self._found:
                holder = owner.holder(spec)
                key = (holder.identity, spec.file) if holder.root is None else holder.path(spec)
                self._found[asked] = self._files.get(key) or self._open(holder, spec)
                self._files[key] = self._found[asked]
            return self._found[asked]

    def require_unchanged(self) -> None:
        """Make sure that what was read is what the files still say.

        Raises:
            UserError: a file was written to meanwhile.
        """
        for file in self._files.values():
            file.require_unchanged()

    def hold(self, pieces: Sequence[Piece], following: Iterable[Sequence[Piece]] = ()) -> bool:
        """Have pieces fetched, to be read as often as one likes until the next call; false where there is no room.

        Args:
            pieces: which.
            following: what will be held next, fetched already as far as there is room.
        """
        if self._spool is None:
            return True
        parts = list(self._parts(pieces))
        held = set(parts)
        left = self._spool.room - sum(part.size for part in held)
        self._held = left >= 0
        if not self._held:
            self._spool.expect([])
            return False
        for scope in islice(following, LOOK_AHEAD):
            ahead = list(self._parts(scope))
            if sum(part.size for part in ahead) > self._spool.room:
                break  # will not be held, and then is not read in this order
            for part in ahead:
                left -= part.size
                if left >= 0:
                    parts.append(part)
            if left < 0:
                break
        self._spool.expect(parts, held)
        return True

    def expect(self, pieces: Sequence[Piece]) -> None:
        """Have pieces fetched that are read once each, in order, on one thread; held ones are here already."""
        if self._spool is not None and not self._held:
            self._spool.expect(list(self._parts(pieces)))

    def expect_sample(self, pieces: Sequence[Piece]) -> None:
        """As `expect`, for small pieces of a tensor here and there."""
        if self._spool is not None and not self._held:
            parts = self._parts(pieces)
            self._spool.expect([replace(part, sample=True) for part in parts])

    @property
    def checked(self) -> tuple[int, int]:
        """How many of the files on the Hub were read whole and match their hashes, and how many were read."""
        remote = [file for file in self._files.values() if isinstance(file, RemoteFile)]
        return sum(file.checked for file in remote), len(remote)

    def close(self) -> None:
        """Stop fetching."""
        if self._spool is not None:
            self._spool.close()

    def _open(self, holder: Checkpoint, spec: TensorSpec) -> InputFile:
        if holder.root is None:
            assert self._spool is not None
            read = self._read.get((holder.identity, spec.file), ())
            return RemoteFile(holder, spec.file, read, self._spool)
        return WeightFile(holder.path(spec), holder.stamps[spec.file])

    def _merged(self) -> Mapping[tuple[str, str], list[TensorSpec]]:
        """Of every file on the Hub, the tensors that are merged."""
        found: dict[tuple[str, str], list[TensorSpec]] = {}
        for tensor in self._plan.tensors:
            for owner, spec in rows_of(self._plan, tensor) if tensor.settings is not None else ():
                if (holder := owner.holder(spec)).root is None:
                    found.setdefault((holder.identity, spec.file), []).append(spec)
        return found

    def _parts(self, pieces: Iterable[Piece]) -> Iterator[Part]:
        """Of every model on the Hub, in the order in which `VectorReader.spans` reads them."""
        assert self._spool is not None
        for piece in pieces:
            tensor = self._plan.tensors[piece.tensor]
            rows = [(o, s) for o, s in rows_of(self._plan, tensor) if o.holder(s).root is None]
            if not rows:
                continue
            longest = longest_request(self._spool.room, sum(STORED_AS[s.dtype].itemsize for _, s in rows))
            for start in range(piece.start, piece.stop, longest):
                stop = min(start + longest, piece.stop)
                for owner, spec in rows:
                    file, width = self.file(owner, spec), STORED_AS[spec.dtype].itemsize
                    assert isinstance(file, RemoteFile)
                    first = spec.offset + start * width if start else file.start_of(spec)
                    yield Part(file, first, spec.offset + stop * width)


def rows_of(plan: MergePlan, tensor: TensorPlan) -> list[tuple[Checkpoint, TensorSpec]]:
    """What is read to merge a tensor: every model's, then the base's."""
    models = list(zip(plan.models, tensor.sources, strict=True))
    return (
        [*models, (plan.base, tensor.base)] if tensor.base is not None and plan.base is not None else models
    )


def streams(plan: MergePlan) -> bool:
    """Whether some weights of a plan are read from the Hub."""
    owners = (*plan.models, *([plan.base] if plan.base is not None else []))
    parts = chain.from_iterable((o.adapted.base, o.adapted.adapter) if o.adapted else (o,) for o in owners)
    return any(part.root is None for part in parts)


def longest_request(room: int, width: int) -> int:
    """Entries of a tensor to ask for at a time, where one entry of all models on the Hub takes `width` bytes."""
    chunks = room // (AHEAD * width * cutting.CHUNK)
    return min(LONGEST, max(1, chunks) * cutting.CHUNK)
