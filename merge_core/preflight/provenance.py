"""Where the models of a merge come from and under which terms, as far as their own cards tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.preflight.licences import Kind, asked, in_each_others_way, listed, terms_of, together
from merge_core.preflight.stated import Licence, stated
from merge_core.recipe import ModelRef


def terms(checkpoints: Mapping[ModelRef, Checkpoint]) -> tuple[str, ...]:
    """What the licences and owners of all models ask, and whether they may be combined, one sentence each.

    Empty where nobody says anything of terms: all models are folders, and no card is in them.
    """
    licences = {ref: stated(checkpoint).licence for ref, checkpoint in checkpoints.items()}
    if not any(licences.values()) and all(c.commit is None for c in checkpoints.values()):
        return ()
    named = [(name_of(ref), licence) for ref, licence in licences.items()]
    groups: dict[tuple[Licence | None, bool], list[str]] = {}
    for (name, licence), checkpoint in zip(named, checkpoints.values(), strict=True):
        groups.setdefault((licence, checkpoint.gated), []).append(name)
    asks = [asked(names, licence, gated=gated) for (licence, gated), names in groups.items()]
    return (*asks, together(named))


def term_notes(first: ModelRef, template: Checkpoint, ref: ModelRef, checkpoint: Checkpoint) -> Iterator[str]:
    """What one model asks beyond keeping a notice, and where that and what `first` asks get in each other's way."""
    licence = stated(checkpoint).licence
    known = licence is not None or checkpoint.commit is not None
    if known and (checkpoint.gated or terms_of(licence).kinds != {Kind.PERMISSIVE}):
        yield asked([name_of(ref)], licence, gated=checkpoint.gated)
    both: list[tuple[str, Licence | None]] = [
        (name_of(first), stated(template).licence),
        (name_of(ref), licence),
    ]
    yield from in_each_others_way(both)


def lineage_notes(
    first: ModelRef, template: Checkpoint, ref: ModelRef, checkpoint: Checkpoint
) -> Iterator[str]:
    """Whether the card of a fine-tune names another base."""
    others = other_bases(first, template, checkpoint)
    if not others:
        return
    shared = [base for base in stated(template).bases if base in others]
    sibling = f", which {name_of(first)} was made from too" if shared else ""
    yield (
        f"The card of {name_of(ref)} says that it was made from {listed(others)}{sibling}, not from {name_of(first)}: "
        "its task vector then holds that difference as well."
    )


def with_nearest(
    error: UserError, first: ModelRef, template: Checkpoint, checkpoint: Checkpoint
) -> UserError:
    """The error for a fine-tune that does not fit, with what its card names as its origin as what to pick."""
    others = other_bases(first, template, checkpoint)
    if not others:
        return error
    what = "instead" if checkpoint.config.get("quantization_config") else "as the base"
    return UserError(
        error.message, f"Its card says that it was made from {listed(others)}: pick that {what}."
    )


def other_bases(first: ModelRef, template: Checkpoint, checkpoint: Checkpoint) -> tuple[str, ...]:
    """What a card names as bases, where `first`, a model on the Hub, is none of them."""
    bases = stated(checkpoint).bases
    if template.commit is None or first.path.lower() in (base.lower() for base in bases):
        return ()
    return bases


def name_of(ref: ModelRef) -> str:
    """A model without its commit or its folder's path, which are too long for a sentence."""
    adapter = ModelRef.parse(ref.lora) if ref.lora else None
    return "+".join(Path(m.path).name if _is_folder(m) else m.path for m in (ref, adapter) if m)


def _is_folder(ref: ModelRef) -> bool:
    return ref.looks_like_path or ref.path.count("/") > 1
