"""The recipe with its models named so that they stay what they are: at commits, and for strangers without paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from merge_core.recipe.model import Recipe, Slice
from merge_core.recipe.reference import ModelRef

_CHOICES = ("base", "union")  # what tokenizer_source may be beside a model


@dataclass(frozen=True)
class PublishedModel:
    """How one model of a recipe is called in public.

    Args:
        ref: as the published recipe spells it.
        name: for prose: the Hub id, or a folder's name.
        commit: the Hub's commit SHA; None for a folder.
    """

    ref: ModelRef
    name: str
    commit: str | None

    @property
    def on_hub(self) -> bool:
        """True for a repository, False for a folder."""
        return not self.ref.looks_like_path


def published_models(recipe: Recipe, commits: Mapping[str, str | None]) -> dict[ModelRef, PublishedModel]:
    """The public name of every model of `recipe`; folders of one name are told apart by a number.

    Args:
        recipe: as its author wrote it.
        commits: the models that are merged, as the recipe spells them → Hub commit, or None for a folder.
    """
    taken: set[str] = set()
    found: dict[ModelRef, PublishedModel] = {}
    for ref in recipe.refs():
        commit = commits.get(str(ref))
        lora = None if ref.lora is None else _reduced(ref.lora)
        if commit is not None or not _is_folder(ref.path):
            revision = commit or ref.revision
            found[ref] = PublishedModel(ModelRef(ref.path, revision, lora), ref.path, revision)
            continue
        name = _unused(_folder_name(ref.path), taken)
        found[ref] = PublishedModel(ModelRef(f"./{name}", None, lora), name, None)
    return found


def published_recipe(recipe: Recipe, commits: Mapping[str, str | None]) -> Recipe:
    """`recipe` without a path of this machine, which merges the same models wherever its folders lie side by side.

    Args:
        recipe, commits: see `published_models`.
    """
    public = {ref: model.ref for ref, model in published_models(recipe, commits).items()}
    return replace(_respelled(recipe, public), notes=())


def pinned_recipe(recipe: Recipe, commits: Mapping[str, str | None]) -> Recipe:
    """`recipe` with every Hub model at its commit, whatever its branch comes to mean; folders keep their paths.

    Args:
        recipe, commits: see `published_models`.
    """
    pinned = {ref: replace(ref, revision=commits.get(str(ref)) or ref.revision) for ref in recipe.refs()}
    return _respelled(recipe, pinned)


def _respelled(recipe: Recipe, names: Mapping[ModelRef, ModelRef]) -> Recipe:
    """The same recipe with other names for its models."""
    source = recipe.tokenizer_source
    if source is not None and source not in _CHOICES:
        source = str(names.get(ModelRef.parse(source), source))
    return replace(
        recipe,
        base=None if recipe.base is None else names[recipe.base],
        models=tuple(replace(entry, ref=names[entry.ref]) for entry in recipe.models),
        slices=tuple(_slice(part, names) for part in recipe.slices),
        tokenizer_source=source,
    )


def _slice(part: Slice, names: Mapping[ModelRef, ModelRef]) -> Slice:
    return replace(part, models={names[ref]: settings for ref, settings in part.models.items()})


def _folder_name(path: str) -> str:
    resolved = Path(path).expanduser().resolve().name
    return "".join(c if c.isprintable() and c not in "/\\" else "_" for c in resolved) or "model"


def _reduced(adapter: str) -> str:
    """An adapter's public spelling: a folder by its name, a repository as it is."""
    return f"./{_folder_name(adapter)}" if _is_folder(ModelRef.parse(adapter).path) else adapter


def _is_folder(path: str) -> bool:
    return ModelRef(path).looks_like_path or Path(path).expanduser().is_dir()


def _unused(name: str, taken: set[str]) -> str:
    number, wanted = 1, name
    while wanted in taken:
        number += 1
        wanted = f"{name}-{number}"
    taken.add(wanted)
    return wanted
