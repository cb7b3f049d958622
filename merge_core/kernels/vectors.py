"""Stored entries of several models → their float32 task vectors, read where they lie, in one sweep.

Rows are described by numbers alone (an address and a dtype each), so that one compiled kernel serves any number of
models and any mix of dtypes.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE, peak, peak_plain, widen_bf16, widen_f16, widen_f64

Array = np.ndarray[Any, np.dtype[Any]]

STRIP = 2048  # entries whose base stays in the first-level cache while every model is read against it

# How a row is stored, as kernels are told.
F64, F32, F16, BF16 = 0, 1, 2, 3
STORED = {"F64": F64, "F32": F32, "F16": F16, "BF16": BF16}


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(typing_context: Any, address: Any) -> Any:
    """An address → the void pointer that `carray` takes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


def form_vectors_plain(address: Array, stored: Array, based: bool, start: int, n: int, out: Array) -> int:
    """Numpy's meaning of `form_vectors`."""
    for row, (first, kind) in enumerate(zip(address, stored, strict=True)):
        dtype = np.dtype({F64: "f8", F32: "f4", F16: "f2", BF16: "u2"}[int(kind)])
        raw = ctypes.string_at(int(first) + start * dtype.itemsize, n * dtype.itemsize)
        bits = np.frombuffer(raw, dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            out[row, :n] = (bits.astype(np.uint32) << 16).view(np.float32) if kind == BF16 else bits
    if based:
        with np.errstate(over="ignore", invalid="ignore"):
            out[:-1, :n] -= out[-1, :n]
    rows = len(address) - 1 if based else len(address)
    return max((peak_plain(out[row, :n].copy()) for row in range(rows)), default=0)


@kernel
def form_vectors(address, stored, based, start, n, out):  # type: ignore[no-untyped-def]
    """Entries start … start + n − 1 of one tensor of every model, as differences from the base.

    Answers the largest |value| bit pattern among the models' rows: at or above `INFINITE`, some input was not finite or
    a difference overflowed. (A base that is not finite shows in every difference.)

    Args:
        address: int64 [rows], where each row's entry 0 lies in memory; the base's row, if any, comes last.
        stored: int64 [rows], one of F64, F32, F16, BF16.
        based: whether the last row is a base, to be subtracted from the others.
        start, n: which entries.
        out: float32 [rows, ≥ n], written: task vectors (weights without a base), then the base.
    """
    rows = address.size
    models = rows - 1 if based else rows
    top = np.uint32(0)
    for first in range(0, n, STRIP):
        size = min(STRIP, n - first)
        base = out[rows - 1, first : first + size]
        for row in range(rows - 1, -1, -1):  # the base first
            values = out[row, first : first + size]
            _widen(address[row], stored[row], start + first, values)
            if row < models:
                top = max(top, _subtract(base, values) if based else peak(values))
    return top


@kernel
def _subtract(base, values):  # type: ignore[no-untyped-def]
    """values − base, float32 [n], in place; answers as `peak` does, in the same sweep."""
    bits = values.view(np.uint32)
    top = np.uint32(0)
    for i in range(values.size):
        values[i] -= base[i]
        top = max(top, np.uint32(bits[i] & MAGNITUDE))
    return top


def add_to_base_plain(base: Array, tau: Array) -> None:
    """Numpy's meaning of `add_to_base`."""
    tau[:] = np.where(tau == 0, base, base + tau)


@kernel
def add_to_base(base, tau):  # type: ignore[no-untyped-def]
    """base + tau, float32 [n], in place in `tau`. Where tau is zero the base stands, the sign of its zeros included."""
    for i in range(tau.size):
        tau[i] = base[i] + tau[i] if tau[i] != 0 else base[i]


@kernel
def _widen(address, stored, start, out):  # type: ignore[no-untyped-def]
    n = out.size
    if stored == BF16:
        widen_bf16(carray(_pointer(address + 2 * start), n, np.uint16), out)
    elif stored == F16:
        widen_f16(carray(_pointer(address + 2 * start), n, np.uint16), out)
    elif stored == F32:
        out[:] = carray(_pointer(address + 4 * start), n, np.float32)
    else:
        widen_f64(carray(_pointer(address + 8 * start), n, np.float64), out)
