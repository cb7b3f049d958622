"""What the cache holds whole, told without the Hub: a receipt names the files that a merge needs of a commit.

The cache itself cannot tell. A download that was cut short leaves weights without a tokenizer, and other programs fetch
only what they need themselves.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from merge_core.checkpoint import Checkpoint
from merge_core.hub import cache
from merge_core.hub.listing import Listing, is_commit
from merge_core.json_files import read_json, write_json

FOLDER = "tiebreak"  # beside the repository's blobs and snapshots, and removed together with them


def receipt_path(repo_id: str, commit: str, *, adapter: bool = False) -> Path:
    """Where the receipt of a repository at a commit lies, or would. Its time says when the model was last used."""
    return (
        cache.snapshot(repo_id, commit).parents[1] / FOLDER / f"{commit}{'.adapter' if adapter else ''}.json"
    )


def give_receipt(listing: Listing, files: Iterable[str], *, adapter: bool = False) -> None:
    """Note that all `files` of `listing` are here. A cache that cannot be written goes without."""
    path = receipt_path(listing.repo_id, listing.commit, adapter=adapter)
    wanted = {name: listing.files[name].size for name in files}
    with contextlib.suppress(OSError):
        if read_json(path) == wanted:
            os.utime(path)
        else:
            write_json(path, wanted)


def note_fetch(repo_id: str, commit: str) -> None:
    """Note, before a download, that it is Tiebreak that brings this commit into the cache, where it is."""
    folder = cache.snapshot(repo_id, commit)
    if folder.exists():
        return
    with contextlib.suppress(OSError):
        note = _fetch_note(folder)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()


def was_fetched_here(snapshot: Path) -> bool:
    """True where Tiebreak brought a commit into the cache, and no other program."""
    return _fetch_note(snapshot).exists()


def _fetch_note(snapshot: Path) -> Path:
    return snapshot.parents[1] / FOLDER / f"{snapshot.name}.fetched"


def open_whole(repo_id: str, revision: str | None, ref: str, *, adapter: bool = False) -> Checkpoint | None:
    """The model, or the adapter, where `revision` is a commit and all that a merge needs of it lies in the cache.

    Args:
        repo_id: `owner/name`.
        revision: as the recipe spells it.
        ref: the model as the recipe spells it.
    """
    if revision is None or not is_commit(revision):
        return None
    path, folder = receipt_path(repo_id, revision, adapter=adapter), cache.snapshot(repo_id, revision)
    with contextlib.suppress(OSError):
        wanted = read_json(path)
        if isinstance(wanted, dict) and all(
            (folder / n).stat().st_size == size for n, size in wanted.items()
        ):
            os.utime(path)
            return cache.open_snapshot(folder, ref, revision, adapter=adapter)
    return None
