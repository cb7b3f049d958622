"""Repositories of the local Hub: blobs on disk, commits and branches in memory."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LFS_ENDINGS = (".safetensors", ".bin", ".model", ".gguf", ".pt", ".onnx")
LFS_ABOVE = 10_000_000  # bytes
GITATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True)
class Blob:
    """One content. `git` is the git id of what git stores: the content, or for LFS its pointer."""

    sha256: str
    git: str
    size: int
    lfs: bool
    path: Path

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git


@dataclass(frozen=True)
class Commit:
    sha: str
    files: Mapping[str, Blob]
    title: str
    parent: str | None
    at: float


@dataclass
class Repo:
    id: str
    private: bool = False
    gated: bool = False
    owner: str = ""
    downloads: int = 0
    likes: int = 0
    tags: list[str] = field(default_factory=list)
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)  # user names let into a gated repository
    pull_requests: int = 0

    def at(self, revision: str) -> Commit | None:
        """The commit that a branch, tag, pull request or SHA means."""
        return self.commits.get(self.refs.get(revision, revision))

    @property
    def head(self) -> Commit:
        return self.commits[self.refs["main"]]


@dataclass(frozen=True)
class User:
    name: str
    organisations: tuple[str, ...] = ()
    can_write: bool = True

    def owns(self, repo_id: str) -> bool:
        return repo_id.partition("/")[0] in (self.name, *self.organisations)


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_lfs(path: str, size: int) -> bool:
    return path.endswith(LFS_ENDINGS) or size > LFS_ABOVE


class Store:
    """Everything that the local Hub holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        self.repos: dict[str, Repo] = {}
        self.users: dict[str, User] = {}  # by token
        self.collections: dict[str, list[str]] = {}
        self.names_as_git = True
        self.tells_contents = True
        self.lock = threading.RLock()

    def put(self, content: bytes, lfs: bool) -> Blob:
        sha = hashlib.sha256(content).hexdigest()
        path = self.folder / "blobs" / sha
        if not path.exists():
            path.write_bytes(content)
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(content)}\n"
        stored = pointer.encode() if lfs else content
        named = git_id(stored) if self.names_as_git else hashlib.sha1(stored).hexdigest()
        return Blob(sha, named, len(content), lfs, path)

    def uploaded(self, sha256: str, size: int) -> Blob | None:
        """An LFS blob that was put here before."""
        path = self.folder / "blobs" / sha256
        return self.put(path.read_bytes(), True) if path.exists() and path.stat().st_size == size else None

    def create(self, repo_id: str, **settings: Any) -> Repo:
        with self.lock:
            repo = self.repos[repo_id] = Repo(repo_id, **settings)
            self.commit(repo, {".gitattributes": self.put(GITATTRIBUTES, False)}, "initial commit")
        return repo

    def commit(
        self,
        repo: Repo,
        changes: Mapping[str, Blob | None],
        title: str,
        onto: str = "main",
        ref: str | None = None,
    ) -> Commit:
        """Apply changes (None deletes) to the commit that `onto` means; `ref` is moved to the result."""
        with self.lock:
            parent = repo.at(onto)
            files = dict(parent.files) if parent else {}
            for path, blob in changes.items():
                if blob is None:
                    del files[path]
                else:
                    files[path] = blob
            text = json.dumps(
                [parent.sha if parent else None, title, sorted((p, b.etag) for p, b in files.items())]
            )
            sha = hashlib.sha1(f"{repo.id} {time.time_ns()} {text}".encode()).hexdigest()
            commit = repo.commits[sha] = Commit(
                sha, files, title, parent.sha if parent else None, time.time()
            )
            repo.refs[ref or onto] = sha
        return commit

    def add_folder(self, repo: Repo, folder: Path) -> Commit:
        changes = {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            changes[name] = self.put(path.read_bytes(), is_lfs(name, path.stat().st_size))
        return self.commit(repo, changes, "Upload folder")

    def tags_of(self, repo: Repo) -> list[str]:
        """As the Hub computes them from files and card."""
        tags = list(repo.tags)
        if any(name.endswith(".safetensors") for name in repo.head.files):
            tags.append("safetensors")
        if "adapter_config.json" in repo.head.files:
            tags.append("peft")
        return tags

    def parameters(self, repo: Repo) -> dict[str, int]:
        """Entries by dtype, as the Hub counts them for its list."""
        counts: dict[str, int] = {}
        for name, blob in repo.head.files.items():
            if not name.endswith(".safetensors") or "/" in name:
                continue
            with blob.path.open("rb") as file:
                try:
                    (length,) = struct.unpack("<Q", file.read(8))
                    header = json.loads(file.read(min(length, 10_000_000)))
                except (struct.error, ValueError):
                    continue
            for tensor, entry in header.items():
                if tensor != "__metadata__":
                    entries = 1
                    for extent in entry["shape"]:
                        entries *= extent
                    counts[entry["dtype"]] = counts.get(entry["dtype"], 0) + entries
        return counts

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
