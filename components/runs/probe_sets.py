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
from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.preflight import template_ref
from merge_core.probe import check_probes, load_probe
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
    """Keys of the sets to choose at first: the demo's where a merge takes after a demo model, else one's own."""
    demo = not recipe.models or template_ref(recipe) in workspace.demo_models()
    return [each.key for each in offered(workspace, owner) if each.key.startswith("demo/") == demo]


def still_fitting(
    workspace: Workspace, owner: str, keys: Sequence[str], template: Checkpoint
) -> tuple[list[str], str]:
    """Which of the chosen sets a merge can answer, and why not the others: one sentence, "" where all stay.

    Args:
        keys: of the chosen sets.
        template: what the merge takes after. Of one on the Hub too little is known: only the demo's sets are given up.
    """
    kept, reasons = [], []
    for each in offered(workspace, owner):
        if each.key in keys:
            why = _misfit(each, template)
            kept += [] if why else [each.key]
            reasons += [why] if why else []
    rest = len(reasons) - 1
    more = f" Nor does it fit {rest} more." if rest > 0 else ""
    return kept, reasons[0] + more if reasons else ""


def _misfit(each: Offered, template: Checkpoint) -> str:
    """Why a merge that takes after `template` cannot answer a set; "" where it can, or it will show."""
    if template.root is None:
        return f"{each.name} asks for the demo's models." if each.key.startswith("demo/") else ""
    try:
        check_probes(template.root, [load_probe(Path(each.path))])
    except UserError as error:
        return error.message
    return ""


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
