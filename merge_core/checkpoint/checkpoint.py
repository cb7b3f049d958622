"""A model as it is stored: what its headers say, and where its files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merge_core.checkpoint.safetensors import TensorSpec


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
        identity: changes when the content does: the commit, or for a folder a hash over what the file system says of
            each file that counts.
    """

    ref: str
    commit: str | None
    root: Path | None
    specs: Mapping[str, TensorSpec]
    files: tuple[str, ...]
    config: Mapping[str, Any]
    identity: str

    @property
    def nbytes(self) -> int:
        """Size of all tensors in bytes."""
        return sum(spec.nbytes for spec in self.specs.values())

    def path(self, spec: TensorSpec) -> Path:
        """The weight file on this machine that holds `spec`."""
        assert self.root is not None, f"{self.ref} has not been downloaded"
        return self.root / spec.file
