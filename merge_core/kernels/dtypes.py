"""Between stored bits and float32: widening is exact, narrowing rounds once, to nearest even.

bfloat16 and float16 travel as their 16-bit patterns (uint16), because numpy has no bfloat16 and numba no float16.
Narrowing also answers the largest |value| bit pattern it met: at or above `INFINITE`, a value did not fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel

Array = np.ndarray[Any, np.dtype[Any]]

MAGNITUDE = np.uint32(0x7FFFFFFF)  # clears the sign bit of a float32
INFINITE = np.uint32(0x7F800000)  # |inf|; NaNs lie above, every finite magnitude below


def widen_bf16_plain(bits: Array, out: Array) -> None:
    """Numpy's meaning of `widen_bf16`."""
    out.view(np.uint32)[:] = bits.astype(np.uint32) << np.uint32(16)


@kernel
def widen_bf16(bits, out):  # type: ignore[no-untyped-def]
    """bfloat16 bits uint16 [n] → float32 [n], in place in `out`. A bfloat16 is the upper half of a float32."""
    wide = out.view(np.uint32)
    for i in range(bits.size):
        wide[i] = np.uint32(np.uint32(bits[i]) << np.uint32(16))


def widen_f16_plain(bits: Array, out: Array) -> None:
    """Numpy's meaning of `widen_f16`."""
    out[:] = bits.view(np.float16)


@kernel
def widen_f16(bits, out):  # type: ignore[no-untyped-def]
    """float16 bits uint16 [n] → float32 [n], in place in `out`.

    The 15 magnitude bits, moved up by 13, are a float32 that is too small by 2^112 (the exponents' biases differ by
    112): one exact multiplication mends that, subnormals included. Infinities and NaNs get their exponent by hand.
    """
    wide = out.view(np.uint32)
    for i in range(bits.size):
        wide[i] = np.uint32((np.uint32(bits[i]) & np.uint32(0x7FFF)) << np.uint32(13))
    for i in range(bits.size):
        out[i] = out[i] * np.float32(2.0**112)
    for i in range(bits.size):
        h = np.uint32(bits[i])
        special = np.uint32(0x7F800000) if (h & np.uint32(0x7C00)) == np.uint32(0x7C00) else np.uint32(0)
        wide[i] = np.uint32(wide[i] | special | ((h & np.uint32(0x8000)) << np.uint32(16)))


def widen_f64_plain(values: Array, out: Array) -> None:
    """Numpy's meaning of `widen_f64`."""
    with np.errstate(over="ignore"):
        out[:] = values


@kernel
def widen_f64(values, out):  # type: ignore[no-untyped-def]
    """float64 [n] → float32 [n], rounded to nearest even; what is too large for a float32 turns infinite."""
    for i in range(values.size):
        out[i] = np.float32(values[i])


def peak_plain(values: Array) -> int:
    """Numpy's meaning of `peak`."""
    return int((values.view(np.uint32) & MAGNITUDE).max(initial=0))


@kernel
def peak(values):  # type: ignore[no-untyped-def]
    """The largest |value| bit pattern of float32 [n]."""
    bits = values.view(np.uint32)
    top = np.uint32(0)
    for i in range(bits.size):
        top = max(top, np.uint32(bits[i] & MAGNITUDE))
    return top


def narrow_bf16_plain(values: Array, out: Array) -> int:
    """Numpy's meaning of `narrow_bf16`."""
    bits = values.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    out[:] = (rounded >> np.uint32(16)).astype(np.uint16)
    return int((rounded & MAGNITUDE).max(initial=0))


@kernel
def narrow_bf16(values, out):  # type: ignore[no-untyped-def]
    """Finite float32 [n] → bfloat16 bits uint16 [n], to nearest even. Past the largest bfloat16 it meets infinity."""
    bits = values.view(np.uint32)
    top = np.uint32(0)
    for i in range(bits.size):
        b = bits[i]
        rounded = np.uint32(b + np.uint32(0x7FFF) + ((b >> np.uint32(16)) & np.uint32(1)))
        out[i] = np.uint16(rounded >> np.uint32(16))
        top = max(top, np.uint32(rounded & MAGNITUDE))
    return top


def narrow_f16_plain(values: Array, out: Array) -> int:
    """Numpy's meaning of `narrow_f16`."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    out[:] = half.view(np.uint16)
    return peak_plain(half.astype(np.float32))


@kernel
def narrow_f16(values, out):  # type: ignore[no-untyped-def]
    """Finite float32 [n] → float16 bits uint16 [n], to nearest even. Past 65504 it meets infinity.

    Normal halves: rebias the exponent and round the 13 bits that go. Subnormal halves: adding 0.5 to the magnitude
    leaves its value in units of 2^-24 in the low bits, rounded to nearest even by the addition itself.
    """
    bits = values.view(np.uint32)
    top = np.uint32(0)
    for i in range(bits.size):
        b = bits[i]
        m = np.uint32(b & MAGNITUDE)
        normal = np.uint32(m + np.uint32(0xC8000FFF) + ((m >> np.uint32(13)) & np.uint32(1))) >> np.uint32(13)
        small = np.uint32(
            np.float32(m.view(np.float32) + np.float32(0.5)).view(np.uint32) - np.uint32(0x3F000000)
        )
        half = small if m < np.uint32(0x38800000) else normal
        half = np.uint32(0x7C00) if m >= np.uint32(0x477FF000) else half
        top = max(top, INFINITE if half >= np.uint32(0x7C00) else m)
        out[i] = np.uint16(half | ((b >> np.uint32(16)) & np.uint32(0x8000)))
    return top
