"""A checkpoint in a folder of this machine."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

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
from merge_core.checkpoint.safetensors import LENGTH_BYTES, TensorSpec, header_length, parse_header
from merge_core.checkpoint.weight_file import Stamp
from merge_core.errors import UserError


def open_folder(root: Path, ref: str, commit: str | None = None, *, adapter: bool = False) -> Checkpoint:
    """The model in the folder `root`, from its headers alone.

    Args:
        root: a folder in Hugging Face form.
        ref: the model as its recipe spells it.
        commit: the Hub's commit it was downloaded from, which then tells its content apart.
        adapter: open the adapter that lies there instead.

    Raises:
        UserError: there is no such folder, it holds no model, its files contradict each other, or one that counts is
            a link that leads out of it.
    """
    if root.is_file():
        raise UserError(f"{ref} is a file; expected a model's folder.", "Name the folder that holds it.")
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_file())
    except FileNotFoundError:
        raise UserError(
            f"There is no folder {ref}.", "Relative paths start at the folder you run Tiebreak in."
        ) from None
    except OSError as error:
        raise UserError(
            f"{ref} cannot be read: {error.strerror}.", "Make it readable, or pick another."
        ) from None

    settings = ADAPTER_CONFIG if adapter else CONFIG
    files = adapter_files(names, ref) if adapter else weight_files(names, ref)
    companions = () if adapter else _companions(root)
    _require_inside(root, {settings, *files, *companions} & {*names, *companions}, ref)
    weight_map = None
    if files == (INDEX,):
        weight_map = read_index(_read(root / INDEX, ref), ref)
        files = tuple(dict.fromkeys(weight_map.values()))
    for file in files:
        if file not in names:
            raise missing_shard(ref, file)
    _require_inside(root, files, ref)
    headers = {file: _read_header(root, file, ref) for file in files}
    specs = assemble(ref, (found for found, _ in headers.values()), weight_map)
    config = read_object(_read(root / settings, ref), f"{ref}: {settings}") if settings in names else {}
    return Checkpoint(
        ref=ref,
        commit=commit,
        root=root,
        specs=specs,
        files=companions,
        config=config,
        stamps={file: stamp for file, (_, stamp) in headers.items()},
        identity=hub_identity(ref, commit, adapter=adapter)
        if commit
        else _identity(root, [*files, *([settings] if settings in names else [])]),
    )


def _read(path: Path, ref: str) -> bytes:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise UserError(
                f"{ref}: {path.name} is larger than {LARGEST_JSON} bytes.", "Is it the right file?"
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{ref}: {path.name} cannot be read: {error.strerror}.", "Make it readable."
        ) from None


def _read_header(root: Path, file: str, ref: str) -> tuple[list[TensorSpec], Stamp]:
    try:
        with (root / file).open("rb") as opened:
            stamp = Stamp.of(opened.fileno())
            head = opened.read(LENGTH_BYTES)
            head += opened.read(header_length(head, stamp.size, f"{ref}: {file}") - LENGTH_BYTES)
    except OSError as error:
        raise UserError(f"{ref}: {file} cannot be read: {error.strerror}.", "Make it readable.") from None
    try:
        return parse_header(head, stamp.size, file)[0], stamp
    except UserError as error:
        raise UserError(f"{ref}: {error.message}", error.hint) from None


def _companions(root: Path) -> tuple[str, ...]:
    """Files to take over, at the top and in the folders of a pipeline."""
    found = [path.relative_to(root).as_posix() for pattern in ("*", "*/*") for path in root.glob(pattern)]
    return tuple(sorted(name for name in found if is_companion(name) and (root / name).is_file()))


def _require_inside(root: Path, files: Iterable[str], ref: str) -> None:
    """Refuse links that lead out of the folder: what they lead to would be merged, copied and published.

    In the Hub's cache every file of a snapshot is a link to a blob of the same repository.
    """
    real = root.resolve()
    allowed = [real]
    if real.parent.name == "snapshots" and real.parent.parent.name.startswith("models--"):
        allowed.append(real.parent.parent / "blobs")
    for file in sorted(files):
        found = (real / file).resolve()
        if not any(found.is_relative_to(folder) for folder in allowed):
            raise UserError(
                f"{ref}: {file[:120]!r} is a link that leads out of the model's folder.",
                "Put a copy of the file there, if you trust the model, or name the folder that it leads to.",
            )


def _identity(root: Path, files: list[str]) -> str:
    """Rewriting a file, even with one of equal size and age, changes its inode or the time its entry was changed."""
    stats = [(file, (root / file).stat()) for file in sorted(files)]
    text = json.dumps(
        [(file, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev) for file, s in stats]
    )
    return hashlib.sha256(text.encode()).hexdigest()
