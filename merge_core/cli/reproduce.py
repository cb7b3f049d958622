"""Where the recipe of a merge is kept: in a file, beside merged weights in a folder, or with them on the Hub."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from merge_core.errors import UserError
from merge_core.recipe import ModelRef, Recipe, load_recipe, read_recipe

if TYPE_CHECKING:
    from merge_core.hub import HubClient

RECIPE_FILE = "mergekit_config.yml"
CARD = "README.md"
LARGEST = 1 << 20  # bytes of a recipe or card
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[^@\s]+)?", re.ASCII)
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_AT_REVISION = ("tree", "blob", "resolve", "raw", "commit")  # what an address says before a revision
_YAML_BLOCK = re.compile(r"^```ya?ml[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """A recipe and where it was found.

    Args:
        recipe: checked.
        name: what to call the place: a file, a folder, or `owner/name@commit`.
        weights: SHA-256 of each weight file that lies there on the Hub, by its name.
        folder: holds the weights that the recipe made; None where they are on the Hub, or nowhere.
    """

    recipe: Recipe
    name: str
    weights: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def is_merge(self) -> bool:
        """True where weights lie beside the recipe, to compare with."""
        return bool(self.weights) or self.folder is not None

    @property
    def unpinned(self) -> tuple[ModelRef, ...]:
        """Models that it names without a commit, which may have changed since."""
        return tuple(ref for ref in self.recipe.refs() if not ref.looks_like_path and not _pinned(ref))

    def matches(self, folder: Path) -> bool:
        """True where the weight files in `folder` are those of this place, byte for byte."""
        there = weights_of(self.folder) if self.folder is not None else self.weights
        return bool(there) and there == weights_of(folder)


def find_recipe(text: str, hub: HubClient | None = None) -> Source:
    """The recipe that `text` leads to.

    Args:
        text: a recipe's file, a merged folder, `owner/name[@revision]`, or a model's address on the Hub.
        hub: the Hub; None uses the default client, made only if it is needed.

    Raises:
        UserError: there is no recipe, or it cannot be read.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        return _in_folder(path)
    is_address = "://" in text
    named_as_file = not _HUB_ID.fullmatch(text) or text.endswith((".yml", ".yaml"))
    if not is_address and (path.is_file() or named_as_file):
        return Source(load_recipe(path), str(path))
    if hub is None:
        from merge_core.hub import HubClient

        hub = HubClient()
    ref = _addressed(text, hub.endpoint) if is_address else ModelRef.parse(text)
    try:
        return _on_hub(ref, hub)
    except UserError as error:  # perhaps a file was meant
        if not is_address:
            error.hint = f"{error.hint} No recipe here is called {text} either.".strip()
        raise


def weights_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every weight file in a folder, by its name."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _in_folder(folder: Path) -> Source:
    if not (folder / RECIPE_FILE).is_file():
        raise UserError(
            f"{folder} holds no {RECIPE_FILE}, so how it was merged is not known.",
            "Name a recipe's file, or the folder of a merge.",
        )
    has_weights = any(folder.glob("*.safetensors"))
    return Source(load_recipe(folder / RECIPE_FILE), str(folder), folder=folder if has_weights else None)


def _on_hub(ref: ModelRef, hub: HubClient) -> Source:
    listing = hub.files(ref)
    name = f"{ref.path}@{listing.commit}"
    found = hub.read(listing, RECIPE_FILE, LARGEST)
    text = found.decode(errors="replace") if found is not None else None
    where = f"{name}: {RECIPE_FILE}"
    if text is None:  # older cards carry it themselves
        card = hub.read(listing, CARD, LARGEST) or b""
        blocks = _YAML_BLOCK.findall(card.decode(errors="replace").replace("\r\n", "\n"))
        text = next((block for block in blocks if "merge_method" in block), None)
        where = f"{name}: {CARD}"
    if text is None:
        raise UserError(
            f"{ref.path} has no {RECIPE_FILE}, and its card shows no recipe: how it was merged is not known.",
            "Name a recipe's file, or a merge that carries one.",
        )
    weights = {
        file: held.sha256
        for file, held in listing.files.items()
        if file.endswith(".safetensors") and "/" not in file and held.sha256 is not None
    }
    return Source(read_recipe(text, where), name, weights)


def _addressed(address: str, endpoint: str) -> ModelRef:
    """The repository at a web address of the Hub; only its name and revision are taken from there."""
    parts = urlsplit(address)
    words = [unquote(word) for word in parts.path.split("/") if word]
    if parts.netloc not in (urlsplit(endpoint).netloc, *_HOSTS):
        raise UserError(
            f"{address[:120]!r} is no address on the Hub at {endpoint}.",
            "Paste a model's address from there, or write owner/name.",
        )
    if len(words) < 2 or not _HUB_ID.fullmatch("/".join(words[:2])) or words[0] in ("datasets", "spaces"):
        raise UserError(f"{address[:120]!r} is no address of a model.", "Paste the address of its card.")
    revision = words[3] if len(words) > 3 and words[2] in _AT_REVISION else None
    return ModelRef("/".join(words[:2]), revision)


def _pinned(ref: ModelRef) -> bool:
    return ref.revision is not None and re.fullmatch(r"[0-9a-f]{40}", ref.revision) is not None
