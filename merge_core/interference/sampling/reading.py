"""Reads the sampled entries: from folders where they lie, from the Hub by HTTP Range, few requests at once."""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.checkpoint.remote import FIRST_READ
from merge_core.checkpoint.weight_file import STORED_AS
from merge_core.errors import UserError
from merge_core.interference.sampling.design import Sampled
from merge_core.plan import MergePlan, TensorPlan
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left

Array = np.ndarray[Any, np.dtype[Any]]
ReadRange = Callable[[str, int, int], bytes]

AT_ONCE = 8
LONGEST_REQUEST = 4 << 20  # bytes; what is longer is asked for in parts, side by side
POLL = 0.1


@dataclass(frozen=True)
class SampledTensor:
    """One tensor's sample.

    Args:
        tensor: whose.
        sampled: which entries.
        vectors: float32 [models, n], task vectors.
        base: float32 [n].
        sign: float32 [models], see `Voting.sign`.
    """

    tensor: TensorPlan
    sampled: Sampled
    vectors: Array
    base: Array
    sign: Array


def header_bytes(checkpoint: Checkpoint) -> int:
    """At most so many bytes were read to open `checkpoint`: headers, an index, the configuration."""
    headers: dict[str, int] = {}
    for spec in checkpoint.specs.values():
        headers[spec.file] = min(spec.offset, headers.get(spec.file, spec.offset))
    index = sum(headers.values()) if len(headers) > 1 else 0  # names each tensor once, as the headers do
    if checkpoint.root is None:
        return sum(max(FIRST_READ, header) for header in headers.values()) + index + 50_000
    return sum(headers.values()) + index


def width(tensor: TensorPlan) -> int:
    """Bytes that one position of `tensor` takes in all models and the base."""
    return sum(STORED_AS[spec.dtype].itemsize for spec in _rows(tensor))


class SampleReader:
    """Reads samples of a plan's tensors.

    Args:
        plan: whose.
        fetched: what was read of models on the Hub.
    """

    def __init__(self, plan: MergePlan, fetched: Fetched) -> None:
        self._plan = plan
        self._owners = _owners(plan)
        self._fetched = fetched
        self._open: dict[tuple[str, str], int] = {}

    def close(self) -> None:
        """Close the files it opened."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def read(self, tensor: TensorPlan, sampled: Sampled) -> SampledTensor:
        """The sample of one tensor.

        Raises:
            UserError: a file cannot be read, or an entry is not finite.
        """
        rows = np.empty((len(_rows(tensor)), sampled.entries), np.float32)
        for row, owner, spec in zip(rows, self._owners, _rows(tensor), strict=True):
            stored = STORED_AS[spec.dtype]
            parts = [
                self._bytes(owner, spec, start * stored.itemsize, stop * stored.itemsize)
                for start, stop in sampled.runs()
            ]
            row[:] = _widened(np.frombuffer(b"".join(parts), stored), spec.dtype)
            if not np.isfinite(row).all():
                raise UserError(
                    f"{owner.ref}: {spec.name} in {spec.file} holds a value that is not finite; "
                    "a merge needs finite weights.",
                    "The checkpoint is damaged or its training diverged: download it again or pick another one.",
                )
        with np.errstate(over="ignore"):
            vectors = rows[:-1] - rows[-1]
        if not np.isfinite(vectors).all():
            raise UserError(
                f"{tensor.name}: a fine-tune's difference from the base exceeds what float32 can hold.",
                "One of the models is damaged: download it again or pick another one.",
            )
        rule = self._plan.trim(tensor)
        assert rule is not None, "only methods that trim are inspected"
        return SampledTensor(tensor, sampled, vectors, rows[-1], rule.voting.sign)

    def _bytes(self, owner: Checkpoint, spec: TensorSpec, start: int, stop: int) -> bytes:
        start, stop = spec.offset + start, spec.offset + stop
        if owner.root is None:
            return self._fetched.bytes(owner, spec.file, start, stop)
        key = owner.identity, spec.file
        try:
            if key not in self._open:
                self._open[key] = os.open(owner.path(spec), os.O_RDONLY)
            found = os.pread(self._open[key], stop - start, start)
        except OSError as error:
            raise UserError(
                f"{owner.ref}: {spec.file} cannot be read: {error.strerror}.", "Make it readable."
            ) from None
        if len(found) < stop - start:
            raise UserError(
                f"{owner.ref}: {spec.file} has become shorter than its header says.",
                "Download or save it again.",
            )
        return found


class Fetched:
    """Parts of files on the Hub, in memory."""

    def __init__(self, parts: dict[tuple[str, str], list[tuple[int, bytes]]]) -> None:
        self._parts = {key: sorted(found, key=lambda part: part[0]) for key, found in parts.items()}
        self._starts = {key: [start for start, _ in found] for key, found in self._parts.items()}

    def bytes(self, owner: Checkpoint, file: str, start: int, stop: int) -> bytes:
        """Bytes start … stop − 1 of a file, all of which were fetched."""
        parts, starts = self._parts[owner.identity, file], self._starts[owner.identity, file]
        at = bisect_right(starts, start) - 1
        found = bytearray()
        while len(found) < stop - start:
            first, data = parts[at]
            inside = start + len(found) - first
            assert 0 <= inside < len(data), "was not fetched"
            found += data[inside : inside + stop - start - len(found)]
            at += 1
        return bytes(found)


def fetch(
    plan: MergePlan,
    wanted: Sequence[tuple[TensorPlan, Sampled]],
    reader: Callable[[Checkpoint], ReadRange],
    progress: ProgressCallback | None,
    cancelled: CancelCheck | None,
) -> Fetched:
    """Read what is wanted of the models that are on the Hub alone.

    Args:
        plan: of those models.
        wanted: which entries of which tensors.
        reader: for a checkpoint, the `read(file, start, stop)` that answers these bytes; threads share it.

    Raises:
        UserError: the Hub does not answer.
        Cancelled: `cancelled` answered true.
    """
    asked = [
        (owner, file, start, stop)
        for (owner, file), runs in _remote_runs(plan, wanted).items()
        for start, stop in _joined(runs)
    ]
    total = sum(stop - start for _, _, start, stop in asked)
    parts: dict[tuple[str, str], list[tuple[int, bytes]]] = defaultdict(list)
    if not asked:
        return Fetched(parts)
    read = {owner.identity: reader(owner) for owner in _owners(plan) if owner.root is None}
    done, begun = 0, time.monotonic()
    threads = ThreadPoolExecutor(AT_ONCE, "sample")
    try:
        waiting = {
            threads.submit(read[identity], file, start, stop): (identity, file, start)
            for identity, file, start, stop in asked
        }
        while waiting:
            if cancelled is not None and cancelled():
                raise Cancelled
            for finished in wait(waiting, POLL, FIRST_COMPLETED).done:
                identity, file, start = waiting.pop(finished)
                data = finished.result()
                done += len(data)
                parts[identity, file].append((start, data))
            if progress is not None:
                eta = seconds_left(done, total, time.monotonic() - begun)
                progress(Progress(done, total, "reading a sample from the Hub", eta))
    finally:
        threads.shutdown(cancel_futures=True)
    return Fetched(parts)


def _remote_runs(
    plan: MergePlan, wanted: Iterable[tuple[TensorPlan, Sampled]]
) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Per checkpoint (its identity) and file, the bytes to read."""
    runs: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    owners = _owners(plan)
    for tensor, sampled in wanted:
        for owner, spec in zip(owners, _rows(tensor), strict=True):
            if owner.root is None:
                size = STORED_AS[spec.dtype].itemsize
                runs[owner.identity, spec.file] += [
                    (spec.offset + start * size, spec.offset + stop * size) for start, stop in sampled.runs()
                ]
    return runs


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes in as few requests as may be: what touches is joined, what is long is cut."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(runs):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        elif start < stop:
            joined.append((start, stop))
    return [
        (first, min(first + LONGEST_REQUEST, stop))
        for start, stop in joined
        for first in range(start, stop, LONGEST_REQUEST)
    ]


def _owners(plan: MergePlan) -> tuple[Checkpoint, ...]:
    """Whose a tensor's rows are: the models, then the base."""
    assert plan.base is not None, "task vectors need a base"
    return (*plan.models, plan.base)


def _rows(tensor: TensorPlan) -> tuple[TensorSpec, ...]:
    assert tensor.base is not None, "task vectors need a base"
    return (*tensor.sources, tensor.base)


def _widened(stored: Array, dtype: str) -> Array:
    if dtype == "BF16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    values = stored.view(np.float16) if dtype == "F16" else stored
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
