"""The Hugging Face cache on this machine: one copy of a model, shared with every other tool that uses it."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from filelock import Timeout
from huggingface_hub import constants
from huggingface_hub.file_download import _create_symlink, repo_folder_name
from huggingface_hub.utils import WeakFileLock

from merge_core.checkpoint import Checkpoint, open_folder
from merge_core.checkpoint.files import ADAPTER_CONFIG, INDEX, SINGLE, is_companion
from merge_core.checkpoint.lora import is_adapter
from merge_core.errors import UserError
from merge_core.hub.listing import Listing, is_commit
from merge_core.removal import delete_left

CARD = "README.md"  # says the licence
SPARE = 64 << 20  # bytes left free on the disk
# As the client names a download under way. The random part is new each time, so no later one continues it.
_PARTIAL = re.compile(r"(?P<blob>[0-9a-f]{40,64})\.[0-9a-f]{8}\.incomplete")


def root() -> Path:
    """The cache's folder, as HF_HUB_CACHE or HF_HOME sets it."""
    return Path(constants.HF_HUB_CACHE).expanduser()


def snapshot(repo_id: str, commit: str) -> Path:
    """Where a repository's files at a commit lie, or would."""
    return _folder(repo_id) / "snapshots" / commit


def _folder(repo_id: str) -> Path:
    return root() / repo_folder_name(repo_id=repo_id, repo_type="model")


def small_files(checkpoint: Checkpoint, listing: Listing) -> list[str]:
    """Those of a model's `needed_files` that are no weights."""
    weights = {spec.file for spec in checkpoint.specs.values()}
    return [name for name in needed_files(checkpoint, listing) if name not in weights]


def needed_files(checkpoint: Checkpoint, listing: Listing) -> list[str]:
    """The files of a repository that a merge reads or takes over, the weights first."""
    weights = list(dict.fromkeys(spec.file for spec in checkpoint.specs.values()))
    if is_adapter(checkpoint):
        return [*weights, ADAPTER_CONFIG, *([CARD] if CARD in listing.files else [])]
    others = [name for name in listing.files if is_companion(name) or name == CARD]
    index = [INDEX] if INDEX in listing.files and weights != [SINGLE] else []
    return list(dict.fromkeys([*weights, *index, *sorted(others)]))


def is_here(folder: Path, files: Iterable[str], listing: Listing) -> bool:
    """True where the snapshot `folder` holds all `files`, each at its full size."""
    try:
        return all((folder / name).stat().st_size == listing.files[name].size for name in files)
    except OSError:
        return False


def bytes_to_fetch(files: Iterable[str], listing: Listing) -> int:
    """Bytes of `files` that the cache does not hold under any name."""
    blobs = _folder(listing.repo_id) / "blobs"
    wanted = {(file.sha256 or file.git or name): file.size for name in files if (file := listing.files[name])}
    return sum(size for blob, size in wanted.items() if not (blobs / blob).exists())


def open_without_hub(
    repo_id: str, revision: str | None, ref: str, *, adapter: bool = False
) -> Checkpoint | None:
    """What the cache holds of a revision, for when the Hub cannot be reached; None where that is no whole model."""
    commit = revision if is_commit(revision) else None
    if commit is None:
        pointer = _folder(repo_id) / "refs" / (revision or "main")
        try:
            commit = pointer.read_text().strip()
        except (OSError, ValueError):
            return None
    if commit is None or not is_commit(commit):
        return None
    return open_snapshot(snapshot(repo_id, commit), ref, commit, adapter=adapter)


def open_snapshot(folder: Path, ref: str, commit: str, *, adapter: bool = False) -> Checkpoint | None:
    """The model in a snapshot; None where there is none, or not all of its weights."""
    try:
        return open_folder(folder, ref, commit, adapter=adapter) if folder.is_dir() else None
    except UserError:
        return None


def remember_revision(repo_id: str, revision: str | None, commit: str) -> None:
    """Note which commit a branch or tag points to, as the client does, so that it can be found without the Hub."""
    if is_commit(revision):
        return
    refs = _folder(repo_id) / "refs"
    name = revision or "main"
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name):
        return
    with contextlib.suppress(OSError):  # a cache that others look after may be read-only
        (refs / name).parent.mkdir(parents=True, exist_ok=True)
        (refs / name).write_text(commit)


def require_space(needed: int, what: str) -> None:
    """Find out before a download that the disk is too small for it.

    Args:
        needed: bytes still to come.
        what: the model's name.

    Raises:
        UserError: says how much is missing.
    """
    folder = root()
    near = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(near).free
    if needed + SPARE > free:
        raise UserError(
            f"No space for {what}: it takes {needed / 1e6:,.1f} MB in {folder}, and {free / 1e6:,.1f} MB are free.",
            "Free some space, or set HF_HOME to a folder on another disk.",
        )


def keep(listing: Listing, name: str, content: bytes) -> None:
    """Put a file that git stores into the cache as the client would: its content by its id, and a link by its name.

    Raises:
        UserError: its name leads out of the repository's folder.
    """
    folder, here = _folder(listing.repo_id), snapshot(listing.repo_id, listing.commit)
    link = here / name
    if (
        any(part in ("", ".", "..") for part in name.split("/"))
        or "\\" in name
        or not link.is_relative_to(here)
    ):
        raise UserError(f"{listing.repo_id} has a file of a name that no file may have: {name[:80]!r}.")
    blob = folder / "blobs" / str(listing.files[name].git)
    blob.parent.mkdir(parents=True, exist_ok=True)
    if not blob.exists():
        partial = blob.with_name(f"{blob.name}.{secrets.token_hex(4)}.incomplete")
        partial.write_bytes(content)
        partial.replace(blob)
    link.parent.mkdir(parents=True, exist_ok=True)
    _create_symlink(str(blob), str(link))


def forget(path: Path) -> None:
    """Remove a cached file, pointer and content."""
    content = path.resolve()
    path.unlink(missing_ok=True)
    content.unlink(missing_ok=True)


def bytes_under_way(repo_id: str) -> int:
    """Size of the partial files of a repository, whichever process writes them."""
    total = 0
    for partial in (_folder(repo_id) / "blobs").glob("*.incomplete"):
        with contextlib.suppress(OSError):
            total += partial.stat().st_size
    return total


def remove_orphans() -> int:
    """Delete what killed processes left behind; how many downloads that were.

    A download under way holds the lock of its file, in whichever tool it runs.
    """
    delete_left(root())
    removed = 0
    for partial in root().glob("models--*/blobs/*.incomplete"):
        match = _PARTIAL.fullmatch(partial.name)
        if match is None:
            continue
        lock = root() / ".locks" / partial.parent.parent.name / f"{match['blob']}.lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(lock, timeout=0.01):
                partial.unlink(missing_ok=True)
                removed += 1
        except (Timeout, OSError):
            continue
    return removed
