"""What a repository holds at one commit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.hf_api import BlobLfsInfo, RepoFile

from merge_core.errors import UserError
from merge_core.hub.session import ANSWER_WITHIN, PROMPT, Patience, Session

_COMMIT = re.compile(r"[0-9a-f]{40}")  # and any other id that git gives
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository.

    Args:
        size: bytes.
        sha256: of its content, where it is stored as LFS; else None.
        git: its git blob id (SHA-1), where it is stored in git; None for LFS, whose blob is only a pointer.
    """

    size: int
    sha256: str | None
    git: str | None


@dataclass(frozen=True)
class Listing:
    """The files of a repository at a commit, by path.

    Args:
        gated: reading them takes its owner's permission.
    """

    repo_id: str
    commit: str
    files: Mapping[str, RemoteFile]
    gated: bool

    def content_of(self, name: str) -> str:
        """What tells a file's content apart: its hash, or where it lies, for a Hub that names no hashes."""
        file = self.files[name]
        return file.sha256 or file.git or f"{self.repo_id}@{self.commit}/{name}"


def is_commit(revision: str | None) -> bool:
    """True for a full commit SHA, which always means the same content."""
    return isinstance(revision, str) and _COMMIT.fullmatch(revision) is not None


def list_files(
    session: Session, repo_id: str, revision: str | None = None, patience: Patience = PROMPT
) -> Listing:
    """The repository's files at the commit that `revision` points to now.

    Raises:
        UserError: there is no such repository or revision, or this account may not see it.
    """
    with session.explained(session.about(repo_id, revision)):
        return ask_files(session, repo_id, revision, patience)


def ask_files(
    session: Session, repo_id: str, revision: str | None = None, patience: Patience = PROMPT
) -> Listing:
    """As `list_files`, for whoever needs to know the client's own error."""
    info = session.retried(
        lambda: session.api.model_info(
            repo_id, revision=revision, files_metadata=True, timeout=ANSWER_WITHIN
        ),
        patience,
    )
    commit = info.sha
    if commit is None or not is_commit(commit):
        raise UserError(
            f"{session.endpoint} names no commit for {repo_id}.", "Check HF_ENDPOINT if you have set it."
        )
    siblings = info.siblings or []
    if all(sibling.size is not None for sibling in siblings):
        files = dict(_file(s.rfilename, s.size, s.lfs, s.blob_id) for s in siblings)
    else:  # a Hub that does not tell sizes with the model
        tree = session.retried(
            lambda: list(session.api.list_repo_tree(repo_id, recursive=True, revision=commit)), patience
        )
        files = dict(_file(f.path, f.size, f.lfs, f.blob_id) for f in tree if isinstance(f, RepoFile))
    return Listing(repo_id, commit, files, bool(info.gated))


def git_id(path: Path) -> str:
    """The id that git gives a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def git_id_of(content: bytes) -> str:
    """The id that git gives a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _file(name: object, size: object, lfs: BlobLfsInfo | None, blob_id: object) -> tuple[str, RemoteFile]:
    """A file as the Hub tells of it. Raises ValueError where that is no way to tell of one."""
    sha256 = lfs.sha256 if lfs else None
    git = blob_id if not lfs and isinstance(blob_id, str) and _COMMIT.fullmatch(blob_id) else None
    if (
        not (isinstance(name, str) and name)
        or not (isinstance(size, int) and size >= 0)
        or not (sha256 is None or (isinstance(sha256, str) and _SHA256.fullmatch(sha256)))
    ):
        raise ValueError("a file without a name, a size, or a hash that is one")
    return name, RemoteFile(size, sha256, git)
