"""Which probes there are to measure with: the demo's, and those a visitor brought along."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from components.workspace import DEMO, ROOT, Workspace
from merge_core.errors import UserError
from merge_core.probe import load_probe
from merge_core.recipe import Recipe

MOST_OF_ONE_VISITOR = 20


@dataclass(frozen=True)
class Offered:
    """One probe set.

    Args:
        key: what the page calls it; never a path.
        name: as its header says.
        kind: what its items are.
        items: how many.
        path: where the worker reads it.
    """

    key: str
    name: str
    kind: str
    items: int
    path: str

    @property
    def words(self) -> str:
        """For a list to choose from."""
        return f"{self.name} · {self.items} items"


def offered(workspace: Workspace, owner: str) -> tuple[Offered, ...]:
    """Every probe set this visitor may choose: the demo's first, then the visitor's own."""
    demo = [(f"demo/{p.name}", p) for p in sorted((ROOT / DEMO / "probes").glob("*.jsonl"))]
    own = [(f"own/{p.name}", p) for p in sorted(_folder(workspace, owner).glob("*.jsonl"))]
    return tuple(found for key, path in (*demo, *own) if (found := _read(key, path, _stamp(path))))


def fitting(workspace: Workspace, owner: str, recipe: Recipe) -> list[str]:
    """Keys of the sets to choose at first: the demo's for demo models, the visitor's own for all others."""
    demo = set(recipe.refs()) <= set(workspace.demo_models())
    return [each.key for each in offered(workspace, owner) if each.key.startswith("demo/") == demo]


def chosen_paths(workspace: Workspace, owner: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Where the chosen sets lie; a key that is not offered to this visitor stands for nothing."""
    chosen = [each for each in offered(workspace, owner) if each.key in keys]
    for each in chosen:
        if each.key.startswith("own/"):
            with suppress(FileNotFoundError):
                os.utime(each.path)  # used: it is not removed for the next seven days
    return tuple(each.path for each in chosen)


def take_in(workspace: Workspace, owner: str, upload: Path) -> str:
    """Check an uploaded probe file and keep it for this visitor; its key.

    Raises:
        UserError: it is no probe file, or the visitor has brought too many.
    """
    load_probe(upload)
    folder = _folder(workspace, owner)
    name = f"{hashlib.sha256(upload.read_bytes()).hexdigest()[:24]}.jsonl"
    if not (folder / name).exists():
        if len(list(folder.glob("*.jsonl"))) >= MOST_OF_ONE_VISITOR:
            raise UserError(
                f"You have brought {MOST_OF_ONE_VISITOR} probe files already.",
                "They are removed after seven days without use.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{name}"
        shutil.copyfile(upload, partial)
        partial.replace(folder / name)
    os.utime(folder / name)
    return f"own/{name}"


def _folder(workspace: Workspace, owner: str) -> Path:
    return workspace.store.root / "probes" / hashlib.sha256(owner.encode()).hexdigest()[:24]


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=256)
def _read(key: str, path: Path, stamp: tuple[int, int]) -> Offered | None:
    """The set in a file of that stamp; None where it cannot be read any more."""
    try:
        probe = load_probe(path)
    except UserError:
        return None
    below = path.relative_to(ROOT) if key.startswith("demo/") else path
    return Offered(key, probe.name, probe.kind.name, len(probe.items), str(below))
