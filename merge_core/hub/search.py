"""Find models on the Hub: by name, by address, and along the lines from base to fine-tune."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from huggingface_hub.errors import HFValidationError
from huggingface_hub.hf_api import ExpandModelProperty_T, ModelInfo

from merge_core.hub.listing import is_commit
from merge_core.hub.problems import TROUBLE, status_of
from merge_core.hub.session import ANSWER_WITHIN, Session, in_form

_PROPERTIES: tuple[ExpandModelProperty_T, ...] = (
    "author",
    "cardData",
    "downloads",
    "gated",
    "lastModified",
    "library_name",
    "likes",
    "private",
    "safetensors",
    "sha",
    "tags",
)
_WIDTH = {"64": 8.0, "32": 4.0, "16": 2.0, "8": 1.0, "4": 0.5, "6": 0.75}
_BASE_TAG = re.compile(r"base_model:(?:(?P<relation>adapter|finetune|merge|quantized):)?(?P<id>.+)")
_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True)
class FoundModel:
    """One model of the Hub, as its list tells it.

    Args:
        id: `owner/name`.
        author: the owner's name.
        commit: its newest commit, to pin it to.
        downloads: in the last 30 days.
        likes: how many people like it.
        size: bytes of its weights; None where the Hub does not say.
        licence: the licence's short name, such as "apache-2.0"; None where the card names none.
        gated: its files need the owner's permission.
        private: only its owners see it.
        is_adapter: changes to a base model rather than a model.
        has_safetensors: it has weights that can be opened safely.
        bases: the models it says it was made from.
        last_modified: time of the last commit.
    """

    id: str
    author: str
    commit: str | None
    downloads: int
    likes: int
    size: int | None
    licence: str | None
    gated: bool
    private: bool
    is_adapter: bool
    has_safetensors: bool
    bases: tuple[str, ...]
    last_modified: datetime | None


def search(session: Session, text: str, limit: int) -> list[FoundModel]:
    """Models whose name holds `text`, the most downloaded first; an address or a full name finds that model.

    Models with safetensors are looked for first. Where there are none, the others come, marked.

    Raises:
        UserError: the Hub cannot be asked.
    """
    text = text.strip()
    if "://" in text:
        parts = [unquote(part) for part in urlsplit(text).path.split("/") if part]
        if parts[:1] == ["collections"] and len(parts) >= 3:
            return _collection(session, "/".join(parts[1:3]), limit)
        found = _lookup(session, "/".join(parts[:2])) if len(parts) >= 2 else None
        return [found] if found else []
    text = text.partition("@")[0]
    listed = _list(session, limit, search=text, filter=["safetensors"])
    if not listed and _REPO_ID.fullmatch(text):  # perhaps one that lists do not show
        found = _lookup(session, text)
        listed = [found] if found else []
    if not listed:
        listed = _list(session, limit, search=text, expand=[*_PROPERTIES, "siblings"])
    return sorted(listed, key=lambda model: model.id != text)


def fine_tunes_of(session: Session, repo_id: str, limit: int) -> list[FoundModel]:
    """Full models with safetensors that say they were fine-tuned from `repo_id`, the most downloaded first.

    Raises:
        UserError: the Hub cannot be asked.
    """
    return _list(session, limit, filter=[f"base_model:finetune:{repo_id}", "safetensors"])


def bases_of(session: Session, repo_id: str) -> list[FoundModel]:
    """The models that `repo_id` says it was made from, as far as they can be seen.

    Raises:
        UserError: the Hub cannot be asked, or has no such model.
    """
    with session.explained(session.about(repo_id)):
        model = session.retried(lambda: _info(session, repo_id))
    return [found for base in model.bases if (found := _lookup(session, base))]


def read_model(info: ModelInfo) -> FoundModel:
    """What the client tells of a model, without what is missing or of another form than expected."""
    tags = [tag for tag in info.tags or () if isinstance(tag, str)]
    made_from = [match for tag in tags if (match := _BASE_TAG.fullmatch(tag))]
    licence = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)
    adapter = "adapter" in {match["relation"] for match in made_from} or "peft" in (info.library_name, *tags)
    return FoundModel(
        id=info.id,
        author=info.author if isinstance(info.author, str) and info.author else info.id.partition("/")[0],
        commit=info.sha if is_commit(info.sha) else None,
        downloads=_count(info.downloads),
        likes=_count(info.likes),
        size=_size(info.safetensors.parameters) if info.safetensors else None,
        licence=licence or _card_licence(info.card_data),
        gated=bool(info.gated),
        private=bool(info.private),
        is_adapter=adapter,
        has_safetensors="safetensors" in tags
        or info.safetensors is not None
        or any(sibling.rfilename.endswith(".safetensors") for sibling in info.siblings or ()),
        bases=tuple(dict.fromkeys(match["id"] for match in made_from)),
        last_modified=info.last_modified,
    )


def _count(told: object) -> int:
    return told if isinstance(told, int) and told >= 0 else 0


def _size(parameters: Mapping[str, int]) -> int | None:
    """Bytes of so many parameters of each dtype; None for a dtype nobody knows."""
    total = 0.0
    for dtype, count in parameters.items():
        width = re.search(r"64|32|16|8|6|4", dtype)
        if not isinstance(count, int) or count < 0:
            return None
        if dtype == "BOOL":
            total += count
        elif width is None:
            return None
        else:
            total += count * _WIDTH[width[0]]
    return int(total)


def _card_licence(card: Any) -> str | None:
    licence = getattr(card, "license", None)
    return licence if isinstance(licence, str) else None


def _list(session: Session, limit: int, **wanted: Any) -> list[FoundModel]:
    params = {"expand": list(_PROPERTIES), **wanted, "sort": "downloads", "limit": limit}
    with session.explained(session.about()):
        page = session.retried(lambda: session.get_json("/api/models", params))
        if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
            raise ValueError("no list of models")
        with in_form():
            return [read_model(ModelInfo(**item)) for item in page[:limit]]


def _info(session: Session, repo_id: str) -> FoundModel:
    return read_model(session.api.model_info(repo_id, timeout=ANSWER_WITHIN, expand=list(_PROPERTIES)))


def _lookup(session: Session, repo_id: str) -> FoundModel | None:
    """The model of that name; None where there is none that this account may see."""
    with session.explained(session.about(repo_id)):
        try:
            return session.retried(lambda: _info(session, repo_id))
        except HFValidationError:
            return None
        except TROUBLE as error:
            if status_of(error) in (401, 403, 404):
                return None
            raise


def _collection(session: Session, slug: str, limit: int) -> list[FoundModel]:
    with session.explained(session.about(f"collections/{slug}")):
        items = session.retried(lambda: session.api.get_collection(slug)).items
    ids = [item.item_id for item in items if item.item_type == "model"]
    return [found for each in ids[:limit] if (found := _lookup(session, each))]
