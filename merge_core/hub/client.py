"""The Hub, as the rest of Tiebreak sees it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from merge_core.checkpoint import Checkpoint, Streamed
from merge_core.checkpoint.lora import adapt, is_adapter, parts_of
from merge_core.checkpoint.remote import open_remote
from merge_core.errors import UserError
from merge_core.home import on_space
from merge_core.hub import account, cache, search
from merge_core.hub.download import download, fetch_files
from merge_core.hub.listing import Listing, list_files
from merge_core.hub.problems import Unreachable
from merge_core.hub.publish import Published, publish
from merge_core.hub.ranges import RangeReader
from merge_core.hub.receipts import give_receipt, open_whole
from merge_core.hub.remembered import Key, Opened, Remembered
from merge_core.hub.search import FoundModel
from merge_core.hub.session import Session
from merge_core.hub.small_files import SmallFiles
from merge_core.progress import CancelCheck, ProgressCallback
from merge_core.recipe import ModelRef


class HubClient:
    """One account's view of a Hub. Cheap to make; asks nothing until it is used.

    Args:
        token: whose view; None is the account this machine is signed in with, or nobody; on a Space, nobody.
        endpoint: the Hub's address; None is HF_ENDPOINT, else the Hugging Face Hub.
        cache_first: open a model that is pinned to a commit and lies whole in the cache without asking the Hub whether
            this account may read it. For the worker: whoever queued its job has asked, in the name of the job's owner.
        recall: seconds for which a branch is taken to point to where it did. For the page, which asks several times for
            what it shows at once.
    """

    def __init__(
        self,
        token: str | None = None,
        endpoint: str | None = None,
        *,
        cache_first: bool = False,
        recall: float = 0.0,
    ) -> None:
        self._session = Session(token, endpoint)
        self._cache_first = cache_first
        self._recall = recall

    def __repr__(self) -> str:
        return f"HubClient({self._session!r})"

    def search(self, text: str, limit: int) -> list[FoundModel]:
        """Models whose name holds `text`; see `merge_core.hub.search.search`."""
        return search.search(self._session, text, limit)

    def fine_tunes_of(self, repo_id: str, limit: int) -> list[FoundModel]:
        """Full models that say they were fine-tuned from `repo_id`."""
        return search.fine_tunes_of(self._session, repo_id, limit)

    def bases_of(self, repo_id: str) -> list[FoundModel]:
        """The models that `repo_id` says it was made from."""
        return search.bases_of(self._session, repo_id)

    @property
    def endpoint(self) -> str:
        """The Hub's address."""
        return self._session.endpoint

    def files(self, ref: ModelRef) -> Listing:
        """What the repository holds at the commit that `ref` means now.

        Raises:
            UserError: there is no such repository or revision, or this account may not see it.
        """
        return list_files(self._session, ref.path, ref.revision)

    def read(self, listing: Listing, file: str, most: int) -> bytes | None:
        """The whole of a small file; None where the repository has none of that name.

        Raises:
            UserError: it is larger than `most` bytes, or this account may not read it.
        """
        found = listing.files.get(file)
        if found is None:
            return None
        if found.size > most:
            raise UserError(
                f"{listing.repo_id}: {file} is larger than {most} bytes.", "Is it the right file?"
            )
        with self._session.explained(
            self._session.about(listing.repo_id, listing.commit, gated=listing.gated)
        ):
            return self._session.read(listing.repo_id, listing.commit, file, 0, found.size)

    def checkpoint(self, ref: ModelRef, *, adapter: bool = False) -> Checkpoint:
        """The model, or the adapter, at the commit that `ref` means now, from its headers alone.

        Its `root` is set where all that is needed of it lies in the Hugging Face cache already.

        Raises:
            UserError: there is no such model, this account may not read it, or the Hub cannot be reached and the cache
                does not hold it.
        """
        if self._cache_first:
            whole = open_whole(ref.path, ref.revision, str(replace(ref, lora=None)), adapter=adapter)
            if whole is not None:
                return whole
        try:
            return self._open(ref, adapter).checkpoint
        except Unreachable:
            if on_space():  # the cache there holds what other visitors may read
                raise
            found = cache.open_without_hub(
                ref.path, ref.revision, str(replace(ref, lora=None)), adapter=adapter
            )
            if found is None:
                raise
            return found

    def download(
        self,
        checkpoint: Checkpoint,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
    ) -> Checkpoint:
        """The same checkpoint with its files on this machine; see `merge_core.hub.download.download`."""
        if checkpoint.adapted is not None:
            base, adapter = (self.download(part, progress, cancelled) for part in parts_of(checkpoint))
            return adapt(base, adapter, checkpoint.ref)
        if checkpoint.root is not None or checkpoint.commit is None:
            return checkpoint
        listing, small, _ = self._opened(checkpoint)
        here = download(self._session, checkpoint, listing, small, progress, cancelled)
        cache.remember_revision(listing.repo_id, ModelRef.parse(checkpoint.ref).revision, listing.commit)
        return here

    def stream(
        self,
        checkpoint: Checkpoint,
        *,
        small_files: bool,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
    ) -> Checkpoint:
        """The same checkpoint with weights that are read where they lie, at its commit; an adapter is downloaded.

        Args:
            checkpoint: opened here.
            small_files: download the files beside its weights.
            progress, cancelled: of what is downloaded; `cancelled` is asked while weights are read as well.

        Raises:
            UserError: the Hub does not give what is downloaded.
            Cancelled: `cancelled` answered true.
        """
        if checkpoint.adapted is not None:
            base, adapter = parts_of(checkpoint)
            base = self.stream(base, small_files=small_files, progress=progress, cancelled=cancelled)
            return adapt(base, self.download(adapter, progress, cancelled), checkpoint.ref)
        if checkpoint.root is not None or checkpoint.commit is None:
            return checkpoint
        listing, small, _ = self._opened(checkpoint)
        folder = None
        if small_files:
            files = cache.small_files(checkpoint, listing)
            folder = fetch_files(self._session, checkpoint.ref, listing, small, files, progress, cancelled)
        read_into = RangeReader(self._session, listing, cancelled).read_into
        sizes = {name: file.size for name, file in listing.files.items()}
        return replace(checkpoint, streamed=Streamed(read_into, sizes, folder))

    def namespaces(self) -> tuple[str, ...]:
        """Where this account may publish; see `merge_core.hub.account.namespaces`."""
        return account.namespaces(self._session)

    def bytes_to_fetch(self, checkpoint: Checkpoint) -> int:
        """What `download` would fetch of a checkpoint, not an adapted one, that was opened here."""
        if checkpoint.root is not None or checkpoint.commit is None:
            return 0
        listing = self._opened(checkpoint).listing
        return cache.bytes_to_fetch(cache.needed_files(checkpoint, listing), listing)

    def bytes_beside(self, checkpoint: Checkpoint) -> int:
        """What `stream` would fetch with `small_files` of a checkpoint, not an adapted one, that was opened here."""
        listing = self._opened(checkpoint).listing
        return cache.bytes_to_fetch(cache.small_files(checkpoint, listing), listing)

    def part_reader(self, checkpoint: Checkpoint, cancelled: CancelCheck | None = None) -> RangeReader:
        """Reads parts of the files of a checkpoint that was opened here."""
        return RangeReader(self._session, self._opened(checkpoint).listing, cancelled)

    def publish(
        self,
        folder: Path,
        repo_id: str,
        *,
        private: bool,
        pull_request: bool,
        progress: ProgressCallback | None = None,
        cancelled: CancelCheck | None = None,
    ) -> Published:
        """Upload a folder; see `merge_core.hub.publish.publish`."""
        return publish(
            self._session,
            folder,
            repo_id,
            private=private,
            pull_request=pull_request,
            progress=progress,
            cancelled=cancelled,
        )

    def _opened(self, checkpoint: Checkpoint) -> Opened:
        """A checkpoint that was opened here, as it was then."""
        assert checkpoint.commit is not None, f"{checkpoint.ref} is no model on the Hub"
        ref = ModelRef(ModelRef.parse(checkpoint.ref).path, checkpoint.commit)
        return self._open(ref, is_adapter(checkpoint))

    def _open(self, ref: ModelRef, adapter: bool = False) -> Opened:
        """The repository's files at the commit meant, and the checkpoint among them."""
        name = str(replace(ref, lora=None))
        key = Key(self._session.reader, ref.path, ref.revision or "", adapter)
        with _remembered.asking(key):
            known = _remembered.get(key, self._recall)
            if known is None:
                listing = list_files(self._session, ref.path, ref.revision)
                known = _remembered.get(key._replace(revision=listing.commit), 0.0)
                known = known or self._read(listing, name, adapter)
                _remembered.put(key, known)
        listing, _, checkpoint = known
        here = _cached(listing, name, adapter)
        if here is None:
            return known._replace(checkpoint=replace(checkpoint, ref=name))
        return known._replace(checkpoint=replace(here, gated=checkpoint.gated, contents=checkpoint.contents))

    def _read(self, listing: Listing, name: str, adapter: bool) -> Opened:
        sizes = {path: file.size for path, file in listing.files.items()}
        small = SmallFiles(self._session, listing)
        # Everybody may list a gated model. On a Space, where others filled the cache, only reading shows who may read.
        trusted = not (listing.gated and on_space())
        found = _cached(listing, name, adapter) if trusted else None
        checkpoint = replace(
            found or open_remote(name, listing.commit, sizes, small.read, adapter=adapter),
            root=None,  # what is remembered must stay true when the cache is emptied
            gated=listing.gated,
            contents={path: listing.content_of(path) for path in listing.files},
            sizes=sizes,
            fetch_start=small.start,
        )
        return Opened(listing, small, checkpoint)


def _cached(listing: Listing, name: str, adapter: bool) -> Checkpoint | None:
    """The checkpoint on this machine; None where not all of it is here."""
    folder = cache.snapshot(listing.repo_id, listing.commit)
    checkpoint = cache.open_snapshot(folder, name, listing.commit, adapter=adapter)
    if checkpoint is None:
        return None
    files = cache.needed_files(checkpoint, listing)
    if not cache.is_here(folder, files, listing):
        return None
    give_receipt(listing, files, adapter=adapter)
    return checkpoint


_remembered = Remembered()
