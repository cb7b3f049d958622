"""A model as it is stored: what its headers say, and where its files are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merge_core.checkpoint.safetensors import TensorSpec
from merge_core.checkpoint.weight_file import Stamp

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def hub_identity(ref: str, commit: str, *, adapter: bool) -> str:
    """The identity of a model, or of an adapter, on the Hub.

    Commits alone do not tell models apart: a Hub of one's own may count them in each repository.

    Args:
        ref: the model as its recipe spells it.
        commit: the commit of its files.
        adapter: it is the adapter among them.
    """
    return f"{ref.partition('@')[0]}@{commit}{' adapter' if adapter else ''}"


@dataclass(frozen=True)
class LowRank:
    """A change of one tensor: scale · B·A, or its transpose.

    Args:
        a: [rank, inputs…]; for an embedding [rank, tokens].
        b: [outputs, rank]; for an embedding [width, rank].
        scale: what the product is multiplied by.
        transposed: the tensor is stored as inputs × outputs.
    """

    a: TensorSpec
    b: TensorSpec
    scale: float
    transposed: bool


@dataclass(frozen=True)
class Adapted:
    """What an adapted model is made of.

    Args:
        base: the model.
        adapter: the adapter, opened as it is stored.
        deltas: what it adds, by the base's tensor.
    """

    base: Checkpoint
    adapter: Checkpoint
    deltas: Mapping[str, LowRank]


@dataclass(frozen=True)
class Streamed:
    """How the weights of a model are read that stay on the Hub.

    Args:
        read_into: `read_into(file, start, room)` fills `room`, bytes, with what lies in a file from byte `start` on;
            called from several threads at once.
        sizes: bytes of its files, by their names.
        folder: holds the small files beside the weights; None where nobody asked for them.
    """

    read_into: Callable[[str, int, memoryview], None]
    sizes: Mapping[str, int]
    folder: Path | None


@dataclass(frozen=True)
class Checkpoint:
    """An opened model. Only headers and the configuration have been read.

    Args:
        ref: the model as its recipe spells it.
        commit: the Hub's commit SHA; None for a folder.
        root: the folder with its files; None while they are on the Hub alone.
        specs: every tensor by name.
        files: the other files that a complete model folder needs, relative to `root`.
        config: the parsed `config.json`; empty where there is none.
        identity: changes when the content does: see `hub_identity`, or for a folder a hash over what the file system
            says of each file that counts.
        gated: on the Hub, its files are open only to accounts that its owner has let in.
        contents: what tells a file's content apart, by its name, where that is known without reading it.
        stamps: of each weight file on this machine by its name, from when its header was read.
        sizes: bytes of each file, by its name, where `contents` are known.
        adapted: for a model with an adapter applied; `specs` and `root` are then its base's, but for tensors that the
            adapter replaces.
        fetch_start: `fetch_start(name, most)` answers the first bytes of a file that lies on the Hub alone, or None.
        streamed: how its weights are read where `root` is None and they are to stay on the Hub; else None.
    """

    ref: str
    commit: str | None
    root: Path | None
    specs: Mapping[str, TensorSpec]
    files: tuple[str, ...]
    config: Mapping[str, Any]
    identity: str
    gated: bool = field(default=False, compare=False)
    contents: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    stamps: Mapping[str, Stamp] = field(default_factory=dict, compare=False, repr=False)
    sizes: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    adapted: Adapted | None = None
    fetch_start: Callable[[str, int], bytes | None] | None = field(default=None, compare=False, repr=False)
    streamed: Streamed | None = field(default=None, compare=False, repr=False)

    def start_of(self, name: str, most: int) -> bytes | None:
        """The first bytes, at most `most`, of a small file beside the weights; None where there is none to be read."""
        if self.root is None:
            return self.fetch_start(name, most) if self.fetch_start is not None else None
        path = self.root / name
        try:
            if not path.is_file():
                return None
            with path.open("rb") as file:
                return file.read(most)
        except OSError:
            return None

    def small_file(self, name: str, most: int) -> bytes | None:
        """The whole of a small file beside the weights; None where there is none to be read, or it is larger."""
        if self.root is None and self.sizes.get(name, 0) > most:
            return None
        found = self.start_of(name, most + 1)
        return None if found is None or len(found) > most else found

    def content_of(self, name: str) -> str | None:
        """Something that changes with a file's content; None where there is no such file."""
        if self.root is None or name in self.contents:
            return self.contents.get(name)
        try:
            found = (self.root / name).stat()
        except OSError:
            return None
        return f"{self.root / name} {found.st_size} {found.st_mtime_ns} {found.st_ino}"

    @property
    def nbytes(self) -> int:
        """Size of all tensors in bytes."""
        return sum(spec.nbytes for spec in self.specs.values())

    @property
    def folder(self) -> Path:
        """The folder on this machine with the files beside the weights."""
        found = self.root or (self.streamed.folder if self.streamed is not None else None)
        assert found is not None, f"{self.ref} has not been downloaded"
        return found

    def holder(self, spec: TensorSpec) -> Checkpoint:
        """Whose file `spec` lies in: of an adapted model its base or its adapter, else the model itself."""
        if self.adapted is None:
            return self
        return self.adapted.adapter if spec.file == ADAPTER_WEIGHTS else self.adapted.base

    def path(self, spec: TensorSpec) -> Path:
        """The weight file on this machine that holds `spec`."""
        root = self.holder(spec).root
        assert root is not None, f"{self.ref} has not been downloaded"
        return root / spec.file
