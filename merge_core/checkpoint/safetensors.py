"""The safetensors header: read without trusting it, and written.

A file is 8 bytes of header length (little-endian), a JSON header, and the tensors' bytes without gaps or overlaps.
"""

from __future__ import annotations

import json
import math
import reprlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merge_core.errors import UserError

LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000  # the reference implementation's limit
MOST_DIMENSIONS = 64  # as many as torch and numpy handle

DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}

_BEYOND = 1 << 63  # more than any size or offset
_DAMAGED = "The file is damaged or is no safetensors file: download or save it again."


@dataclass(frozen=True)
class TensorSpec:
    """One stored tensor, as its header describes it.

    Args:
        name: the tensor's name, any text.
        shape: its dimensions; () for a single number.
        dtype: safetensors' name of the dtype, such as "BF16".
        file: name of the file within its checkpoint.
        offset: first byte of its entries, from the start of the file.
        nbytes: how many bytes they take.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: str
    offset: int
    nbytes: int

    @property
    def numel(self) -> int:
        """How many entries it has."""
        return math.prod(self.shape)


def header_length(head: bytes, file_size: int, file: str) -> int:
    """Bytes before the first tensor, the length field included.

    Args:
        head: at least the file's first 8 bytes, or all of a shorter file.
        file_size: the file's size in bytes.
        file: its name, for errors.

    Raises:
        UserError: no safetensors file starts so.
    """
    if len(head) < LENGTH_BYTES:
        raise UserError(f"{file}: expected a safetensors header, found {file_size} bytes in all.", _DAMAGED)
    (length,) = struct.unpack("<Q", head[:LENGTH_BYTES])
    if length > LONGEST_HEADER:
        raise UserError(
            f"{file}: expected a header of at most {LONGEST_HEADER} bytes, found a length of {length}.",
            _DAMAGED,
        )
    if LENGTH_BYTES + length > file_size:
        raise UserError(
            f"{file}: its header needs {LENGTH_BYTES + length} bytes, the file has {file_size}.",
            "It is cut short: download or save it again.",
        )
    return int(LENGTH_BYTES + length)


def parse_header(head: bytes, file_size: int, file: str) -> tuple[list[TensorSpec], dict[str, str]]:
    """Read a header: (tensors in the order of their bytes, metadata).

    Args:
        head: the file's first bytes, at least `header_length(…)` of them.
        file_size: the file's size in bytes.
        file: its name, for errors and specs.

    Raises:
        UserError: the header is no JSON of the expected form, or does not account for every byte of the file once.
    """
    begin = header_length(head, file_size, file)
    try:
        header = json.loads(head[LENGTH_BYTES:begin].decode(), object_pairs_hook=_without_duplicates)
    except _DuplicateKey as error:
        raise UserError(f"{file}: its header says {_quoted(error.key)} twice.", _DAMAGED) from None
    except (ValueError, RecursionError):
        raise UserError(f"{file}: its header is not JSON.", _DAMAGED) from None
    if not isinstance(header, dict):
        raise UserError(f"{file}: expected an object as its header, found {type(header).__name__}.", _DAMAGED)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise UserError(f"{file}: expected `__metadata__` to map text to text.", _DAMAGED)
    specs = [_spec(name, entry, begin, file) for name, entry in header.items()]
    specs.sort(key=lambda spec: (spec.offset, spec.nbytes))
    _require_every_byte_once(specs, begin, file_size, file)
    return specs, metadata


def build_header(
    tensors: Sequence[tuple[str, str, Sequence[int]]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The first bytes of a file that holds `tensors`, (name, dtype, shape) each, one behind the other.

    Padded with spaces to a multiple of 8 bytes, so that every tensor can be mapped as memory.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, dtype, shape in tensors:
        end = offset + math.prod(shape) * DTYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


class _DuplicateKey(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKey(key)
        found[key] = value
    return found


def _spec(name: str, entry: Any, begin: int, file: str) -> TensorSpec:
    where = f"{file}: tensor {_quoted(name)}"
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: its name is no valid text.", _DAMAGED) from None
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise UserError(f"{where}: expected dtype, shape and data_offsets.", _DAMAGED)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise UserError(
            f"{where}: unknown dtype {_quoted(_shown(dtype))}.",
            "Save the model as float32, float16 or bfloat16.",
        )
    if not _are_sizes(shape):
        raise UserError(
            f"{where}: expected a shape of whole numbers, found {_quoted(_shown(shape))}.", _DAMAGED
        )
    if len(shape) > MOST_DIMENSIONS:
        raise UserError(
            f"{where}: expected at most {MOST_DIMENSIONS} dimensions, found {len(shape)}.", _DAMAGED
        )
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise UserError(f"{where}: expected two data_offsets, found {_quoted(_shown(offsets))}.", _DAMAGED)
    first, last = offsets
    needed = _bytes_of(shape, DTYPE_BITS[dtype])
    if needed is None or last - first != needed:
        takes = "more bytes than any file has" if needed is None else f"{needed} bytes"
        raise UserError(
            f"{where}: {dtype} of shape {_shown(shape)} takes {takes}, its data_offsets {offsets} hold {last - first}.",
            _DAMAGED,
        )
    return TensorSpec(name, tuple(shape), dtype, file, begin + first, needed)


def _bytes_of(shape: Sequence[int], bits: int) -> int | None:
    """The bytes that entries of so many bits take; None where no data_offsets can say so many."""
    if 0 in shape:
        return 0
    needed = bits
    for size in shape:
        needed *= size
        if needed >= 8 * _BEYOND:
            return None
    return -(-needed // 8)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < _BEYOND for each in value)


def _require_every_byte_once(specs: Sequence[TensorSpec], begin: int, file_size: int, file: str) -> None:
    reached = begin
    for spec in specs:
        if spec.offset != reached:
            kind = "overlaps the tensor before it" if spec.offset < reached else "leaves a gap before it"
            raise UserError(f"{file}: tensor {_quoted(spec.name)} {kind}.", _DAMAGED)
        reached += spec.nbytes
    if reached > file_size:
        raise UserError(
            f"{file}: its tensors need {reached} bytes, the file has {file_size}.",
            "It is cut short: download or save it again.",
        )
    if reached < file_size:
        raise UserError(f"{file}: {file_size - reached} bytes at its end belong to no tensor.", _DAMAGED)


def _quoted(text: str) -> str:
    """A stranger's text, short and on one line."""
    return repr(text if len(text) <= 120 else text[:117] + "…")


_SHORT = reprlib.Repr()
_SHORT.maxlist = 8


def _shown(value: Any) -> str:
    """A stranger's JSON value, short however long or deep it is."""
    return value if isinstance(value, str) else _SHORT.repr(value)
