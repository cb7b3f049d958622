"""How the hot loops are compiled: once, kept on disk, without the interpreter lock.

The compiled code is cached beside the sources, in the user's cache folder, or where `NUMBA_CACHE_DIR` says; where none
of those can be written (a read-only container), in a temporary folder for the life of the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

_compiled: list[Any] = []
_SOURCES = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` on its first call. It must not touch Python objects: it runs without the interpreter lock."""
    # error_model="numpy": a checked division would stop the loop from being vectorised.
    # fastmath off: no reordering and no fused multiply-add, so the same bytes come out on every machine.
    dispatcher = numba.njit(nogil=True, error_model="numpy", fastmath=False)(function)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # numba's words for "no folder to cache in can be written"
        os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="tiebreak-kernels-")
        numba.core.config.reload_config()
        dispatcher._cache = _Cache(function)
    _compiled.append(dispatcher)
    return dispatcher


class _Cache(FunctionCache):  # type: ignore[misc]
    """numba's cache, with three differences.

    A full disk is no reason to fail: what was compiled serves this process. numba compiles anew what stands in a
    changed file, but not what calls it from another one, so here all kernels' sources count. And numba prepares for
    compiling before it looks into the cache, which takes longer than a small merge: what was compiled earlier needs
    its runtime alone, and compiling prepares itself when it comes to that.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = _SOURCES

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Compiled code from the cache, ready to be called; None where it holds none."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            try:
                return self._load_overload(sig, target_context)
            except (EOFError, UnpicklingError):  # cut off by a power loss: compiled anew, and then kept whole
                return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code, where that can be done."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def compiled_now() -> int:
    """How many kernel versions this process had to compile because no cache held them."""
    return sum(sum(d.stats.cache_misses.values()) for d in _compiled)


def announce_compilation() -> None:
    """Say on stderr that kernels were compiled, if any were: it explains a slow first start."""
    if count := compiled_now():
        print(f"compiled {count} kernels; the next start finds them cached", file=sys.stderr)  # noqa: T201
