"""Reads the sampled entries, from folders where they lie and from what was fetched of the Hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.checkpoint.low_rank import add_delta, widened
from merge_core.checkpoint.weight_file import STORED_AS
from merge_core.errors import UserError
from merge_core.interference.sampling.design import Sampled
from merge_core.interference.sampling.fetching import Fetched
from merge_core.interference.sampling.sources import Row, rows_of
from merge_core.plan import MergePlan, TensorPlan

Array = np.ndarray[Any, np.dtype[Any]]


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


class SampleReader:
    """Reads samples of a plan's tensors.

    Args:
        plan: whose.
        fetched: what was read of models on the Hub.
    """

    def __init__(self, plan: MergePlan, fetched: Fetched) -> None:
        self._plan = plan
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
        found = rows_of(self._plan, tensor)
        rows = np.empty((len(found), sampled.entries), np.float32)
        for values, row in zip(rows, found, strict=True):
            self._fill(values, row, sampled.runs())
            if not np.isfinite(values).all():
                raise UserError(
                    f"{row.owner.ref}: {row.spec.name} in {row.spec.file} holds a value that is not finite; "
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
        rule = tensor.trim
        assert rule is not None, "only methods that trim are inspected"
        return SampledTensor(tensor, sampled, vectors, rows[-1], rule.voting.sign)

    def _fill(self, values: Array, row: Row, runs: Sequence[tuple[int, int]]) -> None:
        """The entries of `runs`, float32 [n], one after the other."""
        factors: dict[tuple[str, int, int], Array] = {}  # A is needed for each run anew

        def stored(holder: Checkpoint, spec: TensorSpec, first: int, last: int) -> Array:
            key = spec.name, first, last
            if key not in factors:
                factors[key] = self._stored(holder, spec, first, last)
            return factors[key]

        if row.delta is None:
            whole = [self._stored(row.holder, row.spec, start, stop) for start, stop in runs]
            values[:] = widened(row.spec, np.concatenate(whole)) if whole else 0
            return
        done = 0
        for start, stop in runs:
            part = values[done : done + stop - start]
            part[:] = widened(row.spec, self._stored(row.holder, row.spec, start, stop))
            add_delta(row.owner, row.spec, row.delta, start, part, stored)
            done += stop - start

    def _stored(self, holder: Checkpoint, spec: TensorSpec, first: int, last: int) -> Array:
        """Entries as they are stored."""
        dtype = STORED_AS[spec.dtype]
        start, stop = spec.offset + first * dtype.itemsize, spec.offset + last * dtype.itemsize
        read = self._fetched.bytes if holder.root is None else self._read
        return np.frombuffer(read(holder, spec.file, start, stop), dtype)

    def _read(self, holder: Checkpoint, file: str, start: int, stop: int) -> bytes:
        key = holder.identity, file
        assert holder.root is not None
        try:
            if key not in self._open:
                self._open[key] = os.open(holder.root / file, os.O_RDONLY)
            found = os.pread(self._open[key], stop - start, start)
        except OSError as error:
            raise UserError(
                f"{holder.ref}: {file} cannot be read: {error.strerror}.", "Make it readable."
            ) from None
        if len(found) < stop - start:
            raise UserError(
                f"{holder.ref}: {file} has become shorter than its header says.",
                "Download or save it again.",
            )
        return found
