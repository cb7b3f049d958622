"""What was opened of the Hub lately. A commit never changes, so what was read of one stays true."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import NamedTuple

from merge_core.checkpoint import Checkpoint
from merge_core.hub.listing import Listing
from merge_core.hub.small_files import SmallFiles

KEPT = 32  # checkpoints whose headers are remembered
BRANCHES = 256


class Key(NamedTuple):
    """What is asked for: in whose name, see `Session.reader`; which repository; at which commit or branch; as what."""

    reader: str
    repo_id: str
    revision: str
    adapter: bool


class Opened(NamedTuple):
    """A repository's files at a commit, those of them that were read, and the checkpoint among them."""

    listing: Listing
    small: SmallFiles
    checkpoint: Checkpoint


class Remembered:
    """The checkpoints opened last, and where branches pointed. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Opened] = OrderedDict()
        self._branches: OrderedDict[Key, tuple[Key, float]] = OrderedDict()
        self._asking = [threading.Lock() for _ in range(64)]

    def asking(self, key: Key) -> threading.Lock:
        """To be held while the Hub is asked: who wants the same meanwhile waits, and finds it here."""
        return self._asking[hash(key) % len(self._asking)]

    def get(self, key: Key, recall: float) -> Opened | None:
        """What was opened under `key`; under a branch, where that was less than `recall` seconds ago."""
        with self._lock:
            if key in self._branches:
                key, told = self._branches[key]
                if time.monotonic() - told >= recall:
                    return None
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, asked: Key, opened: Opened) -> None:
        """Keep something, and let go of what was not used for longest."""
        key = asked._replace(revision=opened.listing.commit)
        with self._lock:
            self._kept[key] = opened
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            if asked != key:
                self._branches[asked] = key, time.monotonic()
                self._branches.move_to_end(asked)
                if len(self._branches) > BRANCHES:
                    self._branches.popitem(last=False)
