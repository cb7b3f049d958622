"""The recipe with its models named so that they stay what they are: at commits, and for strangers without paths."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
        name: for prose: the Hub id, or a folder's name; with an adapter, both with a plus between them.
        commit: the Hub's commit SHA; None for a folder.
        adapter: what is applied to it; None where nothing is.
    """

    ref: ModelRef
    name: str
    commit: str | None
    adapter: PublishedModel | None = None

    @property
    def parts(self) -> tuple[PublishedModel, ...]:
        """The model, and the adapter that is applied to it, each by itself."""
        if self.adapter is None:
            return (self,)
        base = replace(self.ref, lora=None)
        return PublishedModel(base, self.name.partition("+")[0], self.commit), self.adapter

    @property
    def on_hub(self) -> bool:
        """True for a repository, False for a folder."""
        return not self.ref.looks_like_path


def published_models(recipe: Recipe, commits: Mapping[str, str | None]) -> dict[ModelRef, PublishedModel]:
    """The public name of every model of `recipe`; folders of one name are told apart by a number, in order of paths.

    Args:
        recipe: as its author wrote it.
        commits: the models that are merged, and their adapters, as the recipe spells them → Hub commit, or None for a
            folder.
    """
    folders: dict[str, str] = {}
    paths = [path for ref in recipe.refs() for path in (ref.path, ModelRef.parse(ref.lora or "").path)]
    for path in sorted(filter(_is_folder, set(paths) - {""})):
        folders[path] = _unused(_folder_name(path), folders.values())

    def public(ref: ModelRef, commit: str | None) -> PublishedModel:
        if commit is not None or not _is_folder(ref.path):
            revision = commit or ref.revision
            return PublishedModel(ModelRef(ref.path, revision), ref.path, revision)
        name = folders[ref.path]
        return PublishedModel(ModelRef(f"./{name}"), name, None)

    found: dict[ModelRef, PublishedModel] = {}
    for ref in recipe.refs():
        model = public(ref, commits.get(str(ref)))
        if ref.lora is not None:
            adapter = public(ModelRef.parse(ref.lora), commits.get(ref.lora))
            applied = replace(model.ref, lora=str(adapter.ref))
            model = PublishedModel(applied, f"{model.name}+{adapter.name}", model.commit, adapter)
        found[ref] = model
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
    pinned = {}
    for ref in recipe.refs():
        lora = ref.lora
        if lora is not None and (commit := commits.get(lora)):
            lora = str(replace(ModelRef.parse(lora), revision=commit))
        pinned[ref] = ModelRef(ref.path, commits.get(str(ref)) or ref.revision, lora)
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


def _is_folder(path: str) -> bool:
    return ModelRef(path).looks_like_path or Path(path).expanduser().is_dir()


def _unused(name: str, taken: Collection[str]) -> str:
    number, wanted = 1, name
    while wanted in taken:
        number += 1
        wanted = f"{name}-{number}"
    return wanted
