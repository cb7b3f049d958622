"""What people call models: the last part of a folder or repository, and as much more as tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from merge_core.recipe import ModelRef


def short_name(ref: ModelRef) -> str:
    """The last part of a folder or repository."""
    return _called(ref, 1)


def distinct_names(refs: Sequence[ModelRef]) -> dict[ModelRef, str]:
    """Short names; owner/name for those that would share a short one, and the revision where that does not do."""
    found = {ref: _called(ref, 1) for ref in refs}
    for longer in (_with_owner, _with_revision, str):
        taken = Counter(found.values())
        found = {ref: longer(ref) if taken[name] > 1 else name for ref, name in found.items()}
    return found


def owner_of(ref: ModelRef) -> str:
    """Whose repository it is; "" for a folder."""
    return "" if ref.looks_like_path or ref.path.count("/") != 1 else ref.path.partition("/")[0]


def _called(ref: ModelRef, parts: int) -> str:
    last = "/".join(ref.path.rstrip("/\\").replace("\\", "/").split("/")[-parts:])
    return (last or ref.path) + (f" + {ref.lora.rpartition('/')[2]}" if ref.lora else "")


def _with_owner(ref: ModelRef) -> str:
    return _called(ref, 2)


def _with_revision(ref: ModelRef) -> str:
    return _called(ref, 2) + (f" @ {ref.revision[:7]}" if ref.revision else "")
