"""The models in the Hugging Face cache: what each takes, when it was last used, and how to be rid of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout
from huggingface_hub import scan_cache_dir
from huggingface_hub.errors import CacheNotFound
from huggingface_hub.utils import CachedRepoInfo, WeakFileLock

from merge_core.errors import UserError
from merge_core.hub import cache
from merge_core.hub.receipts import FOLDER, was_fetched_here
from merge_core.removal import Removal, removing


@dataclass(frozen=True)
class CachedCommit:
    """A commit of a model in the cache.

    Args:
        sha: its name.
        bytes: what it takes on the disk beside the commits that were fetched after it.
    """

    sha: str
    bytes: int


@dataclass(frozen=True)
class CachedModel:
    """A model in the cache, with all its commits.

    Args:
        repo_id: `owner/name`.
        bytes: what it takes on the disk.
        last_used: seconds since the epoch.
        commits: those that are here, as far as they are; the one fetched last first.
        fetched_here: Tiebreak brought all of them here, and no other program.
        folder: where it lies.
    """

    repo_id: str
    bytes: int
    last_used: float
    commits: tuple[CachedCommit, ...]
    fetched_here: bool
    folder: Path


def cached_models() -> tuple[CachedModel, ...]:
    """Every model in the cache, whichever program put it there; the one used last first."""
    found = [
        CachedModel(
            repo.repo_id,
            repo.size_on_disk,
            _last_used(repo),
            _commits(repo),
            all(was_fetched_here(revision.snapshot_path) for revision in repo.revisions),
            repo.repo_path,
        )
        for repo in _models()
    ]
    return tuple(sorted(found, key=lambda model: -model.last_used))


def remove_models(repo_ids: Sequence[str], in_use: Collection[str]) -> int:
    """Remove models from the cache, all of them or none; answers the bytes that this frees.

    Args:
        repo_ids: which.
        in_use: repositories that work under way needs.

    Raises:
        UserError: one is not in the cache, is in use, or is being downloaded.
    """
    models = {model.repo_id: model for model in cached_models()}
    for repo_id in repo_ids:
        if repo_id not in models:
            raise UserError(
                f"{repo_id} is not in the cache.", f"Known: {', '.join(sorted(models)) or 'none'}."
            )
        if repo_id in in_use:
            raise UserError(f"{repo_id} is needed by a job.", "Cancel the job, or wait until it is over.")
        _require_settled(models[repo_id])
    wanted = [models[repo_id] for repo_id in dict.fromkeys(repo_ids)]
    with removing() as removal:
        for model in wanted:
            take_model(model, removal)
    for left in removal.left:
        raise UserError(f"{left} cannot be removed.", "Make it writable.")
    return sum(model.bytes for model in wanted)


def take_model(model: CachedModel, removal: Removal) -> None:
    """Take a model out of the cache.

    Raises:
        UserError: it is being downloaded, or cannot be moved.
    """
    _require_settled(model)
    if not removal.take(model.folder):
        raise UserError(f"{model.folder} cannot be removed.", "Make it writable.")


def _require_settled(model: CachedModel) -> None:
    if _being_written(model.folder):
        raise UserError(f"{model.repo_id} is being downloaded.", "Wait until that is over.")


def _models() -> list[CachedRepoInfo]:
    try:
        return [repo for repo in scan_cache_dir(cache.root()).repos if repo.repo_type == "model"]
    except CacheNotFound:
        return []


def _commits(repo: CachedRepoInfo) -> tuple[CachedCommit, ...]:
    """The one fetched last first, each with the content that none before it has."""
    fetched = {revision: revision.snapshot_path.stat().st_mtime for revision in repo.revisions}
    counted: set[Path] = set()
    found = []
    for revision in sorted(repo.revisions, key=lambda r: (-fetched[r], r.commit_hash)):
        own = {file.blob_path: file.size_on_disk for file in revision.files if file.blob_path not in counted}
        counted.update(own)
        found.append(CachedCommit(revision.commit_hash, sum(own.values())))
    return tuple(found)


def _last_used(repo: CachedRepoInfo) -> float:
    """By a merge, as receipts tell, or by whichever program read its files, as far as the disk keeps count."""
    times = [float(repo.last_accessed)]
    for receipt in (repo.repo_path / FOLDER).glob("*.json"):
        with contextlib.suppress(OSError):
            times.append(receipt.stat().st_mtime)
    return max(times)


def _being_written(folder: Path) -> bool:
    """Whether some process holds the lock of one of its files."""
    for lock in (cache.root() / ".locks" / folder.name).glob("*.lock"):
        try:
            with WeakFileLock(lock, timeout=0.01):
                pass
        except Timeout:
            return True
    return False
