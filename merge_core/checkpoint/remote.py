"""A checkpoint that lies elsewhere: opened by reading its headers, index and configuration, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from merge_core.checkpoint.assemble import assemble
from merge_core.checkpoint.checkpoint import Checkpoint, hub_identity
from merge_core.checkpoint.files import (
    ADAPTER_CONFIG,
    CONFIG,
    INDEX,
    LARGEST_JSON,
    adapter_files,
    is_companion,
    missing_shard,
    read_index,
    read_object,
    weight_files,
)
from merge_core.checkpoint.safetensors import TensorSpec, header_length, parse_header
from merge_core.errors import UserError

FIRST_READ = 100_000  # bytes; the header of most files lies within
AT_ONCE = 8

Read = Callable[[str, int, int], bytes]


def open_remote(
    ref: str, commit: str, sizes: Mapping[str, int], read: Read, *, adapter: bool = False
) -> Checkpoint:
    """The model among the files `sizes`, from its headers alone.

    Args:
        ref: the model as its recipe spells it.
        commit: the commit the files are of.
        sizes: bytes of every file, by its path.
        read: `read(file, start, stop)` answers these bytes; called from several threads at once.
        adapter: open the adapter among them instead.

    Raises:
        UserError: there is no model among them, or its files contradict each other.
    """
    top = [name for name in sizes if "/" not in name]
    settings = ADAPTER_CONFIG if adapter else CONFIG
    files = adapter_files(top, ref) if adapter else weight_files(top, ref)
    weight_map = None
    if files == (INDEX,):
        weight_map = read_index(_whole(INDEX, sizes, read, ref), ref)
        files = tuple(dict.fromkeys(weight_map.values()))
    for file in files:
        if file not in sizes:
            raise missing_shard(ref, file)

    def header(file: str) -> list[TensorSpec]:
        return _header(file, sizes[file], read, ref)

    with ThreadPoolExecutor(AT_ONCE, "headers") as threads:
        specs = assemble(ref, threads.map(header, files), weight_map)
    has = settings in sizes
    config = read_object(_whole(settings, sizes, read, ref), f"{ref}: {settings}") if has else {}
    companions = () if adapter else tuple(sorted(name for name in sizes if is_companion(name)))
    return Checkpoint(
        ref, commit, None, specs, companions, config, hub_identity(ref, commit, adapter=adapter)
    )


def _whole(file: str, sizes: Mapping[str, int], read: Read, ref: str) -> bytes:
    if sizes[file] > LARGEST_JSON:
        raise UserError(f"{ref}: {file} is larger than {LARGEST_JSON} bytes.", "Is it the right file?")
    return read(file, 0, sizes[file])


def _header(file: str, size: int, read: Read, ref: str) -> list[TensorSpec]:
    head = read(file, 0, min(size, FIRST_READ))
    end = header_length(head, size, f"{ref}: {file}")
    if end > len(head):
        head += read(file, len(head), end)
    try:
        return parse_header(head, size, file)[0]
    except UserError as error:
        raise UserError(f"{ref}: {error.message}", error.hint) from None
